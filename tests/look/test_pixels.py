import json

import numpy as np
import pytest

from triptych.look.pixels import PixelAttention, draw


def attention(channels: int = 1, heads: int = 5) -> PixelAttention:
    random = np.random.default_rng(0)
    query, memory = np.zeros((6, 9), bool), np.zeros((6, 9), bool)
    query[2:4], memory[:3] = True, True
    weights = random.random((heads, 6, 9)) * memory
    weights /= 2 * weights.sum((1, 2), keepdims=True)
    picture = random.integers(0, 256, (6, 9, channels), dtype=np.uint8)
    return PixelAttention(picture, (3, 4), query, memory, weights, "layer 2", tuple(f"head {n}" for n in range(heads)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_panel_for_the_blocks_and_one_for_each_head(channels: int) -> None:
    found = attention(channels)
    figure = draw(found)
    assert len(figure.axes) == 6
    for head, axes in enumerate(figure.axes[1:]):
        assert np.array_equal(np.asarray(axes.images[0].get_array()), found.weights[head])
    seen, own, mark = (len(lines.get_segments()) for lines in figure.axes[0].collections)  # type: ignore[attr-defined]
    assert (seen, own, mark) == (2 * (3 + 9), 2 * (2 + 9), 4), "lines around the blocks"
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.allclose(shown[3, 4], found.picture[3, 4] / 255) and np.allclose(shown[:3], found.picture[:3] / 255)
    assert (shown[4:] >= 0.7).all(), "what it cannot see is pale"


def test_numbers() -> None:
    plain = attention(heads=2).to_dict()
    assert json.loads(json.dumps(plain))["pixel"] == [3, 4]
    assert plain["start"] == pytest.approx([0.5, 0.5]) and (plain["query"], plain["memory"]) == (18, 27)
