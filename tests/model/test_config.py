import dataclasses
import json

import pytest

from triptych.attention.pattern import Full, Local1D, Local2D
from triptych.errors import UserError
from triptych.model.config import PRESETS, Config, Positions, Relative


def test_base_is_the_paper() -> None:
    base = Config.preset("base", 37_000)
    assert (base.width, base.heads, base.feed_forward, base.encoder_layers, base.decoder_layers) == (512, 8, 2048, 6, 6)
    assert (base.norm, base.activation, base.positions, base.dropout) == ("post", "relu", Positions(), 0.1)


def test_few_fields() -> None:
    assert len(dataclasses.fields(Config)) <= 16


@pytest.mark.parametrize(
    "config",
    [
        *(Config.preset(name, 300) for name in PRESETS),
        Config(300, pattern=Local1D(4, 8), relation=Relative(16, "zero")),
        Config(300, encoder_layers=0, classes=3, pattern=Local2D(8, 8, 4, 4, 2, 2), positions=Positions("learned", 64)),
        Config(300, positions=Positions(grid=(4, 4)), relation=Relative(8, "zero", intervals=46, steps=9)),
    ],
)
def test_json_round_trip(config: Config) -> None:
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 10, "heads": 3}, "divisible by heads=3, got 10"),
        ({"dropout": 1.0}, "dropout"),
        ({"norm": "middle"}, "norm to be one of post, pre"),
        ({"activation": "tanh"}, "activation"),
        ({"decoder_layers": 0}, "decoder_layers >= 1"),
        ({"encoder_layers": -1}, "encoder_layers >= 0"),
        ({"positions": "rotary"}, "positions"),
        ({"width": 9, "heads": 3}, "width divisible by 2"),
        ({"pattern": Full(causal=False)}, "causal"),
        ({"widht": 64}, "did you mean 'width'"),
        ({"relation": {"distances": 0}}, "distances, intervals or steps, got none"),
        ({"relation": {"steps": 8}}, "positions.grid with relation.steps"),
        ({"positions": {"grid": [0]}}, "each size of the grid >= 1"),
        ({"positions": {"grid": [4096, 4096]}}, "at most 2..20 places"),
        ({"positions": {"length": 0}}, "length >= 1"),
        ({"positions": {"kind": "none", "lenght": 4}}, "complete model configuration"),
        ({"positions": 3}, "positions to be Positions, got 3"),
        (
            {"pattern": {"kind": "round"}},
            r"pattern of a kind with its numbers \(full; local_1d: query, memory or local_2d: ",
        ),
        ({"pattern": "local_1d"}, "pattern of a kind with its numbers"),
        ({"pattern": {"kind": "local_1d", "query": 4}}, "pattern of a kind with its numbers"),
        ({"pattern": {"kind": "full", "causal": "yes"}}, "pattern of a kind with its numbers"),
        ({"pattern": {"kind": [1]}}, "pattern of a kind with its numbers"),
        ({"pattern": 5}, "pattern to be Full or Local1D or Local2D, got 5"),
        ({"relation": 5}, "relation to be Relative or NoneType, got 5"),
        ({"relation": {"distances": 1.5}}, "distances to be int"),
        ({"width": "a"}, "width to be int, got 'a'"),
        ({"width": True}, "width to be int, got True"),
        ({"width": 512.0}, "width to be int, got 512.0"),
        ({"width": 2**40}, "width <= 65536"),
        ({"decoder_layers": 10**9}, "decoder_layers <= 1000"),
        ({"source_vocabulary": 0}, "source_vocabulary >= 1"),
        ({"dropout": "a"}, "dropout to be int or float"),
        ({"dropout": float("nan")}, "dropout < 1"),
        ({"norm": ["post"]}, "norm to be one of"),
    ],
)
def test_a_mistake_is_one_clear_line(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        Config.from_dict({"vocabulary": 100, **changes})
    assert "\n" not in str(caught.value)


def test_unknown_preset() -> None:
    with pytest.raises(UserError, match="base, small, tiny"):
        Config.preset("huge", 100)
    with pytest.raises(UserError, match="base, small, tiny"):
        Config.preset(["tiny"], 100)  # type: ignore[arg-type]  # as a file may name it
