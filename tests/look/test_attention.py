from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from triptych.decode.maps import AttentionMaps
from triptych.errors import UserError
from triptych.look.attention import START, AttentionMap, attention_maps, draw
from triptych.model.transformer import Transformer
from triptych.picture import save
from triptych.shape.config import Config


def fake(layers: int, heads: int, queries: list[str], keys: list[str]) -> AttentionMap:
    weights = np.random.default_rng(0).random((layers, heads, len(queries), len(keys)), np.float32)
    weights /= weights.sum(-1, keepdims=True)
    names = tuple(f"layer {i + 1}" for i in range(layers)), tuple(f"head {i + 1}" for i in range(heads))
    return AttentionMap("cross", weights, tuple(queries), tuple(keys), *names)


def recorded(source: list[int] | None, rows: int = 1) -> AttentionMaps:
    torch.manual_seed(0)
    depth = 3 if source else 0
    config = Config(12, width=16, heads=2, feed_forward=16, encoder_layers=depth, decoder_layers=2)
    model, maps = Transformer(config).eval(), AttentionMaps()
    model(torch.tensor([[5, 6, 1]] * rows), source=torch.tensor([source] * rows) if source else None, maps=maps)
    return maps


def test_the_maps_of_a_model() -> None:
    maps = attention_maps(recorded([2, 3, 4, 1]), ["x", "y", "end"], ["a", "b", "c", "end"])
    assert {kind: tuple(one.weights.shape) for kind, one in maps.items()} == {
        "encoder": (3, 2, 4, 4),
        "decoder": (2, 2, 3, 3),
        "cross": (2, 2, 3, 4),
    }
    for one in maps.values():
        np.testing.assert_allclose(one.weights.sum(-1), 1, rtol=1e-5)
    assert maps["encoder"].queries == maps["encoder"].keys == ("a", "b", "c", "end")
    assert maps["decoder"].queries == ("x", "y", "end") and maps["decoder"].keys == (START, "x", "y")
    assert maps["cross"].queries == ("x", "y", "end") and maps["cross"].keys == ("a", "b", "c", "end")
    # The step that writes token i has read the tokens before i: nothing above the diagonal.
    assert not np.triu(maps["decoder"].weights, 1).any()


def test_a_decoder_alone_has_one_kind() -> None:
    assert list(attention_maps(recorded(None), ["x", "y", "end"])) == ["decoder"]


def test_choosing() -> None:
    maps = fake(3, 4, ["x", "y"], ["a", "b", "c"])
    one = maps.only(layer=2, head=3)
    assert np.array_equal(one.weights[0, 0], maps.weights[1, 2])
    assert (one.layers, one.heads) == (("layer 2",), ("head 3",))
    mean = maps.mean()
    np.testing.assert_array_equal(mean.weights[:, 0], maps.weights.mean(1))
    assert mean.heads == ("mean of 4 heads",)
    plain = one.to_dict()
    assert plain["weights"][0][0][1][2] == pytest.approx(float(maps.weights[1, 2, 1, 2]), abs=1e-6)
    assert plain["queries"] == ["x", "y"]


@pytest.mark.parametrize("choice", [{"layer": 0}, {"layer": 4}, {"head": 5}, {"head": -1}])
def test_no_such_layer_or_head(choice: dict[str, int]) -> None:
    with pytest.raises(UserError, match="from 1 to"):
        fake(3, 4, ["x"], ["a"]).only(**choice)


def test_bad_input() -> None:
    with pytest.raises(UserError, match="shape of their names"):
        attention_maps(recorded([2, 1]), ["x", "y"], ["a", "end"])
    with pytest.raises(UserError, match="single sequence, got a batch of 2"):
        attention_maps(recorded([2, 1], rows=2), ["x", "y", "end"], ["a", "end"])
    with pytest.raises(UserError, match="shape of their names"):
        AttentionMap("cross", np.ones((1, 1, 2, 2), np.float32), ("x",), ("a", "b"), ("l",), ("h",))


def test_what_is_drawn() -> None:
    figure = draw(fake(2, 3, ["\u2581x", "$y$", "_z^"], ["a", "b"]))
    panels: list[Any] = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 6
    assert [panel.get_title(loc="left") for panel in panels][:2] == ["layer 1, head 1", "layer 1, head 2"]
    first, last = panels[0], panels[-1]
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["_x", "$y$", "_z^"], "tokens, never formulas"
    assert [tick.get_text() for tick in last.get_xticklabels()] == ["a", "b"]
    assert all(not tick.get_text() for tick in last.get_yticklabels()), "names on the outer edges only"
    assert len({panel.images[0].get_clim() for panel in panels}) == 1, "one colour scale"


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_saved_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "deep" / f"map{suffix}"
    save(draw(fake(1, 1, ["größer", "собака", "\u4f60", "$", "\n"], ["\u2581a"])), path)
    assert path.stat().st_size > 1000


def test_a_picture_is_the_same_twice_and_pyplot_knows_nothing_of_it(tmp_path: Path) -> None:
    import sys

    for name in ("a.png", "b.png"):
        save(draw(fake(1, 2, ["x"], ["a", "b"])), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_long_text_stays_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    long = fake(1, 1, [f"q{i}" for i in range(300)], [f"k{i}" for i in range(10)])
    figure = draw(long)
    assert len(figure.axes[0].get_yticklabels()) <= 120
    save(figure, tmp_path / "long.png")
    with Image.open(tmp_path / "long.png") as image:
        assert 3000 < max(image.size) < 5000
