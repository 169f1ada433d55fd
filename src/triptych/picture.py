"""Writing a picture: the formats there are, and files that are the same twice."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.errors import UserError
from triptych.shape.files import write_file
from triptych.shape.marks import marked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
MAX_PIXELS = 4_000  # along an edge of a picture


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG, SVG or PDF by the suffix of `path`, cut to what is drawn; makes the folder."""
    check_picture(path)
    suffix, data = path.suffix.lower(), io.BytesIO()
    dpi = min(150.0, MAX_PIXELS / max(figure.get_size_inches()))
    undated: dict[str, Any] = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with warnings.catch_warnings():
        # A script that no installed font has is drawn as boxes, and the numbers are right all the same.
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        figure.savefig(data, format=suffix[1:], dpi=dpi, bbox_inches="tight", pad_inches=0.12, metadata=undated[suffix])
    write_file(path, marked(data.getvalue(), suffix))


def check_picture(path: Path) -> None:
    """Complain about a picture format that is none of ours, before any work is done."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"expected a picture named *{', *'.join(FORMATS)}, got {path.name!r}; change the suffix")
