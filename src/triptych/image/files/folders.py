"""Folders of pictures: which files are pictures, of which split and of which class, and what is left out.

A class is the first folder below that of a split. A layout in which that may not be what is meant is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from triptych.errors import UserError, printable
from triptych.image.files.arrays import HELD_OUT, MAX_CLASSES, NAME_LENGTH
from triptych.splits import SPLITS, WORDS

MAX_PICTURES = 2_000_000  # of a folder
MAX_UNREADABLE = 1_000  # messages about pictures of a folder that cannot be read
SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".mpo", ".webp")
# Of pictures that are not read: they are left out with a remedy.
OTHER_SUFFIXES = (
    ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".jxl", ".ico", ".cur", ".icns", ".tga", ".psd", ".pcx", ".qoi",
    ".dds", ".exr", ".hdr", ".svg", ".sgi", ".xpm", ".xbm", ".raw", ".dng", ".cr2", ".nef", ".arw", ".pfm", ".jps",
    ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
# What a folder of a split may be called besides.
FILLING = ("set", "data", "dataset", "split", "images", "image", "imgs", "img", "pictures", "photos")
ABOUT = ("license", "licence", "copying", "notice", "readme")  # files about a data set, left out without a warning
PREVIEWS = ("__MACOSX", "@eaDir")  # folders in which systems keep what is no picture of a person's


def split_of(name: str) -> str | None:
    """The split that a name means, as folders and people write it: Train, training, test_set, val2017; else None."""
    found, rest = _split_and_rest(name)
    return None if rest else found


def _split_and_rest(name: str) -> tuple[str | None, tuple[str, ...]]:
    """The one split that is in a name, and the other words."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    words = [short if (short := re.sub("(set|data)$", "", word)) in WORDS else word for word in words]
    found = [WORDS[word] for word in words if word in WORDS]
    rest = tuple(word for word in words if word not in WORDS and word not in FILLING)
    return (found[0] if len(found) == 1 else None), rest


@dataclass
class Warnings:
    """Warnings about many files: each unreadable picture by name, everything else counted by kind."""

    unreadable: list[str] = field(default_factory=list)
    more: int = 0
    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def cannot_read(self, message: str) -> None:
        """One picture that is left out because it cannot be read."""
        if len(self.unreadable) < MAX_UNREADABLE:
            self.unreadable.append(message)
        else:
            self.more += 1

    def count(self, kind: str, name: str, part: str = "") -> None:
        """Count one more file of that kind. part: what the number is broken down by."""
        self.kinds.setdefault(kind, Counter())[part] += 1
        self.first.setdefault(kind, name)

    def lines(self) -> list[str]:
        """One line a kind, with its number, then the pictures that cannot be read."""
        lines = [self._kind(kind, parts) for kind, parts in self.kinds.items()]
        if (number := len(self.unreadable) + self.more) > 1:
            lines.append(f"left out, cannot be read: {number:,} pictures")
        return [*lines, *self.unreadable]

    def _kind(self, kind: str, parts: Counter[str]) -> str:
        number = parts.total()
        unit = "picture" if number == 1 else "pictures"
        if set(parts) != {""}:
            unit = (
                f"{unit.replace('picture', 'file')} ({', '.join(f'{part} {n:,}' for part, n in parts.most_common(8))})"
            )
        return f"{kind}: {number:,} {unit}, first {self.first[kind]!r}"


@dataclass(frozen=True, eq=False)
class Layout:
    """The pictures of a folder. files: their names below `root`, by split, in order. tops: the folders of the splits,
    of which there is but "train" = "" where the folder has none. classes: labels by name.
    """

    root: Path
    tops: dict[str, str]
    files: dict[str, list[str]]
    classes: dict[str, int]

    def names(self, split: str, warnings: Warnings) -> tuple[list[str], bool]:
        """The pictures of a split, and whether they have classes. Without a folder for "valid" every tenth of "train"
        is valid. Raises UserError where there is no such split, or its folders are no classes of "train".
        """
        source = "train" if split == "valid" and "valid" not in self.tops else split
        if source not in self.tops:
            known = ", ".join(repr(name) for name in dict.fromkeys([*self.tops, *(["valid"] * ("train" in self.tops))]))
            raise UserError(
                f"expected one of the splits of {str(self.root)!r}, {known}, got {split!r}; make a folder for it"
            )
        names = self.files[source]
        inside = [name for name in names if self.class_of(source, name)]
        if inside and not any(self.class_of(source, name) in self.classes for name in inside):
            raise UserError(
                f"expected folders of classes of the training pictures in {str(self.root / self.tops[source])!r} "
                f"({_some(self.classes)}), got {_some(dict.fromkeys(self.class_of(source, name) for name in inside))}; "
                "sort its pictures into such folders, or move them up to have them without classes"
            )
        if inside:
            for name in names:
                if not self.class_of(source, name):
                    warnings.count("left out, in no folder of a class", name)
            names = inside
        elif self.classes:
            for name in names:
                warnings.count("without a class, for it is in no folder of one", name)
        if split != "test" and "valid" not in self.tops:
            names = [name for place, name in enumerate(names, 1) if (place % HELD_OUT == 0) == (split == "valid")]
        return names, bool(inside)

    def label(self, split: str, name: str) -> int:
        """The label of a picture in the folder of a class."""
        return self.classes[self.class_of(split if split in self.tops else "train", name)]

    def called(self) -> tuple[str, ...]:
        """The names of the classes, as far as they can be printed, by label."""
        return tuple(printable(name, NAME_LENGTH) or str(label) for name, label in self.classes.items())

    def class_of(self, top: str, name: str) -> str:
        """The first folder below that of the split; none of a picture that lies beside these folders."""
        path = PurePosixPath(name)
        parts = path.relative_to(self.tops[top]).parts if self.tops[top] else path.parts
        return parts[0] if len(parts) > 1 else ""


def read_layout(path: Path, warnings: Warnings) -> Layout:
    """Find the pictures of a folder, their splits and classes; what is left out is counted in `warnings`.

    No link out of the folder is followed, nor any to a folder, and of several links to one file in a split the first
    counts. Raises UserError where the layout may mean something else than that a class is the first folder below a
    split, with the remedy.
    """
    found = list(_walk(path, warnings))
    tops = _tops(path, [name for name, _, _ in found])
    files: dict[str, list[str]] = {}
    for split, top in tops.items():
        files[split] = _once([one for one in found if not top or one[0].startswith(f"{top}/")], warnings)
    if "" not in tops.values():
        known = tuple(f"{top}/" for top in tops.values())
        for name, _, _ in found:
            if not name.startswith(known):
                warnings.count("left out, beside the folders of splits", name)
    layout = Layout(path, tops, files, {})
    by_split = {split: Counter(layout.class_of(split, name) for name in names) for split, names in files.items()}
    for split, counts in by_split.items():
        _check_strays(path / tops[split], counts)
    inside = {split: {name: counts[name] for name in counts if name} for split, counts in by_split.items()}
    _check_names(path, inside)
    for split, top in tops.items():
        _check_inner(path / top, [name[len(top) :].lstrip("/") for name in files[split]])
    taught = set(inside.get("train", ()))
    alike = [counts for counts in inside.values() if not taught or taught & set(counts)]
    classes = sorted({name for counts in alike for name in counts})
    if len(classes) > MAX_CLASSES:
        raise UserError(f"expected at most {MAX_CLASSES:,} folders of classes, got {len(classes):,} in {str(path)!r}")
    if taught:
        for split, names in files.items():
            for name in names:
                if layout.class_of(split, name) in set(classes) - taught:
                    warnings.count("of a class without training pictures", name)
    layout.classes.update((name, label) for label, name in enumerate(classes))
    if len(set(layout.called())) < len(classes):
        raise UserError(f"expected folders of classes in {str(path)!r} that differ in print; rename some")
    return layout


def _some(names: Iterable[str]) -> str:
    """The first names, for a line."""
    listed = list(names)
    return ", ".join(repr(printable(name, 40)) for name in listed[:5]) + (", ..." if len(listed) > 5 else "")


def _tops(path: Path, names: list[str]) -> dict[str, str]:
    """The folder of each split, or of all there is. Raises UserError where several readings are possible."""
    folders = list(dict.fromkeys(name.split("/")[0] for name in names if "/" in name))
    groups: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for folder in folders:
        split, rest = _split_and_rest(folder)
        if split is not None:
            groups.setdefault(rest, {}).setdefault(split, []).append(folder)
    several, plain = [group for group in groups.values() if len(group) > 1], groups.get((), {})
    here = repr(str(path))
    if len(several) > 1:
        raise UserError(f"expected one set of splits in {here}, got {_some(folders)}; give one of them")
    chosen = several[0] if several else plain
    if several and chosen is not plain:
        for split, same in plain.items():
            chosen.setdefault(split, []).extend(same)
    known = [folder for same in chosen.values() for folder in same]
    if not several and set(known) != set(folders):  # one of the classes is called like a split, or it is one after all
        for folder in known:
            inner = {name.split("/")[1] for name in names if name.startswith(f"{folder}/") and name.count("/") > 1}
            if inner or all(_split_and_rest(name) == (None, ()) for name in folders if name not in known):
                beside = _some(name for name in folders if name != folder)
                raise UserError(
                    f"expected the folders of splits alone or those of classes alone in {here}, got {folder!r}"
                    f"{', with folders in it,' * bool(inner)} beside {beside}; move these elsewhere, or give the other "
                    "folder"
                )
        return {"train": ""}
    for split, same in chosen.items():
        if len(same) > 1:
            raise UserError(f"expected one folder of the split {split!r} in {here}, got {_some(same)}; join them")
    if not chosen:
        return {"train": ""}
    others = [folder for folder in folders if folder not in known]
    if others and "train" not in chosen:
        raise UserError(
            f"expected a folder 'train' beside {_some(known)} in {here}, got "
            f"{_some(others)}; rename the folder to train on, or these if they are classes"
        )
    return {split: chosen[split][0] for split in SPLITS if split in chosen}


def _check_strays(top: Path, counts: Counter[str]) -> None:
    """Raise UserError where most pictures lie beside the folders of classes."""
    strays, inside = counts[""], counts.total() - counts[""]
    if inside and strays >= inside:
        raise UserError(
            f"expected the pictures of {str(top)!r} in folders of their classes, or all without, got {strays:,} beside "
            f"the folders {_some(name for name in counts if name)} and {inside:,} in them; move them"
        )


def _check_names(path: Path, inside: dict[str, dict[str, int]]) -> None:
    """Raise UserError where a class is written in one way in one split, and in another in the other, or in two ways in
    one split that look the same. Classes of one split may differ in capitals alone: those of letters do.
    """
    for names in inside.values():
        seen: dict[str, str] = {}
        for name in names:
            if (other := seen.setdefault(" ".join(unicodedata.normalize("NFC", name).split()), name)) != name:
                raise UserError(
                    f"expected classes of {str(path)!r} that look different, got {name!a} and {other!a}; rename one"
                )
    alike: dict[str, set[str]] = {}
    for names in inside.values():
        for name in names:
            alike.setdefault(unicodedata.normalize("NFC", name).casefold(), set()).add(name)
    for same in alike.values():
        if len(same) > 1 and not any(len(same & set(names)) > 1 for names in inside.values()):
            raise UserError(
                f"expected one name for a class in all splits of {str(path)!r}, got {_some(sorted(same))}; rename one"
            )


def _check_inner(top: Path, names: list[str]) -> None:
    """Raise UserError where the first folders may not be the classes: splits below them, or one folder around all.

    names: those of pictures, below the folder of their split.
    """
    inner: dict[str, set[str]] = {}
    for name in names:
        parts = name.split("/")
        if len(parts) > 2:
            inner.setdefault(parts[0], set()).add(parts[1])
    for folder, below in inner.items():
        splits = {split: name for name in sorted(below) if (split := split_of(name))}
        if len(splits) > 1:
            remedy = "make a folder of each split, with those of the classes in it"
            if len({name.split("/")[0] for name in names}) == 1:
                remedy = f"give {str(top / folder)!r}"
            raise UserError(
                f"expected folders of classes below those of splits in {str(top)!r}, got the splits "
                f"{_some(splits.values())} in {folder!r}; {remedy}"
            )
    around, rest = top, [name.split("/") for name in names]
    while rest and all(len(parts) > 1 for parts in rest) and len({parts[0] for parts in rest}) == 1:
        around, rest = around / rest[0][0], [parts[1:] for parts in rest]
    folders = {parts[0] for parts in rest if len(parts) > 1}
    if around != top and len(folders) > 1 and all(len(parts) > 1 for parts in rest):
        raise UserError(
            f"expected folders of classes in {str(top)!r}, got {str(around)!r} alone, with {_some(sorted(folders))} in "
            f"it; give {str(around)!r} if these are the classes, or put all pictures of the one class side by side"
        )


Found = tuple[str, bool, tuple[int, int]]  # name below the folder, whether it is a link, device and number of the file


def _once(found: list[Found], warnings: Warnings) -> list[str]:
    """The names, in order, of every file but once; that which is no link counts."""
    chosen: dict[tuple[int, int], str] = {}
    for name, _, file in sorted(found, key=lambda one: one[1]):
        chosen.setdefault(file, name)
    kept = []
    for name, _, file in found:
        if chosen[file] == name:
            kept.append(name)
        else:
            warnings.count("left out, a link to a file that is read already", name)
    return kept


def _walk(top: Path, warnings: Warnings) -> Iterator[Found]:
    """The pictures below a folder, in order; no link out of it is followed, nor any to a folder."""
    waiting, root, count = [top], top.resolve(), 0
    while waiting:
        path = waiting.pop()
        name = path.relative_to(top).as_posix()
        try:
            link = path != top and path.is_symlink()
            if link and (path.is_dir() or root not in path.resolve().parents):
                warnings.count("left out, a link to a folder or out of it", name)
            elif path.is_dir():
                waiting.extend(_visible(path, top, warnings))
            elif (suffix := path.suffix.lower()) in SUFFIXES:
                state = path.stat()
                count += 1
                yield name, link, (state.st_dev, state.st_ino)
            elif path.stem.lower() not in ABOUT:
                kind = "no picture by its suffix"
                if suffix in OTHER_SUFFIXES:
                    kind = "of a kind that is not read (save it as PNG)"
                warnings.count(f"left out, {kind}", name, printable(suffix, 20) or "without one")
        except (OSError, RuntimeError) as error:  # a link to itself is a RuntimeError
            warnings.cannot_read(f"{str(path)!r} cannot be read: {printable(str(error), 200)}")
        if count > MAX_PICTURES:
            raise UserError(f"expected at most {MAX_PICTURES:,} pictures, got more in {str(top)!r}; make it smaller")


def _visible(path: Path, top: Path, warnings: Warnings) -> list[Path]:
    """The entries of a folder that are not hidden, the last by name first."""
    found: list[Path] = []
    for inner in sorted(path.iterdir(), key=lambda inner: inner.name):
        if not inner.name.startswith(".") and inner.name not in PREVIEWS:
            found.append(inner)
        elif inner.suffix.lower() in SUFFIXES or inner.is_dir():
            part = "folder" if inner.is_dir() else inner.suffix.lower()
            warnings.count("left out, hidden or previews", inner.relative_to(top).as_posix(), part)
    return found[::-1]
