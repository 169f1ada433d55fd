import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.attention.tables import order
from triptych.errors import UserError
from triptych.image.codec import HOLE, PictureCodec
from triptych.shape.pattern import Local2D


@st.composite
def codecs(draw: st.DrawFn) -> PictureCodec:
    sizes = st.integers(1, 9)
    block = draw(st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)))
    cell = (draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    return PictureCodec(draw(sizes), draw(sizes), draw(st.integers(1, 4)), cell, block)


@settings(deadline=None, max_examples=150)
@given(codecs(), st.integers(0, 2**32 - 1))
def test_decoding_is_the_inverse_of_encoding(codec: PictureCodec, seed: int) -> None:
    pictures = np.random.default_rng(seed).integers(0, 256, (3, *codec.shape)).astype(np.uint8)
    ids = codec.encode(pictures)
    assert ids.shape == (3, codec.tokens) and ids.dtype == np.int64
    assert np.array_equal(codec.decode(ids), pictures)
    assert sorted(codec.order.tolist()) == list(range(codec.tokens))
    assert int(codec.inside.sum()) == pictures[0].size and not ids[:, ~codec.inside].any()
    assert PictureCodec.from_bytes(codec.to_bytes()) == codec


def token(codec: PictureCodec, row: int, column: int, channel: int) -> int:
    """The number of the token that is a channel of a pixel."""
    place = row * codec.columns * codec.cell[1] + column * codec.channels + channel
    return int(np.flatnonzero(codec.order == place)[0])


@settings(deadline=None, max_examples=50)
@given(codecs(), st.data())
def test_where_a_subpixel_is(codec: PictureCodec, data: st.DataObject) -> None:
    row, column, channel = (data.draw(st.integers(0, size - 1)) for size in codec.shape)
    picture = np.zeros((1, *codec.shape), np.uint8)
    picture[0, row, column, channel] = 7
    assert codec.encode(picture)[0].nonzero()[0].tolist() == [token(codec, row, column, channel)]


def test_raster_order_is_red_green_blue_row_by_row() -> None:
    picture = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert PictureCodec(2, 2, 3).encode(picture)[0].tolist() == list(range(12))
    assert PictureCodec(2, 2, 3, (1, 3)).encode(picture)[0].tolist() == list(range(12))


def test_block_order_is_that_of_the_pattern() -> None:
    codec = PictureCodec(4, 6, 1, block=(2, 3))
    picture = np.arange(24, dtype=np.uint8).reshape(1, 4, 6, 1)
    assert codec.encode(picture)[0].tolist() == order(Local2D(4, 6, 2, 3, 0, 0)).tolist()


def test_a_cell_is_one_position() -> None:
    codec = PictureCodec(4, 4, 1, (2, 2))
    picture = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    assert codec.encode(picture)[0].tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
    assert (codec.rows, codec.columns, codec.positions, codec.tokens) == (2, 2, 4, 16)


def test_holes_and_small_pictures_lie_beside_the_target() -> None:
    codec = PictureCodec(4, 4, 3, (1, 3), factor=2)
    picture = np.full((1, 4, 4, 3), 9, np.uint8)
    hidden = np.zeros((1, 4, 4), bool)
    hidden[0, 1, 2] = True
    source = codec.encode_source(picture, hidden)[0]
    assert (source == HOLE).nonzero()[0].tolist() == [token(codec, 1, 2, channel) for channel in range(3)]
    assert set(source[source != HOLE].tolist()) == {9}
    small = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    large = codec.decode(codec.encode_small(small))[0]
    assert np.array_equal(large[::2, ::2], small[0]) and np.array_equal(large[1::2, 1::2], small[0])


def test_any_ids_are_a_picture() -> None:
    codec = PictureCodec(1, 2, 1)
    assert codec.decode(np.array([[-5, 999]]))[0, 0, :, 0].tolist() == [0, 255]


def test_labels_by_name_or_number() -> None:
    codec = PictureCodec(1, 1, 1, labels=("Coat", "bag"))
    assert [codec.label(name) for name in ("coat", " BAG ", "1")] == [0, 1, 1]
    with pytest.raises(UserError, match="expected a label of Coat, bag, got 'hat'"):
        codec.label("hat")
    with pytest.raises(UserError, match="the model has no classes"):
        PictureCodec(1, 1, 1).label("hat")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "from 1 on"),
        ({"width": True}, "from 1 on"),
        ({"channels": 5}, "1 to 4 channels"),
        ({"cell": (1,)}, "rows and columns"),
        ({"block": 3}, "rows and columns"),
        ({"cell": (0, 1)}, "from 1 on"),
        ({"factor": 3}, "that factor=3 divides"),
        ({"labels": (1,)}, "names of classes"),
        ({"height": 2**11, "width": 2**11}, "at most 1,048,576 subpixels"),
    ],
)
def test_impossible_codecs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PictureCodec(**{"height": 4, "width": 4, "channels": 1, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"lowest": 36}', b"\xff", b"[" * 100_000])
def test_another_codec(data: bytes) -> None:
    with pytest.raises(UserError, match="expected a codec of pictures"):
        PictureCodec.from_bytes(data)


def test_pictures_that_do_not_fit() -> None:
    codec = PictureCodec(4, 4, 1, factor=2)
    with pytest.raises(UserError, match=r"expected pictures uint8 \[N, 4, 4, 1\], got uint8 \[1, 4, 5, 1\]"):
        codec.encode(np.zeros((1, 4, 5, 1), np.uint8))
    with pytest.raises(UserError, match="got float64"):
        codec.encode(np.zeros((1, 4, 4, 1)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="expected a mask"):
        codec.encode_source(np.zeros((1, 4, 4, 1), np.uint8), np.zeros((1, 4, 3), bool))
    with pytest.raises(UserError, match="to upscale"):
        codec.encode_small(np.zeros((1, 4, 4, 1), np.uint8))
    with pytest.raises(UserError, match="expected ids"):
        codec.decode(np.zeros((1, 5), np.int64))


@settings(deadline=None, max_examples=50)
@given(codecs())
def test_positions_of_subpixels(codec: PictureCodec) -> None:
    for row, column, channel in np.ndindex(*codec.shape):
        assert codec.places[row, column, channel] == token(codec, row, column, channel) // np.prod(codec.cell)
