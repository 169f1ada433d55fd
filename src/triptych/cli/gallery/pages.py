"""The page that `triptych demo` makes: a section a panel. It needs no network and no server: relative links to the
files beside it, style inside.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from triptych import __version__
from triptych.cli.verbs.models import worded
from triptych.errors import UserError
from triptych.picture import save
from triptych.shape.files import MARK, read_sealed, sealed, temporary_of, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from triptych.music.piece.piece import Piece

SHARPNESS = 1.5  # dots of a picture to a dot of the page, so that it is sharp on fine screens too
CONTENTS = "contents.json"  # the digests of a gallery's files
FACTS = {"domain": "Domain", "data": "Trained on", "parameters": "Parameters", "scores": "Scores", "license": "Licence"}


def renewed(out: Path) -> Path:
    """A folder beside `out` to make the gallery in. Raises UserError where `out` is neither new nor empty nor a gallery
    as it was made.
    """
    if os.path.lexists(out) and (out.is_symlink() or not out.is_dir() or (any(out.iterdir()) and not _own(out))):
        raise UserError(f"expected a new folder or a gallery as it was made, got {out}, which holds other things")
    making = temporary_of(out.absolute(), MARK)
    if making.is_dir() and not making.is_symlink():
        shutil.rmtree(making)  # which a gallery was being made in, when that was ended
    making.mkdir(parents=True)
    return making


def finished(making: Path, out: Path) -> Path:
    """Put the gallery in its place, and the one before away; returns its page."""
    digests = {
        path.relative_to(making).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(making.rglob("*"))
        if path.is_file()
    }
    write_file(making / CONTENTS, sealed({"sha256": digests}))
    for path in _own(out) if out.is_dir() else ():
        path.rmdir() if path.is_dir() else path.unlink()
    out.mkdir(exist_ok=True)  # which may be where the person is
    for entry in (making / CONTENTS, *(path for path in making.iterdir() if path.name != CONTENTS)):
        entry.rename(out / entry.name)
    making.rmdir()
    return out / "index.html"


def _own(out: Path) -> list[Path]:
    """All that is in a gallery, the inner things first, if it is as it was made; else nothing."""
    try:
        digests = {**read_sealed(out / CONTENTS)["sha256"], CONTENTS: None}
    except (UserError, OSError, LookupError, TypeError):
        return []
    found = sorted(out.rglob("*"), reverse=True)
    for path in found:
        name = path.relative_to(out).as_posix()
        if path.is_symlink() or (path.is_file() and name not in digests):
            return []
        if path.is_file() and name != CONTENTS and hashlib.sha256(path.read_bytes()).hexdigest() != digests[name]:
            return []
    return found


def write_page(sections: Iterable[str], out: Path) -> Path:
    """Write `out`/index.html of sections of HTML; returns its path."""
    page = Template(files("triptych.cli.gallery").joinpath("page.html").read_text("utf-8"))
    path = out / "index.html"
    path.write_text(page.substitute(sections="\n".join(sections), version=__version__), "utf-8")
    return path


def section(name: str, title: str, text: str, body: Iterable[str]) -> str:
    """A section of the page; `title` and `text` are HTML."""
    head = f'<section aria-labelledby="{name}">\n<h2 id="{name}">{title}</h2>\n<p>{text}</p>'
    return "\n".join([head, *body, "</section>"])


def picture(drawn: Figure, path: Path, out: Path, alternative: str) -> str:
    """Save a picture within `out` and return its element."""
    save(drawn, path)
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
    from triptych.music.files.roll import draw_roll
    from triptych.music.files.save import save_music

    for suffix in suffixes:
        save_music(piece, path.with_suffix(suffix))
    where = path.relative_to(out).as_posix()
    length = f"{len(piece.notes)} notes in {piece.seconds:.0f} seconds"
    yield f'<p><audio controls preload="none" src="{where}.wav"></audio></p>'
    links = (f'<a href="{where}{suffix}" download>{suffix[1:]}</a>' for suffix in suffixes)
    yield f'<p class="faint">{length}; as {", ".join(links)}</p>'
    roll = picture(draw_roll(piece), path.with_name(path.name + "-roll.png"), out, f"Piano roll of {length}.")
    yield figure(roll)


def figure(inner: str, caption: str = "") -> str:
    """The element of a picture with its caption, which is HTML."""
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure><div class="picture">{inner}</div>{below}</figure>'


def folded(summary: str, label: str, inner: str) -> str:
    """Something folded away that may be wider than the page: with a place in the tab order keys can scroll it."""
    return (
        f'<details><summary>{summary}</summary><div class="picture" role="region" tabindex="0" '
        f'aria-label="{escape(label)}">{inner}</div></details>'
    )


def facts(card: Mapping[str, Any]) -> str:
    """A model's card, as a definition list."""
    shown = {key: _without_signatures(card[key]) for key in FACTS if card.get(key)}
    rows = (f"<dt>{FACTS[key]}</dt><dd>{escape(worded(value))}</dd>" for key, value in shown.items())
    return "\n".join(["<dl>", *rows, "</dl>"])


def _without_signatures(value: object) -> object:
    """Scores without sacreBLEU's signatures, which are long and of use to those alone who read the card."""
    if not isinstance(value, Mapping):
        return value
    return {key: _without_signatures(item) for key, item in value.items() if key != "signature"}
