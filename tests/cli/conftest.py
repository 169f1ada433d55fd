"""A translator that needs no training: it translates by turning words round, so that the verbs can be seen at work."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import torch

from triptych.cli.main import main
from triptych.decode.maps import AttentionMaps
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.text.codec import TextCodec
from triptych.text.score import Scores
from triptych.text.translator import Translation
from triptych.train.run.package import Outcome

LINES = ["A brown dog sees two small cats.", "Ein brauner Hund sieht zwei kleine Katzen.", "Übergröße: 'ja', & <nein>."]


class Translator:
    """Stands in for the real one; `calls` remembers what the verbs asked for."""

    calls: list[tuple[str, Any]]

    def __init__(self) -> None:
        self.codec = TextCodec.train(LINES, 296)
        torch.manual_seed(0)
        config = Config(self.codec.vocabulary, width=16, heads=2, feed_forward=16, encoder_layers=2, decoder_layers=2)
        self.model = Transformer(config).eval()
        self.card = {
            "name": "turned",
            "domain": "turned words & <more>",
            "parameters": 1234,
            "languages": {"target": "de"},
        }

    def with_dropout(self, probability: float | None) -> "Translator":
        return self

    def refused(self, lines: Sequence[str]) -> dict[int, str]:
        return {place: "over 100 characters" for place, line in enumerate(lines) if len(line) > 100}

    def translate(self, lines: Sequence[str], **options: Any) -> list[list[Translation]]:
        self.calls.append(("translate", {"lines": len(lines), **options}))
        return [
            [
                Translation(
                    " ".join(reversed(line.split())),
                    -0.5 - rank,
                    tuple(line.split()),
                    tuple(self.codec.pieces(self.codec.encode(line))),
                )
                for rank in range(options.get("nbest", 1))
            ]
            for line in lines
        ]

    def sample(self, lines: Sequence[str], sampling: Any, seed: int, **options: Any) -> list[Translation]:
        self.calls.append(("sample", (sampling, seed, options)))
        return [Translation(line.upper(), -1.0, (), ()) for line in lines]

    def evaluate(self, pairs: Any, **options: Any) -> Scores:
        self.calls.append(("evaluate", options))
        return Scores(41.0, 40.0, 60.0, "s", len(pairs), float("inf"))

    def fit(self, pairs: Any, **options: Any) -> Outcome:
        self.calls.append(("fit", options))
        return Outcome(options["out"].path, 2.5, "the last epoch is done", 3, 4.0)

    def attention(self, text: str, translation: str) -> tuple[list[int], list[int], AttentionMaps]:
        source, target, maps = self.codec.encode(text), self.codec.encode(translation), AttentionMaps()
        with torch.no_grad():
            self.model(torch.tensor([target]), source=torch.tensor([source]), maps=maps)
        return source, target, maps


@pytest.fixture
def translator(monkeypatch: pytest.MonkeyPatch) -> Translator:
    """The stand-in, put where the verbs look for `triptych.text.translator`."""
    instance = Translator()
    Translator.calls = []

    class Loaded:
        @staticmethod
        def load(name: str, **options: Any) -> Translator:
            Translator.calls.append(("load", {"name": name, **options}))
            return instance

        @staticmethod
        def new(pairs: Any, **options: Any) -> Translator:
            Translator.calls.append(("new", options))
            return instance

    module = ModuleType("triptych.text.translator")
    module.Translator = Loaded  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triptych.text.translator", module)
    return instance


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Run the command in this process."""

    def command(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    yield command
