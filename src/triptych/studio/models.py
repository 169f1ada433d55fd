"""The models of the studio: what ships and what a person has named, each loaded when it is first used."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.errors import UserError, remedy
from triptych.shape.config import Config
from triptych.shape.plain import from_json, read_bounded
from triptych.shape.store import CONFIG, RUN, WEIGHTS, locate, read_card, ships
from triptych.studio.work import RefusedError, watch
from triptych.trained import Trained

# The panel and the tasks of a model, and its product, by the file of its codec; tasks with an encoder are the second.
KINDS: dict[str, tuple[str, tuple[str, str], str]] = {
    "tokenizer.model": ("words", ("translate", "translate"), "triptych.text.translator.Translator"),
    "picture.json": ("pixels", ("paint", "complete"), "triptych.image.painter.Painter"),
    "chorale.json": ("notes", ("compose", "infill"), "triptych.music.chorales.composer.Composer"),
    "performance.json": ("notes", ("play", "accompany"), "triptych.music.performances.pianist.Pianist"),
}
SHOWN = ("domain", "data", "license", "notice", "scores")
FIRST = ("captions-en-de", "fashion", "fashion-complete", "emoji-upscale", "chorales", "chorales-infill", "piano")


class _Watched(Trained):
    """A model whose generation ends when the job that it is for does. Threads may share it: caches are their own."""

    def decoder(self) -> Any:
        from triptych.decode.decoder import WatchedDecoder

        return WatchedDecoder(super().decoder(), watch)


@dataclass
class Entry:
    """A model of the studio. given: the name by which the command finds it."""

    name: str
    given: str
    folder: Path
    card: dict[str, Any]
    config: Config
    file: str
    threads: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    product: Any = None

    @classmethod
    def of(cls, given: str, threads: int) -> Entry:
        """The model of a name that a person gave. UserError where there is none of a kind that we know."""
        folder = locate(given)
        card = read_card(folder)
        file = next((file for file in KINDS if file in card["sha256"]), None)
        if file is None:
            raise UserError(f"expected a model that translates, paints or composes, got {given}; name another")
        path = folder / CONFIG
        run = Path(given)
        name = card["name"] if given in ships() or not (run / RUN).is_file() else run.resolve().name
        return cls(name, given, folder, card, Config.from_dict(from_json(read_bounded(path), path)), file, threads)

    @property
    def task(self) -> str:
        """What the model is for."""
        if self.file == "picture.json" and self.codec["factor"] > 1:
            return "upscale"
        return KINDS[self.file][1][self.config.encoder_layers > 0]

    @property
    def codec(self) -> dict[str, Any]:
        """The codec's file, where it is JSON."""
        path = self.folder / self.file
        return {} if path.suffix != ".json" else from_json(read_bounded(path, 2**23), path)

    def load(self) -> Any:
        """The product, made at the first call."""
        with self.lock:
            if self.product is None:
                from importlib import import_module

                module, name = KINDS[self.file][2].rsplit(".", 1)
                kind = getattr(import_module(module), name)
                loaded = _Watched.load(self.given, kind.codec_file, kind.kind, threads=self.threads, engine="plan")
                loaded.decoder()  # so that weights which do not fit are known now
                self.product = kind(loaded)
            return self.product

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain, codec = self.config.to_dict(), self.codec
        names = ("width", "heads", "encoder_layers", "decoder_layers", "feed_forward", "pattern")
        picture = None
        labels = list(codec.get("labels", ()))
        if self.file == "picture.json":
            from triptych.image.codec import PictureCodec

            order = PictureCodec(**{**codec, "labels": ()})
            sizes = ("height", "width", "channels", "cell", "block", "factor", "positions", "tokens")
            picture = {name: getattr(order, name) for name in sizes}
        if self.file == "chorale.json" and self.config.classes and self.card.get("labelled") is not False:
            from triptych.music.piece.key import Key

            labels = ["major", "minor", *(Key(tonic, minor).name for minor in (False, True) for tonic in range(12))]
        languages = self.card.get("languages")
        return {
            "name": self.name,
            "panel": KINDS[self.file][0],
            "task": self.task,
            "shipped": self.given in ships(),
            "loaded": self.product is not None,
            "parameters": self.card.get("parameters"),
            "bytes": (self.folder / WEIGHTS).stat().st_size,
            **{key: self.card.get(key) for key in SHOWN},
            "config": {key: plain[key] for key in names},
            "languages": languages if isinstance(languages, dict) else None,
            "labels": labels,
            "picture": picture,
        }


class Models:
    """All models of the studio by name, those that a person has named first."""

    def __init__(self, given: Sequence[str] = (), threads: int = 1) -> None:
        self.entries: dict[str, Entry] = {}
        shipped = sorted(ships(), key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
        for name in dict.fromkeys([*given, *shipped]):
            entry = Entry.of(name, threads)
            plain, number = entry.name, 1
            while entry.name in self.entries:
                number += 1
                entry.name = f"{plain}-{number}"
            self.entries[entry.name] = entry

    def find(self, name: str | None, *tasks: str) -> tuple[Entry, Any]:
        """The model of that name, or the first one, for one of these tasks, and its product. Refused where there is
        none.
        """
        able = {entry.name: entry for entry in self.entries.values() if entry.task in tasks}
        name = next(iter(able), "") if name is None else name
        if name not in able:
            known = remedy("" if name in self.entries else name, list(able))
            raise RefusedError(f"expected a model to {' or '.join(tasks)}, got {name or 'none'}; {known}")
        return able[name], able[name].load()
