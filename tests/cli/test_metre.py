"""Metre, upbeat and key through the verbs of music: from the file, or as a person says them, into every file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.look.arcs import draw
from triptych.music.chorales.composer import Composer
from triptych.music.files.reading import read_piece
from triptych.music.files.save import save_music
from triptych.music.performances.pianist import Pianist
from triptych.music.piece.metre import Metre
from triptych.music.piece.piece import KeySignature, Note, Piece

SHAPE = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1}
FEW = ["--threads", 1, "--seed", 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models; a piece of four voices in 3/4 after an upbeat, in C minor; and a tune that says nothing."""
    folder = tmp_path_factory.mktemp("metre")
    for task in ("compose", "infill"):
        Composer.new(task=task, preset="tiny", device="cpu", **SHAPE).save(folder / task)
    Pianist.new((), preset="tiny", device="cpu", **SHAPE).save(folder / "piano")
    random = np.random.default_rng(0)
    notes = [
        Note(start, start + 4, int(random.integers(middle - 5, middle + 5)), voice=voice)
        for voice, middle in enumerate((70, 62, 55, 48))
        for start in range(0, 52, 4)
    ]
    keys = (KeySignature(0, -3, minor=True),)
    voices = ("soprano", "alto", "tenor", "bass")
    save_music(Piece(tuple(notes), 4, 90.0, voices, pickup=4, metres=(Metre(0, 3, 4),), keys=keys), folder / "four.mid")
    tune = b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk"
    body = b"".join(b"\0\x90%c\x50\x60\x80%c\0" % (pitch, pitch) for pitch in (67, 69, 71, 72) * 6) + b"\0\xff\x2f\0"
    (folder / "bare.mid").write_bytes(tune + len(body).to_bytes(4, "big") + body)
    return folder


def outs(folder: Path) -> list[object]:
    return [word for name in ("a.mid", "a.musicxml") for word in ("--out", folder / name)]


@pytest.mark.parametrize(
    ("verb", "model", "more"),
    [
        ("harmonize", "infill", []),
        ("continue", "compose", ["--tokens", 40]),
        ("infill", "infill", ["--voice", "alto"]),
        ("continue", "piano", ["--tokens", 30]),
    ],
)
def test_what_a_file_gives_is_in_every_file(
    run: Any, folder: Path, tmp_path: Path, verb: str, model: str, more: list[object]
) -> None:
    ran = run(verb, folder / "four.mid", *outs(tmp_path), "--model", folder / model, *FEW, *more)
    assert ran.code == 0 and "has no metre" not in ran.err, ran.err
    for name in ("a.mid", "a.musicxml"):
        found = read_piece(tmp_path / name)[0]
        quarter = found.resolution
        assert (found.pickup, [str(metre) for metre in found.metres]) == (quarter, ["3/4"]), name
        assert (found.keys[0].fifths, found.keys[0].minor) == (-3, True), name
        assert found.bars.at(quarter).number == 1 and found.bars.at(4 * quarter).number == 2, name
        assert found.tempo == pytest.approx(90), name


def test_bars_to_fill_are_those_of_the_file(run: Any, folder: Path, tmp_path: Path) -> None:
    arguments = ["infill", folder / "four.mid", *outs(tmp_path), "--model", folder / "infill", *FEW]
    assert run(*arguments, "--voice", "tenor", "--from", 2, "--to", 3).code == 0
    given, found = read_piece(folder / "four.mid")[0], read_piece(tmp_path / "a.mid")[0]
    anew = found.bars.ticks(2, 3)
    assert anew == range(1920, 4800), "two bars of 3/4 after an upbeat and a bar"

    def outside(piece: Piece) -> list[tuple[int, int, int]]:
        return sorted((n.voice, tick, n.pitch) for n in piece.notes for tick in range(n.start, n.end, 120)
                      if n.voice != 2 or tick not in anew)  # fmt: skip

    assert outside(found) == outside(given)
    ran = run(*arguments, "--voice", "tenor", "--from", 6)
    assert ran.code == 2 and "expected bars from 0 to 4" in ran.err


def test_a_person_gives_metre_and_upbeat(run: Any, folder: Path, tmp_path: Path) -> None:
    arguments = [folder / "bare.mid", *outs(tmp_path), *FEW]
    ran = run("harmonize", *arguments, "--model", folder / "infill")
    assert ran.code == 0 and "has no metre, so bars are of 4/4; --metre sets another" in ran.err
    assert [str(metre) for metre in read_piece(tmp_path / "a.musicxml")[0].metres] == ["4/4"]
    for verb, model, more in (
        ("harmonize", "infill", []),
        ("continue", "compose", ["--tokens", 420]),
        ("infill", "infill", ["--voice", "bass"]),
    ):
        said = ["--metre", "6/8", "--upbeat", "1/8"]
        ran = run(verb, *arguments, "--model", folder / model, *more, *said)
        assert ran.code == 0 and "has no metre" not in ran.err, ran.err
        for name in ("a.mid", "a.musicxml"):
            found = read_piece(tmp_path / name)[0]
            assert (2 * (found.pickup or 0), [str(one) for one in found.metres]) == (found.resolution, ["6/8"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--metre", "3/5"], "expected a metre"),
        (["--metre", "waltz"], "expected a metre like 3/4"),
        (["--metre", "3/4", "--upbeat", "3"], "expected --upbeat of less than a bar of 3/4"),
        (["--upbeat", "x"], "expected --upbeat of less than a bar of 4/4"),
    ],
)
def test_mistakes(run: Any, folder: Path, tmp_path: Path, more: list[object], message: str) -> None:
    ran = run("harmonize", folder / "bare.mid", "--out", tmp_path / "a.mid", "--model", folder / "infill", *FEW, *more)
    assert ran.code == 2 and message in ran.err and not list(tmp_path.iterdir())


def test_composed_bars(run: Any, folder: Path, tmp_path: Path) -> None:
    arguments = ["compose", *outs(tmp_path), "--model", folder / "compose", *FEW, "--tokens", 800, "--metre", "3/4"]
    assert run(*arguments, "--upbeat", 1, "--label", "F#").code == 0
    for name in ("a.mid", "a.musicxml"):
        found = read_piece(tmp_path / name)[0]
        assert (found.pickup, [str(one) for one in found.metres]) == (found.resolution, ["3/4"])


def test_what_no_score_can_show_is_refused_and_the_rest_is_written(run: Any, folder: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    starts = np.cumsum(random.uniform(0.035, 0.06, 300) * 960).astype(int).tolist()
    notes = tuple(Note(start, start + 90, 40 + place % 50) for place, start in enumerate(starts))
    save_music(Piece(notes, 480, 120.0, metrical=False), tmp_path / "free.mid")
    out = ["--out", tmp_path / "a.svg", "--out", tmp_path / "a.musicxml", "--out", tmp_path / "b.mid"]
    ran = run("continue", tmp_path / "free.mid", *out, "--model", folder / "piano", *FEW, "--tokens", 10)
    assert ran.code == 2 and "expected music with a beat for a score" in ran.err and "piano roll" in ran.err
    assert (tmp_path / "b.mid").exists() and not (tmp_path / "a.svg").exists()


def test_look_counts_the_bars_of_the_file(
    run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("triptych.look.arcs.draw", lambda arcs: seen.append(arcs.piece) or draw(arcs))
    options = ["--model", folder / "compose", "--out", tmp_path / "a.png", "--threads", 1]
    assert run("look", "piece", folder / "four.mid", *options, "--step", 30).code == 0
    (piece,) = seen
    assert piece.bars.at(16).number == 2 and str(piece.metres[0]) == "3/4"
    assert run("look", "piece", "--similarity", folder / "four.mid", "--out", tmp_path / "b.png").code == 0
