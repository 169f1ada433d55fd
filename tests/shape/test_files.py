import errno
import os
from pathlib import Path

import pytest

from triptych.shape.files import write_file, write_folder


def test_write_file_replaces(tmp_path: Path) -> None:
    write_file(tmp_path / "deep" / "file", b"one")
    write_file(tmp_path / "deep" / "file", b"two")
    assert (tmp_path / "deep" / "file").read_bytes() == b"two"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_write_folder_replaces_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", {"a": b"1", "b": b"2"})
    write_folder(tmp_path / "model", {"a": b"3"}, replaced=["a", "b"])
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == {"a": b"3"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failure_leaves_the_old_and_no_litter(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", {"a": b"1"})
    with pytest.raises(TypeError):
        write_folder(tmp_path / "model", {"a": b"2", "b": "not bytes"}, replaced=["a"])  # type: ignore[dict-item]
    assert (tmp_path / "model" / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_file(tmp_path / "file", b"x")
    assert caught.value.filename == str(tmp_path / "file") and caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_what_a_crash_left_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".model.old").mkdir()
    (tmp_path / ".model.old" / "a").write_bytes(b"0")
    for data, before in ((b"1", []), (b"2", ["a"])):
        write_folder(tmp_path / "model", {"a": data}, replaced=before)
    assert (tmp_path / "model" / "a").read_bytes() == b"2"


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file" / "inner", Path("/proc/x.mid")):
        with pytest.raises(OSError) as error:
            write_file(place, b"1")
        assert error.value.filename in (str(place), place.parent, str(place.parent))
