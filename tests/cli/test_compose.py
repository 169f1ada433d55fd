"""The verbs of music on small untrained models: what goes in, what comes out, and a person's mistakes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.model.store import save_pretrained
from triptych.music.codec import RANGES, from_piece, to_piece
from triptych.music.composer import Composer
from triptych.music.midi import write_midi
from triptych.music.piece import Note, Piece
from triptych.music.reading import read_piece

SHAPE = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1}
RANDOM = np.random.default_rng(0)
GRID = np.repeat(np.stack([RANDOM.integers(low, high + 1, 16) for low, high in RANGES], 1), 2, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models `compose` and `infill`, one of another kind, and MIDI files."""
    folder = tmp_path_factory.mktemp("music")
    for task in ("compose", "infill"):
        model = Composer.new(task=task, preset="tiny", device="cpu", **SHAPE)
        model.save(folder / task)
    save_pretrained(folder / "text", model.model, {"text.model": b""}, {})
    write_midi(to_piece(GRID, 90.0), folder / "piece.mid")
    tune = (Note(0, 230, 67), Note(240, 480, 67), Note(491, 960, 72), Note(0, 480, 20))
    write_midi(Piece(tune, resolution=480, tempo=60.0), folder / "tune.mid")
    (folder / "broken.mid").write_bytes(b"no music")
    return folder


def told_by(ran: Any) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    told: dict[str, Any] = json.loads(ran.out)
    return told


def test_compose(run: Any, folder: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "a.mid", "--out", tmp_path / "new" / "a.musicxml"]
    options = ["--model", folder / "compose", "--threads", 1, "--seed", 3, "--tokens", 30, "--label", "G minor"]
    ran = run("compose", *out, *options, "--tempo", 60)
    assert (ran.code, ran.out, ran.err) == (0, f"{tmp_path / 'a.mid'}\n{tmp_path / 'new' / 'a.musicxml'}\n", "")
    first = (tmp_path / "a.mid").read_bytes()
    piece = read_piece(first)[0]
    assert piece.tempo == 60.0 and piece.voices == ("soprano", "alto", "tenor", "bass")
    told = told_by(run("compose", *out, *options, "--tempo", 60, "--json"))
    assert (tmp_path / "a.mid").read_bytes() == first, "one seed, one result"
    assert told == {
        "model": str(folder / "compose"),
        "out": [str(tmp_path / "a.mid"), str(tmp_path / "new" / "a.musicxml")],
        "notes": len(piece.notes),
        "seconds": 2.0,
        "sixteenths": 8,
    }
    assert run("compose", *out, *options, "--label", "major").code == 0
    assert (tmp_path / "a.mid").read_bytes() != first


@pytest.mark.parametrize(
    ("length", "sixteenths"),
    [(["--seconds", 3.1], 12), (["--seconds", 0.5, "--tempo", 10], 1), (["--tokens", 4], 1), (["--tokens", 5], 2)],
)
def test_a_length(run: Any, folder: Path, tmp_path: Path, length: list[object], sixteenths: int) -> None:
    if "--tempo" not in length:
        length = [*length, "--tempo", 60]
    options = ["--out", tmp_path / "a.mid", "--model", folder / "compose", "--threads", 1, "--json"]
    assert told_by(run("compose", *options, *length))["sixteenths"] == sixteenths


def test_sampling_options_arrive(run: Any, folder: Path, tmp_path: Path) -> None:
    def composed(*options: object) -> bytes:
        common = ["--out", tmp_path / "a.mid", "--model", folder / "compose", "--threads", 1, "--tokens", 32]
        assert run("compose", *common, *options).code == 0
        return (tmp_path / "a.mid").read_bytes()

    greedy = composed("--temperature", 0)
    assert greedy == composed("--top-k", 1, "--seed", 9) == composed("--top-p", 0.0001, "--seed", 8)
    assert composed("--seed", 9) != composed("--seed", 8) != greedy


def test_continue(run: Any, folder: Path, tmp_path: Path) -> None:
    options = ["--out", tmp_path / "a.mid", "--model", folder / "compose", "--threads", 1, "--json"]
    ran = run("continue", folder / "piece.mid", *options, "--tokens", 16)
    told = told_by(ran)
    assert told["sixteenths"] == 36, "what is added is counted"
    assert ran.err == ""
    grid, _ = from_piece(read_piece(tmp_path / "a.mid")[0])
    np.testing.assert_array_equal(grid[:32], GRID)
    assert told_by(run("continue", folder / "piece.mid", *options, "--seconds", 2))["sixteenths"] == 44


def test_harmonize(run: Any, folder: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "a.mid", folder / "infill"
    ran = run("harmonize", folder / "tune.mid", "--out", out, "--model", model, "--threads", 1, "--json")
    assert told_by(ran)["sixteenths"] == 8
    assert ran.err == f"{folder / 'tune.mid'}: 1 of 4 notes moved to the nearest sixteenth\n"
    found = read_piece(out)[0]
    melody = [(note.start // 120, note.end // 120, note.pitch) for note in found.notes if note.voice == 0]
    assert melody == [(0, 2, 67), (2, 4, 67), (4, 8, 72)], "a repeated note stays one"
    assert found.tempo == 60.0 and len(found.voices) == 4


def test_infill(run: Any, folder: Path, tmp_path: Path) -> None:
    arguments = ["infill", folder / "piece.mid", "--out", tmp_path / "a.mid", "--model", folder / "infill"]
    bars = ["--voice", "alto", "--voice", "tenor", "--from", 2, "--to", 2, "--threads", 1, "--seed", 5]
    assert run(*arguments, *bars).code == 0
    grid, _ = from_piece(read_piece(tmp_path / "a.mid")[0])
    known = np.ones((32, 4), bool)
    known[16:, 1:3] = False
    np.testing.assert_array_equal(grid[known], GRID[known])
    assert (grid[~known] != GRID[~known]).any()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["compose"], "--out"),
        (["compose", "--out", "a.mp3"], "expected a file named *.mid"),
        (["compose", "--out", "a.mid", "--out", "b"], "got 'b'"),
        (["compose", "--out", "a.mid", "--seconds", "3", "--tokens", "16"], "--seconds or --tokens, got both"),
        (["compose", "--out", "a.mid", "--seconds", "nan"], "--seconds"),
        (["compose", "--out", "a.mid", "--seconds", "inf"], "--seconds"),
        (["compose", "--out", "a.mid", "--seconds", "0.1"], "--seconds"),
        (["compose", "--out", "a.mid", "--tempo", "nan"], "--tempo"),
        (["compose", "--out", "a.mid", "--tempo", "1"], "--tempo"),
        (
            ["compose", "--out", "a.mid", "--seconds", "80000"],
            "expected --seconds of at most 731 at 84 beats a minute, got 80000",
        ),
        (["compose", "--out", "a.mid", "--tokens", "99999"], "expected 1 to 4,096 sixteenths, got 25,000"),
        (["compose", "--out", "a.mid", "--label", "H minor"], "expected a label of major"),
        (["compose", "--out", "a.mid", "--temperature", "inf"], "temperature must be"),
        (["compose", "--out", "a.mid", "--top-p", "0"], "top_p must be"),
        (["compose", "--out", "a.mid", "--model", "text"], "expected a model of chorales"),
        (["compose", "--out", "a.mid", "--model", "infill"], "use --model chorales"),
        (["continue", "piece.mid", "--out", "a.mid", "--model", "infill"], "use --model chorales"),
        (["continue", "none.mid", "--out", "a.mid"], "which is no file"),
        (["continue", "broken.mid", "--out", "a.mid"], "no MIDI header"),
        (["continue", "tune.mid", "--out", "a.mid"], "got 20; transpose it"),
        (["continue", "piece.mid", "--out", "a.mid", "--tokens", "99999"], "expected 33 to 4,096 sixteenths"),
        (["harmonize", "broken.mid", "--out", "a.mid"], "no MIDI header"),
        (["harmonize", "piece.mid", "--out", "a.mid", "--model", "compose"], "use --model chorales-infill"),
        (["infill", "piece.mid", "--out", "a.mid"], "--voice"),
        (["infill", "piece.mid", "--out", "a.mid", "--voice", "descant"], "soprano, alto, tenor, bass, got 'descant'"),
        (["infill", "piece.mid", "--out", "a.mid", "--voice", "alto", "--from", "3"], "expected bars from 1 to 2"),
        (["infill", "piece.mid", "--out", "a.mid", "--voice", "alto", "--from", "-1"], "--from"),
        (["infill", "piece.mid", "--out", "a.mid", "--voice", "alto", "--model", "compose"], "chorales-infill"),
    ],
)
def test_a_mistake_is_one_line(
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    if "--model" not in arguments:
        arguments = [*arguments, "--model", "infill" if arguments[0] in ("harmonize", "infill") else "compose"]
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert told in ran.err
    assert sorted(folder.rglob("*")) == before, "nothing is written"


@pytest.mark.parametrize("verb", ["compose", "continue", "harmonize", "infill", "train music", "evaluate music"])
def test_the_verbs_take_the_common_options(run: Any, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    ran = run(*verb.split(), "--help")
    assert ran.code == 0
    for option in ("--device", "--threads", "--dtype", "--json"):
        assert option in ran.out
    if " " not in verb:
        assert all(option in ran.out for option in ("--model", "--seed", "--temperature", "--top-k", "--top-p"))
