import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import run
import torch
from speed import attention, beside, composing, painting, peers, rows, tables, train, translate

from triptych.decode.kernel import library
from triptych.shape.config import Config

FRAME = {"bench", "machine", "busy", "keeps_memory", "peers", "absent", "tables"}
ROW = {"name", "dtype", "median", "min", "max", "ratio"}
SMALL = Config(20, width=16, heads=2, feed_forward=16, encoder_layers=0, decoder_layers=1)
TREE = Path(__file__).parents[2]
ENGINES = ("numpy",) if library() is None else ("kernel", "numpy")

Measured = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that take no time, and a machine without peers."""
    monkeypatch.setattr(attention, "product_rates", partial(tables.product_rates, size=16))
    monkeypatch.setattr(
        train, "CASES", {"relative": (partial(train.relative, config=SMALL, rows=2, length=10),), "text": ()}
    )
    monkeypatch.setattr(
        painting, "SHAPE", {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1, "preset": "small"}
    )
    monkeypatch.setattr(peers, "installed", lambda: ())


@pytest.fixture
def measured(capsys: pytest.CaptureFixture[str]) -> Measured:
    """The JSON of a run."""

    def runs(*arguments: object) -> dict[str, Any]:
        code = run.main([*(str(argument) for argument in arguments), "--repeats", "5", "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        found: dict[str, Any] = {**json.loads(out), "err": err}
        assert set(found) == {*FRAME, "err"} and found["bench"] == arguments[0]
        return found

    return runs


def test_attention(measured: Measured) -> None:
    found = measured("attention", "--length", 10, "--memory-length", 0)
    assert (
        found["absent"] == ["x-transformers", "transformers", "local-attention", "ctranslate2"] and found["peers"] == []
    )
    assert "not installed and left out: x-transformers" in found["err"]
    assert 'pip install "triptych[bench]"' in found["err"]
    assert {"threads", "capability", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"} <= set(found["machine"])
    products, relative, *_ = found["tables"]
    assert products["unit"] == "GFLOP/s"
    assert {row["dtype"] for row in relative["rows"]} == {"float32", "bfloat16"}
    assert all({*ROW, "limit", "difference"} <= set(row) for row in relative["rows"])
    assert f"measuring {relative['title']}" in found["err"]


def test_train_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--case", "relative", "--repeats", "5", "--dtype", "bfloat16", "--no-peers"]
    assert run.main(arguments) == 0
    out, err = capsys.readouterr()
    assert "not installed" not in err
    assert "relative: 2 x 10 tokens" in out and "triptych relative" in out and "tokens/s" in out
    assert "bfloat16" in out and "float32" not in out


def test_train_of_all_cases_at_a_length(measured: Measured) -> None:
    found = measured("train", "--dtype", "float32", "--length", 6)
    assert [table["title"][:24] for table in found["tables"]] == ["relative: 2 x 6 tokens, "]
    assert all({*ROW, "parameters"} == set(row) for row in found["tables"][0]["rows"])


def test_composing(measured: Measured) -> None:
    (table,) = measured("generate", "--case", "composing", "--length", composing.EVERY)["tables"]
    steps = [f"{what}, steps in {engine}" for what in ("chorales", "a position a note") for engine in ENGINES]
    names = ["chorales, composing", *steps, "chorales, steps in torch"]
    assert [row["name"] for row in table["rows"]][: len(names)] == names and table["reference"] == names[0]
    assert all(row["limit"] > 0 for row in table["rows"][: len(names)])
    assert all(row["median"] > 0 for row in table["rows"]) and table["unit"] == "tokens/s"


def test_painting(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painting, "EVERY", 3072)
    (table,) = measured("generate", "--case", "painting", "--rows", 1, "--length", 2)["tables"]
    found = {row["name"]: row for row in table["rows"]}
    ways = [f"{way}, in {engine}" for way in ("local 1-D", "local 2-D", "mixture") for engine in (*ENGINES, "torch")]
    assert set(ways) < set(found) and all(row["extrapolated"] for row in found.values())
    assert all(row["seconds"] == pytest.approx(row["median"] / 1000) for row in found.values())
    assert {name for name, row in found.items() if "limit" in row} == set(ways)


@pytest.mark.skipif(library() is None, reason="expected a kernel")
def test_rows(measured: Measured) -> None:
    found = measured("generate", "--case", "rows", "--length", 8)["tables"]
    assert [table["title"].split(":")[0] for table in found] == list(rows.MODELS)
    for table in found:
        assert [row["name"] for row in table["rows"]] == [table["reference"], "16 rows"]
        assert all(row["median"] > 0 and row["limit"] > 0 for row in table["rows"])


def test_rows_without_a_kernel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(rows, "compiled", lambda *_: None)
    assert run.main(["generate", "--case", "rows", "--repeats", "5", "--json"]) == 2
    assert "expected a kernel with the case rows, got none" in capsys.readouterr().err


def test_translate(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(20, width=16, heads=2, feed_forward=16, encoder_layers=1, decoder_layers=1)
    monkeypatch.setattr(translate, "tables", partial(translate.tables, config=config))
    single, *bulk = measured("translate", "--sentences", 3, "--threads", torch.get_num_threads())["tables"]
    assert [table["unit"] for table in (single, *bulk)] == ["ms", "tokens/s", "tokens/s"]
    engines = [f"triptych, {engine}" for engine in (*ENGINES, "torch")]
    assert [row["name"] for row in single["rows"]] == engines and single["rows"][0]["ratio"] == 1
    for table in (single, *bulk):
        assert {*engines} <= {row["name"] for row in table["rows"]} and all(row["limit"] > 0 for row in table["rows"])


def test_a_batch_of_sources_is_sorted_and_padded() -> None:
    batches = translate.make_sources(40, 100)
    lengths = [int(length) for _, part in batches for length in part]
    assert [len(part) for _, part in batches] == [32, 8] and lengths == sorted(lengths, reverse=True)
    for ids, part in batches:
        assert ids.shape == (len(part), part.max())
        assert all((row[:length] > 1).all() and not row[length:].any() for row, length in zip(ids, part, strict=True))


def test_beside_itself(measured: Measured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two processes, of which each runs the package of its own tree."""
    other = tmp_path / "other"
    (other / "src").mkdir(parents=True)
    (other / "src" / "triptych").symlink_to(TREE / "src" / "triptych")
    monkeypatch.setattr(beside, "CASES", tmp_path / "ours.py")
    monkeypatch.setattr(beside, "HERE", tmp_path)
    (tmp_path / "src").symlink_to(other / "src")
    (tmp_path / "ours.py").write_text(SCRIPT)
    (table,) = measured("train", "--beside", other, "--case", "relative")["tables"]
    (row,) = table["rows"]
    assert (row["name"], row["median"], row["other"], row["ratio"]) == ("relative, both", 4, 1, 4)
    assert run.main(["train", "--beside", str(other), "--case", "lengths"]) == 2


SCRIPT = """
import json, sys
from pathlib import Path
import triptych
package = str(Path(sys.path[1]) / "triptych")
units = 2.0 if "other" in package else 8.0
print(json.dumps({"package": package, "names": ["relative, both", "pixels"]}), flush=True)
for line in sys.stdin:
    assert line == "relative, both\\n"
    print(json.dumps({"units": units, "seconds": 2.0}), flush=True)
"""


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["attention", "--repeats", "1"], "expected at least 5 repeats, got 1"),
        (["train", "--case", "music"], "invalid choice: 'music'"),
        (["train", "--dtype", "float16"], "invalid choice: 'float16'"),
        (["attention", "--length", "0"], "--length"),
        (["train", "--threads", "0"], "--threads"),
        (["speed"], "speed"),
        (["train", "--beside", "/nowhere"], "expected a source tree with src/triptych in it, got /nowhere"),
        (["train", "--beside", "/", "--length", "8"], "expected --beside or --length, got both"),
        (["generate", "--length", "9"], "expected --length in multiples of 64 with the case composing, got 9"),
        (["generate", "--case", "painting", "--length", "4000"], "expected --length from 1 to 3,072"),
        (["generate", "--case", "composing", "piano"], "expected --beside FOLDER with --case piano, got none"),
    ],
)
def test_mistakes(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = run.main(arguments)
    except SystemExit as stop:  # of argparse
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and part in err.splitlines()[-1]
