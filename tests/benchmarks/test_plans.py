"""What a generation must read, counted by hand."""

from speed.plans import bandwidth, bytes_read, engines

from triptych.decode.kernel import KernelDecoder, library
from triptych.model.transformer import Transformer
from triptych.model.weights import arrays_of
from triptych.shape.config import Config

WIDTH, INNER, LAYERS, VOCABULARY = 16, 24, 2, 20
TEXT = Config(VOCABULARY, width=WIDTH, heads=2, feed_forward=INNER, encoder_layers=1, decoder_layers=LAYERS, norm="pre")


def test_weights_are_counted_once_a_step_and_keys_as_they_grow() -> None:
    stored = arrays_of(Transformer(TEXT))
    square = WIDTH * WIDTH + WIDTH  # a linear map with its bias
    layer = 3 * square + square + 2 * square + 2 * WIDTH * INNER + INNER + WIDTH + 3 * 2 * WIDTH
    weights = LAYERS * layer + 2 * WIDTH + VOCABULARY * WIDTH
    rows, steps, sources, length = 6, 4, 3, 5
    keys = rows * (1 + 2 + 3 + 4) + steps * sources * length
    want = 4 * (steps * weights + 2 * LAYERS * WIDTH * keys)
    assert bytes_read(TEXT, stored, rows=rows, steps=steps, sources=sources, length=length) == want
    halves = arrays_of(Transformer(TEXT), "float16")
    saved = 2 * steps * weights
    assert bytes_read(TEXT, halves, rows=rows, steps=steps, sources=sources, length=length) == want - saved


def test_two_threads_read_at_a_rate() -> None:
    assert bandwidth(1000, 2) > 0


def test_the_kernel_is_a_contestant_where_there_is_one() -> None:
    found = engines(Transformer(TEXT))
    assert set(found) == ({"numpy"} if library() is None else {"kernel", "numpy"})
    assert all(isinstance(decoder, KernelDecoder) == (name == "kernel") for name, decoder in found.items())
