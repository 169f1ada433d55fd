import json
import math
from collections.abc import Sequence

import pytest

from triptych.errors import UserError
from triptych.look import complexity
from triptych.look.complexity import Curve, Plan, crossing, measure
from triptych.look.layers import TABLE, Kind, Weighed

SIZES = (256, 512, 1024, 2048)


def clock(kinds: Sequence[Kind], length: int, width: int, repeats: int) -> dict[Kind, float]:
    """Times exactly as the table has them; attention and LSTM meet at n = 3 d."""
    assert repeats == 5
    constant = {"full": 1e-9, "lstm": 3e-9, "convolution": 2e-9, "local": 5e-7}
    return {kind: constant[kind] * length ** TABLE[kind].by_length * width ** TABLE[kind].by_width for kind in kinds}


def scale(kind: Weighed, length: int, width: int) -> float:
    return 1e-4 * length**2 if kind == "dense" else 1e-3 * length * width


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_is_exact(power: float) -> None:
    curve = Curve(SIZES, tuple(3e-7 * size**power for size in SIZES))
    assert curve.exponent == pytest.approx(power, abs=1e-12)
    assert curve.fitted(8192) == pytest.approx(3e-7 * 8192**power)


def test_only_the_long_end_counts() -> None:
    assert Curve((128, *SIZES), (9.0, *(2.0 * size for size in SIZES))).exponent == pytest.approx(1)
    wavy = Curve(SIZES, (7.0, 1.0, 4.0, 4.0))  # least squares through (0, 0), (1, 2), (2, 2), in powers of two
    assert wavy.exponent == pytest.approx(1)


def test_two_powers_cross_where_they_are_equal() -> None:
    square, line = Curve(SIZES, tuple(n**2 / 700 for n in SIZES)), Curve(SIZES, tuple(float(n) for n in SIZES))
    assert crossing(square, line) == pytest.approx(700)
    assert crossing(line, square) is None, "it falls below, and never comes back"


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ((0.5, 2.0, 2.0, 2.0), math.sqrt(256 * 512)),
        ((2.0, 0.5, 0.5, 2.0), math.sqrt(1024 * 2048)),  # a stray first point, then the crossing
        ((2.0, 2.0, 2.0, 2.0), None),
        ((0.5, 0.5, 0.5, 0.5), None),
        ((0.5, 2.0, 2.0, 0.5), None),
        ((0.5, 0.5, 1.0, 2.0), 1024),
    ],
)
def test_crossings(values: tuple[float, ...], place: float | None) -> None:
    found = crossing(Curve(SIZES, values), Curve(SIZES, (1.0,) * 4))
    assert found == (place if place is None else pytest.approx(place))


def test_curves_of_different_sizes_cannot_cross() -> None:
    with pytest.raises(UserError, match="same sizes"):
        crossing(Curve(SIZES, (1.0,) * 4), Curve(SIZES[:2], (1.0,) * 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "power of two from 16 to 4,096, got 0"),
        ({"width": -64}, "got -64"),
        ({"width": 96}, "got 96"),
        ({"width": 8192}, "got 8,192"),
        ({"longest": 0}, "at least 2,048 at width 256, got 0"),
        ({"longest": 1024}, "got 1,024"),
        ({"longest": 3000}, "power of two"),
        ({"width": 1024, "longest": 4096}, "at least 8,192 at width 1,024, got 4,096"),
        ({"repeats": 4}, "at least 5 repeats"),
    ],
)
def test_a_plan_that_cannot_show_the_table(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Plan(**options)
    assert "\n" not in str(error.value)


def test_the_sizes_of_a_plan() -> None:
    plan = Plan()
    assert plan.lengths == [256, 512, 1024, 2048, 4096, 8192, 16384] and plan.longest_full == 8192
    assert plan.widths == [64, 128, 256, 512, 1024] and plan.fixed_length == 512
    assert plan.duel_lengths[:6] == [128, 256, 384, 512, 768, 1024] and plan.duel_lengths[-1] == 8192
    assert plan.weighed_lengths("lstm") == [1024, 4096, 16384]
    assert plan.weighed_lengths("full") == [512, 2048, 8192]
    assert plan.weighed_lengths("dense") == [256, 1024, 4096]
    assert Plan(width=512).weighed_lengths("dense") == [512, 2048], "what is held stays near a GB"
    assert Plan(width=16, longest=2048).weighed_lengths("full") == [256, 1024]


def test_a_machine_that_obeys_the_table_is_measured_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complexity, "can_weigh", lambda: True)
    steps: list[str] = []
    found = measure(Plan(), clock=clock, scale=scale, report=steps.append)
    assert len(steps) == found.plan.steps
    for kind, row in TABLE.items():
        assert found.by_length[kind].exponent == pytest.approx(row.by_length)
        assert found.by_width[kind].exponent == pytest.approx(row.by_width)
        assert found.by_memory[kind].exponent == pytest.approx(1)
    assert found.by_memory["dense"].exponent == pytest.approx(2)
    assert found.by_length["full"].sizes[-1] == 8192 and found.by_length["lstm"].sizes[-1] == 16384
    assert found.crossing == pytest.approx(3 * 256)
    assert found.duel["full"].sizes[-1] == 1536, "past the crossing and past where the multiplications put it: enough"


def test_all_numbers_are_in_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complexity, "can_weigh", lambda: True)
    plain = json.loads(json.dumps(measure(Plan(width=64, longest=2048), clock=clock, scale=scale).to_dict()))
    assert set(plain) == {
        "layer", "dtype", "repeats", "machine", "busy", "backends", "table", "seconds_by_length", "seconds_by_width",
        "length_of_widths", "megabytes_by_length", "crossing",
    }  # fmt: skip
    assert set(plain["table"]) == set(plain["seconds_by_length"]) == set(plain["seconds_by_width"]) == set(TABLE)
    assert set(plain["megabytes_by_length"]) == {*TABLE, "dense"}
    assert plain["table"]["full"]["complexity"] == "n^2 d" and plain["table"]["local"]["path"] == "n / r"
    full = plain["seconds_by_length"]["full"]
    assert full["length"] == [256, 512, 1024] and len(full["seconds"]) == 3 and full["table"] == 2
    assert full["exponent"] == pytest.approx(2)
    crossed = plain["crossing"]
    assert (crossed["table"], crossed["multiplications"], round(crossed["measured"])) == (64, 256, 192)
    assert len(crossed["full"]["length"]) == len(crossed["lstm"]["seconds"])


def test_without_a_scale_there_are_times_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(kind: Weighed, length: int, width: int) -> float:
        raise AssertionError

    monkeypatch.setattr(complexity, "can_weigh", lambda: False)
    steps: list[str] = []
    found = measure(Plan(), clock=clock, scale=none, report=steps.append)
    assert found.by_memory == {} and len(steps) == found.plan.steps


def test_no_crossing_is_none() -> None:
    def even(kinds: Sequence[Kind], length: int, width: int, repeats: int) -> dict[Kind, float]:
        return {kind: 1e-6 * length for kind in kinds}

    found = measure(Plan(), clock=even, scale=scale)
    assert found.crossing is None and found.to_dict()["crossing"]["measured"] is None
    assert found.duel["full"].sizes[-1] == found.plan.longest_full, "it was looked for everywhere"
