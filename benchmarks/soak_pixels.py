"""Are folders of pictures read as they are meant, whatever their layout? Random ones, beside a count of our own.

    python benchmarks/soak_pixels.py [--count 300] [--seed 1]

Each folder has classes or none, splits under one of their usual names or none, folders inside of classes, copies in
other formats, links, files that are no pictures, and some of another size or in grey. Of each it is checked that a
class is the first folder, that no pixels are both trained on and held out or tested, and that every file is either read
or counted as left out. Then random squares are fitted as enlargements are: each must have its mean exactly. Exits with
1 where anything does not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from triptych.errors import UserError
from triptych.image.data import fitted
from triptych.image.files.pictures import read_pictures

NAMES = {
    "train": ("train", "Train", "TRAINING", "train_set", "seg_train"),
    "valid": ("valid", "Val", "validation", "DEV", "seg_val"),
    "test": ("test", "Test", "Testing", "testset", "seg_test"),
}
SUFFIXES = (".png", ".PNG", ".apng")  # which keep every pixel
COLOURS = 40  # of which each picture has one; it tells them apart


def built(root: Path, draw: random.Random) -> tuple[dict[str, int], tuple[str, ...]]:
    """Draw a folder; how many files there are of each kind, and the classes."""
    classes = draw.sample(["ant", "bee", "Cow", "d-1", "elk 2"], draw.choice([0, 2, 3, 5]))
    tops = [""]
    if draw.random() < 0.6:
        form = draw.randrange(4)
        tops = [NAMES[split][form] for split in NAMES if split == "train" or draw.random() < 0.7]
    counts = {"pictures": 0, "links": 0, "others": 0}
    for top in tops:
        for name in classes or [""]:
            for number in range(draw.randint(3, 8)):
                inner = draw.choice(["", "", "images", "a/b"]) if name else ""
                path = root / top / name / inner / f"{number}{draw.choice(SUFFIXES)}"
                path.parent.mkdir(parents=True, exist_ok=True)
                colour = draw.randrange(COLOURS)
                size = 5 if draw.random() < 0.05 else 4
                kind = path.suffix.lower().replace(".apng", ".png")[1:]
                Image.fromarray(np.full((size, size, 3), colour * 6, np.uint8)).save(path, kind)
                counts["pictures"] += 1
                if draw.random() < 0.1:
                    (path.parent / f"link{number}.png").symlink_to(path.name)
                    counts["links"] += 1
                if draw.random() < 0.1:
                    (path.parent / f"notes{number}.txt").write_text("no picture")
                    counts["others"] += 1
    return counts, tuple(sorted(classes))


def check(root: Path, counts: dict[str, int], classes: tuple[str, ...]) -> tuple[int, int]:
    """Check one folder; how many of its pictures are read, and left out of training as held out."""
    sides: dict[str, set[bytes]] = {}
    read, words = 0, []
    for split in NAMES:
        try:
            found, notices = read_pictures(root, split, channels=3, size=(4, 4))
        except UserError as error:
            assert split != "train" or "are held out" in str(error), error
            assert "one of the splits" in str(error) or "got none" in str(error), error
            continue
        read += len(found)
        sides[split] = set(found.digests())
        if split == "train":
            words = notices
        assert found.names == classes, found.names
    if "train" not in sides:
        return 0, 0
    assert not sides["train"] & set().union(*(sides[split] for split in sides if split != "train"))
    number = {word: int(re.search(r": ([\d,]+) ", word)[1].replace(",", "")) for word in words}  # type: ignore[index]
    same = sum(count for word, count in number.items() if word.startswith("left out of training"))
    links = sum(count for word, count in number.items() if word.startswith("left out, a link"))
    others = sum(count for word, count in number.items() if word.startswith("left out, no picture"))
    assert (read + same, links, others) == (counts["pictures"], counts["links"], counts["others"]), (counts, words)
    return read, same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw, failed = random.Random(options.seed), []
    read = same = 0
    for number in range(options.count):
        with tempfile.TemporaryDirectory() as folder:
            counts, classes = built(Path(folder), draw)
            try:
                some, twice = check(Path(folder), counts, classes)
                read, same = read + some, same + twice
            except (AssertionError, UserError) as error:
                failed.append(f"folder {number}: {error}")
    values, squares = np.random.default_rng(options.seed), 0
    for _ in range(options.count):
        factor = int(values.integers(1, 9))
        low, high = np.sort(values.integers(0, 256, 2))  # all dark, all light, all the same, or anything
        small = values.integers(low, high + 1, (8, 8, 8, 3))
        rough = values.integers(0, 256, (8, 8 * factor, 8 * factor, 3), np.uint8)
        found = fitted(rough, small.astype(np.uint8)).reshape(8, 8, factor, 8, factor, 3)
        squares += small.size
        if (found.sum((2, 4), dtype=int) != small * factor**2).any():
            failed.append("a square has not the mean that was given")
    figures = {"folders": options.count, "pictures read": read, "left out of training, held out too": same}
    print(json.dumps({**figures, "squares fitted": squares, "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
