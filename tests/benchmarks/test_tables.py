import pytest
from speed.tables import Settings, lines, product_rates, quadratic, table

from triptych.errors import UserError


def test_too_few_repeats() -> None:
    with pytest.raises(UserError, match="expected at least 5 repeats, got 1"):
        Settings(repeats=1)


def test_a_table_compares_medians_within_a_dtype() -> None:
    rates = {
        ("slow", "float32"): [10.0, 30.0, 20.0],
        ("slow", "bfloat16"): [100.0],
        ("fast", "float32"): [50.0, 40.0, 90.0],
        ("fast", "bfloat16"): [50.0],
    }
    rows = table("t", "tokens/s", rates, "slow", {("fast", "float32"): {"parameters": 7}})["rows"]
    assert [row["ratio"] for row in rows] == [1, 1, 2.5, 0.5]
    assert [row["to_float32"] for row in rows] == [1, 5, 2.5, 2.5]
    told = {"name": "fast", "dtype": "float32", "median": 50, "min": 40, "max": 90}
    assert rows[2] == {**told, "ratio": 2.5, "to_float32": 2.5, "parameters": 7}
    assert "to_float32" not in table("t", "ms", {("slow", "float32"): [1.0]}, "slow")["rows"][0]


def test_milliseconds_are_turned_round_and_ratios_are_not() -> None:
    rates = {("slow", "float32"): [10.0, 20.0, 5.0], ("fast", "float32"): [40.0]}
    slow, fast = table("t", "ms", rates, "slow")["rows"]
    assert (slow["median"], slow["min"], slow["max"]) == (100, 50, 200)
    assert fast["median"] == 25 and fast["ratio"] == 4


def test_lines_tell_everything() -> None:
    row = {"name": "a", "dtype": "float32", "median": 12345.6, "min": 0.5, "max": 2e4, "ratio": 1.0}
    rows = [row, {**row, "name": "b", "backend": "dense", "extrapolated": True}]
    report = {
        "machine": {"threads": 2, "ATEN_CPU_CAPABILITY": None},
        "busy": True,
        "tables": [{"title": "the title", "unit": "MB", "rows": rows}],
    }
    text = "\n".join(lines(report))
    for part in ("threads 2", "busy", "the title", "MB", "12,346", "0.5 - 20,000", "backend", "dense", "yes"):
        assert part in text
    assert "None" not in text


def test_product_rates() -> None:
    told, rates = product_rates(Settings(repeats=5), size=16)
    assert [(row["name"], row["dtype"]) for row in told["rows"]] == [("torch", "float32"), ("torch", "bfloat16")]
    for row in told["rows"]:
        assert rates[row["dtype"]] == pytest.approx(1e9 * row["median"])


def test_memory_that_would_not_fit_is_foretold() -> None:
    measured: list[int] = []

    def weigh(size: int) -> float:
        measured.append(size)
        return 3 * size**2 + 5 * size

    true = float(weigh(800))
    for limit, sizes in ((1e9, [200, 400, 800]), (0.9 * true, [200, 400])):
        measured.clear()
        assert quadratic(weigh, 800, limit) == (true, len(sizes) < 3)
        assert measured == sizes
    assert quadratic(weigh, 800, 1.0) == (16 * weigh(200), True)
