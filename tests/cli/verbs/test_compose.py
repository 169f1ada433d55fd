"""The verbs of music on small untrained models: what goes in, what comes out, and a person's mistakes."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.model.weights import save_transformer
from triptych.music.chorales.codec import RANGES, from_piece, to_piece
from triptych.music.chorales.composer import Composer
from triptych.music.files.reading import read_piece
from triptych.music.files.save import save_music
from triptych.music.piece.piece import Note, Piece

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
    save_transformer(folder / "text", model.module(), {"text.model": b""}, {})
    save_music(to_piece(GRID, 90.0), folder / "piece.mid")
    tune = (Note(0, 230, 67), Note(240, 480, 67), Note(491, 960, 72), Note(0, 480, 20))
    save_music(Piece(tune, resolution=480, tempo=60.0), folder / "tune.mid")
    (folder / "broken.mid").write_bytes(b"no music")
    return folder


def told_by(ran: Any) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    message: dict[str, Any] = json.loads(ran.out)
    return message


def test_compose(run: Any, folder: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "a.mid", "--out", tmp_path / "new" / "a.musicxml"]
    options = ["--model", folder / "compose", "--threads", 1, "--seed", 3, "--tokens", 30, "--label", "G minor"]
    ran = run("compose", *out, *options, "--tempo", 60)
    assert (ran.code, ran.out, ran.err) == (0, f"{tmp_path / 'a.mid'}\n{tmp_path / 'new' / 'a.musicxml'}\n", "")
    first = (tmp_path / "a.mid").read_bytes()
    piece = read_piece(first)[0]
    assert piece.tempo == 60.0 and piece.voices == ("soprano", "alto", "tenor", "bass")
    message = told_by(run("compose", *out, *options, "--tempo", 60, "--json"))
    assert (tmp_path / "a.mid").read_bytes() == first, "one seed, one result"
    assert message == {
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
    report = told_by(ran)
    assert report["sixteenths"] == 36, "what is added is counted"
    assert ran.err == ""
    grid, _ = from_piece(read_piece(tmp_path / "a.mid")[0])
    np.testing.assert_array_equal(grid[:32], GRID)
    assert told_by(run("continue", folder / "piece.mid", *options, "--seconds", 2))["sixteenths"] == 44


def test_continue_reports_that_a_piece_has_ended(
    run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, _ = read_piece(folder / "piece.mid")

    def ended(self: Composer, primer: Piece, *, only_new: bool, **options: Any) -> Piece:
        first = 0 if only_new else primer.length
        kept = () if only_new else primer.notes
        return replace(primer, notes=(*kept, Note(first, first + 1, 60)), length=first + 1)

    monkeypatch.setattr(Composer, "continue_", ended)
    options = ["--out", tmp_path / "a.mid", "--model", folder / "compose", "--threads", 1]
    for more in ([], ["--only-new"]):
        ran = run("continue", folder / "piece.mid", *options, *more)
        assert ran.code == 0 and "takes it for a whole piece, which has ended, and adds 0." in ran.err
        assert ran.err.count("\n") == 1 and "--seconds asks for more" in ran.err
    assert run("continue", folder / "piece.mid", *options, "--seconds", 1).err == "", "asked for so much, got so much"
    assert given.seconds > 1


def test_harmonize(run: Any, folder: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "a.mid", folder / "infill"
    ran = run("harmonize", folder / "tune.mid", "--out", out, "--model", model, "--threads", 1, "--json")
    assert told_by(ran)["sixteenths"] == 8
    tune = folder / "tune.mid"
    assert ran.err == (
        f"{tune}: 1 of 4 notes moved to the nearest sixteenth\n{tune}: the melody is the highest notes: 3 of 4\n"
    )
    found = read_piece(out)[0]
    melody = [(note.start // 120, note.end // 120, note.pitch) for note in found.notes if note.voice == 0]
    assert melody == [(0, 2, 67), (2, 4, 67), (4, 8, 72)], "a repeated note stays one"
    assert found.tempo == 60.0 and len(found.voices) == 4


def test_a_melody_after_rests_is_harmonized_from_its_first_note_on(run: Any, folder: Path, tmp_path: Path) -> None:
    tune = tuple(Note(at, at + 480, 67 + at // 480 % 5) for at in range(0, 480 * 8, 480))
    options = ["--model", folder / "infill", "--threads", 1, "--seed", 4]
    found = []
    for rests in (0, 2 * 4 * 480, 4 * 4 * 480):
        notes = tuple(replace(note, start=note.start + rests, end=note.end + rests) for note in tune)
        save_music(Piece(notes, resolution=480), tmp_path / "tune.mid")
        assert run("harmonize", tmp_path / "tune.mid", "--out", tmp_path / "a.mid", *options).code == 0
        piece = read_piece(tmp_path / "a.mid")[0]
        assert {note.voice for note in piece.notes if note.start == rests} == {0, 1, 2, 3}, "all begin with the tune"
        assert min(note.start for note in piece.notes) == rests
        found.append([(note.start - rests, note.end - rests, note.pitch, note.voice) for note in piece.notes])
    assert found[0] == found[1] == found[2], "whatever bars of rests are before it"


def test_harmonize_by_key_and_only_what_is_new(run: Any, folder: Path, tmp_path: Path) -> None:
    options = ["--out", tmp_path / "a.mid", "--model", folder / "infill", "--threads", 1, "--seed", 4]
    assert run("harmonize", folder / "tune.mid", *options).code == 0
    whole = read_piece(tmp_path / "a.mid")[0]
    assert run("harmonize", folder / "tune.mid", *options, "--only-new", "--program", "bass=cello").code == 0
    new = read_piece(tmp_path / "a.mid")[0]
    assert new.voices == ("alto", "tenor", "bass")
    assert [replace(note, voice=note.voice + 1) for note in new.notes] == [n for n in whole.notes if n.voice]
    assert run("harmonize", folder / "tune.mid", *options, "--label", "E minor").code == 0
    other = read_piece(tmp_path / "a.mid")[0]
    assert [note for note in other.notes if note.voice == 0] == [note for note in whole.notes if note.voice == 0]
    assert other.notes != whole.notes
    ran = run("harmonize", folder / "tune.mid", *options, "--label", "X minor")
    assert ran.code == 2 and "expected a label of major, minor" in ran.err


def test_a_melody_out_of_range(run: Any, folder: Path, tmp_path: Path) -> None:
    save_music(Piece((Note(0, 4, 67), Note(4, 8, 83))), tmp_path / "high.mid")
    options = ["--out", tmp_path / "a.mid", "--model", folder / "infill", "--threads", 1]
    ran = run("harmonize", tmp_path / "high.mid", *options)
    assert ran.code == 0 and "transposed by -2 semitones into C4 to A5, a soprano, and back" in ran.err
    notes = [note.pitch for note in read_piece(tmp_path / "a.mid")[0].notes if note.voice == 0]
    assert notes == [67, 83]
    ran = run("harmonize", tmp_path / "high.mid", *options, "--transpose", "octaves")
    assert ran.code == 0 and "1 of 2 notes moved by octaves into C4 to A5: B5" in ran.err
    assert [note.pitch for note in read_piece(tmp_path / "a.mid")[0].notes if note.voice == 0] == [67, 71]
    ran = run("harmonize", tmp_path / "high.mid", *options, "--transpose", "up")
    assert ran.code == 2 and "expected --transpose auto, stay, octaves, or semitones" in ran.err


def test_continue_one_voice_in_four_and_only_what_is_new(run: Any, folder: Path, tmp_path: Path) -> None:
    save_music(Piece(tuple(Note(at, at + 4, 67) for at in range(0, 24, 4))), tmp_path / "one.mid")
    options = ["--out", tmp_path / "a.mid", "--model", folder / "compose", "--threads", 1, "--tokens", 64, "--seed", 1]
    ran = run("continue", tmp_path / "one.mid", *options)
    assert ran.code == 0 and "alto, tenor and bass begin where the music goes on" in ran.err
    whole = read_piece(tmp_path / "a.mid")[0]
    ticks = whole.resolution // 4
    assert {note.voice for note in whole.notes if note.start < 24 * ticks} == {0}
    for voice in range(4):
        assert any(note.voice == voice and note.end > 24 * ticks for note in whole.notes), "nobody is silent"
    assert run("continue", tmp_path / "one.mid", *options, "--only-new").code == 0
    new, _ = from_piece(read_piece(tmp_path / "a.mid")[0])
    np.testing.assert_array_equal(new, from_piece(whole)[0][24:])


def test_a_greedy_piece_moves_on(run: Any, folder: Path, tmp_path: Path) -> None:
    options = ["--out", tmp_path / "a.mid", "--model", folder / "compose", "--threads", 1, "--tokens", 400]
    assert run("compose", *options, "--temperature", 0).code == 0
    grid, _ = from_piece(read_piece(tmp_path / "a.mid")[0])
    changes = np.flatnonzero(np.append(True, (grid[1:] != grid[:-1]).any(1)))
    assert np.diff(np.append(changes, len(grid))).max() <= 16


def test_instruments(run: Any, folder: Path, tmp_path: Path) -> None:
    options = ["--out", tmp_path / "a.mid", "--model", folder / "compose", "--threads", 1, "--tokens", 32]
    assert run("compose", *options, "--program", "choir aahs", "--program", "bass=42").code == 0
    assert read_piece(tmp_path / "a.mid")[0].programs == (52, 52, 52, 42)
    ran = run("compose", *options, "--program", "kazoo")
    assert ran.code == 2 and "expected an instrument of General MIDI" in ran.err


def test_infill(run: Any, folder: Path, tmp_path: Path) -> None:
    arguments = ["infill", folder / "piece.mid", "--out", tmp_path / "a.mid", "--model", folder / "infill"]
    bars = ["--voice", "Alto", "--voice", "TENOR", "--from", 2, "--to", 2, "--threads", 1, "--seed", 5]
    assert run(*arguments, *bars).code == 0
    grid, _ = from_piece(read_piece(tmp_path / "a.mid")[0])
    known = np.ones((32, 4), bool)
    known[16:, 1:3] = False
    np.testing.assert_array_equal(grid[known], GRID[known])
    assert (grid[~known] != GRID[~known]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
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
        (["compose", "--out", "a.mid", "--label", "X minor"], "expected a label of major"),
        (["compose", "--out", "a.mid", "--temperature", "inf"], "expected a temperature from 0"),
        (["compose", "--out", "a.mid", "--top-p", "0"], "expected top_p above 0"),
        (["compose", "--out", "a.mid", "--model", "text"], "expected a model of chorales"),
        (["compose", "--out", "a.mid", "--model", "infill"], "use --model chorales"),
        (["continue", "piece.mid", "--out", "a.mid", "--model", "infill"], "use --model chorales"),
        (["continue", "none.mid", "--out", "a.mid"], "which is no file"),
        (["continue", "broken.mid", "--out", "a.mid"], "no MIDI header"),
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
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    if "--model" not in arguments:
        arguments = [*arguments, "--model", "infill" if arguments[0] in ("harmonize", "infill") else "compose"]
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert message in ran.err
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


def test_every_kind_of_file_is_taken_and_what_was_changed_is_reported(run: Any, folder: Path, tmp_path: Path) -> None:
    data = (folder / "piece.mid").read_bytes()
    save_music(to_piece(GRID, 90.0), tmp_path / "a.musicxml")
    with zipfile.ZipFile(tmp_path / "a.mxl", "w") as archive:
        archive.write(tmp_path / "a.musicxml", "a.musicxml")
    (tmp_path / "a.kar").write_bytes(data)
    (tmp_path / "a.rmi").write_bytes(b"RIFF" + bytes(4) + b"RMIDdata" + len(data).to_bytes(4, "little") + data)
    common = ["--model", folder / "infill", "--threads", 1, "--out", tmp_path / "out.mid"]
    for name in ("a.musicxml", "a.mxl", "a.kar", "a.rmi"):
        for verb, more in (("harmonize", []), ("infill", ["--voice", "alto", "--from", 1, "--to", 1])):
            assert run(verb, tmp_path / name, *more, *common).code == 0
            soprano = [note for note in read_piece(tmp_path / "out.mid")[0].notes if note.voice == 0]
            assert [note.pitch for note in soprano] == [note.pitch for note in to_piece(GRID).notes if note.voice == 0]
    (tmp_path / "frames.mid").write_bytes(data[:12] + b"\xe7\x28" + data[14:])
    ran = run("harmonize", tmp_path / "frames.mid", *common)
    assert ran.code == 0, ran.err
    assert "frames.mid: its time is in seconds: read as 120 quarter notes a minute" in ran.err
    ran = run("harmonize", folder / "broken.mid", *common)
    assert ran.code == 2 and "expected a MIDI file, got" in ran.err and ran.err.count("\n") == 1
