"""Milliseconds to paint 32 x 32 RGB pictures subpixel by subpixel, beside peers.

6 layers of width 256 with 8 heads and feed-forward networks of 1,024, random weights; 3,072 positions, one a subpixel.
Local attention in blocks of 256 with the 256 positions before, or in blocks of 8 x 16 with 8 rows above and 32 columns
beside; the mixture of 10 components has a pixel at one position. "in kernel" and "in numpy" are the steps of a plan,
with which a model folder generates (the kernel's weights have the dtype of the row); "in torch" those of `Transformer`.

Without a cache every step runs the whole prefix again: extrapolated from passes in the middle of every 512 steps, each
timed once. Peers paint one picture at a time; of `peer_steps`, if fewer, the rest is assumed to be no slower, which
favours those that slow down with the length. With fewer `steps` all others are timed for these alone, and the time of
all 3,072 is extrapolated.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from speed import peers
from speed.plans import cached, compiled, planned, seconds_at_least
from speed.tables import Contestants, More, Name, Settings, Table, table
from triptych.decode.decoder import Decoder
from triptych.errors import UserError
from triptych.image.files.pictures import Pictures
from triptych.image.painter import Painter
from triptych.model.decoder import TorchDecoder
from triptych.model.transformer import Transformer

SHAPE: dict[str, Any] = {"width": 256, "heads": 8, "feed_forward": 1024, "decoder_layers": 6}
LOCAL_1D: dict[str, Any] = {"kind": "local_1d", "query": 256, "memory": 256}
LOCAL_2D: dict[str, Any] = {
    "kind": "local_2d",
    "query_rows": 8,
    "query_columns": 16,
    "memory_rows": 8,
    "memory_columns": 32,
}
SUBPIXELS = 32 * 32 * 3
EVERY = 512  # steps for one timed pass without a cache
REFERENCE = "local 1-D, in numpy"


def painter(dtype: str, *, mixture: bool = False, **changes: Any) -> Painter:
    """An untrained one, in that dtype."""
    blank = Pictures(np.zeros((1, 32, 32, 3), np.uint8), None, ())
    cell: dict[str, Any] = (
        {"cell": "pixel", "head": {"kind": "mixture"}} if mixture else {"cell": (1, 1), "head": "tied"}
    )
    made = Painter.new(blank, device="cpu", **cell, **SHAPE, **{"pattern": LOCAL_1D, **changes})
    made.module().to(getattr(torch, dtype)).eval()
    return made


def pictures(decoder: Decoder, rows: int, steps: int) -> Callable[[], float]:
    """Pictures, or the part of them that so many steps are."""
    tokens = cached(decoder, rows, steps, SUBPIXELS)
    return lambda: tokens() / SUBPIXELS


@torch.no_grad()
def uncached(model: Transformer, rows: int) -> float:
    """Pictures a second when every token costs a pass over all before it."""
    ids = torch.randint(model.config.vocabulary, (rows, SUBPIXELS))
    seconds = 0.0
    for length in range(EVERY // 2, SUBPIXELS, EVERY):
        model(ids[:, :length])  # the first of its shape sets things up
        start = time.perf_counter()
        model(ids[:, :length])
        seconds += EVERY * (time.perf_counter() - start)
    return rows / seconds


def local_attention(made: Painter, steps: int) -> Callable[[], float]:
    torch.manual_seed(0)
    model: Any = peers.local_transformer(made.config, SUBPIXELS + 1, LOCAL_1D["query"]).train(False)
    model.to(made.module().dtype)
    start = torch.zeros(1, 1, dtype=torch.int64)

    def run() -> float:
        found = model.generate(start, steps, filter_thres=0.0)
        assert found.size(1) == steps
        return steps / SUBPIXELS

    return run


def x_transformers(made: Painter, steps: int) -> Callable[[], float]:
    from x_transformers import AutoregressiveWrapper

    torch.manual_seed(0)
    inner = peers.x_decoder(made.config, SUBPIXELS + 1, rotary_pos_emb=True, attn_flash=True)
    model: Any = AutoregressiveWrapper(inner).train(False).to(made.module().dtype)
    start = torch.zeros(1, 1, dtype=torch.int64)

    @torch.no_grad()
    def run() -> float:
        found = model.generate(start, steps, cache_kv=True, filter_logits_fn=lambda logits: logits)
        assert found.size(1) == steps
        return steps / SUBPIXELS

    return run


PEERS = {"local-attention": local_attention, "x-transformers": x_transformers}


def painters(rows: int, steps: int, dtypes: Sequence[str]) -> tuple[Contestants, dict[str, Painter], dict[Name, float]]:
    """Our ways to paint `rows` pictures side by side, by dtype the painter with 1-D local attention, and the limits
    of the first in milliseconds a picture.
    """
    contestants: Contestants = {}
    limits: dict[Name, float] = {}
    plain: dict[str, Painter] = {}
    for dtype in dtypes:
        one = plain[dtype] = painter(dtype)
        others = {"local 2-D": painter(dtype, pattern=LOCAL_2D), "mixture": painter(dtype, mixture=True)}
        for name, made in {"local 1-D": one, **others}.items():
            kernel = compiled(made.module(), dtype)
            if kernel is not None:
                contestants[f"{name}, in kernel", dtype] = pictures(kernel, rows, steps)
            if dtype == "float32":
                contestants[f"{name}, in numpy", dtype] = pictures(planned(made.module()), rows, steps)
            contestants[f"{name}, in torch", dtype] = pictures(TorchDecoder(made.module()), rows, steps)
            limit = 1000 / rows * seconds_at_least(made.module(), dtype, rows=rows, steps=SUBPIXELS)
            limits |= {who: limit for who in contestants if who[0].startswith(f"{name}, ") and who[1] == dtype}
    return contestants, plain, limits


def sampling(rows: int, steps: int, peer_steps: int, settings: Settings) -> Table:
    """Milliseconds a picture, `rows` pictures side by side."""
    contestants, plain, limits = painters(rows, steps, settings.dtypes)
    left_out: list[str] = []
    for dtype, made in plain.items() if rows == 1 else ():
        for name in (each for each in PEERS if each in settings.peers):
            try:
                PEERS[name](made, 2)()
            except RuntimeError as error:  # no package takes every dtype
                left_out.append(f"{name} in {dtype}: {error}")
            else:
                contestants[name, dtype] = PEERS[name](made, min(peer_steps, steps))
    title = f"painting 32 x 32 RGB, {rows} at once: milliseconds a picture"
    rates = settings.rates(title, contestants)
    for dtype, made in plain.items():
        rates["local 1-D, no cache", dtype] = [uncached(made.module(), rows)] * settings.repeats
    more: More = {}
    for name, dtype in rates:
        timed = min(peer_steps, steps) if name in PEERS else steps
        guessed = timed < SUBPIXELS or name.endswith("no cache")
        more[name, dtype] = {"seconds": 1 / statistics.median(rates[name, dtype]), "extrapolated": guessed}
        if (name, dtype) in limits:
            more[name, dtype] = {**more[name, dtype], "limit": limits[name, dtype]}
    found = table(title, "ms", rates, REFERENCE, more)
    return {**found, "left_out": left_out} if left_out else found


def tables(
    settings: Settings, *, rows: Sequence[int] = (1, 16), steps: int = SUBPIXELS, peer_steps: int = SUBPIXELS
) -> Iterator[Table]:
    """A table for each number of pictures side by side."""
    if not 0 < steps <= SUBPIXELS:
        raise UserError(f"expected --length from 1 to {SUBPIXELS:,} with the case painting, got {steps:,}")
    yield from (sampling(each, steps, peer_steps, settings) for each in rows)
