"""Values from files of strangers: nested, endless, absurd ones are refused in one line, soon, and without memory."""

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from triptych.cli.main import main
from triptych.errors import MAX_MESSAGE, UserError
from triptych.model.transformer import Transformer
from triptych.model.weights import save_transformer, transformer_of
from triptych.shape.config import Config
from triptych.shape.files import sealed
from triptych.shape.plain import MAX_DEPTH, bounded, from_json, from_toml
from triptych.shape.store import read_model


def nested(depth: int, key: str = "source") -> Any:
    value: Any = {"kind": "none"}
    for _ in range(depth):
        value = {"kind": "none", key: value}
    return value


HOSTILE: dict[str, dict[str, Any]] = {
    "grid of 5,000 digits": {"positions": {"grid": [1] * 5000}},
    "grid of words": {"positions": {"grid": "12345"}},
    "grid of a number": {"positions": {"grid": 3}},
    "sources 2 deep": {"positions": nested(2)},
    "sources 800 deep": {"positions": nested(800)},
    "an integer of 4,000 digits": {"width": 10**4000},
    "a negative one": {"classes": -(10**4000)},
    "not a number": {"dropout": float("nan")},
    "infinity": {"width": float("inf")},
    "16 million words": {"vocabulary": 2**24},
    "1,000 layers": {"decoder_layers": 1000, "encoder_layers": 1000},
    "100 layers of a patch": {
        "input": {"kind": "patches", "size": 64},
        "head": {"kind": "patch", "layers": 100, "feed_forward": 2**20},
    },
    "a memory of 2**60": {"pattern": {"kind": "local_1d", "query": 1, "memory": 2**60}},
    "a picture of 2**40": {
        "pattern": {
            "kind": "local_2d",
            "height": 2**20,
            "width": 2**20,
            "query_rows": 1,
            "query_columns": 1,
            "memory_rows": 2**20,
            "memory_columns": 2**20,
        }
    },
    "distances to 2**24": {"relations": {"distance": {"size": 2**24}}},
    "a list 5,000 deep": {"norm": json.loads("[" * 900 + "]" * 900)},
    "a setting of a megabyte": {"x" * 2**20: 1},
    "20,000 settings": {f"x{number}": number for number in range(20_000)},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_configuration_is_refused_at_once(
    tmp_path: Path, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = Transformer(Config(11, width=8, heads=2, feed_forward=8, encoder_layers=1, decoder_layers=1))
    sys.set_int_max_str_digits(5000)  # so that we can write what a reader of JSON refuses by itself
    save_transformer(tmp_path / "model", model, {"tokenizer.model": b""}, {})
    config, card = tmp_path / "model" / "config.json", tmp_path / "model" / "card.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    entries = json.loads(card.read_text())
    entries["sha256"]["config.json"] = hashlib.sha256(config.read_bytes()).hexdigest()
    card.write_bytes(sealed(entries))
    start = time.perf_counter()
    with pytest.raises(UserError):
        transformer_of(read_model(tmp_path / "model"))
    assert time.perf_counter() - start < 1  # 0.05 s on a quiet machine
    assert main(["translate", "A dog.", "--model", str(tmp_path / "model")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1 and len(message) < MAX_MESSAGE + 10


TABLES = {
    "nested lists": b"x = " + b"[" * 5000 + b"]" * 5000,
    "nested tables": b"[" + b"model." * 5000 + b"x]",
    "a list 40 deep": b"[model]\npattern = " + b"[" * 40 + b"]" * 40,
    "an endless integer": b"[training]\nepochs = " + b"9" * 5000,
    "an endless hexadecimal": b"[training]\nepochs = 0x" + b"f" * 5000,
    "no text": b"\xff\xfe",
    "a grid": b"[model]\npositions = { grid = [" + b"1, " * 5000 + b"] }",
    "a megabyte": b"#" * 2**20,
}


@pytest.mark.parametrize("recipe", TABLES.values(), ids=TABLES)
def test_a_hostile_recipe(tmp_path: Path, recipe: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").write_bytes(recipe)
    (tmp_path / "text").write_text("a dog\n" * 200)
    words = ["--source", str(tmp_path / "text"), "--target", str(tmp_path / "text"), "--out", str(tmp_path / "run")]
    assert main(["train", "text", *words, "--set", "epochs=1", "--recipe", str(tmp_path / "recipe.toml")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1 and len(message) < MAX_MESSAGE + 10


@pytest.mark.parametrize("value", ["[" * 900 + "]" * 900, "9" * 5000, "0x" + "f" * 5000])
def test_a_hostile_setting(tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("a dog\n" * 200)
    words = ["--source", str(tmp_path / "text"), "--target", str(tmp_path / "text"), "--out", str(tmp_path / "run")]
    assert main(["train", "text", *words, "--set", f"epochs={value}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_bounded_passes() -> None:
    value = nested(MAX_DEPTH - 1)
    assert bounded(value, "file") is value
    assert from_json(b'{"a": [1, 2.5, "x", null]}', "file") == {"a": [1, 2.5, "x", None]}
    assert from_toml("\ufeff[training]\nepochs = 1\n".encode(), "file") == {"training": {"epochs": 1}}
    for odd in (b"[1]", b"", b"{", b"\xff", b'{"a": 1' + b"0" * 30 + b"}"):
        with pytest.raises(UserError):
            from_json(odd, "file")


def test_an_error_is_one_printable_line() -> None:
    message = str(UserError("got \x1b[31m'" + "x\n" * 5000 + "'; remove it"))
    assert message.isprintable() and len(message) == MAX_MESSAGE and message.endswith("; remove it")
