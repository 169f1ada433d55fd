"""Folders of pictures in layouts that people have: splits, classes, links, and warnings about the rest."""

import os
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from triptych.errors import UserError
from triptych.image.files import folders
from triptych.image.files import pictures as files
from triptych.image.files.folders import split_of
from triptych.image.files.pictures import read_pictures, write_picture

ONE_LINE = r"^expected [^\n]*; [a-z][^\n]*$"
SAME = "left out of training, the same pixels are held out or tested"
LINK = "left out, a link to a file that is read already"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows lets few make links")


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def fill(
    folder: Path, names: Sequence[str], shape: tuple[int, ...] = (4, 5, 3), seed: int = 0
) -> dict[str, NDArray[np.uint8]]:
    """A picture under each name, no two the same."""
    pictures = {name: noise(*shape, seed=seed + place) for place, name in enumerate(names)}
    for name, picture in pictures.items():
        write_picture(folder / name, picture)
    return pictures


def names_of(pictures: dict[str, NDArray[np.uint8]], found: NDArray[np.uint8]) -> list[str]:
    return [next(name for name, known in pictures.items() if np.array_equal(known, picture)) for picture in found]


def many(*folders: str, count: int = 10) -> list[str]:
    return [f"{folder}/{place:02}.png" for folder in folders for place in range(count)]


# -- splits ------------------------------------------------------------------------------------------------------------


def test_a_flat_folder_has_every_tenth_picture_held_out(tmp_path: Path) -> None:
    pictures = fill(tmp_path, [f"{place:02}.png" for place in range(25)])
    train, words = read_pictures(tmp_path)
    valid, _ = read_pictures(str(tmp_path), "valid")
    assert words == []
    assert names_of(pictures, valid.pictures) == ["09.png", "19.png"]
    assert names_of(pictures, train.pictures) == [name for name in sorted(pictures) if name not in ("09.png", "19.png")]
    assert (train.labels, train.names, len(train), len(valid)) == (None, (), 23, 2)
    assert train.pictures.dtype == np.uint8 and train.pictures.flags.writeable
    assert train.counts() == {}
    with pytest.raises(
        UserError, match=r"one of the splits of '.*', 'train', 'valid', got 'test'; make a folder for it"
    ):
        read_pictures(tmp_path, "test")
    with pytest.raises(UserError, match="got 'all'; choose one of them"):
        read_pictures(tmp_path, "all")


def test_folders_of_splits(tmp_path: Path) -> None:
    pictures = fill(
        tmp_path, ["train/b/0.png", "train/a/0.png", "valid/b/1.png", "test/c/2.png", "test/a/2.png", "other/d/3.png"]
    )
    beside = "left out, beside the folders of splits: 1 picture, first 'other/d/3.png'"
    new = "of a class without training pictures: 1 picture, first 'test/c/2.png'"
    for split, names, labels in [
        ("train", ["train/a/0.png", "train/b/0.png"], [0, 1]), ("valid", ["valid/b/1.png"], [1]),
        ("test", ["test/a/2.png", "test/c/2.png"], [0, 2]),
    ]:  # fmt: skip
        found, words = read_pictures(tmp_path, split)
        assert names_of(pictures, found.pictures) == names
        assert found.labels is not None
        assert (found.labels.tolist(), found.names, words) == (labels, ("a", "b", "c"), [beside, new])


FORMS = {
    "train": ["train", "Train", "TRAIN", "training", "Training", "train_set", "training-set", "trainset", "Train Data"],
    "valid": ["valid", "Validation", "val", "VAL", "dev", "eval", "validation_set", "val-images"],
    "test": ["test", "Test", "testing", "Testing", "test set", "testset", "TestImages"],
}


@settings(deadline=None, max_examples=25)
@given(*(st.sampled_from(FORMS[split]) for split in FORMS), st.sampled_from(["", "seg_", "my-"]), st.booleans())
def test_splits_by_any_usual_name(
    tmp_path_factory: pytest.TempPathFactory, train: str, valid: str, test: str, before: str, year: bool
) -> None:
    after = "2017" if year else ""
    folder = tmp_path_factory.mktemp("any")
    tops = {"train": f"{before}{train}{after}", "valid": f"{before}{valid}{after}", "test": f"{before}{test}{after}"}
    pictures = fill(folder, [f"{top}/{name}/0.png" for top in tops.values() for name in ("cat", "dog")])
    for split, top in tops.items():
        found, words = read_pictures(folder, split)
        assert names_of(pictures, found.pictures) == [f"{top}/cat/0.png", f"{top}/dog/0.png"]
        assert (found.names, words) == (("cat", "dog"), [])


def test_a_split_is_asked_for_by_any_usual_name(tmp_path: Path) -> None:
    fill(tmp_path, ["Training/0.png", "Testing/1.png"])
    assert len(read_pictures(tmp_path, "Testing")[0]) == len(read_pictures(tmp_path, "TEST")[0]) == 1
    assert [split_of(name) for name in ("train", "cats", "trains", "test tube", "train test", "valid 2")] == [
        "train", None, None, None, None, "valid"
    ]  # fmt: skip


def test_without_valid_every_tenth_of_train_is_held_out(tmp_path: Path) -> None:
    pictures = fill(tmp_path, [*(f"train/{place:02}.png" for place in range(10)), "test/0.png"])
    assert names_of(pictures, read_pictures(tmp_path, "valid")[0].pictures) == ["train/09.png"]
    assert len(read_pictures(tmp_path, "train")[0]) == 9
    assert names_of(pictures, read_pictures(tmp_path, "test")[0].pictures) == ["test/0.png"]


def test_a_folder_called_train_among_classes_is_a_class(tmp_path: Path) -> None:
    fill(tmp_path, ["train/a.png", "plane/a.png"])
    assert read_pictures(tmp_path)[0].names == ("plane", "train")
    fill(tmp_path, ["train/red/b.png", "train/blue/b.png"], seed=10)
    with pytest.raises(UserError, match="got 'train', with folders in it, beside 'plane'; move these elsewhere"):
        read_pictures(tmp_path)


def test_train_alone_is_a_split(tmp_path: Path) -> None:
    fill(tmp_path, many("train/cat", "train/dog"))
    found, _ = read_pictures(tmp_path)
    assert (found.names, len(found), len(read_pictures(tmp_path, "valid")[0])) == (("cat", "dog"), 18, 2)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Train/a.png", "training/b.png", "test/c.png"], "one folder of the split 'train' in"),
        (["train1/a.png", "train2/b.png"], "one folder of the split 'train' in"),
        (["test/a.png", "val/b.png", "cats/c.png"], "expected a folder 'train' beside"),
        (["a_train/a.png", "a_test/a2.png", "b_train/b.png", "b_test/b2.png"], "expected one set of splits"),
        (["cats/train/a.png", "cats/test/b.png", "dogs/train/c.png"], "folders of classes below those of splits"),
        (["images/train/a.png", "images/val/b.png"], "images'$"),
        (["data/cats/a.png", "data/dogs/b.png"], "data' if these are the classes"),
        (["x/data/cats/a.png", "x/data/dogs/b.png"], "data' if these are the classes"),
        (["train/images/cats/a.png", "train/images/dogs/b.png", "val/images/cats/c.png"], "if these are the classes"),
        (["a.png", "b.png", "thumbs/c.png"], "2 beside the folders 'thumbs' and 1 in them; move them"),
        (["images/a.png", "test/b.png"], "got 'test' beside 'images'; move"),
        (["images/a.png", "test/images/b.png"], "got 'test', with folders in it, beside 'images'; move"),
        (["images/a.png", "test_images/b.png"], "'test_images' beside 'images'; move"),
        (["train/cat/a.png", "unlabelled/b.png"], "got 'train', with folders in it, beside 'unlabelled'; move"),
        (
            ["caf\u00e9/a.png", "cafe\u0301/b.png"],
            r"look different, got 'cafe\\u0301' and 'caf\\xe9'|got 'caf\\xe9' and",
        ),
        (["cat/a.png", "cat /b.png"], "look different, got 'cat ' and 'cat'"),
        (["train/Cat/a.png", "test/cat/b.png"], "one name for a class in all splits of '.*', got 'Cat', 'cat'; rename"),
    ],
)
def test_a_layout_that_may_mean_something_else_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    fill(tmp_path, names)
    for split in ("train", "valid", "test"):
        with pytest.raises(UserError, match=ONE_LINE) as error:
            read_pictures(tmp_path, split)
    with pytest.raises(UserError, match=message):
        read_pictures(tmp_path)
    del error


def test_a_split_in_other_folders_than_the_classes(tmp_path: Path) -> None:
    """As Tiny ImageNet is: the pictures of val and test are in a folder "images", without classes."""
    fill(tmp_path, [*many("train/n01/images", "train/n02/images", count=3), "val/images/0.png", "test/1.png"])
    train, words = read_pictures(tmp_path)
    assert (train.names, words) == (("n01", "n02"), ["without a class, for it is in no folder of one: 1 picture"] * 0)
    with pytest.raises(
        UserError, match=r"of the training pictures in '.*val' \('n01', 'n02'\), got 'images'; sort its pictures"
    ):
        read_pictures(tmp_path, "valid")
    test, words = read_pictures(tmp_path, "test")
    assert (test.labels, test.names) == (None, ())
    assert words == ["without a class, for it is in no folder of one: 1 picture, first 'test/1.png'"]


# -- classes -----------------------------------------------------------------------------------------------------------


def test_a_class_is_the_first_folder(tmp_path: Path) -> None:
    pictures = fill(
        tmp_path, ["dog/big/a.png", "cat/b.png", "cat/small/deep/a.png", "cat/big/c.png", "x/big/a.png", "stray.png"]
    )
    found, words = read_pictures(tmp_path)
    assert names_of(pictures, found.pictures) == sorted(set(pictures) - {"stray.png"})
    assert found.names == ("cat", "dog", "x")
    assert found.labels is not None and found.labels.dtype == np.int64
    assert found.labels.tolist() == [0, 0, 0, 1, 2]
    assert found.counts() == {"cat": 3, "dog": 1, "x": 1}
    assert words == ["left out, in no folder of a class: 1 picture, first 'stray.png'"]


@settings(deadline=None, max_examples=15)
@given(
    st.dictionaries(
        st.sampled_from(["ant", "bee", "cow"]),
        st.lists(st.sampled_from(["", "big/", "images/", "x/y/"]), min_size=1, max_size=4),
        min_size=2,
    ),
    st.sampled_from([("",), ("Train/", "Val/")]),
)
def test_folders_inside_of_a_class_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, classes: dict[str, list[str]], tops: tuple[str, ...]
) -> None:
    folder, names = tmp_path_factory.mktemp("deep"), []
    for top in tops:
        for name, inner in classes.items():
            names += [f"{top}{name}/{below}{place}.png" for place, below in enumerate(inner)]
    pictures = fill(folder, names)
    found, words = read_pictures(folder)
    assert found.names == tuple(sorted(classes)) and found.labels is not None and not words
    for picture, label in zip(found.pictures, found.labels, strict=True):
        (name,) = names_of(pictures, picture[None])
        assert name.removeprefix(tops[0]).split("/")[0] == found.names[label]


# -- the same picture twice --------------------------------------------------------------------------------------------


@POSIX
def test_links_are_no_copies(tmp_path: Path) -> None:
    pictures = fill(tmp_path, many("a", "b", count=15))
    for place in range(15):
        (tmp_path / f"a/0{place:02}.png").symlink_to(f"{place:02}.png")  # before what it leads to, by name
        os.link(tmp_path / f"b/{place:02}.png", tmp_path / f"b/x{place:02}.png")
    train, words = read_pictures(tmp_path)
    valid, _ = read_pictures(tmp_path, "valid")
    assert sorted(names_of(pictures, np.concatenate([train.pictures, valid.pictures]))) == sorted(pictures)
    assert (len(train), len(valid), words) == (27, 3, [f"{LINK}: 30 pictures, first 'a/000.png'"])


@POSIX
def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    pictures = fill(top, ["a/x.png"])
    fill(tmp_path, ["secret/s.png"])
    (top / "a" / "inside.png").symlink_to(top / "a" / "x.png")
    (top / "a" / "outside.png").symlink_to(tmp_path / "secret" / "s.png")
    (top / "a" / "self.png").symlink_to(top / "a" / "self.png")
    (top / "a" / "up").symlink_to(top)
    (top / "again").symlink_to(top / "a")
    (top / "secret").symlink_to(tmp_path / "secret")
    found, words = read_pictures(top)
    assert names_of(pictures, found.pictures) == ["a/x.png"]
    out, twice, unreadable = words
    assert out == "left out, a link to a folder or out of it: 4 pictures, first 'a/outside.png'"
    assert twice in (f"{LINK}: 1 picture, first 'a/inside.png'", f"{LINK}: 1 picture, first 'a/x.png'")
    assert "self.png' cannot be read" in unreadable


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 5), min_size=20, max_size=40), st.booleans())
def test_the_same_pixels_are_never_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory, shades: list[int], splits: bool
) -> None:
    """Copies in other files and other folders."""
    folder = tmp_path_factory.mktemp("copies")
    for place, shade in enumerate(shades):
        top = ("Train", "Val", "Test")[place % 3] if splits else ""
        name = folder / top / "ab"[place % 2] / f"{place:02}.{('png', 'PNG', 'apng')[place % 3]}"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((3, 3), 40 * shade, np.uint8)).save(
            name, **({"lossless": True} if name.suffix == ".webp" else {})
        )
    sides, left_out = {}, 0
    for split in ("train", "valid", *(["test"] * splits)):
        try:
            found, words = read_pictures(folder, split, channels=1)
        except UserError as error:
            assert split == "train" and SAME in str(error), "all of them are held out"
            return
        sides[split] = set(found.pictures[:, 0, 0, 0].tolist())
        if split == "train":
            left_out = sum(int(word.split(": ")[1].split()[0]) for word in words if word.startswith(SAME))
            kept = len(found)
    assert not sides["train"] & set().union(*(sides[split] for split in sides if split != "train"))
    whole = sum(place % 3 == 0 for place in range(len(shades))) if splits else len(shades) - len(shades) // 10
    assert kept + left_out == whole


def test_a_picture_in_two_classes_is_reported(tmp_path: Path) -> None:
    fill(tmp_path, ["a/0.png", "b/1.png"])
    (tmp_path / "b" / "copy.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    assert read_pictures(tmp_path)[1] == [
        "read twice, the same pixels are in two classes: 1 picture, first 'b/copy.png'"
    ]


def test_the_same_pixels_in_arrays(tmp_path: Path) -> None:
    x = noise(30, 3, 3)
    np.savez(tmp_path / "a.npz", x_train=np.concatenate([x, x[:4], x[9:10]]), x_test=x[2:7])
    train, words = read_pictures(tmp_path / "a.npz")
    known = set(train.digests())
    for split in ("valid", "test"):
        assert not known & set(read_pictures(tmp_path / "a.npz", split)[0].digests())
    assert words == [f"{SAME}: 8 pictures"]


# -- sizes, channels, suffixes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ["000.png", "zzz.png"])
def test_the_size_is_that_of_most(tmp_path: Path, odd: str) -> None:
    fill(tmp_path, [f"a{place}.png" for place in range(8)])
    fill(tmp_path, [odd], (8, 10, 3))
    found, words = read_pictures(tmp_path)
    assert found.pictures.shape == (8, 4, 5, 3)
    assert words == [
        f"left out, of another size than 4 x 5, as most are; give a size to have all resized: 1 picture, first {odd!r}"
    ]
    found, words = read_pictures(tmp_path, size=(4, 5))
    assert found.pictures.shape == (9, 4, 5, 3)
    assert words == [f"resized to 4 x 5 pixels: 1 picture, first {odd!r}"]
    for size in ((0, 5), (5, -1), (4097, 4096)):
        with pytest.raises(UserError, match="expected a size of 1 to 16,777,216 pixels"):
            read_pictures(tmp_path, size=size)


def test_many_sizes_need_one(tmp_path: Path) -> None:
    for number in range(4):
        fill(tmp_path, [f"{number}.png"], (4 + number, 5, 3))
    with pytest.raises(
        UserError, match=r"of one size in '.*', got 4 sizes, most often .* \(1 of 4\); give a size, as in"
    ):
        read_pictures(tmp_path)
    found, words = read_pictures(tmp_path, size=(4, 4))
    assert found.pictures.shape == (4, 4, 4, 3)
    assert words[0] == "edges cut off to the aspect ratio of 4 x 4: 3 pictures, first '0.png'"


def test_photographs_need_a_size(tmp_path: Path) -> None:
    Image.new("L", (6000, 4000)).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"of at most 16,777,216 pixels in '.*', got 4000 x 6000; give a size, as in"):
        read_pictures(tmp_path)
    assert read_pictures(tmp_path, size=(8, 8))[0].pictures.shape == (1, 8, 8, 1)


@pytest.mark.parametrize("odd", ["000.png", "zzz.png"])
def test_the_channels_are_those_of_most(tmp_path: Path, odd: str) -> None:
    colours = fill(tmp_path, ["a.png", "b.png"])
    grey = fill(tmp_path, [odd], (4, 5, 1), seed=5)[odd]
    found, words = read_pictures(tmp_path)
    assert {picture.tobytes() for picture in found.pictures} == {
        *(picture.tobytes() for picture in colours.values()), np.dstack([grey] * 3).tobytes()
    }  # fmt: skip
    assert words == [f"made RGB: 1 picture, first {odd!r}"]
    fill(tmp_path, ["c.png", "d.png"], (4, 5, 1), seed=6)
    found, words = read_pictures(tmp_path)
    assert found.pictures.shape == (5, 4, 5, 1)
    assert words == ["made grey: 2 pictures, first 'a.png'"]
    assert read_pictures(tmp_path, channels=3)[1] == [f"made RGB: 3 pictures, first {min(odd, 'c.png')!r}"]


def test_every_suffix_of_what_can_be_read(tmp_path: Path) -> None:
    kinds = {
        "png": "PNG", "apng": "PNG", "PNG": "PNG", "jpg": "JPEG", "Jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG",
        "JIF": "JPEG", "mpo": "MPO", "webp": "WEBP", "WebP": "WEBP",
    }  # fmt: skip
    for seed, (suffix, kind) in enumerate(kinds.items()):
        Image.fromarray(noise(4, 5, 3, seed=seed)).save(tmp_path / f"{seed:02}.{suffix}", kind)
    found, words = read_pictures(tmp_path, channels=3)
    assert len(found) == len(kinds) - 1 and len(read_pictures(tmp_path, "valid")[0]) == 1
    assert words == []


def test_what_is_no_picture_is_counted(tmp_path: Path) -> None:
    fill(tmp_path, ["a.png", ".hidden.png", ".cache/b.png", "__MACOSX/c.png"])
    for name in (
        "notes.txt",
        "more.TXT",
        "list.json",
        "photo.heic",
        "b.avif",
        "c.tiff",
        "plain",
        ".DS_Store",
        "LICENSE",
        "readme.md",
    ):
        (tmp_path / name).write_text("no picture")
    found, words = read_pictures(tmp_path)
    assert len(found) == 1
    assert sorted(words) == [
        "left out, hidden or previews: 3 files (folder 2, .png 1), first '.cache'",
        "left out, no picture by its suffix: 4 files (.txt 2, .json 1, without one 1), first 'list.json'",
        "left out, of a kind that is not read (save it as PNG): 3 files (.avif 1, .tiff 1, .heic 1), first 'b.avif'",
    ]
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match="got none; first: left out, hidden or previews: "):
        read_pictures(tmp_path)


def test_a_damaged_picture_never_ends_the_run(tmp_path: Path) -> None:
    fill(tmp_path, ["b.png", "c.png"])
    (tmp_path / "a.png").write_text("no picture")
    (tmp_path / "d.jpg").touch()
    found, words = read_pictures(tmp_path)
    assert len(found) == 2
    assert words[0] == "left out, cannot be read: 2 pictures"
    assert [("a.png" in word, "d.jpg" in word) for word in words[1:]] == [(True, False), (False, True)]
    for name in ("b.png", "c.png"):
        (tmp_path / name).write_text("no picture")
    with pytest.raises(UserError, match=r"in the split 'train' of '.*', got none; first: left out, cannot be read: 4 "):
        read_pictures(tmp_path)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got none; without folders of splits, every 10th is 'valid'"):
        read_pictures(tmp_path)
    for path in (tmp_path / "none", tmp_path / "none.npz"):
        with pytest.raises(
            UserError, match=r"expected a folder of pictures or of IDX files, or a \.npz file, got '.*none"
        ):
            read_pictures(path)


def test_changes_are_counted_by_kind(tmp_path: Path) -> None:
    for seed, name in enumerate(("a.png", "b.png")):
        Image.fromarray(noise(4, 5, 4, seed=seed)).save(tmp_path / name)
    assert read_pictures(tmp_path)[1] == ["transparency is put on white: 2 pictures, first 'a.png'"]


def test_resizing_cuts_the_edges_then_averages_or_interpolates(tmp_path: Path) -> None:
    def only(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        write_picture(tmp_path / "a.png", picture)
        found, _ = read_pictures(tmp_path, size=size)
        assert len(found) == 1
        return found.pictures.squeeze(0)

    wide = noise(4, 10, 3)
    middle = wide[:, 3:7].astype(float)
    assert np.abs(only(wide, (2, 2)) - middle.reshape(2, 2, 2, 2, 3).mean((1, 3))).max() <= 1
    assert np.array_equal(only(wide, (4, 4)), wide[:, 3:7])
    tall = noise(10, 4, 1)
    larger = Image.fromarray(tall[3:7, :, 0]).resize((8, 8), Image.Resampling.BICUBIC)
    assert np.array_equal(only(tall, (8, 8))[..., 0], np.asarray(larger))
    assert only(noise(1, 1, 1), (3, 7)).shape == (3, 7, 1)
    assert only(noise(200, 1, 3), (1, 50)).shape == (1, 50, 3)


# -- limits ------------------------------------------------------------------------------------------------------------


def test_limits_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [f"{place}/a.png" for place in range(5)])
    with monkeypatch.context() as patch:
        patch.setattr(folders, "MAX_PICTURES", 4)
        with pytest.raises(UserError, match="at most 4 pictures, got more"):
            read_pictures(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(folders, "MAX_CLASSES", 4)
        with pytest.raises(UserError, match="at most 4 folders of classes, got 5"):
            read_pictures(tmp_path)
    monkeypatch.setattr(files, "MAX_ARRAY_BYTES", 239)
    with pytest.raises(UserError, match="at most 239 bytes of pictures, got 240 with 4 of them; choose a smaller size"):
        read_pictures(tmp_path)
    assert read_pictures(tmp_path, channels=1)[0].pictures.shape == (5, 4, 5, 1)


def test_only_so_many_pictures_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, ["a.png"])
    for place in range(5):
        (tmp_path / f"b{place}.png").touch()
    monkeypatch.setattr(folders, "MAX_UNREADABLE", 2)
    words = read_pictures(tmp_path)[1]
    assert len(words) == 3
    assert words[0] == "left out, cannot be read: 5 pictures"
    assert "b1.png" in words[2]


def test_memory_grows_with_the_accepted_pictures_alone(tmp_path: Path) -> None:
    fill(tmp_path, [f"a{place}.png" for place in range(41)])
    write_picture(tmp_path / "b.png", np.zeros((400, 400, 3), np.uint8))  # 480,000 bytes
    for place in range(40):
        (tmp_path / f"c{place}.png").write_bytes((tmp_path / "b.png").read_bytes())

    def peak(read: Callable[[], object]) -> int:
        tracemalloc.start()
        read()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    fill(tmp_path, ["d.png"])
    assert peak(lambda: read_pictures(tmp_path)) < 4_000_000
