"""The verbs on piano performances, on small untrained models: what goes in, what comes out, and a person's mistakes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.music.chorales.composer import Composer
from triptych.music.files.reading import read_performance, read_piece
from triptych.music.files.save import save_music
from triptych.music.performances.codec import on_grid, onsets
from triptych.music.performances.pianist import Pianist
from triptych.music.piece.metre import Metre
from triptych.music.piece.performance import Performance
from triptych.music.piece.piece import KeySignature, Note, Piece
from triptych.shape.pattern import Local1D

SHAPE = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1}
SMALL = [
    *("--set", "model.preset=tiny", "--set", "model.width=16", "--set", "model.heads=2", "--set", "dtype=float32"),
    *("--set", "model.decoder_layers=1", "--set", "epochs=1", "--set", "tokens_per_batch=128", "--set", "warmup=1"),
    *("--set", "data.length=64", "--threads", "1"),
]


def notes(seed: int, count: int = 30) -> Performance:
    random = np.random.default_rng(seed)
    start = np.cumsum(random.integers(1, 30, count)) / 100
    return Performance.of(start, start + 0.3, random.integers(40, 90, count), random.integers(1, 128, count))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models `compose`, `accompany` and `chorales`, a folder of twenty MIDI files by two composers, and one broken."""
    folder = tmp_path_factory.mktemp("piano")
    for task in ("compose", "accompany"):
        Pianist.new(("Bach", "Chopin"), task=task, preset="tiny", device="cpu", **SHAPE).save(folder / task)
    Composer.new(preset="tiny", device="cpu", **SHAPE).save(folder / "chorales")
    for number in range(20):
        path = folder / "music" / ("Bach", "Chopin")[number // 10] / f"{number:02}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_music(notes(number).to_piece(), path)
    (folder / "index.csv").write_text("file,composer,split\n00.mid,Bach,train\n01.mid,Liszt,valid\n")
    (folder / "broken.mid").write_bytes(b"no music")
    save_music(notes(99).to_piece(), folder / "piece.mid")
    tune = Performance.of([0, 0.5, 1], [0.5, 1, 2], [72, 74, 76], [80] * 3)
    save_music(tune.to_piece(), folder / "tune.mid")
    return folder


def report_of(ran: Any) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    report: dict[str, Any] = json.loads(ran.out)
    return report


def test_compose(run: Any, folder: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "a.mid", "--out", tmp_path / "a.png"]
    options = ["--model", folder / "compose", "--threads", 1, "--seed", 3, "--seconds", 4]
    report = report_of(run("compose", *out, *options, "--label", "chopin", "--json"))
    first = (tmp_path / "a.mid").read_bytes()
    played, _ = read_performance(first)
    assert report == {
        "model": str(folder / "compose"),
        "out": [str(tmp_path / "a.mid"), str(tmp_path / "a.png")],
        "notes": len(played),
        "seconds": round(played.seconds, 3),
    }
    assert 0 < played.seconds <= 4
    assert run("compose", *out, *options, "--label", "Chopin").code == 0
    assert (tmp_path / "a.mid").read_bytes() == first, "one seed, one result"
    assert run("compose", *out, *options, "--label", "Bach").code == 0
    assert (tmp_path / "a.mid").read_bytes() != first
    assert run("compose", *out, "--model", folder / "compose", "--threads", 1, "--tokens", 60).code == 0


def test_continue(run: Any, folder: Path, tmp_path: Path) -> None:
    options = ["--out", tmp_path / "a.mid", "--model", folder / "compose", "--threads", 1, "--json"]
    report = report_of(run("continue", folder / "piece.mid", *options, "--seconds", 3))
    given, _ = read_performance(folder / "piece.mid")
    found, _ = read_performance(tmp_path / "a.mid")
    assert set(onsets(on_grid(given))) <= set(onsets(found))
    assert report["notes"] == len(found) and found.seconds <= given.seconds + 3.01


@pytest.mark.parametrize("more", [[], ["--only-new"]])
def test_continue_is_in_the_time_and_key_of_what_was_given(
    run: Any, folder: Path, tmp_path: Path, more: list[str]
) -> None:
    scale = tuple(Note(4 * at, 4 * at + 4, pitch) for at, pitch in enumerate([62, 66, 69, 73, 74, 69, 66, 62]))
    piece = Piece(scale, tempo=100.0, metres=(Metre(0, 3, 4),), pickup=0)
    options = ["--out", tmp_path / "a.mid", "--model", folder / "compose", "--threads", 1, "--seconds", 3, *more]
    for keys, reference in (((KeySignature(0, -3),), -3), ((), 2)):  # of the file; of D major, which sounds
        save_music(replace(piece, keys=keys), tmp_path / "given.mid")
        assert run("continue", tmp_path / "given.mid", *options).code == 0
        found, _ = read_piece(tmp_path / "a.mid")
        assert found.tempo == pytest.approx(100) and str(found.metres[0]) == "3/4"
        assert [key.fifths for key in found.keys] == [reference]


def test_continue_reports_that_a_piece_has_ended(
    run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pianist, "continue_", lambda self, primer, **options: primer.to_piece())
    options = ["--out", tmp_path / "a.mid", "--model", folder / "compose", "--threads", 1]
    ran = run("continue", folder / "piece.mid", *options)
    assert ran.code == 0 and "which has ended, and adds 0.0 seconds; --seconds asks for more" in ran.err
    assert "ended" not in run("continue", folder / "piece.mid", *options, "--seconds", 1).err


def test_accompany(run: Any, folder: Path, tmp_path: Path) -> None:
    options = ["--out", tmp_path / "a.mid", "--model", folder / "accompany", "--threads", 1, "--json"]
    report_of(run("accompany", folder / "tune.mid", *options, "--label", "Bach"))
    found, _ = read_performance(tmp_path / "a.mid")
    assert {(0, 51), (50, 53), (100, 55)} <= set(onsets(found))
    ran = run("accompany", folder / "piece.mid", *options)
    assert ran.code == 0 and "the melody is the highest notes" in ran.err


def test_prepare_train_and_evaluate(run: Any, folder: Path, tmp_path: Path) -> None:
    report = report_of(run("prepare", "music", "--data", folder / "music", "--out", tmp_path / "ready", "--json"))
    assert {key: report[key] for key in ("pieces", "labels", "left_out")} == {
        "pieces": 20,
        "labels": ["Bach", "Chopin"],
        "left_out": 0,
    }
    ran = run("train", "music", "--data", tmp_path / "ready", *SMALL, "--out", tmp_path / "run", "--json")
    assert report_of(ran)["reason"] == "finished"
    assert "training on 18 pieces, 2 held out" in ran.err
    pianist = Pianist.load(tmp_path / "run", device="cpu")
    assert pianist.task == "compose" and pianist.codec.labels == ("Bach", "Chopin")
    asked = ["evaluate", "music", "--model", tmp_path / "run", "--threads", 1]
    measured = report_of(run(*asked, "--data", tmp_path / "ready", "--json"))
    assert measured.keys() == {"model", "split", "nll", "tokens", "pieces"} and measured["pieces"] == 2
    # Without preparing it first, and in words.
    again = run(*asked, "--data", folder / "music")
    assert again.out == f"nll       {measured['nll']:.4f} nats a token over {measured['tokens']:,} tokens of 2 pieces\n"
    assert report_of(run(*asked, "--data", folder / "music", "--limit", 1, "--split", "train", "--json"))["pieces"] == 1
    # On from there, with what that leaves open.
    further = ["train", "music", "--data", tmp_path / "ready", "--from", tmp_path / "run", *SMALL[12:], "--json"]
    ran = run(*further, *SMALL[6:8], "--set", "epochs=1", "--set", "model.dropout=0.3",
              "--set", "model.pattern={kind='local_1d',query=8,memory=8}", "--out", tmp_path / "next")  # fmt: skip
    assert ran.code == 0, ran.err
    config = Pianist.load(tmp_path / "next", device="cpu").config
    assert config.dropout == 0.3 and config.pattern == Local1D(8, 8)
    keyboard = ["--set", "epochs=1", "--set"]
    report_of(run(*further, *keyboard, "model.input={keyboard=[88,100,32]}", "--out", tmp_path / "keyboard"))
    extended = Pianist.load(tmp_path / "keyboard", device="cpu")
    assert extended.config.input.keyboard == (88, 100, 32)
    ran = run(*further, *keyboard, "model.input={keyboard=[9,9,9]}", "--out", tmp_path / "not")
    assert ran.code == 2 and "expected model.input.keyboard to be [88, 100, 32], got [9, 9, 9]" in ran.err
    ran = run(*further, "--set", "epochs=1", "--set", "data.task=accompany", "--out", tmp_path / "third")
    assert ran.code == 2 and "expected data.task compose, that of" in ran.err


def test_training_on_files_prepares_them_once(run: Any, folder: Path, tmp_path: Path) -> None:
    use = ["train", "music", "--data", folder / "music", *SMALL, "--set", "data.kind=performance", "--json"]
    use += ["--set", "data.task=accompany", "--set", "data.held_out=1", "--out", tmp_path / "run"]
    report_of(run(*use))
    assert (tmp_path / "run" / "notes" / "index.json").is_file()
    assert Pianist.load(tmp_path / "run", device="cpu").task == "accompany"
    before = (tmp_path / "run" / "notes" / "index.json").stat().st_mtime_ns
    assert report_of(run(*use, "--resume"))["reason"] == "finished"
    assert (tmp_path / "run" / "notes" / "index.json").stat().st_mtime_ns == before
    asked = ["evaluate", "music", "--model", tmp_path / "run", "--threads", 1, "--data", folder / "music", "--json"]
    assert report_of(run(*asked))["tokens"] > 0


def test_an_index_chooses_the_files(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["prepare", "music", "--data", folder / "music", "--index", folder / "index.csv", "--workers", 1]
    ran = run(*asked, "--melody", "--out", tmp_path / "ready")
    assert ran.code == 0 and ran.out.startswith(f"{tmp_path / 'ready'}: 2 pieces, ")
    assert "and 8 more words of this kind about these files" in ran.err
    ran = run(*asked, "--out", tmp_path / "ready")
    assert ran.code == 2 and "expected a new folder" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compose", "--tempo", "90"], "expected no --tempo for piano music"),
        (["compose", "--label", "Liszt"], "its labels: Bach, Chopin"),
        (["compose", "--seconds", "3", "--tokens", "16"], "--seconds or --tokens, got both"),
        (["compose", "--seconds", "80000"], "expected 0.01 to 873 seconds, got 80000"),
        (["compose", "--tokens", "999999"], "expected 1 to 131,072 tokens"),
        (["compose", "--model", "accompany"], "expected a decoder alone for composing"),
        (
            ["compose", "--model", "nothing"],
            "expected a shipped model, the folder of a model or a run, or hf:owner/name",
        ),
        (["continue", "broken.mid"], "no MIDI header"),
        (["continue", "none.mid"], "which is no file"),
        (["continue", "piece.mid", "--transpose", "3"], "expected no --transpose for piano music"),
        (["continue", "piece.mid", "--model", "accompany"], "train one for the task compose"),
        (["accompany", "broken.mid"], "no MIDI header"),
        (["accompany", "tune.mid", "--model", "compose"], "train one for the task accompany"),
        (
            ["accompany", "tune.mid", "--model", "./chorales"],
            "expected a model of piano performances, got ./chorales (",
        ),
        (["harmonize", "tune.mid"], "expected a model of chorales"),
    ],
)
def test_a_mistake_is_one_line(
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(folder)
    model = "accompany" if arguments[0] == "accompany" else "compose"
    arguments = [*arguments, *([] if "--model" in arguments else ["--model", model]), "--out", "a.mid"]
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert message in ran.err
    assert not Path("a.mid").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.kind=opera"], "expected data.kind to be one of chorale, performance, got 'opera'"),
        (["data.kind=performance", "data.task=infill"], "data.task to be one of compose, accompany, got 'infill'"),
        (["data.kind=performance", "data.transpose=true"], "unknown setting data.transpose"),
        (["data.kind=performance", "data.length=1"], "expected data.length from 2 tokens, got 1"),
        (["data.kind=performance", "data.length=2.5"], "data.length to be a whole number, got 2.5"),
        (["data.kind=performance", "data.stretch=x"], "data.stretch to be a number, got 'x'"),
        (["data.kind=performance", "data.stretch=true"], "data.stretch to be a number, got True"),
        (["data.kind=performance", "data.stretch=1"], "expected data.stretch of 0 to below 1"),
        (["data.kind=performance", "data.held_out=0"], "expected data.held_out of at least 1, got 0"),
        (["data.kind=performance", "model.classes=7"], "expected no classes, got 7"),
        (["data.kind=performance", "model.encoder_layers=7"], "encoder_layers 0 for the task compose, got 7"),
    ],
)
def test_mistakes_in_training(run: Any, folder: Path, tmp_path: Path, settings: list[str], message: str) -> None:
    changes = [part for setting in settings for part in ("--set", setting)]
    ran = run("train", "music", "--data", folder / "music", *SMALL, *changes, "--out", tmp_path / "run")
    assert (ran.code, ran.out) == (2, "") and message in ran.err.splitlines()[-1], ran.err


def test_a_prepared_folder_has_its_kind(run: Any, folder: Path, tmp_path: Path) -> None:
    assert run("prepare", "music", "--data", folder / "music", "--out", tmp_path / "ready").code == 0
    use = ["train", "music", "--data", tmp_path / "ready", *SMALL, "--out", tmp_path / "run"]
    ran = run(*use, "--set", "data.kind=chorale")
    assert ran.code == 2 and "expected chorales for data.kind=chorale" in ran.err
    ran = run(*use, "--set", "data.task=accompany")
    assert ran.code == 2 and "prepare it anew with --melody" in ran.err
    ran = run(
        "evaluate", "music", "--model", folder / "compose", "--data", tmp_path / "ready", "--transposition-ensemble"
    )
    assert ran.code == 2 and "expected a model of chorales for --transposition-ensemble" in ran.err
    ran = run("evaluate", "music", "--model", folder / "compose", "--data", tmp_path / "ready", "--split", "test")
    assert ran.code == 2 and "expected pieces in the split 'test'" in ran.err


def test_music_that_an_earlier_run_prepared_is_not_taken_for_other_music(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    train = ["train", "music", "--set", "data.kind=performance", *SMALL, "--out", tmp_path / "run"]
    notes = tmp_path / "run" / "notes"  # as a run that was killed before its first save leaves them
    assert run("prepare", "music", "--data", folder / "music" / "Bach", "--out", notes).code == 0
    ran = run(*train, "--data", folder / "music")
    assert ran.code == 0 and "training on 18 pieces, 2 held out" in ran.err


def test_a_model_of_chorales_names_the_one_that_fits_what_is_played_freely(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    asked = ["--model", folder / "chorales", "--tokens", 4, "--out", tmp_path / "a.mid"]
    assert "--model piano fits better" in run("continue", folder / "piece.mid", *asked).err
    assert "--model piano" not in run("continue", folder / "tune.mid", *asked).err


def test_nothing_of_a_persons_is_written_over(run: Any, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.mid"
    asked = ["compose", "--model", folder / "chorales", "--tokens", 8, "--out", out]
    out.write_bytes(b"mine")
    refused = run(*asked)
    assert refused.code == 2 and "or one that was written here and not changed since" in refused.err
    assert out.read_bytes() == b"mine"
    out.unlink()
    assert run(*asked).code == run(*asked, "--seed", 2).code == 0
    (tmp_path / "mine.png").write_bytes(b"mine")
    refused = run("look", "piece", folder / "tune.mid", "--similarity", "--out", tmp_path / "mine.png")
    assert refused.code == 2 and (tmp_path / "mine.png").read_bytes() == b"mine"
