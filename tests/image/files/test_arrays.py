import gzip
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.image.files import arrays
from triptych.image.files.arrays import MAX_ARRAY_BYTES, read_idx, read_npz
from triptych.image.files.pictures import read_pictures

ONE_LINE = r"^expected [^\n]*; [a-z][^\n]*$"


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, part: str, pictures: NDArray[np.uint8], labels: NDArray[np.uint8], *, packed: bool) -> None:
    folder.mkdir(exist_ok=True)
    for name, array in ((f"{part}-images-idx3-ubyte", pictures), (f"{part}-labels-idx1-ubyte", labels)):
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))


@pytest.mark.parametrize("packed", [True, False])
def test_splits_of_idx_files(tmp_path: Path, packed: bool) -> None:
    pictures, labels = noise(35, 4, 3), np.arange(35, dtype=np.uint8) % 10
    write_idx(tmp_path, "train", pictures[:30], labels[:30], packed=packed)
    write_idx(tmp_path, "t10k", pictures[30:], labels[30:], packed=packed)
    for split, chosen in [("train", slice(27)), ("valid", slice(27, 30)), ("test", slice(30, 35))]:
        found, words = read_pictures(tmp_path, split)
        assert np.array_equal(found.pictures, pictures[chosen, ..., None])
        assert found.labels is not None
        assert found.labels.dtype == np.int64
        assert np.array_equal(found.labels, labels[chosen])
        assert found.names == tuple("0123456789")
        assert words == []


@pytest.mark.parametrize(("count", "held_out"), [(1, 1), (12, 1), (13, 2), (60_000, 5_000), (70_000, 5_000)])
def test_the_last_twelfth_is_held_out_but_no_more_than_5000(tmp_path: Path, count: int, held_out: int) -> None:
    numbered = np.arange(count, dtype="<u4").view(np.uint8).reshape(count, 2, 2)  # no two are the same
    write_idx(tmp_path, "train", numbered, np.zeros(count, np.uint8), packed=False)
    assert len(read_pictures(tmp_path, "valid")[0]) == held_out
    if count > held_out:
        assert len(read_pictures(tmp_path)[0]) == count - held_out
    else:
        with pytest.raises(UserError, match=r"in the split 'train' of '.*', got none"):
            read_pictures(tmp_path)


def test_names_of_the_classes_of_idx_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, highest, names in [
        ("digits", 3, 10), ("letters", 25, 26), ("Fashion-MNIST", 9, 10), ("fashion-letters", 10, 11),
    ]:  # fmt: skip
        write_idx(tmp_path / folder, "t10k", noise(2, 4, 3), np.array([0, highest], np.uint8), packed=True)
        found = read_pictures(tmp_path / folder, "test")[0].names
        assert len(found) == names
        assert found[-1] == ("boot" if folder == "Fashion-MNIST" else str(names - 1))
    monkeypatch.chdir(tmp_path / "Fashion-MNIST")
    assert read_pictures(".", "test")[0].names[0] == "t-shirt"


def test_idx_files_without_labels(tmp_path: Path) -> None:
    write_idx(tmp_path, "t10k", noise(2, 4, 3), np.zeros(2, np.uint8), packed=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    found, words = read_pictures(tmp_path, "test")
    assert (found.labels, found.names) == (None, ())
    assert words == ["no file of labels beside t10k-images-idx3-ubyte.gz: the pictures are without classes"]
    with pytest.raises(UserError, match=r"expected train-images-idx3-ubyte in '.*' for the split 'train', got t10k-"):
        read_pictures(tmp_path)


def test_idx_files_that_contradict_each_other(tmp_path: Path) -> None:
    write_idx(tmp_path, "t10k", noise(2, 4, 3), np.zeros(3, np.uint8), packed=True)
    with pytest.raises(UserError, match="expected 2 labels, one a picture, got 3 in"):
        read_pictures(tmp_path, "test")


def test_channels_and_size_of_arrays(tmp_path: Path) -> None:
    pictures = noise(3, 4, 6)
    write_idx(tmp_path, "t10k", pictures, np.zeros(3, np.uint8), packed=True)
    found, words = read_pictures(tmp_path, "test", channels=3, size=(2, 2))
    assert found.pictures.shape == (3, 2, 2, 3)
    assert np.abs(found.pictures[..., 0] - pictures[:, :, 1:5].reshape(3, 2, 2, 2, 2).mean((2, 4))).max() <= 1
    assert np.array_equal(found.pictures[..., 0], found.pictures[..., 2])
    assert words == [
        "all made RGB",
        "edges of all cut off to the aspect ratio of 2 x 2",
        "all resized from 4 x 6 to 2 x 2 pixels",
    ]
    found, words = read_pictures(tmp_path, "test", channels=1, size=(4, 6))
    assert np.array_equal(found.pictures[..., 0], pictures)
    assert words == []


def test_arrays_are_not_enlarged_beyond_the_limit(tmp_path: Path) -> None:
    write_idx(tmp_path, "t10k", np.zeros((200, 1, 1), np.uint8), np.zeros(200, np.uint8), packed=True)
    with pytest.raises(UserError, match="at most 2,000,000,000 bytes of pictures, got 3,355,443,200 with 200 of them"):
        read_pictures(tmp_path, "test", size=(4096, 4096))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"\0\0\x08", "it ends in its header"),
        (b"\0\0\x08\3\0\0", "it ends in its header"),
        (idx(noise(9)) + bytes(9), "it begins with 00000801"),
        (b"\0\0\x0d\3" + bytes(12), "it begins with 00000d03"),
        (idx(noise(2, 3, 4))[:-1], "it ends after 23 of 24 bytes"),
        (idx(noise(2, 3, 4)) + b"\0", "it has more bytes than its header gives"),
        (b"\0\0\x08\3" + b"\xff" * 12, "bytes, more than 2,000,000,000"),
    ],
)
def test_a_damaged_idx_file_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    for path, content in ((tmp_path / "x", data), (tmp_path / "x.gz", gzip.compress(data))):
        path.write_bytes(content)
        with pytest.raises(UserError, match=ONE_LINE) as error:
            read_idx(path, 3)
        assert message in str(error.value)
        assert repr(str(path)) in str(error.value)


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    whole = gzip.compress(idx(noise(20, 3, 4)))
    for data in (idx(noise(20, 3, 4)), whole[:-30], whole[:20] + b"\xff" * 20 + whole[40:], whole[:-8] + bytes(8)):
        (tmp_path / "x.gz").write_bytes(data)
        with pytest.raises(UserError, match=ONE_LINE):
            read_idx(tmp_path / "x.gz", 3)


def peak(path: Path, read: Any, *arguments: object) -> tuple[int, str]:
    """Most memory that was taken by a read that is refused, and why it was."""
    tracemalloc.start()
    with pytest.raises(UserError, match=ONE_LINE) as error:
        read(path, *arguments)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most, str(error.value)


def test_no_more_of_a_gzip_file_is_unpacked_than_was_promised(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(noise(2, 3, 4)) + bytes(200_000_000)))
    most, message = peak(tmp_path / "x.gz", read_idx, 3)
    assert "more bytes than its header gives" in message
    assert most < 5_000_000


def npz(path: Path, *, packed: bool = False, **found: Any) -> Path:
    (np.savez_compressed if packed else np.savez)(path, **found)
    return path


@pytest.mark.parametrize("shape", [(25, 4, 3), (25, 4, 3, 1), (25, 4, 3, 3)])
@pytest.mark.parametrize("packed", [True, False])
def test_without_x_valid_every_tenth_picture_is_held_out(tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
    pictures, labels = noise(*shape), np.arange(25)
    path = npz(tmp_path / "a.npz", packed=packed, x_train=pictures, y_train=labels, x_test=255 - pictures[:2])
    for split, chosen in [("train", np.arange(25) % 10 != 9), ("valid", np.arange(25) % 10 == 9)]:
        found, words = read_pictures(path, split)
        assert np.array_equal(found.pictures, pictures.reshape(25, 4, 3, -1)[chosen])
        assert found.labels is not None
        assert np.array_equal(found.labels, labels[chosen])
        assert found.names == tuple(map(str, range(25)))
        assert words == []
    found, _ = read_pictures(str(path), "test")
    assert np.array_equal(found.pictures, 255 - pictures.reshape(25, 4, 3, -1)[:2])
    assert (found.labels, found.names) == (None, ())


def test_splits_that_are_there_are_taken_as_they_are(tmp_path: Path) -> None:
    pictures, labels = noise(40, 2, 2), np.arange(40)[:, None].astype(np.uint8)
    given: dict[str, Any] = {}
    for split, start in (("train", 0), ("valid", 12), ("test", 21)):
        given |= {f"x_{split}": pictures[start : start + 12], f"y_{split}": labels[start : start + 12]}
    path = npz(tmp_path / "a.npz", **given)
    for split, start, names in [("train", 0, 33), ("valid", 12, 33), ("test", 21, 33)]:
        found, _ = read_pictures(path, split)
        assert np.array_equal(found.pictures[..., 0], pictures[start : start + 12])
        assert found.labels is not None
        assert found.labels.tolist() == list(range(start, start + 12))
        assert len(found.names) == names
    few = npz(tmp_path / "b.npz", x_train=pictures, y_train=labels, x_test=pictures[:3], y_test=labels[:3])
    assert len(read_pictures(few, "test")[0].names) == 40  # the classes of training, whichever the test has


def test_transparent_arrays_are_put_on_white(tmp_path: Path) -> None:
    pictures = noise(4, 5, 6, 4)
    pictures[1, ..., 3] = 255
    path = npz(tmp_path / "a.npz", x_train=pictures)
    opacity = pictures[..., 3:] / 255
    expected = np.rint(pictures[..., :3] * opacity + 255 * (1 - opacity))
    found, words = read_pictures(path)
    assert np.array_equal(found.pictures, expected)
    assert words == ["transparency is put on white: 3 of 4 pictures"]
    pictures[..., 3] = 255
    found, words = read_pictures(npz(tmp_path / "b.npz", x_train=pictures))
    assert np.array_equal(found.pictures, pictures[..., :3])
    assert words == []


def test_class_names_of_an_npz_file(tmp_path: Path) -> None:
    given: dict[str, Any] = {"x_train": noise(2, 4, 3), "y_train": np.array([0, 2])}
    for names, expected in [
        (np.array(["cat", "do\ng", " ", "w" * 99]), ("cat", "dog", "2", "w" * 80)),
        (np.array([b"a", b"\xff", b"c"]), ("a", "�", "c")),
    ]:
        assert read_pictures(npz(tmp_path / "a.npz", class_names=names, **given))[0].names == expected
    for wrong in (np.array(["a", "b"]), np.array([1, 2, 3]), np.array([["a", "b", "c"]])):
        with pytest.raises(UserError, match="expected class_names as text, one for each of the labels to 2, got"):
            read_pictures(npz(tmp_path / "a.npz", class_names=wrong, **given))


def test_an_array_that_is_not_there(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x_train=noise(2, 4, 3), y_train=np.zeros(2, int))
    with pytest.raises(UserError, match=r"array 'x_test' in '.*', got 'x_train', 'y_train'; save it under that name"):
        read_pictures(path, "test")
    with pytest.raises(UserError, match=r"a whole array 'z', got '.*': it has no such array"):
        read_npz(path, "z")


@pytest.mark.parametrize(
    "pictures",
    [noise(2, 4), noise(2, 4, 3, 2), noise(0, 4, 3), noise(2, 0, 3), noise(2, 2, 2, 2, 2), np.zeros((2, 4, 3)),
     np.zeros((2, 4, 3), np.int8), np.array(["text"])],
)  # fmt: skip
def test_arrays_that_are_no_pictures(tmp_path: Path, pictures: NDArray[Any]) -> None:
    with pytest.raises(UserError, match=r"expected x_train as uint8 .* got .*; save it so"):
        read_pictures(npz(tmp_path / "a.npz", x_train=pictures))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3, int), "expected 2 labels, one a picture, got 3"),
        (np.zeros(2), "expected y_train as integers"),
        (np.zeros((1, 2), int), "expected y_train as integers"),
        (np.array([0, -1]), "expected labels from 0 to 99,999, got -1 to 0"),
        (np.array([0, 100_000]), "got 0 to 100000"),
        (np.array([0, 2**64 - 1], np.uint64), "got -1 to 0"),
    ],
)
def test_arrays_that_are_no_labels(tmp_path: Path, labels: NDArray[Any], message: str) -> None:
    with pytest.raises(UserError, match=ONE_LINE) as error:
        read_pictures(npz(tmp_path / "a.npz", x_train=noise(2, 4, 3), y_train=labels))
    assert message in str(error.value)


def test_columns_may_come_first(tmp_path: Path) -> None:
    array = np.asfortranarray(noise(2, 4, 3))
    assert np.array_equal(read_npz(npz(tmp_path / "a.npz", a=array), "a"), array)
    for given in (np.arange(6, dtype=">i4").reshape(2, 3), np.float16(2.5), np.array(["ä", "bc"]), np.zeros(0)):
        found = read_npz(npz(tmp_path / "a.npz", a=given), "a")
        assert np.array_equal(found, given)
        assert found.dtype == given.dtype


def test_nothing_pickled_is_loaded(tmp_path: Path) -> None:
    for wrong in (np.array([{}, []], object), np.zeros(2, [("a", int)]), np.zeros(2, "M8[s]"), np.zeros(2, complex)):
        with pytest.raises(UserError, match=r"got '.*': it is no array of numbers or text; make it anew"):
            read_npz(npz(tmp_path / "a.npz", a=wrong), "a")


def zipped(path: Path, content: bytes, kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("x_train.npy", content)
    return path


def npy(shape: str, content: bytes = b"", kind: str = "|u1") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is no array of numbers or text"),
        (npy("(1, 2, 2)", bytes(4))[1:], "it is no array of numbers or text"),
        (npy("(1, -2, 2)"), "it is no array of numbers or text"),
        (npy("(1, 2, 2)", kind="|O"), "it is no array of numbers or text"),
        (npy("(1, 2, 2)", kind="<U0"), "it is no array of numbers or text"),
        (npy("(1, 2, 2)", bytes(3)), "its header gives 4 bytes, and the zip"),
        (npy("(1, 2, 2)", bytes(5)), "its header gives 4 bytes, and the zip"),
        (npy("(99999999999, 1, 1000)"), "its header gives 99,999,999,999,000 bytes, and the zip"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    most, why = peak(zipped(tmp_path / "a.npz", content), read_pictures)
    assert message in why
    assert most < 5_000_000


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.npz", npy("(1, 2, 2)", bytes(300_000_000)))
    most, message = peak(path, read_pictures)
    assert "its header gives 4 bytes" in message
    assert most < 5_000_000


def test_an_honest_array_may_still_be_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(tmp_path / "a.npz", x_train=noise(2, 4, 3))
    monkeypatch.setattr(arrays, "MAX_ARRAY_BYTES", 24)
    assert read_npz(path, "x_train").size == 24
    monkeypatch.setattr(arrays, "MAX_ARRAY_BYTES", 23)
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("made room"))
    with pytest.raises(UserError, match="it has 24 bytes, more than 23"):
        read_npz(path, "x_train")
    assert MAX_ARRAY_BYTES == 2_000_000_000


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_a_limit_are_refused(tmp_path: Path, kind: int) -> None:
    path = zipped(tmp_path / "a.npz", npy("(1, 2, 2)", bytes(4)), kind)
    with pytest.raises(UserError, match="it is compressed as NumPy does not do it"):
        read_pictures(path)


def test_a_zip_of_many_members_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(tmp_path / "a.npz", x_train=noise(2, 4, 3))
    data = path.read_bytes()
    at = data.rfind(b"PK\5\6") + 12
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("listed"))
    path.write_bytes(data[:at] + struct.pack("<I", 1 << 21) + data[at + 4 :])
    with pytest.raises(UserError, match="it has too many members; make it anew"):
        read_pictures(path)
    path.write_bytes(data[: at - 12] + b"PK\6\7" + bytes(16) + data[at - 12 :])
    with pytest.raises(UserError, match="it is larger than 4 GB, or made as if it were"):
        read_pictures(path)


def test_a_damaged_zip(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x_train=noise(9, 9, 9))
    data = bytearray(path.read_bytes())
    for changed in (b"", b"text", bytes(data[:-30]), bytes(data[40:])):
        path.write_bytes(changed)
        with pytest.raises(UserError, match=ONE_LINE):
            read_pictures(path)
    data[500] ^= 1  # within the pixels, where only a check sum shows it
    path.write_bytes(data)
    with pytest.raises(UserError, match="Bad CRC-32"):
        read_pictures(path)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"),
        ("train-images.idx3-ubyte", "t10k-images.idx3-ubyte"),
        ("Train-Images.idx3-ubyte.gz", "T10k-Images.idx3-ubyte.gz"),
        ("train-images.idx3", "t10k-images.idx3"),
        ("emnist-letters-train-images-idx3-ubyte.gz", "emnist-letters-test-images-idx3-ubyte.gz"),
    ],
)
def test_idx_files_by_any_usual_name(tmp_path: Path, train: str, test: str) -> None:
    pictures, labels = noise(29, 4, 3), np.arange(29, dtype=np.uint8) % 3
    for name, chosen in ((train, slice(24)), (test, slice(24, None))):
        beside = name.replace("idx3", "idx1").replace("images", "labels").replace("Images", "Labels")
        for called, array in ((name, pictures[chosen]), (beside, labels[chosen])):
            data = idx(array)
            (tmp_path / called).write_bytes(gzip.compress(data) if called.endswith(".gz") else data)
    for split, chosen in (("train", slice(22)), ("valid", slice(22, 24)), ("test", slice(24, None))):
        found, words = read_pictures(tmp_path, split)
        assert np.array_equal(found.pictures[..., 0], pictures[chosen]) and not words
        assert found.labels is not None and np.array_equal(found.labels, labels[chosen])


def test_idx_files_of_several_data_sets_are_not_mixed(tmp_path: Path) -> None:
    for name in ("a-train-images-idx3-ubyte", "b-train-images-idx3-ubyte"):
        (tmp_path / name).write_bytes(idx(noise(20, 2, 2)))
    with pytest.raises(UserError, match=r"one data set of IDX files in .*, got a-train.*, b-train.*; move each into"):
        read_pictures(tmp_path)


@pytest.mark.parametrize("shape", [(0, 8, 8), (3, 0, 8)])
def test_idx_files_without_pictures(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros(shape, np.uint8)))
    with pytest.raises(UserError, match=r"expected pictures in .*, got (none|3 without pixels)"):
        read_pictures(tmp_path)
