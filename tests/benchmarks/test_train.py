from dataclasses import replace
from typing import Any

import pytest
import torch
from speed import ours, peers, train
from speed.tables import Settings
from speed.train import Case
from torch import nn

from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.shape.pattern import Local1D

# Peers use what torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = Config(20, width=16, heads=2, feed_forward=16, encoder_layers=0, decoder_layers=1)


def case(name: str, packages: tuple[str, ...]) -> Case:
    if name == "text":
        return train.text(packages, config=replace(SMALL, encoder_layers=1), tokens=40)
    if name == "relative":
        return train.relative(packages, config=SMALL, rows=2, length=10)
    return train.pixels(packages, config=replace(SMALL, pattern=Local1D(4, 4)), rows=2, length=10)


CONTESTANTS = [(name, who) for name in train.CASES for who in case(name, peers.installed()).models]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "who"), CONTESTANTS)
def test_every_contestant_trains_on_the_same_tokens(name: str, who: str, dtype: torch.dtype) -> None:
    chosen = case(name, peers.installed())
    torch.manual_seed(0)
    model, loss = chosen.models[who]()
    before = [parameter.detach().clone() for parameter in model.parameters() if parameter.requires_grad]
    tokens = ours.training((model, loss), chosen.batches, dtype)()  # raises where a loss or gradient is not finite
    assert tokens == sum(int(batch.lengths.sum()) for batch in chosen.batches)
    after = [parameter for parameter in model.parameters() if parameter.requires_grad]
    moved = sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert moved > 0.9 * len(before), "a part of the model takes no part in the training"


@pytest.mark.parametrize("name", train.CASES)
def test_losses_begin_near_those_of_a_uniform_guess(name: str) -> None:
    chosen = case(name, ("x-transformers",) if "x-transformers" in peers.installed() else ())
    for who, build in chosen.models.items():
        torch.manual_seed(0)
        model, loss = build()
        model.eval()
        assert 2 < float(loss(chosen.batches[0]).detach()) < 6, who  # log 20 = 3.0


def test_without_peers_only_torch_and_ours_take_part() -> None:
    assert list(case("text", ()).models) == ["torch.nn.Transformer", "triptych"]
    ours = [who for name in train.CASES for who in case(name, ()).models]
    assert not [who for who in ours if who.startswith(("x-", "transformers", "local-attention"))]


def test_ours_is_the_model_asked_for() -> None:
    models = case("relative", ()).models
    related, unrelated = models["triptych relative"]()[0], models["triptych, no relation"]()[0]
    assert isinstance(related, Transformer) and related.config.relations
    assert isinstance(unrelated, Transformer) and unrelated.config == SMALL


def test_a_loss_that_is_not_finite_is_no_contestant() -> None:
    model = nn.Linear(1, 1)
    batch = Batch(torch.zeros(1, 1, dtype=torch.int64), torch.tensor([1]))
    run = ours.training((model, lambda _: model(torch.tensor([torch.inf])).sum()), [batch], torch.float32)
    with pytest.raises(UserError, match=r"expected Linear to learn, got loss (-|)inf"):
        run()


def test_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def make(packages: tuple[str, ...], **given: Any) -> Case:
        made.append(given)
        return case("pixels", packages)

    monkeypatch.setattr(train, "CASES", {"text": (make,), "pixels": (make, make)})
    tables = list(train.tables(["text", "pixels"], Settings(("float32", "bfloat16"), 5), length=12))
    assert made == [{}, {"length": 12}, {"length": 12}] and len(tables) == 3
    assert tables[0]["unit"] == "tokens/s" and tables[0]["reference"] == "torch, blocks in the batch"
    names = [(row["name"], row["dtype"]) for row in tables[0]["rows"]]
    assert names == [
        (who, d) for who in ("torch, blocks in the batch", "triptych local") for d in ("float32", "bfloat16")
    ]
    for row in tables[0]["rows"]:
        assert row["parameters"] > 1000 and 0 < row["min"] <= row["median"] <= row["max"]


def test_the_sizes_that_are_measured() -> None:
    assert sum(parameter.numel() for parameter in Transformer(ours.TEXT).parameters()) == pytest.approx(2.6e6, rel=0.05)
    shapes = {name: [maker.keywords for maker in makers] for name, makers in train.CASES.items()}  # type: ignore[attr-defined]
    assert [(each["rows"], each["length"]) for each in shapes["relative"]] == [(8, 512), (1, 2048)]
    assert [(each["rows"], each["length"]) for each in shapes["pixels"]] == [(4, 3072)]
    assert ours.PIXELS.pattern == Local1D(256, 256) and ours.PIXELS.decoder_layers == 6


def test_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "PIXELS", replace(SMALL, pattern=Local1D(4, 4)))
    monkeypatch.setattr(train, "SEQUENCES", (8, 16, 32))
    monkeypatch.setattr(train, "extra_memory", lambda prepare, size: 3.0 * size)
    monkeypatch.setattr(train, "can_weigh", lambda: True)
    (table,) = train.tables(["lengths"], Settings(("float32",), 5), length=16)
    assert [(row["name"], row["MB"]) for row in table["rows"]] == [("8 positions", 24), ("16 positions", 48)]
    assert table["slopes"]["float32"]["memory"] == pytest.approx(1)
    with pytest.raises(UserError, match="expected --length of at least 16 with the case lengths"):
        list(train.tables(["lengths"], Settings(("float32",), 5), length=8))


def test_a_slope_is_the_power() -> None:
    assert train.slope([1, 2, 8], [3, 12, 192]) == pytest.approx(2)
