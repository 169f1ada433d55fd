"""Milliseconds that a step costs a row, of one row alone and of 16 side by side, in the kernel.

Models that ship, with their weights in float16 as stored, and the two painters of `painting.py` with random weights.
All draw from the whole distribution, without a grammar. A weight is read once a step for all rows; keys and values are
each row's own. `limit` is the time in which this machine can read both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from speed.composing import STORED
from speed.painting import painter
from speed.plans import cached, compiled, seconds_at_least
from speed.tables import Contestants, More, Settings, Table, table
from triptych.errors import UserError
from triptych.image.painter import Painter
from triptych.model.transformer import Transformer
from triptych.music.chorales.composer import Composer
from triptych.music.performances.pianist import Pianist

MANY = 16  # rows
ALONE = "1 row"
MODELS: dict[str, tuple[int, Callable[[], Transformer]]] = {  # and the steps of each row
    "chorales": (1024, lambda: Composer.load("chorales", device="cpu").module()),
    "piano": (2048, lambda: Pianist.load("piano", device="cpu").module()),
    "fashion": (784, lambda: Painter.load("fashion", device="cpu").module()),
    "3,072 subpixels": (1024, lambda: painter(STORED).module()),
    "a mixture": (1024, lambda: painter(STORED, mixture=True).module()),
}


def tables(settings: Settings, *, length: int | None = None) -> Iterator[Table]:
    """A table for each model. length: steps of each row instead of its own, where fewer. UserError without a kernel."""
    for name, (most, load) in MODELS.items():
        model, steps = load().eval(), min(most, length or most)
        decoder = compiled(model, STORED)
        if decoder is None:
            raise UserError("expected a kernel with the case rows, got none; `triptych models` says why")
        contestants: Contestants = {}
        more: More = {}
        for who, rows in ((ALONE, 1), (f"{MANY} rows", MANY)):
            contestants[who, STORED] = cached(decoder, rows, steps)
            least = seconds_at_least(model, STORED, rows=rows, steps=steps)
            more[who, STORED] = {"limit": 1000 * least / (rows * steps)}
        title = f"{name}: milliseconds a row of each of {steps:,} steps"
        yield table(title, "ms", settings.rates(title, contestants), ALONE, more)
