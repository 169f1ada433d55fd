"""The page that `triptych demo` makes: a section a panel. It needs no network and no server: relative links to the
files beside it, style inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from triptych import __version__
from triptych.cli.models import worded
from triptych.picture import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from triptych.music.piece import Piece

SHARPNESS = 1.5  # dots of a picture to a dot of the page, so that it is sharp on fine screens too
FACTS = {
    "domain": "Domain",
    "data": "Trained on",
    "parameters": "Parameters",
    "scores": "Scores",
    "license": "Licence",
}


def write_page(sections: Iterable[str], out: Path) -> Path:
    """Write `out`/index.html of sections of HTML; returns its path."""
    page = Template(files("triptych.cli").joinpath("gallery.html").read_text("utf-8"))
    path = out / "index.html"
    path.write_text(page.substitute(sections="\n".join(sections), version=__version__), "utf-8")
    return path


def section(name: str, title: str, text: str, body: Iterable[str]) -> str:
    """A section of the page; `title` and `text` are HTML."""
    head = f'<section aria-labelledby="{name}">\n<h2 id="{name}">{title}</h2>\n<p>{text}</p>'
    return "\n".join([head, *body, "</section>"])


def picture(figure: Figure, path: Path, out: Path, alternative: str) -> str:
    """Save a picture within `out` and return its element."""
    save(figure, path)
    return element(path, out, alternative, SHARPNESS)


def element(path: Path, out: Path, alternative: str, sharpness: float = 1.0) -> str:
    """The element of a picture within `out`; its size keeps the page from jumping."""
    from PIL import Image

    with Image.open(path) as image:
        width, height = (round(edge / sharpness) for edge in image.size)
    size = f'width="{width}" height="{height}"'
    return f'<img src="{path.relative_to(out).as_posix()}" {size} loading="lazy" alt="{escape(alternative)}">'


def heard(piece: Piece, path: Path, out: Path, suffixes: Sequence[str]) -> Iterator[str]:
    """A piece to hear, as files of these suffixes within `out`, and as a roll. path: of the files, without a suffix."""
    from triptych.music.roll import draw_roll

    for suffix in suffixes:
        piece.save(path.with_suffix(suffix))
    where = path.relative_to(out).as_posix()
    length = f"{len(piece.notes)} notes in {piece.seconds:.0f} seconds"
    yield f'<p><audio controls preload="none" src="{where}.wav"></audio></p>'
    links = (f'<a href="{where}{suffix}" download>{suffix[1:]}</a>' for suffix in suffixes)
    yield f'<p class="faint">{length}; as {", ".join(links)}</p>'
    roll = picture(draw_roll(piece), path.with_name(path.name + "-roll.png"), out, f"Piano roll of {length}.")
    yield f'<figure><div class="picture">{roll}</div></figure>'


def folded(summary: str, label: str, inner: str) -> str:
    """Something folded away that may be wider than the page: with a place in the tab order keys can scroll it."""
    return (
        f'<details><summary>{summary}</summary><div class="picture" role="region" tabindex="0" '
        f'aria-label="{escape(label)}">{inner}</div></details>'
    )


def facts(card: Mapping[str, Any]) -> str:
    """What a model's card says of itself, as a definition list."""
    rows = (f"<dt>{title}</dt><dd>{escape(worded(card[key]))}</dd>" for key, title in FACTS.items() if card.get(key))
    return "\n".join(["<dl>", *rows, "</dl>"])
