import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.image.files.pictures import Pictures, write_picture
from triptych.image.painter import Painter
from triptych.music.chorales.codec import RANGES
from triptych.music.chorales.composer import Composer
from triptych.music.files.save import save_music
from triptych.music.piece.piece import Note, Piece
from triptych.text.score import Scores


def test_text(run: Any, translator: Any, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a\n\nc\n", "utf-8")
    (tmp_path / "t").write_text("x\ny\nz\n", "utf-8")
    arguments = ["evaluate", "text", "--source", tmp_path / "s", "--target", tmp_path / "t", "--limit", 1, "--beam", 3]
    ran = run(*arguments, "--json")
    assert json.loads(ran.out) == {
        "model": "captions-en-de",
        "bleu": 41.0,
        "bleu_lc_tok": 40.0,
        "chrf": 60.0,
        "signature": "s",
        "sentences": 2,
        "perplexity": None,
        "skipped": 0,
        "note": None,
    }
    assert "skipped 1 pair" in ran.err
    asked = {"beam": 3, "limit": 1, "tokenised_references": None, "language": None}
    assert translator.calls[-1] == ("evaluate", asked)
    assert "bleu         41.00\n" in run(*arguments).out
    (tmp_path / "r").write_text("x .\ny .\nz .\n", "utf-8")
    assert run(*arguments, "--reference-tokenised", tmp_path / "r", "--language", "de").code == 0
    assert translator.calls[-1][1]["tokenised_references"] == ["x .", "z ."], "the skipped line is skipped here too"
    (tmp_path / "r").write_text("x .\n", "utf-8")
    assert "at least 3 lines" in run(*arguments, "--reference-tokenised", tmp_path / "r").err


@pytest.mark.parametrize(
    ("named", "asked", "why"),
    [(None, [], "names no language; give --language"), ("xx", [], "no rules for 'xx'"), ("de", ["yy"], "for 'yy'")],
)
def test_text_reports_why_a_figure_is_missing(
    run: Any,
    translator: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str | None,
    asked: list[str],
    why: str,
) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tx\n", "utf-8")
    monkeypatch.setattr(translator, "language", named, raising=False)
    monkeypatch.setattr(translator, "evaluate", lambda *_, **__: Scores(41.0, None, 60.0, "s", 1))
    options = ["--language", *asked] if asked else []
    ran = run("evaluate", "text", "--source", tmp_path / "pairs.tsv", *options)
    assert ran.code == 0 and "note: there is no bleu_lc_tok: " in ran.err and why in ran.err


def test_image_reports_why_figures_are_missing(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Pictures(np.zeros((2, 8, 8, 3), np.uint8), None, ())
    Painter.new(pictures, task="upscale", preset="tiny", device="cpu").save(tmp_path / "model")
    for name in ("one", "two"):
        (tmp_path / name / "test").mkdir(parents=True)
        (tmp_path / name / "train").mkdir()
    for name, number in (("one", 1), ("two", 1), ("two", 2)):
        shade = np.full((8, 8, 3), 90 * number, np.uint8)
        write_picture(tmp_path / name / "test" / f"{number}.png", shade)
        write_picture(tmp_path / name / "train" / f"{number}.png", shade + 1)
    asked = ["evaluate", "image", "--model", tmp_path / "model", "--split", "test", "--samples", 1, "--threads", 1]
    ran = run(*asked, "--data", tmp_path / "two")
    assert ran.code == 0 and "there is no" not in ran.err and "+-" in ran.out
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    ran = run(*asked, "--data", tmp_path / "one")
    assert ran.code == 0, "the other figures are given all the same"
    assert "note: there is no interval: it takes two pictures or more\n" in ran.err
    assert "note: there is no SSIM: it takes scikit-image; pip install" in ran.err
    assert "nan" not in ran.out and "SSIM none" in ran.out and "PSNR" in ran.out


def test_a_missing_file(run: Any, translator: Any, tmp_path: Path) -> None:
    ran = run("evaluate", "text", "--source", tmp_path / "none", "--target", tmp_path / "none")
    assert ran.code == 2 and "no file" in ran.err


@pytest.mark.parametrize(("task", "voices"), [("compose", 4), ("infill", 3)])
def test_music(run: Any, tmp_path: Path, task: str, voices: int) -> None:
    random = np.random.default_rng(0)
    grids = [np.stack([random.integers(low, high + 1, steps) for low, high in RANGES], 1) for steps in (5, 9, 4)]
    (tmp_path / "chorales.json").write_text(json.dumps({"valid": [grid.tolist() for grid in grids]}), "utf-8")
    shape = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1}
    composer = Composer.new(task=task, preset="tiny", device="cpu", **shape)  # type: ignore[arg-type]
    composer.save(tmp_path / "model")
    arguments = ["evaluate", "music", "--data", tmp_path / "chorales.json", "--model", tmp_path / "model"]
    report = json.loads(run(*arguments, "--threads", 1, "--json").out)
    common = {"model": str(tmp_path / "model"), "split": "valid", "pieces": 3}
    assert report == {**common, "transposition_ensemble": False, **composer.evaluate(grids).to_dict()}
    report = json.loads(run(*arguments, "--threads", 1, "--json", "--transposition-ensemble").out)
    assert report == {
        **common,
        "transposition_ensemble": True,
        **composer.evaluate(grids, transposition_ensemble=True).to_dict(),
    }
    assert report["tokens"] == 18 * voices and len(report["per_voice"]) == voices
    assert report["nll"] == pytest.approx(np.mean(list(report["per_voice"].values())))
    ran = run(*arguments, "--limit", 2)
    assert f"nats a token over {9 * voices} tokens of 2 pieces\n" in ran.out and "bass" in ran.out
    ran = run(*arguments, "--split", "test")
    assert ran.code == 2 and "got 'test'; its names: 'valid'" in ran.err


def test_music_by_another_kind_of_model(run: Any, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"valid": [[[60, 55, 50, 40]]]}', "utf-8")
    ran = run("evaluate", "music", "--data", tmp_path / "c.json", "--model", "captions-en-de", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1 and "expected a model of chorales" in ran.err


def test_of_many_words_some_are_said(run: Any, tmp_path: Path) -> None:
    for number in range(14):
        save_music(Piece((Note(1, 9, 60),), resolution=8, voices=("alto",)), tmp_path / f"{number:02}.mid")
    Composer.new(preset="tiny", device="cpu", width=16, heads=2).save(tmp_path / "model")
    ran = run("evaluate", "music", "--data", tmp_path, "--split", "train", "--model", tmp_path / "model", "--json")
    assert ran.code == 0 and json.loads(ran.out)["pieces"] == 13
    said = ran.err.splitlines()
    assert len(said) == 12 and said[0] == "'00.mid': 1 of 1 notes moved to the nearest sixteenth"
    assert said[-2] == "and 3 more words of this kind about the split 'train'"
