import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.image.sheet import GAP, USUAL, sheet


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])), min_size=1), st.integers(1, 5)
)
def test_every_picture_is_on_the_sheet(sizes: list[tuple[int, int, int]], columns: int) -> None:
    pictures = [np.full(size, number % 200, np.uint8) for number, size in enumerate(sizes)]
    whole = sheet(pictures, columns, zoom=2)
    edge = 2 * max(max(size[:2]) for size in sizes)
    rows = -(-len(pictures) // columns)
    assert whole.shape == (rows * (edge + GAP) + GAP, columns * (edge + GAP) + GAP, max(size[2] for size in sizes))
    for number, (height, width, _) in enumerate(sizes):
        row, column = divmod(number, columns)
        square = whole[GAP + row * (edge + GAP) :, GAP + column * (edge + GAP) :][:edge, :edge]
        factor = edge // max(height, width)
        assert (square[..., 0] == number % 200).sum() == height * width * factor**2
        assert (square[..., 0] == 255).sum() == edge**2 - height * width * factor**2


def test_small_pictures_are_enlarged_until_they_can_be_seen() -> None:
    whole = sheet([np.zeros((28, 28, 1), np.uint8), np.zeros((7, 7, 1), np.uint8)], 2)
    assert abs(whole.shape[0] - 2 * GAP - USUAL) < 28
    assert (whole == 0).sum() == 2 * 84 * 84
