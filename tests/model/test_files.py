from pathlib import Path

import pytest

from triptych.model.files import write_file, write_folder


def test_write_file_replaces(tmp_path: Path) -> None:
    write_file(tmp_path / "deep" / "file", b"one")
    write_file(tmp_path / "deep" / "file", b"two")
    assert (tmp_path / "deep" / "file").read_bytes() == b"two"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_write_folder_replaces_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", {"a": b"1", "b": b"2"})
    write_folder(tmp_path / "model", {"a": b"3"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == {"a": b"3"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failure_leaves_the_old_and_no_litter(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", {"a": b"1"})
    with pytest.raises(TypeError):
        write_folder(tmp_path / "model", {"a": b"2", "b": "not bytes"})  # type: ignore[dict-item]
    assert (tmp_path / "model" / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
