from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.cli.main import main
from triptych.look.notes import arcs_of_performance
from triptych.music.chorales.composer import Composer
from triptych.music.files.plain import Chorale, Played, read_plain
from triptych.music.performances.pianist import Pianist


def read(path: Path, kind: str) -> Any:
    return read_plain(path.read_bytes(), kind)["piece"]


def by_command(found: Any, studio: Any, given: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The piece that the command of an answer makes."""
    monkeypatch.chdir(folder)
    if found["files"]:
        exported = studio.post("/api/export", {"piece": given, "format": "mid"})
        (folder / found["files"][0]).write_bytes(base64.b64decode(exported["data"]))
    program, *words = shlex.split(found["command"])
    assert program == "triptych" and main(words) == 0
    return read(folder / words[words.index("--out") + 1], found["piece"]["kind"])


@pytest.fixture(scope="module")
def composed(studio: Any) -> Any:
    return studio.post("/api/compose", {"label": "G minor", "steps": 64, "seed": 8})


@pytest.fixture(scope="module")
def chorale(composed: Any) -> Any:
    return composed["piece"]


def test_a_piece_is_that_of_the_product_and_of_the_command(
    studio: Any, composed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = Composer.load("chorales", threads=1).compose(label="G minor", steps=64, seed=8)
    assert composed["piece"] == {**vars(Chorale.of(want)), "key": composed["piece"]["key"]}
    again = by_command(composed, studio, None, tmp_path, monkeypatch)
    assert again["notes"] == composed["piece"]["notes"]


def test_a_performance_is_that_of_the_product(studio: Any) -> None:
    found = studio.post("/api/compose", {"model": "piano", "label": "Chopin", "seconds": 3, "seed": 2})
    want = Pianist.load("piano", threads=1).compose(label="Chopin", seconds=3.0, seed=2)
    assert found["piece"] == vars(Played.of(want))


def test_notes_come_as_they_are_made(studio: Any, composed: Any) -> None:
    for body in (
        {"label": "G minor", "steps": 64, "seed": 8},
        {"model": "piano", "label": "Chopin", "seconds": 5, "seed": 2},
    ):
        events = studio.events("/api/compose", body)
        assert events[0][0] == "start" and events[-1][0] == "done"
        notes = [note for name, data in events[1:-1] for note in data["notes"] if name == "notes"]
        whole = events[-1][1]["piece"]["notes"]
        assert notes and all(note in whole for note in notes), "what was shown stays"
        assert len({tuple(note) for note in notes}) == len(notes), "each once"


def test_a_continuation_keeps_what_was_given(
    studio: Any, chorale: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"piece": chorale, "steps": 16, "seed": 1}
    found = studio.post("/api/continue", body)
    assert found["from"] == 64 and found["piece"]["steps"] == 80
    held = [note for note in found["piece"]["notes"] if note[1] < 64]
    assert held == [note for note in chorale["notes"] if note[1] < 64]
    assert by_command(found, studio, chorale, tmp_path, monkeypatch)["notes"] == found["piece"]["notes"]
    shown = [note for name, data in studio.events("/api/continue", body) if name == "notes" for note in data["notes"]]
    assert all(note in found["piece"]["notes"] and note not in chorale["notes"] for note in shown)


def test_a_performance_is_continued(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = studio.post("/api/compose", {"model": "piano", "seconds": 3, "seed": 2})["piece"]
    found = studio.post("/api/continue", {"piece": given, "seconds": 2, "seed": 1})
    assert found["model"] == "piano" and found["piece"]["seconds"] > given["seconds"]
    assert len(found["piece"]["notes"]) > len(given["notes"])


def test_a_melody_is_harmonized_as_by_the_command(
    studio: Any, chorale: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = studio.post("/api/harmonize", {"piece": chorale, "seed": 1, "temperature": 0.7})
    soprano = [note for note in chorale["notes"] if note[3] == 0]
    assert [note[:3] for note in found["piece"]["notes"] if note[3] == 0] == [note[:3] for note in soprano]
    assert {note[3] for note in found["piece"]["notes"]} == {0, 1, 2, 3}
    given = {**chorale, "notes": soprano}
    assert by_command(found, studio, given, tmp_path, monkeypatch)["notes"] == found["piece"]["notes"]


def test_only_open_cells_are_written(studio: Any, chorale: Any) -> None:
    spans = [[1, 0, 16], [2, 8, 24], [0, 60, 64]]
    found = studio.post("/api/infill", {"piece": chorale, "open": spans, "seed": 3})
    before, after = (np.full((64, 4), -1) for _ in range(2))
    for grid, notes in ((before, chorale["notes"]), (after, found["piece"]["notes"])):
        for start, end, pitch, voice in notes:
            grid[start:end, voice] = pitch
    opened = np.zeros((64, 4), bool)
    for voice, start, end in spans:
        opened[start:end, voice] = True
    assert (before == after)[~opened].all() and (before != after)[opened].any()
    assert found["command"].startswith("curl ") and found["open"] == spans


def test_open_cells_before_the_first_note_are_written(studio: Any, chorale: Any) -> None:
    late = {**chorale, "notes": [note for note in chorale["notes"] if note[0] >= 16]}
    found = studio.post("/api/infill", {"piece": late, "open": [[voice, 0, 16] for voice in range(4)], "seed": 3})
    assert [note for note in found["piece"]["notes"] if note[0] >= 16] == late["notes"]
    assert min(note[0] for note in found["piece"]["notes"]) < 4


def test_whole_bars_are_filled_as_by_the_command(
    studio: Any, chorale: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chorale = {**chorale, "pickup": 0}
    found = studio.post("/api/infill", {"piece": chorale, "open": [[1, 16, 32], [2, 16, 32]], "seed": 3})
    assert "--voice alto --voice tenor --from 2 --to 2" in found["command"]
    assert by_command(found, studio, chorale, tmp_path, monkeypatch)["notes"] == found["piece"]["notes"]


def test_files_are_read_again(studio: Any, chorale: Any) -> None:
    for kind in ("mid", "musicxml"):
        exported = studio.post("/api/export", {"piece": chorale, "format": kind, "name": "mine"})
        assert exported["name"] == f"mine.{kind}"
        data = base64.b64decode(exported["data"])
        status, _, answer = studio.ask("POST", "/api/music?kind=chorale", data)
        assert status == 200 and f'"notes":{chorale["notes"]}'.replace(" ", "") in answer.decode()
    wav = studio.post("/api/export", {"piece": chorale, "format": "wav"})
    assert base64.b64decode(wav["data"]).startswith(b"RIFF") and wav["type"] == "audio/wav"
    for path, data in (("kind=chorale", b"MThd"), ("kind=both", b""), ("", b""), ("kind=performance", b"x" * 100)):
        status, _, answer = studio.ask("POST", f"/api/music?{path}", data)
        assert status == 422 and b"error" in answer


def test_a_score_is_engraved(studio: Any, chorale: Any) -> None:
    pytest.importorskip("verovio")
    svg = base64.b64decode(studio.post("/api/export", {"piece": chorale, "format": "svg"})["data"])
    assert svg.startswith(b"<svg")


def test_a_moment_looks_back(studio: Any, chorale: Any) -> None:
    one = studio.post("/api/attention", {"kind": "chorale", "piece": chorale, "step": 40})
    whole = studio.post("/api/attention", {"kind": "chorale", "piece": chorale})
    assert one["weights"]["shape"] == [1, one["layers"], one["heads"], 64]
    got, all_ = (
        np.frombuffer(base64.b64decode(each["weights"]["data"]), np.uint8).reshape(each["weights"]["shape"])
        for each in (one, whole)
    )
    assert (all_[40] == got[0]).all() and not got[0, :, :, 40:].any() and got[0].any()
    assert (got[0].sum(-1, dtype=int) <= 255 + 32).all()
    status, answer = studio.try_post("/api/attention", {"kind": "chorale", "piece": chorale, "step": 64})
    assert status == 422 and "a sixteenth from 0 to 63" in answer["error"]


def test_a_struck_note_looks_at_notes(studio: Any) -> None:
    given = studio.post("/api/compose", {"model": "piano", "seconds": 4, "seed": 2})["piece"]
    found = studio.post("/api/attention", {"kind": "performance", "piece": given, "note": 20})
    weights = np.frombuffer(base64.b64decode(found["weights"]["data"]), np.uint8).reshape(found["weights"]["shape"])
    assert weights.shape == (1, found["layers"], found["heads"], len(given["notes"]))
    assert not weights[..., 20:].any() and weights.any()
    pianist = Pianist.load("piano", threads=1)
    played = Played(notes=given["notes"]).performance()
    arcs = arcs_of_performance(pianist, played, note=21, warn=print)
    heard = arcs.pitches[: arcs.chosen] >= 0
    want = arcs.weights[:, heard].sum(1)
    assert weights[0, -1].sum(-1) / 255 == pytest.approx(want, abs=0.05)


def test_beats_are_compared(studio: Any, chorale: Any) -> None:
    found = studio.post("/api/similarity", {"piece": {**chorale, "pickup": 0}})
    matrix = np.frombuffer(base64.b64decode(found["matrix"]["data"]), np.uint8).reshape(found["matrix"]["shape"])
    assert found["beats"] == len(matrix) == len(found["begins"]) and (matrix.diagonal() == 255).all()
    assert found["begins"][:2] == [0, 4] and found["bars"][4] == "2" and found["ends"] == 64


def test_parallels_are_marked(studio: Any) -> None:
    notes = [[0, 4, 67, 0], [4, 8, 69, 0], [0, 4, 60, 1], [4, 8, 62, 1], [0, 8, 50, 2], [0, 8, 40, 3]]
    piece = {"kind": "chorale", "steps": 8, "notes": notes}
    (mark,) = studio.post("/api/voice_leading", {"piece": piece})["marks"]
    assert mark == {
        "kind": "parallel fifths",
        "voices": [0, 1],
        "step": 4,
        "text": "parallel fifths: soprano and alto",
    }


NOTE = [0, 4, 60, 0]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("compose", {"steps": 5}, 422, "steps of 16 to 1,024"),
        ("compose", {"steps": 4_000}, 413, "steps of 16 to 1,024"),
        ("compose", {"label": "J major"}, 422, "a label of major, minor"),
        ("compose", {"model": "piano", "label": "Nobody"}, 422, "a label of the model"),
        ("harmonize", {"piece": {"kind": "chorale", "steps": 8, "notes": []}}, 422, "a melody in the soprano"),
        ("harmonize", {"piece": {"kind": "chorale", "steps": 8, "notes": [NOTE, [2, 6, 60, 0]]}}, 422, "at a time"),
        ("harmonize", {"piece": {"kind": "chorale", "steps": 8, "notes": [[0, 9, 60, 0]]}}, 422, "<= 8"),
        ("harmonize", {"piece": {"kind": "chorale", "steps": 8, "notes": [[0, 4, 60, 4]]}}, 422, "voice"),
        ("harmonize", {"piece": {"kind": "performance", "notes": []}}, 422, "steps"),
        ("continue", {"piece": {"kind": "song", "notes": []}}, 422, "of the kind chorale or performance"),
        ("continue", {"piece": {"kind": "performance", "notes": [[0, 60, 64, -1]]}}, 422, "0 to 600"),
        ("continue", {"piece": {"kind": "performance", "notes": [[0, 60.5, 64, 1]]}}, 422, "whole numbers"),
        ("continue", {"piece": {"kind": "performance", "notes": []}}, 422, "notes on the 88 keys"),
        ("infill", {"piece": {"kind": "chorale", "steps": 8, "notes": [NOTE]}, "open": []}, 422, "open of 1"),
        ("infill", {"piece": {"kind": "chorale", "steps": 8, "notes": [NOTE]}, "open": [[0, 4, 9]]}, 422, "<= 8"),
        ("export", {"piece": {"kind": "chorale", "steps": 8, "notes": [NOTE]}, "format": "exe"}, 422, "one of mid"),
        (
            "export",
            {"piece": {"kind": "chorale", "steps": 8, "notes": [NOTE]}, "format": "mid", "name": "../a"},
            422,
            "letters, digits",
        ),
        ("positions", {"width": 3}, 422, "an even width"),
    ],
)
def test_mistakes(studio: Any, path: str, body: dict[str, Any], status: int, words: str) -> None:
    got, answer = studio.try_post(f"/api/{path}", body)
    assert got == status and words in answer["error"], answer
