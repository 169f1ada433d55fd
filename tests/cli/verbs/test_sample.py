"""The small free data sets: always the same, nobody's files touched, and readable by what trains and measures."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.image.files.pictures import read_pictures
from triptych.music.chorales.data import read_chorales
from triptych.text.data import read_pairs

PANELS = ("words", "pixels", "notes")
MANY = {"words": 7, "pixels": 481, "notes": 25}


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("panel", PANELS)
def test_the_same_bytes_each_time(run: Any, tmp_path: Path, panel: str) -> None:
    for name in ("once", "again"):
        ran = run("sample", panel, tmp_path / name, "--json")
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["files"] == MANY[panel]
    first = digests(tmp_path / "once")
    assert first == digests(tmp_path / "again") and len(first) == MANY[panel]
    assert "CC0" in (tmp_path / "once" / "LICENSE").read_text("utf-8")


def test_what_was_interrupted_is_finished(run: Any, tmp_path: Path) -> None:
    run("sample", "notes", tmp_path / "notes")
    whole = digests(tmp_path / "notes")
    (tmp_path / "notes" / "LICENSE").unlink()
    (tmp_path / "notes" / "melodies" / "ode.mid").unlink()
    assert run("sample", "notes", tmp_path / "notes").code == 0
    assert digests(tmp_path / "notes") == whole


def test_nobody_elses_file_is_touched(run: Any, tmp_path: Path) -> None:
    def precious(folder: Path) -> None:
        (folder / "precious.txt").write_text("mine")

    def changed(folder: Path) -> None:
        (folder / "train.en").write_text("my own sentences\n")

    def nested(folder: Path) -> None:
        (folder / "train").mkdir()
        (folder / "train" / "a.txt").write_text("mine")

    def empty_folder(folder: Path) -> None:
        (folder / "kept").mkdir()

    def link(folder: Path) -> None:
        (folder / "valid.en").symlink_to("/nowhere/at/all")

    for number, spoil in enumerate((precious, changed, nested, empty_folder, link)):
        folder = tmp_path / str(number)
        folder.mkdir()
        spoil(folder)
        before, names = digests(folder), sorted(folder.iterdir())
        ran = run("sample", "words", folder)
        assert ran.code == 2 and ran.out == ""
        assert ran.err.startswith("error: expected a new or empty folder") and ran.err.count("\n") == 1
        assert digests(folder) == before and sorted(folder.iterdir()) == names, "nothing was written either"


def test_a_file_in_its_place_is_one_line(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    ran = run("sample", "words", tmp_path / "file")
    assert ran.code == 2 and ran.err.count("\n") == 1 and (tmp_path / "file").read_text() == "mine"


def test_words(run: Any, tmp_path: Path) -> None:
    run("sample", "words", tmp_path)
    seen: set[tuple[str, str]] = set()
    for split, count in (("train", 6000), ("valid", 300), ("test", 300)):
        pairs = read_pairs(tmp_path / f"{split}.en", tmp_path / f"{split}.de")
        assert len(pairs) == count and not pairs.report.skipped
        seen |= set(zip(pairs.source, pairs.target, strict=True))
    assert len(seen) == 6600, "no pair is in two splits"


def test_numbers_in_words() -> None:
    from triptych.text.numbers import LARGEST, english, german

    known = {
        (2, "two", "zwei"),
        (16, "sixteen", "sechzehn"),
        (17, "seventeen", "siebzehn"),
        (20, "twenty", "zwanzig"),
        (21, "twenty-one", "einundzwanzig"),
        (30, "thirty", "dreißig"),
        (77, "seventy-seven", "siebenundsiebzig"),
        (100, "one hundred", "einhundert"),
        (116, "one hundred and sixteen", "einhundertsechzehn"),
        (342, "three hundred and forty-two", "dreihundertzweiundvierzig"),
        (999, "nine hundred and ninety-nine", "neunhundertneunundneunzig"),
    }
    assert all((english(number), german(number)) == (one, other) for number, one, other in known)
    numbers = range(2, LARGEST + 1)
    assert len(set(map(english, numbers))) == len(set(map(german, numbers))) == len(numbers)


def test_pixels(run: Any, tmp_path: Path) -> None:
    run("sample", "pixels", tmp_path)
    everything = []
    for split, count in (("train", 360), ("valid", 60), ("test", 60)):
        pictures, words = read_pictures(tmp_path, split)
        assert pictures.pictures.shape == (count, 16, 16, 3) and not words
        assert pictures.names == ("circle", "cross", "ring", "square", "star", "triangle")
        assert pictures.labels is not None and np.bincount(pictures.labels).tolist() == [count // 6] * 6
        everything += [picture.tobytes() for picture in pictures.pictures]
    assert len(set(everything)) == 480, "no picture is there twice"


def test_notes(run: Any, tmp_path: Path) -> None:
    run("sample", "notes", tmp_path)
    for split, count in (("train", 11), ("valid", 1)):
        grids, words = read_chorales(tmp_path / "chorales", split)
        assert len(grids) == count and not words
        for grid in grids:
            sounding = grid[(grid >= 0).all(1)]
            assert len(sounding) > 0.8 * len(grid)
            assert (np.diff(sounding) <= 0).all(), "no voice is above the one over it"
