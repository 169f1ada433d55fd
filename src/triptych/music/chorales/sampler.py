"""Notes drawn from a model of chorales, by their grammar: a piece that is composed or goes on, or one filled in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from triptych.errors import UserError, whole_number
from triptych.generation.forced import FREE
from triptych.generation.protocol import Ids
from triptych.generation.sample import generate
from triptych.generation.sampling import Sampling
from triptych.music.chorales.codec import END, HOLE, STEPS_PER_QUARTER, ChoraleCodec, Grid
from triptych.music.chorales.grammar import ChoraleGrammar, Rules
from triptych.music.chorales.labels import Label, class_of
from triptych.music.piece.key import Key
from triptych.music.piece.metre import Bars
from triptych.music.piece.metre_table import places_of
from triptych.trained import Trained

MAX_STEPS = 4096  # of a piece that is composed, about 12 minutes
MAX_FILLED_STEPS = 8192  # of one that is filled in; before it, all of it is read at once
KEYED_STEPS = 320  # after which a piece in a key ends on its tonic; Bach ends after 241 on average
USUAL_STEPS = 640  # after which a piece that has not ended by itself is cut: longer than any of Bach's
NOTHING: Grid = np.empty((0, 4), np.int64)


@dataclass(frozen=True)
class ChoraleSampler:
    """A model with its codec and the rules of the grammar."""

    trained: Trained
    codec: ChoraleCodec
    rules: Rules

    def compose(
        self,
        label: Label | None,
        steps: int | None,
        sampling: Sampling | None,
        seed: int | Sequence[int],
        *,
        rows: int = 1,
        primer: Grid = NOTHING,
        before: int = 0,
        bars: Bars | None = None,
    ) -> Iterator[Ids]:
        """Tokens [rows] of one position after another, those of the primer first, in which -2 is a note to be found.

        label: a key is also the one in which the piece ends. steps: sixteenths of the whole, of which `before` are not
        in the primer; without, the piece ends where the model ends it. bars: in which sixteenth `before` is the first
        of the primer, for models that read the metre.
        """
        given = len(primer) + before
        if given >= MAX_STEPS:
            less = f"less than {MAX_STEPS:,} sixteenths"
            raise UserError(f"expected a primer of {less}, got {given:,}; cut it, or use --model piano")
        key = label if isinstance(label, Key) else None
        usual = USUAL_STEPS if key is None else min(KEYED_STEPS, USUAL_STEPS)
        usual = min(MAX_STEPS, max(usual, 2 * given))
        total = usual if steps is None else whole_number(steps, "the number of sixteenths")
        if not given < total <= MAX_STEPS:
            possible = f"{given + 1:,} to {MAX_STEPS:,} sixteenths"
            raise UserError(f"expected {possible}, got {total:,}; choose another length")
        length = 4 * (total - before)
        forced = None
        if len(primer):
            ids = self.codec.encode(primer, holes=True)
            forced = np.tile(np.where(ids == HOLE, FREE, ids), (rows, 1))
        stop = None if steps is not None else length // 4
        end = 4 * len(primer) if steps is None else None
        decoder, metre = self.trained.decoder(), self._metre(bars, before, length // 4)
        return generate(
            decoder,
            decoder.start(length=length, rows=rows, label=np.full(rows, class_of(label)), metre=metre),
            steps=length,
            end=END if steps is None else None,
            sampling=sampling or self.trained.usual,
            seed=seed,
            allow=ChoraleGrammar(self.codec, end=end, stop=stop, key=key, beat=_beat(bars, total), rules=self.rules),
            prefix=forced,
        )

    def fill(
        self,
        grid: Grid,
        sampling: Sampling | None,
        seed: int,
        *,
        label: Label | None = None,
        key: Key | None = None,
        before: int = 0,
        bars: Bars | None = None,
    ) -> Grid:
        """The grid [steps, 4] with its unknown notes (-2) found, given all the others. key: in which it is to end.

        bars: in which sixteenth `before` is the first of the grid, for models that read the metre.
        """
        source = self.codec.encode(grid, holes=True)[None]
        if len(grid) > MAX_FILLED_STEPS:
            raise UserError(f"expected a piece of at most {MAX_FILLED_STEPS:,} sixteenths, got {len(grid):,}; cut it")
        length = source.shape[1]
        decoder, metre = self.trained.decoder(), self._metre(bars, before, len(grid))
        columns = generate(
            decoder,
            decoder.start(length=length, source=source, label=np.full(1, class_of(label)), metre=metre),
            steps=length,
            sampling=sampling or self.trained.usual,
            seed=seed,
            allow=ChoraleGrammar(
                self.codec, known=grid, key=key, beat=_beat(bars, before + len(grid)), rules=self.rules
            ),
            prefix=np.where(source == HOLE, FREE, source),
        )
        return self.codec.decode([int(column[0]) for column in columns])

    def _metre(self, bars: Bars | None, before: int, steps: int) -> Ids | None:
        """The metre [1, steps, 2] of some sixteenths of a piece; None for a model that does not read it."""
        longest = self.trained.config.positions.metre
        if bars is None or not longest:
            return None
        early = max(0, -before)  # a quarter note may begin before the piece does
        places = places_of(bars, before + early, before + steps, longest)
        return np.pad(places, ((early, 0), (0, 0)))[None]


def _beat(bars: Bars | None, end: int) -> int:
    """Sixteenths of the beat with which a piece ends: a quarter note, or what is longer in its last metre."""
    return STEPS_PER_QUARTER if bars is None else max(STEPS_PER_QUARTER, bars.at(end - 1).metre.beat(bars.resolution))
