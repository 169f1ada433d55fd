"""New inputs, heads and relations, in this file alone: they train, step, prefill, beam, save and load."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.attention.attend import attend
from triptych.attention.dense import dense
from triptych.decode.history import History
from triptych.decode.interpreter import PlanDecoder
from triptych.decode.plan import plan_of
from triptych.decode.steps import inputs as steps
from triptych.decode.steps.inputs import Rows, Stateless
from triptych.errors import UserError
from triptych.generation.beam import beam_search
from triptych.generation.sample import generate
from triptych.model import heads, inputs
from triptych.model.batch import Batch
from triptych.model.decoder import TorchDecoder
from triptych.model.heads.base import Categorical, Head
from triptych.model.heads.cross_entropy import log_probabilities
from triptych.model.inputs.base import Input
from triptych.model.layers.dropout import Dropout
from triptych.model.transformer import Transformer
from triptych.model.weights import arrays_of, save_transformer, transformer_of
from triptych.shape import parts
from triptych.shape.config import Config
from triptych.shape.parts import Tokens
from triptych.shape.pattern import Full, Local1D, Local2D, Pattern
from triptych.shape.relations import RELATIONS, Layer, RelationSettings, Row
from triptych.shape.store import read_model


@dataclass(frozen=True)
class Counted:
    """A token a position, and the sum of all ids so far, modulo `modulus`."""

    modulus: int = 3
    size: int = 1

    def check(self, config: Config) -> None:
        if not 2 <= self.modulus <= 9:
            raise UserError(f"expected a modulus of 2 to 9, got {self.modulus}")

    def of_source(self) -> Tokens:
        return Tokens()


@dataclass(frozen=True)
class Untied:
    """An output matrix of its own, with a bias."""

    def check(self, config: Config) -> None:
        """It goes with everything."""


class CountedSteps(Stateless):
    def __init__(self, config: Config, rows: int) -> None:
        assert isinstance(config.input, Counted)
        self.modulus = config.input.modulus

    def read(self, history: History) -> Sequence[Rows]:
        if not history.length:
            return ()
        total = history.ids[:, : history.length, 0].sum(1, keepdims=True) % self.modulus
        return Rows("tokens", history.last()[:, None]), Rows("sums", total, np.full(total.shape, 0.5))


class CountedInput(Input):
    def __init__(self, settings: Counted, vocabulary: int, config: Config) -> None:
        super().__init__()
        self.modulus = settings.modulus
        self.embedding = nn.Embedding(vocabulary, config.width)
        self.sums = nn.Embedding(settings.modulus, config.width)

    def read(self, ids: Tensor) -> Tensor:
        return self.embedding(ids) + 0.5 * self.sums(ids.cumsum(1) % self.modulus)  # type: ignore[no-any-return]

    def tables(self) -> Mapping[str, tuple[Tensor, float]]:
        return {"tokens": (self.embedding.weight, 1.0), "sums": (self.sums.weight, 1.0)}


class UntiedHead(Head):
    def __init__(self, settings: Untied, config: Config, source: Input) -> None:
        super().__init__()
        self.output = nn.Linear(config.width + 1, config.vocabulary)

    def whole(self, hidden: Tensor, batch: Batch, drop: Dropout | None) -> Categorical:
        return Categorical(self._joined(hidden), self.output.weight, batch)

    def begin(self, hidden: Tensor, history: History) -> Tensor:
        return self._joined(hidden[:, 0])

    def step(self, begun: Tensor, history: History) -> Tensor:
        return log_probabilities(begun, self.output.weight)

    def _joined(self, hidden: Tensor) -> Tensor:
        return torch.cat((hidden, torch.ones_like(hidden[..., :1])), -1)


@dataclass(frozen=True)
class ByOctave(RelationSettings):
    """By whether a distance is a multiple of `size`, and how many it is more: rows that no shift of a table gives."""

    def rows(self, layer: Layer) -> int:
        return self.size

    def row(self, layer: Layer) -> Row:
        return lambda query, key: (query - key) % self.size


@dataclass(frozen=True)
class ByKind(RelationSettings):
    """By which of `size` kinds of tokens the two have read, in every layer: a table of pairs, of which some are far."""

    reads = True

    def rows(self, layer: Layer) -> int:
        return self.size**2

    def row(self, layer: Layer) -> Row:
        return lambda query, key: query * self.size + key

    def coordinates(self, positions: Any, read: Any) -> tuple[Any, Any]:
        kind = read.sum(-1) % (self.size + 1)  # MISSING is one of them
        return kind, kind


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setitem(parts.INPUTS, "counted", Counted)
    monkeypatch.setitem(parts.HEADS, "untied", Untied)
    monkeypatch.setitem(steps.STEPS, Counted, CountedSteps)
    monkeypatch.setitem(inputs.MODULES, Counted, CountedInput)
    monkeypatch.setitem(heads.MODULES, Untied, UntiedHead)
    shape = {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0}
    parts_of = {"input": {"kind": "counted", "modulus": 4}, "head": "untied"}
    return Config.from_dict({"vocabulary": 9, "source_vocabulary": 9, "norm": "pre", **shape, **parts_of})


def batch_of(rows: int, length: int) -> Batch:
    """The target is the source, so that there is something to learn; 1 is END."""
    ids = torch.randint(2, 9, (rows, length), generator=torch.Generator().manual_seed(0))
    ids[:, -1] = 1
    lengths = torch.full((rows,), length)
    return Batch(ids, lengths, ids, lengths)


def test_it_trains_steps_prefills_beams_saves_and_loads(config: Config, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, batch = Transformer(config), batch_of(8, 7)
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss, _ = model.loss(batch, 0.1)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if name != "head.output.bias")

    decoder, source = TorchDecoder(model), batch.source.numpy()  # type: ignore[union-attr]
    target = batch.target.numpy()
    want = model(batch.target, source=batch.source).log_softmax(-1).detach().numpy()
    for taken in (0, 4):
        rows = decoder.start(length=7, source=source)
        assert decoder.prefill(target[:, :taken], rows).shape[1] == taken
        for at in range(taken, 7):
            got = decoder.step(target[:, at - 1] if at else None, rows)
            np.testing.assert_allclose(got, want[:, at], atol=1e-5)

    sampled = list(generate(decoder, decoder.start(length=7, source=source), steps=7, seed=1))
    assert np.stack(sampled).shape == (7, 8)
    found = beam_search(decoder, decoder.start(length=9, source=source, beams=3), end=1, max_length=9, beam=3, nbest=2)
    for choices in found:
        best = choices[0]
        assert best.ids[-1] == 1 and sum(best.log_probs) <= 0

    save_transformer(tmp_path / "model", model, {}, {})
    again = transformer_of(read_model(tmp_path / "model"))
    assert again.config == config
    assert torch.equal(again(batch.target, source=batch.source), model.eval()(batch.target, source=batch.source))


def test_its_mistakes_are_one_line(config: Config) -> None:
    plain = config.to_dict()
    with pytest.raises(UserError, match="a modulus of 2 to 9, got 1"):
        Config.from_dict({**plain, "input": {"kind": "counted", "modulus": 1}})
    with pytest.raises(UserError, match=r"unknown setting input\.modulos of counted; known are modulus"):
        Config.from_dict({**plain, "input": {"kind": "counted", "modulos": 1}})
    with pytest.raises(UserError, match="did you mean 'counted'"):
        Config.from_dict({**plain, "input": "count"})


@pytest.fixture
def related(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setitem(RELATIONS, "octave", ByOctave)
    monkeypatch.setitem(RELATIONS, "kind", ByKind)
    shape = {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 0, "decoder_layers": 2, "dropout": 0.0}
    relations = {"octave": {"size": 3}, "kind": {"size": 4}}
    return {"vocabulary": 9, "norm": "pre", **shape, "positions": "none", "relations": relations}


PATTERNS = [Full(causal=True), Local1D(3, 4), Local1D(4, 4), Local2D(6, 5, 2, 5, 2, 2)]


@pytest.mark.parametrize("encoder", [0, 1])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_relations_train_step_save_and_load(
    related: dict[str, Any], pattern: Pattern, encoder: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = Config.from_dict({**related, "pattern": pattern, "encoder_layers": encoder})
    model, ids = Transformer(config), torch.randint(9, (4, 30), generator=torch.Generator().manual_seed(1))
    lengths = torch.full((4,), 30)
    batch = Batch(ids, lengths, *((ids, lengths) if encoder else ()))
    names = [name for name, _ in model.named_parameters() if ".relations." in name]
    assert len(names) == 2 * (2 + encoder) and "decoder.1.attention.relations.octave" in names
    adam, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for _ in range(30):
        loss, _ = model.loss(batch)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert all(bool(dict(model.named_parameters())[name].grad.any()) for name in names)  # type: ignore[union-attr]

    source = ids.numpy() if encoder else None
    decoders = TorchDecoder(model.eval()), PlanDecoder(plan_of(config, arrays_of(model)))
    want = model(ids, source=ids if encoder else None).log_softmax(-1).detach().numpy()
    for decoder, (rows, taken) in itertools.product(decoders, ((4, 0), (4, 5), (1, 0))):
        some = None if source is None else source[:rows]
        stepped: Any = decoder.start(length=30, rows=rows, source=some)
        decoder.prefill(ids[:rows, :taken].numpy(), stepped)
        for at in range(taken, 30):
            got = decoder.step(ids[:rows, at - 1].numpy() if at else None, stepped)
            np.testing.assert_allclose(got, want[:rows, at], atol=1e-5)

    save_transformer(tmp_path / "model", model, {}, {})
    again = transformer_of(read_model(tmp_path / "model"))
    assert again.config == config and all(
        torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True)
    )


@pytest.mark.parametrize("length", [30, 300])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_relations_are_computed_alike_in_every_way(related: dict[str, Any], pattern: Pattern, length: int) -> None:
    """By whatever `attend` chooses, and by the definition."""
    if isinstance(pattern, Local2D):
        pattern = replace(pattern, height=60)
    torch.manual_seed(0)
    model = Transformer(Config.from_dict({**related, "pattern": pattern})).double().eval()
    ids = torch.randint(9, (2, length))
    attention = model.decoder[0].attention
    hidden = torch.randn(2, length, 16, dtype=torch.float64)
    query, key, value = attention._project(hidden)  # type: ignore[operator, union-attr]
    relations = attention.relations.whole(ids)  # type: ignore[operator, union-attr]
    want = dense(query, key, value, pattern=pattern, relations=relations)
    for backend in ("auto", "blockwise"):
        got = attend(query, key, value, pattern=pattern, relations=relations, backend=backend)
        torch.testing.assert_close(got, want)


def test_mistakes_with_relations_are_one_line(related: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="did you mean 'octave'"):
        Config.from_dict({**related, "relations": {"octaves": {"size": 3}}})
    with pytest.raises(UserError, match="size of ByOctave of 1 to 16,777,216, got 0"):
        Config.from_dict({**related, "relations": {"octave": {"size": 0}}})
