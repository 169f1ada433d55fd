from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from triptych.errors import UserError
from triptych.picture import MAX_PIXELS, check_picture, save


def test_formats() -> None:
    check_picture(Path("a.PNG"))
    with pytest.raises(UserError, match=r"\*\.png, \*\.svg, \*\.pdf, got 'a\.jpg'"):
        check_picture(Path("x/a.jpg"))


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".SVG", b"<?xml"), (".pdf", b"%PDF")])
def test_the_suffix_decides_and_the_folder_is_made(tmp_path: Path, suffix: str, start: bytes) -> None:
    figure = Figure(figsize=(1, 1))
    figure.add_subplot()
    path = tmp_path / "new" / f"a{suffix}"
    save(figure, path)
    assert path.read_bytes().startswith(start)


def test_a_wrong_suffix_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="change the suffix"):
        save(Figure(), tmp_path / "new" / "a.gif")
    assert not (tmp_path / "new").exists()


def test_a_large_figure_stays_a_picture(tmp_path: Path) -> None:
    figure = Figure(figsize=(60, 1))
    figure.add_axes((0, 0, 1, 1))
    save(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert MAX_PIXELS <= image.width < MAX_PIXELS * 1.1
