import gc
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from triptych.decode import plan
from triptych.decode.interpreter import PlanDecoder
from triptych.errors import UserError
from triptych.generation.sampling import Sampling
from triptych.model.batch import Batch
from triptych.model.decoder import TorchDecoder
from triptych.model.transformer import Transformer
from triptych.model.weights import arrays_of
from triptych.shape.config import Config
from triptych.shape.store import read_model, write_model
from triptych.train.recipe import Recipe
from triptych.trained import Trained

CONFIG = Config(9, width=8, heads=2, feed_forward=8, encoder_layers=0, decoder_layers=1, dropout=0.0, norm="pre")
FILES = {"codec.json": b"{}"}


def new(seed: int = 1, **settings: Any) -> Trained:
    return Trained.new(CONFIG, FILES, seed=seed, device="cpu", threads=None, **settings)


def loaded(folder: Path, **settings: Any) -> Trained:
    return Trained.load(
        folder, "codec.json", "a counter", **{"device": "cpu", "threads": None, "dtype": "auto"} | settings
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    new().save(tmp_path / "model", "float32", {"task": "count"})
    return tmp_path / "model"


def test_a_model_is_made_at_first_use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    transformer_of = "triptych.model.weights.transformer_of"
    whole = Trained.module(loaded(folder))
    monkeypatch.setattr(transformer_of, lambda stored: made.append(stored) or whole)
    trained = loaded(folder)
    assert (trained.config, trained.files, trained.card["task"]) == (CONFIG, FILES, "count")
    assert not made
    assert isinstance(trained.decoder(), PlanDecoder) and trained.decoder() is trained.decoder() and not made
    assert trained.module() is trained.module() and len(made) == 1
    assert not whole.training


def test_a_number_format_that_is_asked_for_is_kept(folder: Path) -> None:
    trained = loaded(folder, dtype="bfloat16")
    assert isinstance(trained.decoder(), TorchDecoder) and trained.module().dtype == torch.bfloat16
    assert loaded(folder).module().dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"threads": 0}, "1 to 1024 threads"), ({"dtype": "int3"}, "a dtype of auto"), ({"device": "abacus"}, "is here")],
)
def test_mistakes_are_found_before_anything_is_read(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        loaded(Path("nowhere"), **settings)


def test_a_model_of_another_kind(folder: Path) -> None:
    with pytest.raises(UserError, match=r"expected a translator, got .*model \(another kind of model\)"):
        Trained.load(folder, "tokenizer.model", "a translator", device="cpu", threads=None, dtype="auto")


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_weights_of_another_shape_are_refused_when_they_are_loaded(tmp_path: Path, dtype: str) -> None:
    """Before a verb reads, or says, anything of what it is given."""
    other = Transformer(Config.from_dict({**CONFIG.to_dict(), "width": 16}))
    write_model(tmp_path / "odd", CONFIG, arrays_of(other), FILES, {})
    with pytest.raises(UserError, match=r"do not fit its config\.json"):
        loaded(tmp_path / "odd", dtype=dtype)


def test_a_setting_that_no_plan_computes_is_left_to_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plan.KNOWN, "norm", ())
    assert loaded(folder, dtype="float32").module()
    with pytest.raises(UserError, match="a setting norm that generation without torch computes"):
        loaded(folder)


def test_parameters_are_drawn_by_the_seed_and_then_changed() -> None:
    one, same, other = (new(seed).module().state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    changed = new(begin=lambda model: nn.init.zeros_(model.decoder_norm.weight)).module().state_dict()
    zeroed = [name for name in one if not torch.equal(one[name], changed[name])]
    assert zeroed == ["decoder_norm.weight"] and not changed[zeroed[0]].any()


def test_what_is_changed_keeps_the_rest(folder: Path) -> None:
    trained, model = loaded(folder, dtype="float32"), new(2).module()
    same = trained.changed(model)
    assert same.module() is model and (same.files, same.card) == (FILES, trained.card)
    other = trained.changed(model, files={"codec.json": b"1"}, card={"task": "more"})
    assert other.files == {"codec.json": b"1"} and other.card == {"task": "more"}
    assert trained.files == FILES and trained.card["task"] == "count"


@pytest.mark.parametrize(("dtype", "kind"), [("float16", np.float16), ("bfloat16", np.uint16), ("auto", np.float32)])
def test_saved_in_a_number_format(tmp_path: Path, dtype: str, kind: type) -> None:
    trained = new()
    trained.save(tmp_path / "model", dtype, {"task": "count"})
    assert {array.dtype for array in read_model(tmp_path / "model").weights.values()} == {np.dtype(kind)}
    again, want = loaded(tmp_path / "model"), getattr(torch, dtype if dtype != "auto" else "float32")
    for name, value in trained.module().state_dict().items():
        assert torch.equal(again.module().state_dict()[name], value.to(want).float())


class Ones:
    """Two batches of the token 1."""

    def epoch(self, number: int) -> list[Batch]:
        return [Batch(torch.ones(4, 5, dtype=torch.int64), torch.full((4,), 5))] * 2


def test_fitting_makes_it_the_best_checkpoint(tmp_path: Path) -> None:
    trained = new()
    scores = iter([3.0, 2.0, 1.0])
    outcome = trained.fit(
        Ones(),
        Ones().epoch(0),
        Recipe(epochs=3, learning_rate=0.1, warmup=1, dtype="float32"),
        tmp_path / "run",
        package=trained.package({"license": "none"}, {"task": "count"}, {"the data": "1"}),
        measure=lambda _: {"score": next(scores)},
        resume=False,
        quiet=True,
    )
    assert (outcome.score, outcome.updates) == (3.0, 6)
    pointer = json.loads((tmp_path / "run" / "run.json").read_text())
    best, last = (read_model(tmp_path / "run" / pointer[name]) for name in ("best", "last"))
    assert best.folder != last.folder
    assert trained.card["training"]["updates"] == 2 and trained.card["license"] == "none"
    assert not trained.module().training
    for name, value in trained.module().state_dict().items():
        assert np.array_equal(value.numpy(), best.weights[name])


def test_a_card_has_the_usual_draw() -> None:
    trained = new()
    assert trained.usual == Sampling()
    trained.card["sampling"] = {"temperature": 0.8, "min_p": 0.1}
    assert trained.usual == Sampling(temperature=0.8, min_p=0.1)


@pytest.mark.parametrize("sampling", [0.8, {"heat": 1}, {"min_p": 2}, {"temperature": "hot"}, {"top_k": 1.5}, []])
def test_what_is_no_draw_is_refused(sampling: Any) -> None:
    trained = new()
    trained.card["sampling"] = sampling
    with pytest.raises(UserError, match=r"expected|unknown field"):
        _ = trained.usual


@pytest.mark.parametrize("threads", [2, None])
def test_a_product_of_numpy_takes_one_thread(folder: Path, threads: int | None) -> None:
    """Work that is begun and left by a caller changes nothing of that later."""
    with threadpool_limits(3, "blas"):
        trained = loaded(folder, threads=threads)
        trained.decoder()
        left = trained.together(str, range(4))
        assert next(left) == "0"
        del left
        gc.collect()
        pools = [pool for pool in threadpool_info() if "numpy" in pool["filepath"] and pool["user_api"] == "blas"]
        assert pools and {pool["num_threads"] for pool in pools} == {1}


@pytest.mark.parametrize("threads", [1, 3, None])
def test_batches_are_worked_on_together_and_stay_in_order(folder: Path, threads: int | None) -> None:
    trained = loaded(folder, threads=threads)
    seen = set()

    def work(item: int) -> int:
        seen.add(threading.get_ident())
        time.sleep(0.02)
        return item * item

    assert list(trained.together(work, range(8))) == [item * item for item in range(8)]
    most = threads or os.cpu_count() or 1
    assert len(seen) <= most and (len(seen) > 1) == (most > 1)
    with pytest.raises(ZeroDivisionError):
        list(trained.together(lambda item: 1 // item, [1, 0, 1]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"engine": "plam"}, "an engine auto, plan or torch, got 'plam'"), ({"devise": "cpu"}, "did you mean 'device'?")],
)
def test_a_slip_in_where_to_compute_is_refused(folder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        loaded(folder, **settings)
