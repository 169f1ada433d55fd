import datetime
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from triptych.errors import UserError
from triptych.model.transformer import Transformer
from triptych.model.weights import arrays_of, save_transformer, transformer_of
from triptych.shape import store
from triptych.shape.config import Config
from triptych.shape.files import sealed
from triptych.shape.store import read_model, shipped, write_model
from triptych.shape.weights import as_float32, read_weights, write_weights


def tiny() -> Transformer:
    torch.manual_seed(0)
    return Transformer(Config(11, width=8, heads=2, feed_forward=8, encoder_layers=1, decoder_layers=1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_transformer(tmp_path / "model", tiny(), {"tokenizer.model": b"pieces"}, {"task": "none"})
    return tmp_path / "model"


def test_round_trip(folder: Path) -> None:
    stored = read_model(folder)
    for name, tensor in tiny().state_dict().items():
        assert np.array_equal(stored.weights[name], tensor.numpy())
    assert stored.files == {"tokenizer.model": b"pieces"}
    assert stored.card["task"] == "none" and stored.card["parameters"] == sum(p.numel() for p in tiny().parameters())
    assert not transformer_of(stored).training


def test_half_precision_halves_the_file(tmp_path: Path, folder: Path) -> None:
    save_transformer(tmp_path / "half", tiny(), {}, {}, "float16")
    assert (tmp_path / "half" / store.WEIGHTS).stat().st_size < (folder / store.WEIGHTS).stat().st_size * 0.8
    loaded = transformer_of(read_model(tmp_path / "half")).decoder[0].attention.output.weight
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded, tiny().decoder[0].attention.output.weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("file", [store.WEIGHTS, store.CONFIG, "tokenizer.model"])
def test_a_changed_file_is_refused(folder: Path, file: str) -> None:
    data = bytearray((folder / file).read_bytes())
    data[-3] ^= 1
    (folder / file).write_bytes(data)
    with pytest.raises(UserError, match="sha256 differs"):
        read_model(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "tokenizer.model").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.model in .* found none"):
        read_model(folder)


def test_a_card_that_points_outside_is_refused(folder: Path) -> None:
    card = json.loads((folder / store.CARD).read_text())
    card["sha256"]["../secret"] = "0"
    (folder / store.CARD).write_bytes(sealed(card))
    with pytest.raises(UserError, match="plain file names"):
        read_model(folder)


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"sha256": 3}'])
def test_a_damaged_card(folder: Path, content: str) -> None:
    (folder / store.CARD).write_text(content)
    with pytest.raises(UserError):
        read_model(folder)


def test_weights_of_another_shape(tmp_path: Path, folder: Path) -> None:
    config = json.loads((folder / store.CONFIG).read_text())
    other = Transformer(Config.from_dict({**config, "width": 16}))
    other.config = Config.from_dict(config)
    save_transformer(tmp_path / "odd", other, {}, {})
    with pytest.raises(UserError, match=r"do not fit its config\.json"):
        transformer_of(read_model(tmp_path / "odd"))


def rewritten(folder: Path, **changes: object) -> None:
    """Change the configuration of a model and let its card agree."""
    path = folder / store.CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    card = json.loads((folder / store.CARD).read_text())
    card["sha256"][store.CONFIG] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / store.CARD).write_bytes(sealed(card))


@pytest.mark.parametrize(
    "changes",
    [
        {"width": "a"},
        {"width": True},
        {"width": 8.0},
        {"width": 2**60, "heads": 1},
        {"vocabulary": 2**24, "width": 2**16},  # 4 TB
        {"decoder_layers": 1000},
        {"dropout": "much"},
        {"pattern": 5},
        {"relations": 5},
        {"relations": {"distance": {"size": "x"}}},
        {"classes": 2},
    ],
)
def test_a_hostile_configuration(folder: Path, changes: dict[str, object]) -> None:
    rewritten(folder, **changes)
    with pytest.raises(UserError) as caught:
        transformer_of(read_model(folder))
    assert "\n" not in str(caught.value)


def test_other_things_are_not_replaced_by_a_model(tmp_path: Path, folder: Path) -> None:
    save_transformer(folder, tiny(), {}, {})  # a model is
    assert read_model(folder).files == {}
    (tmp_path / "empty").mkdir()
    save_transformer(tmp_path / "empty", tiny(), {}, {})
    (tmp_path / "file").write_text("mine")
    for precious in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="holds other things"):
            save_transformer(precious, tiny(), {}, {})
    assert (tmp_path / "file").read_text() == "mine" and folder.is_dir()


def test_a_card_may_hold_a_date(tmp_path: Path) -> None:
    save_transformer(tmp_path / "model", tiny(), {}, {"made": datetime.date(2026, 1, 2)})
    assert read_model(tmp_path / "model").card["made"] == "2026-01-02"


def test_unknown_name() -> None:
    with pytest.raises(UserError, match="shipped model, the folder of a model or a run, or hf:owner/name"):
        read_model("captions-en-xx")


def test_shipped_models_are_whole_and_described() -> None:
    cards = shipped()
    assert cards, "no model ships"
    for card in cards:
        stored = read_model(card["name"])
        assert card["parameters"] == sum(array.size for array in stored.weights.values()), card["name"]
        transformer_of(stored)
        assert {"task", "domain", "data", "license", "scores", "training"} <= card.keys(), card["name"]
        size = sum(file.stat().st_size for file in (store.SHIPPED / card["name"]).iterdir())
        assert size < 12_000_000


def test_bfloat16_is_kept_as_its_bits(tmp_path: Path) -> None:
    write_model(tmp_path / "model", tiny().config, arrays_of(tiny(), "bfloat16"), {}, {})
    stored = read_model(tmp_path / "model")
    tensors = {name: tensor.bfloat16() for name, tensor in tiny().state_dict().items()}
    for name, tensor in tensors.items():
        assert stored.weights[name].dtype == np.uint16
        assert np.array_equal(as_float32(stored.weights[name]), tensor.float().numpy())
        assert torch.equal(transformer_of(stored).state_dict()[name], tensor.float())
    assert (tmp_path / "model" / store.WEIGHTS).read_bytes() == save(tensors)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_weights_are_written_as_safetensors_writes_them(dtype: str) -> None:
    assert write_weights(arrays_of(tiny(), dtype)) == save(
        {name: tensor.to(getattr(torch, dtype)) for name, tensor in tiny().state_dict().items()}
    )


def test_weights_that_are_no_weights() -> None:
    with pytest.raises(ValueError, match="x is not in floating point"):
        read_weights(save({"x": torch.zeros(2, dtype=torch.int16)}))
    with pytest.raises(ValueError, match="header"):
        read_weights(b"x")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, dtype: str, odd: float) -> None:
    model = tiny()
    with torch.no_grad():
        model.decoder[0].attention.output.bias[-1] = odd
    save_transformer(tmp_path / "odd", model, {}, {}, dtype)
    with pytest.raises(UserError, match=r"finite weights in .*odd, got NaN or infinity in decoder\.0\.attention\.out"):
        read_model(tmp_path / "odd")
