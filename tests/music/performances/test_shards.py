import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from triptych.errors import UserError
from triptych.music.files.midi import midi_bytes
from triptych.music.performances import shards as module
from triptych.music.performances.codec import PerformanceCodec
from triptych.music.performances.shards import Shards, prepare
from triptych.music.piece.performance import NOTE, Performance
from triptych.music.piece.piece import Note, Piece

CODEC = PerformanceCodec()


def played(seed: int, notes: int = 12, lead: float = 0.0) -> Performance:
    """Notes to the millisecond, as MIDI keeps them."""
    random = np.random.default_rng(seed)
    start = np.sort(random.integers(0, 5_000, notes)) / 1_000
    start += lead - start[0]
    return Performance.of(
        start, start + random.integers(1, 900, notes) / 1_000, random.permutation(88)[:notes] + 21, [80] * notes
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two composers with ten pieces each, and a bad file."""
    for number in range(20):
        path = tmp_path / "music" / ("Bach", "Chopin")[number % 2] / f"{number:02}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(midi_bytes(played(number, lead=2.5).to_piece()))
    (tmp_path / "music" / "Chopin" / "bad.mid").write_bytes(b"no music")
    return tmp_path / "music"


def check(shards: Shards, seeds: dict[str, int]) -> None:
    """All pieces are there, from their first notes on, and their figures are true."""
    assert [entry.name for entry in shards.entries] == list(seeds)
    for entry in shards.entries:
        performance, expected = shards.performance(entry), played(seeds[entry.name])
        assert performance.notes["start"][0] == 0
        for name in ("start", "end"):
            np.testing.assert_allclose(performance.notes[name], expected.notes[name], atol=1e-9)
        assert (performance.notes["pitch"] == expected.notes["pitch"]).all()
        assert entry.notes == len(performance) == 12 and entry.seconds == performance.seconds
        assert entry.tokens == len(CODEC.encode(performance))


SEEDS = {f"{('Bach', 'Chopin')[number % 2]}/{number:02}.mid": number for number in [*range(0, 20, 2), *range(1, 20, 2)]}


def test_a_folder_becomes_shards(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD", 50)
    heard: list[tuple[int, int]] = []
    shards, words = prepare(folder, tmp_path / "out", workers=2, progress=lambda *counts: heard.append(counts))
    check(shards, SEEDS)
    assert words == shards.left_out and len(words) == 1
    assert words[0].startswith("expected a MIDI file, got 'Chopin/bad.mid'")
    assert heard == [(done, 21) for done in range(1, 22)]
    assert {entry.label for entry in shards.entries} == set(shards.labels) == {"Bach", "Chopin"}
    assert [entry.name for entry in shards.of_split("valid")] == ["Bach/18.mid", "Chopin/19.mid"]
    assert len(shards.of_split("train")) == 18
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.json", "notes-0000.npy", "notes-0001.npy", "notes-0002.npy", "notes-0003.npy",
    ]  # fmt: skip
    again = Shards(tmp_path / "out")
    check(again, SEEDS)
    assert again.labels == shards.labels
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    check(Shards(tmp_path / "elsewhere"), SEEDS)


def test_a_zip_is_the_same_whatever_the_number_of_workers(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "music.zip", "w") as archive:
        for path in folder.rglob("*.mid"):
            archive.write(path, path.relative_to(folder).as_posix())
    prepare(folder, tmp_path / "one", workers=1)
    prepare(tmp_path / "music.zip", tmp_path / "three", workers=3)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "three" / path.name).read_bytes()


@pytest.mark.parametrize(
    "header", ["file,composer,title,split", "midi_filename,canonical_composer,year,split", "file,label,title,split"]
)
def test_an_index_has_what_the_files_lack(folder: Path, tmp_path: Path, header: str) -> None:
    (tmp_path / "index.csv").write_text(
        "\ufeff" + f'{header}\n00.mid,"Bach, J. S.",a,validation\n'
        "Bach/02.mid,Busoni,b,train\n04.mid,,c,test\n06.mid,Busoni,d,\nnone.mid,Bach,e,train\n",
        "utf-8",
    )
    shards, words = prepare(folder, tmp_path / "out", index=tmp_path / "index.csv")
    check(shards, {f"Bach/{number:02}.mid": number for number in (0, 2, 4, 6)})
    assert [(entry.label, entry.split) for entry in shards.entries] == [
        ("Bach, J. S.", "valid"), ("Busoni", "train"), (None, "test"), ("Busoni", "train"),
    ]  # fmt: skip
    assert shards.labels == ("Bach, J. S.", "Busoni")
    assert len(words) == 17 and words[0] == f"'Bach/08.mid': not in {tmp_path / 'index.csv'}"


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\xff", b"file\n"])
def test_what_is_no_index(folder: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"^expected a CSV file with a column 'file', got .*index\.csv") as caught:
        prepare(folder, tmp_path / "out", index=tmp_path / "index.csv")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"got .*none\.csv: No such file"):
        prepare(folder, tmp_path / "out", index=tmp_path / "none.csv")


def test_one_label_is_none(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / "midi").mkdir(exist_ok=True)
        (tmp_path / "midi" / f"{number}.mid").write_bytes(midi_bytes(played(number).to_piece()))
    shards, _ = prepare(tmp_path, tmp_path / "out")
    assert shards.labels == () and shards.entries[0].label == "midi"
    (tmp_path / "root").mkdir()
    shutil.copy(tmp_path / "midi" / "0.mid", tmp_path / "root" / "a.mid")
    assert prepare(tmp_path / "root", tmp_path / "more")[0].entries[0].label is None


def test_words_about_what_was_changed(tmp_path: Path) -> None:
    piece = played(1).to_piece()
    low = piece.notes[0].__class__(0, 5, 5)
    (tmp_path / "a.mid").write_bytes(midi_bytes(piece.__class__((*piece.notes, low), 500, 120.0)))
    _, words = prepare(tmp_path, tmp_path / "out")
    assert words == ["'a.mid': 1 of 13 notes left out, which are off the 88 keys of a piano"]


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"got none that can be read; give a folder with \.mid files"):
        prepare(tmp_path, tmp_path / "out")
    (tmp_path / "a.mid").write_bytes(b"no music")
    with pytest.raises(UserError, match=r"got none that can be read; first: expected a MIDI file, got 'a\.mid'"):
        prepare(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="No such file"):
        prepare(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_prepared_once(folder: Path, tmp_path: Path) -> None:
    prepare(folder, tmp_path / "out")
    with pytest.raises(UserError, match="which holds prepared music; choose another"):
        prepare(folder, tmp_path / "out")
    # a folder without an index was not finished
    (tmp_path / "out" / "index.json").unlink()
    check(prepare(folder, tmp_path / "out")[0], SEEDS)


def test_a_split_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    shards, _ = prepare(folder, tmp_path / "out")
    with pytest.raises(UserError, match="got none; its splits: 'train', 'valid'"):
        shards.of_split("test")


def test_a_folder_that_is_damaged(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(folder, out)
    index = json.loads((out / "index.json").read_text())
    notes = (out / "notes-0000.npy").read_bytes()

    def refused(match: str) -> None:
        with pytest.raises(UserError, match=f"^expected a folder of prepared music, got {out}: {match}.*; prepare it"):
            Shards(out)

    for changed in ({"version": 2}, {"pieces": [{}]}, {"pieces": 3}, {"shards": ["../none.npy"]}, {"left_out": None}):
        (out / "index.json").write_text(json.dumps(index | changed))
        refused("")
    for content in (b"", b"[]", b"[" * 100_000, b"\xff"):
        (out / "index.json").write_bytes(content)
        refused("")
    (out / "index.json").write_text(json.dumps(index))
    for part in (notes[: len(notes) // 2], b""):
        (out / "notes-0000.npy").write_bytes(part)
        refused("")
    np.save(out / "notes-0000.npy", np.zeros(5))
    refused(r"notes-0000\.npy holds float64 \[5\]")
    np.save(out / "notes-0000.npy", np.array([{}], object), allow_pickle=True)
    refused("")
    np.save(out / "notes-0000.npy", np.zeros(5, module.NOTE))
    refused("a shard is too short")
    (out / "notes-0000.npy").unlink()
    refused("No such file")


def test_melodies_are_kept(tmp_path: Path) -> None:
    tune = [(1000, 1500, 72), (1500, 2000, 74)]
    chords = [(500, 3000, 50), (500, 3000, 54), (1000, 3000, 57)]
    notes = [*(Note(*note, voice=0) for note in chords), *(Note(*note, voice=1) for note in tune)]
    for name, voices in (("a", ("PIANO", "MELODY")), ("b", ("PIANO", "x"))):
        piece = Piece(tuple(notes), resolution=500, tempo=120.0, voices=voices)
        (tmp_path / "music").mkdir(exist_ok=True)
        (tmp_path / "music" / f"{name}.mid").write_bytes(midi_bytes(piece))
    shards, _ = prepare(tmp_path / "music", tmp_path / "out", melody=True)
    named, other = shards.entries
    assert named.notes == 5 and named.melody == 2
    melody = shards.melody(named)
    np.testing.assert_allclose(melody.notes["start"], [0.5, 1.0], atol=1e-9)
    assert melody.notes["pitch"].tolist() == [72, 74]
    assert shards.performance(named) == shards.performance(other), "the melody is no second part"
    assert len(shards.melody(other)) == other.melody
    bare, _ = prepare(tmp_path / "music", tmp_path / "bare")
    with pytest.raises(UserError, match="prepare it anew with --melody"):
        bare.melody(bare.entries[0])


def test_a_folder_with_other_things_stays(tmp_path: Path) -> None:
    """What a preparation that was killed has left does not count; the same names with other content do."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes-0000.npy").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"expected a new or empty folder, got .* which holds 'notes-0000\.npy'"):
        prepare(tmp_path / "none", tmp_path / "out")
    assert (tmp_path / "out" / "notes-0000.npy").read_bytes() == b"mine"
    np.save(tmp_path / "out" / "notes-0000.npy", np.zeros(3, NOTE))
    (tmp_path / "out" / ".index.json.triptych-part").touch()
    with pytest.raises(UserError) as caught:
        prepare(tmp_path / "none", tmp_path / "out")
    assert "new or empty folder" not in str(caught.value)
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds 'thesis\.tex'"):
        prepare(tmp_path / "none", tmp_path / "out")
