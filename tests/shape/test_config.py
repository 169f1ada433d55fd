import dataclasses
import json

import pytest

from triptych.errors import UserError
from triptych.shape.config import Config, Positions
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels, Tokens
from triptych.shape.pattern import Full, Local1D, Local2D
from triptych.shape.relations import ByDistance, ByPitch, ByTime
from triptych.shape.settings import presets


def test_base_is_the_paper() -> None:
    base = Config.preset("base", 37_000)
    assert (base.width, base.heads, base.feed_forward, base.encoder_layers, base.decoder_layers) == (512, 8, 2048, 6, 6)
    assert (base.norm, base.activation, base.positions, base.dropout) == ("post", "relu", Positions(), 0.1)


def test_few_fields() -> None:
    assert len(dataclasses.fields(Config)) <= 17


@pytest.mark.parametrize(
    "config",
    [
        *(Config.preset(name, 300) for name in presets("triptych.shape")),
        Config(300, pattern=Local1D(4, 8), relations=(ByDistance(16, "zero"),)),
        Config(300, encoder_layers=0, classes=3, pattern=Local2D(8, 8, 4, 4, 2, 2), positions=Positions("learned", 64)),
        Config(
            300, positions=Positions(grid=(4, 4)), relations=(ByDistance(8, "zero"), ByPitch(46), ByTime(9, "zero", 4))
        ),
        Config(300, input=Tokens((4, 5, 3))),
        Config(300, input=Patches(4, 8, 0.1), head=PatchNetwork(2, 8), aligned=True),
        Config(256, input=Pixels(3), head=Mixture(4)),
    ],
)
def test_json_round_trip(config: Config) -> None:
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 10, "heads": 3}, "divisible by heads=3, got 10"),
        ({"dropout": 1.0}, "dropout"),
        ({"norm": "middle"}, "norm to be one of post, pre"),
        ({"activation": "tanh"}, "activation"),
        ({"decoder_layers": 0}, "decoder_layers of 1 to 1,000, got 0"),
        ({"encoder_layers": -1}, "encoder_layers of 0 to 1,000, got -1"),
        ({"positions": "rotary"}, "positions"),
        ({"width": 9, "heads": 3}, "width divisible by 2"),
        ({"pattern": Full(causal=False)}, "causal"),
        ({"widht": 64}, "did you mean 'width'"),
        ({"relations": {"distance": {"size": 0}}}, "size of ByDistance of 1 to 16,777,216, got 0"),
        ({"relations": {"distance": {"size": 1.5}}}, "size of ByDistance to be a whole number"),
        ({"relations": {"distance": {"size": 4, "far": "near"}}}, "far of ByDistance to be one of zero, clip"),
        ({"relations": {"distance": 4}}, "relations.distance to be a table of its settings, got 4"),
        (
            {"relations": {"distances": {"size": 4}}},
            "relations.kind to be one that is registered.*did you mean 'distance'",
        ),
        ({"relations": {"pitch": {"size": 4, "far": "clip"}}}, "unknown setting relations.far of pitch"),
        ({"relations": {"pitch": {"size": 2**17}}}, "size of ByPitch of 1 to 65,536, got 131,072"),
        ({"relations": {"time": {"size": 4, "unit": 0}}}, "unit of ByTime of 1 to 65,536, got 0"),
        ({"relations": {"time": {}}}, "expected relations.size with relations time, got none"),
        ({"relations": (ByDistance(3), ByDistance(4))}, "one relation of a kind, got several"),
        ({"relations": (3,)}, "each of relations to be an object or a table, got 3"),
        ({"positions": {"grid": [0]}}, "each of positions.grid of 1 to 65,536, got 0"),
        ({"positions": {"grid": [4096, 4096]}}, "at most 2..20 places"),
        ({"positions": {"kind": "learned", "length": 0}}, "positions.length of 1 to 16,777,216, got 0"),
        ({"positions": {"kind": "sinusoidal_2d"}}, "positions.length with sinusoidal_2d positions, got none"),
        ({"positions": {"length": 9}}, "no positions.length with sinusoidal positions, got 9"),
        ({"positions": {"source": "x"}}, "positions.source to be an object or a table, got 'x'"),
        (
            {"encoder_layers": 0, "positions": {"source": {"kind": "none"}}},
            "encoder_layers from 1 with positions.source",
        ),
        ({"input": "token"}, "did you mean 'tokens'"),
        ({"input": {"kind": "patches"}}, "expected input.size with input patches, got none; it needs size, "),
        ({"input": {"kind": "patches", "size": 0}, "head": "patch"}, "input.size of 1 to 64, got 0"),
        ({"input": {"kind": "patches", "size": 65}, "head": "patch"}, "input.size of 1 to 64, got 65"),
        (
            {"input": {"kind": "patches", "size": 4, "repeat_features": True}},
            "repeat_features to be a whole number, got True",
        ),
        ({"input": {"kind": "patches", "size": 4, "word_dropout": 1}}, "input.word_dropout of 0 to below 1, got 1"),
        ({"input": {"kind": "patches", "length": 4}}, "unknown setting input.length of patches"),
        ({"input": {"kind": "patches", "size": 4}}, "input tokens with head tied"),
        (
            {"input": {"kind": "patches", "size": 4}, "head": {"kind": "patch", "layers": 0}},
            "head.layers of 1 to 100, got 0",
        ),
        ({"head": "patch"}, "input patches with head patch"),
        ({"head": 4}, "head to be a table with its kind, got 4"),
        ({"input": 4}, "input to be a table with its kind, got 4"),
        ({"input": {"kind": [4]}}, "input.kind to be one that is registered"),
        (
            {"input": {"kind": "patches", "size": 4}, "head": "patch", "relations": {"pitch": {"size": 9}}},
            "no relation ByPitch with several tokens a position",
        ),
        ({"encoder_layers": 0, "aligned": True}, "encoder_layers from 1 with aligned, got 0"),
        ({"aligned": 1}, "aligned to be true or false, got 1"),
        (
            {"input": {"kind": "tokens", "keyboard": [4, 5]}},
            r"\[keys, shifts, velocities\], got \[4, 5\]",
        ),
        ({"input": {"kind": "tokens", "keyboard": 5}}, r"input.keyboard to be \[keys, shifts, velocities\], got 5"),
        ({"input": {"kind": "tokens", "keyboard": [4, 0, 3]}}, "each of input.keyboard of 1 to 1,024, got 0"),
        ({"input": {"kind": "tokens", "keyboard": [40, 50, 5]}}, "vocabulary from 135 with input.keyboard, got 100"),
        ({"positions": {"kind": "none", "lenght": 4}}, "unknown field 'lenght' in positions; did you mean 'length'"),
        ({"positions": 3}, "positions to be an object or a table, got 3"),
        ({"pattern": {"kind": "round"}}, "got 'round'; known are full, local_1d, local_2d"),
        ({"pattern": "local_1d"}, "expected pattern.query with pattern local_1d, got none; it needs query, memory"),
        ({"pattern": {"kind": "local_1d", "query": 4}}, "expected pattern.memory with pattern local_1d"),
        ({"pattern": {"kind": "local_1d", "query": "4", "memory": 4}}, "pattern.query to be a whole number, got '4'"),
        ({"pattern": {"kind": "local_1d", "qeury": 4}}, "unknown setting pattern.qeury of local_1d; known are query"),
        ({"pattern": {"kind": "full", "causal": "yes"}}, "pattern.causal to be true or false, got 'yes'"),
        ({"pattern": {"kind": [1]}}, "pattern.kind to be one that is registered"),
        ({"pattern": 5}, "pattern to be a table with its kind, got 5"),
        ({"relations": 5}, "relations to be a list, got 5"),
        ({"width": "a"}, "width to be a whole number, got 'a'"),
        ({"width": True}, "width to be a whole number, got True"),
        ({"width": 512.0}, "width to be a whole number, got 512.0"),
        ({"width": 2**40}, "width of 1 to 65,536, got 1,099,511,627,776"),
        ({"decoder_layers": 10**9}, "decoder_layers of 1 to 1,000"),
        ({"source_vocabulary": 0}, "source_vocabulary of 1 to 16,777,216"),
        ({"dropout": "a"}, "dropout to be a number"),
        ({"dropout": float("nan")}, "finite dropout"),
        ({"norm": ["post"]}, "norm to be one of"),
    ],
)
def test_a_mistake_is_one_clear_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Config.from_dict({"vocabulary": 100, **changes})
    assert "\n" not in str(caught.value)


def test_unknown_preset() -> None:
    with pytest.raises(UserError, match="base, small, tiny"):
        Config.preset("huge", 100)
    with pytest.raises(UserError, match="base, small, tiny"):
        Config.preset(["tiny"], 100)  # type: ignore[arg-type]  # as a file may name it
