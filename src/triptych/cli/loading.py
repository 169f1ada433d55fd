"""A model or data for a verb. Terms narrower than the code's licence are printed at a model's first use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from triptych.cli.output import progress, say, say_about

if TYPE_CHECKING:
    from triptych.cli.options import Machine
    from triptych.image.codec import Pixels
    from triptych.image.files.pictures import Pictures
    from triptych.image.painter import Painter
    from triptych.music.chorales.codec import Grid
    from triptych.music.chorales.composer import Composer
    from triptych.music.performances.pianist import Pianist
    from triptych.music.performances.shards import Shards
    from triptych.text.translator import Translator
    from triptych.trained import Engine

Loaded = TypeVar("Loaded", "Translator", "Painter", "Composer", "Pianist")
MAX_WORDS = 10  # printed about the files of a split
MAX_NAME_LENGTH = 50  # characters of a model's name, as far as it is part of a file's name: the system takes 255 bytes


def load(kind: type[Loaded], model: str, machine: Machine, engine: Engine = "auto") -> Loaded:
    """Load the model of that name as a product of a kind, and print its terms at their first use."""
    loaded = kind.load(named(model), dtype=machine.dtype, engine=engine, **machine.place)
    say_terms(loaded.card)
    return loaded


def named(model: str) -> str:
    """The name of a model as it was given, with a note where a folder here has the name of a shipped model."""
    from triptych.shape.store import is_model, ships

    if model in ships() and is_model(Path(model)):
        say(f"note: {model} is the shipped model; the folder of that name is ./{model}")
    return model


def plays_performances(model: str) -> bool:
    """Whether the model of that name is a pianist and no composer: by its codec. Raises UserError for others."""
    from triptych.music.chorales.codec import FILE as CHORALE
    from triptych.music.performances.codec import FILE as PERFORMANCE
    from triptych.shape.store import another_kind, locate, read_card

    card = read_card(locate(model))
    if PERFORMANCE not in card["sha256"] and CHORALE not in card["sha256"]:
        raise another_kind("a model of chorales or of piano performances", model, card)
    return PERFORMANCE in card["sha256"]


def load_pictures(
    paths: Sequence[Path],
    split: str,
    *,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    known: set[str] | None = None,
) -> Pictures:
    """Read the pictures of a split of all these sets, and say what was changed or left out, but for words that are
    `known`; new words are added to these.
    """
    from triptych.image.data import joined
    from triptych.image.files.pictures import read_pictures

    sets, known = [], set() if known is None else known
    for path in paths:
        pictures, words = read_pictures(path, split, channels=channels, size=size)
        new = [word for word in dict.fromkeys(f"{path}: {word}" for word in words) if word not in known]
        known.update(new)
        say_some(new, f"about the split {split!r}")
        sets.append(pictures)
    return joined(sets)


def read_for(path: Path, painter: Painter, size: tuple[int, int] | None = None) -> tuple[Pixels, tuple[int, int]]:
    """The picture of a file with the model's channels, in its size or another (height, width), and the size it had;
    prints what was changed.
    """
    from triptych.image.files.pictures import read_resized

    asked = size or painter.codec.shape[:2]
    picture, whole, words = read_resized(path, asked, channels=painter.codec.channels)
    say_about(path, words)
    return picture, whole


def load_chorales(path: Path, split: str) -> list[Grid]:
    """Read the chorales of a split, and say what was changed or left out."""
    from triptych.music.chorales.data import read_chorales

    grids, words = read_chorales(path, split)
    say_some(words, f"about the split {split!r}")
    return grids


def load_shards(path: Path, place: Path, *, melody: bool = False, again: bool = False) -> Shards:
    """Prepared music: that of a folder, or of a folder or zip of MIDI files, prepared in `place`, or there already if
    it is asked for again. Of several processes the first one prepares, and the others wait for it.
    """
    from triptych.music.performances.shards import INDEX, Shards
    from triptych.train.processes import Processes

    if (path / INDEX).is_file():
        return Shards(path)
    if again and (place / INDEX).is_file():
        return Shards(place)
    processes = Processes.join()
    if processes.is_main:
        say_some(prepared(path, place, melody=melody)[1], f"about {path}")
    processes.wait_for_main()
    return Shards(place)


def prepared(path: Path, out: Path, **settings: Any) -> tuple[Shards, list[str]]:
    """What `prepare` makes of MIDI files, while a bar shows how many are done."""
    from triptych.music.performances.shards import prepare

    with progress() as bar:
        job = bar.add_task("reading")
        return prepare(path, out, progress=lambda done, count: bar.update(job, completed=done, total=count), **settings)


def say_some(words: Sequence[str], about: str) -> None:
    """Say some words, and how many more there are."""
    for word in words[:MAX_WORDS]:
        say(word)
    if len(words) > MAX_WORDS:
        say(f"and {len(words) - MAX_WORDS:,} more words of this kind {about}")


def say_terms(card: Mapping[str, Any]) -> None:
    """Print the card's `notice`, unless this machine has seen it; in a read-only home every time."""
    notice = card.get("notice")
    if not notice:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    seen = cache / "triptych" / f"{Path(str(card.get('name', 'model'))).name[:MAX_NAME_LENGTH]}.seen"
    with contextlib.suppress(OSError, UnicodeError):
        if seen.is_file() and seen.read_text("utf-8") == str(notice):
            return
    say(f"note: {notice}")
    with contextlib.suppress(OSError):
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.write_text(str(notice), "utf-8")
