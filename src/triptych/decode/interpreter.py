"""Generation with a plan in numpy: the portable form, and the definition of what faster ones compute.

It is a decoder as `generation.protocol` asks for one: start, step, select, prefill, draw.

Shapes in comments: R rows, H heads, D width of a head, W = H D, P positions, Q positions of the source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.decode.arithmetic import Floats, softmax
from triptych.decode.history import MISSING, History, Ids
from triptych.decode.maps import AttentionMaps
from triptych.decode.plan import Layer, Plan
from triptych.decode.steps.heads import LogProbs
from triptych.decode.steps.inputs import InputSteps, steps_of
from triptych.decode.steps.tables import source_steps
from triptych.decode.whole import KeysValues, attend_to_source, decoder_layer, encoder_layer, split
from triptych.errors import UserError
from triptych.shape.parts import LEVELS
from triptych.shape.pattern import Local1D, Local2D, Pattern, ring, visible

QUIET = np.errstate(all="ignore")  # numbers that are not finite end as such in the log-probabilities, which are checked


@dataclass
class PlanCache:
    """What the rows of one generation remember.

    Attributes:
        history, reading: the ids so far, and the steps of the input.
        keys: per layer [R, H, D, slots]; values: [R, H, slots, D]. In one dimension the columns from `first` on lie
            side by side; in two, column c lies in slot c % slots.
        source: per layer keys and values of the source, each [sources, H, Q, D]; hide [sources, Q]: its padding.
        added: [R or 1, P, W], what an aligned source and the metre add to each position; label: [R, W].
        begun: what the head's steps of the present position share.
        taken: how many steps were taken.
    """

    beams: int
    history: History
    reading: InputSteps
    keys: list[Floats]
    values: list[Floats]
    source: list[KeysValues] = field(default_factory=list)
    hide: NDArray[np.bool_] | None = None
    added: Floats | None = None
    label: Floats | None = None
    begun: Any = None
    first: int = 0
    taken: int = 0

    @property
    def rows(self) -> int:
        """Number of sequences that grow side by side."""
        return self.history.rows

    @property
    def position(self) -> int:
        """How many steps were taken."""
        return self.taken

    def select(self, rows: Ids) -> None:
        """Let new row r continue old row `rows[r]`. Whole groups of beams may be dropped."""
        before = self.rows
        groups = rows[:: self.beams] // self.beams
        if len(rows) == before and (rows == np.arange(before)).all():
            return
        self.history.select(rows)
        self.reading.select(rows)
        used = slice(min(-(-self.taken // self.history.size) - self.first, self.keys[0].shape[3]))
        moved = np.flatnonzero(rows != np.arange(len(rows)))
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            if len(rows) == before:  # in place: neither other rows nor what is not used yet need move
                keys[moved, :, :, used], values[moved, :, used] = (
                    keys[rows[moved], :, :, used],
                    values[rows[moved], :, used],
                )
            else:
                self.keys[layer], self.values[layer] = keys[rows], values[rows]
        self.begun = None if self.begun is None else self.begun[rows]
        self.label = None if self.label is None else self.label[rows]
        if self.added is not None and len(self.added) == before:
            self.added = self.added[rows]
        if self.source and not np.array_equal(groups, np.arange(before // self.beams)):
            self.source = [(keys[groups], values[groups]) for keys, values in self.source]
            self.hide = None if self.hide is None else self.hide[groups]

    def room(self, column: int, start: int) -> int:
        """The slot of a column that sees those from `start` on; older ones may be dropped for it."""
        if column - self.first >= self.keys[0].shape[3]:
            kept, moved = column - start, start - self.first
            for keys, values in zip(self.keys, self.values, strict=True):
                keys[..., :kept] = keys[..., moved : moved + kept].copy()
                values[:, :, :kept] = values[:, :, moved : moved + kept].copy()
            self.first = start
        return column - self.first


class PlanDecoder:
    """Steps, prefill and draws of a plan. It has no state of its own: each generation has a `PlanCache`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def one_thread_each(self) -> AbstractContextManager[Any]:
        """Let each caller's thread compute alone within a `with` statement: several call at once."""
        return nullcontext()

    # -- the source ---------------------------------------------------------------------------------------------------

    @QUIET
    def encode(
        self, source: Ids, lengths: Ids | None = None, metre: Ids | None = None, maps: AttentionMaps | None = None
    ) -> Floats:
        """The encoded source [B, Q, W] of ids [B, S]; tokens at or past `lengths` [B] are padding."""
        plan, config = self.plan, self.plan.config
        read = plan.source.every(source_steps(config, len(source)), source, config.input.size, first=1)
        hidden = plan.source_positions.read(read) + plan.source_positions.of(0, read.shape[1])
        places = self._places(metre, read.shape[1]) if config.aligned else None
        hidden = hidden if places is None else hidden + places
        hide, ids = self._padding(lengths, read.shape[1]), in_positions(source, config.input.size)
        for layer in plan.encoder:
            hidden = encoder_layer(plan, layer, hidden, ids, hide, None if maps is None else maps.encoder)
        return hidden if plan.encoder_norm is None else plan.encoder_norm(hidden)

    def _padding(self, lengths: Ids | None, positions: int) -> NDArray[np.bool_] | None:
        """True where a position of the source is padding: [B, Q]; None if none is."""
        if lengths is None:
            return None
        hide: NDArray[np.bool_] = np.arange(positions) >= (-(-lengths // self.plan.config.input.size))[:, None]
        return hide if hide.any() else None

    def _places(self, metre: Ids | None, count: int) -> Floats | None:
        """The vectors of places in the bar: see `model.positions.MetreEmbedding`."""
        place, bar = self.plan.metre
        if place is None or bar is None:
            return None
        given = np.zeros((1, count, 2), np.int64)
        if metre is not None:
            given = np.zeros((len(metre), count, 2), np.int64)
            known = metre[:, :count]
            given[:, : known.shape[1]] = known * (known[..., 1:] < len(bar))
        return (place[given[..., 0]] + bar[given[..., 1]]) * np.float32(math.sqrt(self.plan.config.width))

    # -- rows ---------------------------------------------------------------------------------------------------------

    @QUIET
    def start(
        self,
        *,
        length: int,
        rows: int | None = None,
        source: Ids | None = None,
        source_lengths: Ids | None = None,
        label: Ids | None = None,
        metre: Ids | None = None,
        beams: int = 1,
    ) -> PlanCache:
        """Fresh rows for at most `length` steps; arguments as those of `Transformer.start`, in arrays."""
        plan, config = self.plan, self.plan.config
        if (config.encoder_layers > 0) != (source is not None):
            raise UserError(f"expected {'a' if config.encoder_layers else 'no'} source for this model; see its config")
        groups = len(source) if source is not None else (rows or 1) // beams
        if beams < 1 or rows not in (None, groups * beams):
            raise UserError(f"expected {beams} rows (beams) for each of {groups} sources or labels, got rows={rows}")
        if metre is not None and len(metre) not in (1, groups * beams):
            raise UserError(f"expected a metre of 1 or {groups * beams} rows, got {len(metre)}")
        cache = self._fresh(groups * beams, length, beams)
        cache.added = self._places(metre, cache.history.ids.shape[1])
        if label is not None and plan.label is not None:
            cache.label = self._labels(label, groups).repeat(beams, 0)
        if source is not None:
            self._begin_source(cache, source, source_lengths, metre)
        return cache

    def _fresh(self, rows: int, length: int, beams: int) -> PlanCache:
        """The cache of rows that have nothing yet."""
        config = self.plan.config
        history, reading = self._history(rows, length)
        slots, heads = slots_of(config.pattern, history.ids.shape[1]), config.heads
        shape = rows, heads, config.width // heads, slots
        keys = [np.empty(shape, np.float32) for _ in self.plan.decoder]
        values = [np.empty((*shape[:2], slots, shape[2]), np.float32) for _ in self.plan.decoder]
        return PlanCache(beams, history, reading, keys, values)

    def _history(self, rows: int, length: int) -> tuple[History, InputSteps]:
        config = self.plan.config
        return History(rows, length, config.input.size), steps_of(config, rows)

    def _labels(self, label: Ids, groups: int) -> Floats:
        """Class vectors [groups, W] of labels [groups], zero for -1."""
        table = self.plan.label
        assert table is not None
        if len(label) != groups or (groups and int(label.max()) >= len(table)):
            raise UserError(
                f"expected {groups} labels below classes={len(table)}, got {label.tolist()}; -1 is no label"
            )
        vectors = table[np.maximum(label, 0)] * np.float32(math.sqrt(self.plan.config.width))
        return np.where(label[:, None] >= 0, vectors, np.float32(0))

    def _begin_source(self, cache: PlanCache, source: Ids, lengths: Ids | None, metre: Ids | None) -> None:
        """Encode the source. An aligned one is added to the target's positions; of others keys and values are kept."""
        plan, size = self.plan, cache.history.size
        encoded = self.encode(source, lengths, metre)
        if plan.config.aligned:
            beside = encoded.repeat(cache.beams, 0)
            cache.added = beside if cache.added is None else beside + cache.added[:, : beside.shape[1]]
            columns = cache.history.ids.shape[1]
            ids = np.pad(in_positions(source, size), ((0, 0), (0, columns), (0, 0)), constant_values=LEVELS)  # holes
            cache.history.source = ids[:, :columns].repeat(cache.beams, 0)
            return
        self._keep_source(cache, encoded, lengths)

    def _keep_source(self, cache: PlanCache, encoded: Floats, lengths: Ids | None) -> None:
        """Keep the keys and values of the encoded source [sources, Q, W] of each layer."""
        cache.hide = self._padding(lengths, encoded.shape[1])
        for layer in self.plan.decoder:
            assert layer.cross is not None
            key, value = split(layer.cross.key_value(encoded), 2, self.plan.config.heads)
            cache.source.append((np.ascontiguousarray(key), np.ascontiguousarray(value)))

    @QUIET
    def step(self, ids: Ids | None, cache: PlanCache) -> LogProbs:
        """Log-probabilities [R, vocabulary] of the next token; `ids` [R] are the last ones, None at first."""
        self._advance(ids, cache)
        return self.plan.head.step(cache.begun, cache.history)

    def log_probs(self, ids: Ids, *, source: Ids | None = None, **given: Any) -> NDArray[np.float64]:
        """Log-probability [B, L] of each of ids [B, L], of rows that `start` begins with what is given."""
        rows, length = ids.shape
        cache, found = self.start(length=length, rows=rows, source=source, **given), np.empty((rows, length))
        for at in range(length):
            of_all = self.step(ids[:, at - 1] if at else None, cache)
            found[:, at] = of_all[np.arange(rows), ids[:, at]]
        return found

    @QUIET
    def draw(
        self,
        ids: Ids | None,
        cache: PlanCache,
        uniforms: NDArray[np.float64],
        allowed: NDArray[np.bool_] | None = None,
        **sampling: float,
    ) -> Ids | None:
        """The next ids [1, R], drawn by the head without whole distributions; None, and no change, where it cannot."""
        if not self.plan.head.draws or allowed is not None or sampling:
            return None
        self._advance(ids, cache)
        return self.plan.head.draw(cache.begun, cache.history, uniforms[0])[None]

    def _advance(self, ids: Ids | None, cache: PlanCache) -> None:
        """Take the last ids, and begin a position where they end one."""
        cache.history.follow(ids, 1, self.plan.config.vocabulary)
        if cache.history.place == 0:
            read = self.plan.input.sum(cache.reading.read(cache.history), cache.rows)
            hidden = self._column(read, cache)
            cache.begun = self.plan.head.begin(hidden, cache.history)
        cache.taken += 1

    def _column(self, read: Floats, cache: PlanCache) -> Floats:
        """The decoder's output [R, W] at the present column, which reads [R, W]."""
        plan, column = self.plan, cache.history.position
        hidden = plan.positions.read(read) + plan.positions.of(column, column + 1)
        hidden = self._conditioned(hidden[:, None], cache, column)[:, 0]
        seen = visible(plan.config.pattern, column) if isinstance(plan.config.pattern, Local2D) else None
        if seen is None:
            start = _first_seen(plan.config.pattern, column)
            slot = cache.room(column, start)
        else:
            start, slot = 0, column % cache.keys[0].shape[3]
        for number, layer in enumerate(plan.decoder):
            hidden = self._layer(number, layer, hidden, cache, slot, start, seen)
        return hidden if plan.decoder_norm is None else plan.decoder_norm(hidden)

    def _conditioned(self, hidden: Floats, cache: PlanCache, first: int) -> Floats:
        """Hidden [R, P, W] of columns from `first` on with label, aligned source and metre."""
        if cache.added is not None:
            some = cache.added[:, first : first + hidden.shape[1]]
            if some.shape[1]:
                hidden = hidden + some
        return hidden if cache.label is None else hidden + cache.label[:, None]

    def _layer(
        self, number: int, layer: Layer, hidden: Floats, cache: PlanCache, slot: int, start: int, seen: Ids | None
    ) -> Floats:
        """Hidden [R, W] a layer further, whose key and value go to a slot. It sees the columns from `start` on, or
        those of `seen`.
        """
        plan, attention = self.plan, layer.attention
        rows, heads = len(hidden), plan.config.heads
        read = attention.norm(hidden) if plan.pre else hidden
        parts = attention.query_key_value(read).reshape(rows, 3, heads, -1)
        keys, values = cache.keys[number], cache.values[number]
        keys[..., slot], values[:, :, slot] = parts[:, 1], parts[:, 2]
        query = (parts[:, 0] * np.float32(parts.shape[3] ** -0.5))[:, :, None]  # [R, H, 1, D]
        if seen is None:
            window = slice(start - cache.first, slot + 1)
            keys, values = keys[..., window], values[:, :, window]
        else:
            slots = seen % keys.shape[3]
            keys, values = keys[..., slots], values[:, :, slots]
        scores = np.matmul(query, keys)  # [R, H, 1, keys]
        for relation in attention.relations:
            relation.add(scores, query, cache.history, seen, start)
        mixed = np.matmul(softmax(scores), values).reshape(rows, -1)
        hidden = hidden + attention.output(mixed)
        hidden = hidden if plan.pre else attention.norm(hidden)
        if layer.cross is not None:
            hidden = self._cross(number, layer, hidden, cache)
        return layer.network(hidden)

    def _cross(self, number: int, layer: Layer, hidden: Floats, cache: PlanCache) -> Floats:
        """Hidden [R, W] after attention to the source, whose beams are queries of one attention."""
        plan, cross = self.plan, layer.cross
        assert cross is not None
        read = cross.norm(hidden) if plan.pre else hidden
        sources = cache.rows // cache.beams
        query = split(cross.query(read).reshape(sources, cache.beams, -1), 1, plan.config.heads)[0]
        mixed = attend_to_source(query, cache.source[number], cache.hide)  # [sources, H, beams, D]
        hidden = hidden + cross.output(mixed.transpose(0, 2, 1, 3).reshape(len(hidden), -1))
        return hidden if plan.pre else cross.norm(hidden)

    # -- many positions at once ---------------------------------------------------------------------------------------

    @QUIET
    def prefill(self, ids: Ids, cache: PlanCache) -> Ids:
        """Take the first steps in one parallel pass: those that choose ids [R, n], as far as they fill positions.

        Returns these ids; the next `step` is given the last of them.
        """
        config, size = self.plan.config, cache.history.size
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < config.vocabulary:
            raise UserError(f"expected ids from 0 to {config.vocabulary - 1}, got {int(ids.min())} to {int(ids.max())}")
        ids = ids[:, : ids.shape[1] // size * size]
        if ids.shape[1] <= size:  # of one position there is nothing to gain
            return ids[:, :0]
        for number, (key, value) in enumerate(self._whole(ids, cache)[1]):
            self._keep(cache, number, ids.shape[1] // size, key, value)
        cache.history.extend(ids[:, :-1])
        cache.reading.follow(cache.history)
        cache.taken = ids.shape[1]
        return ids

    def _keep(self, cache: PlanCache, layer: int, columns: int, key: Floats, value: Floats) -> None:
        """Keep keys and values [R, H, columns, D] of a layer, as many of the last as there is room for."""
        slots, ringed = cache.keys[0].shape[3], isinstance(self.plan.config.pattern, Local2D)
        kept = min(columns, slots)
        cache.first = 0 if ringed else columns - kept
        at = np.arange(columns - kept, columns) % slots if ringed else np.arange(kept)
        cache.keys[layer][..., at] = key[:, :, columns - kept :].transpose(0, 1, 3, 2)
        cache.values[layer][:, :, at] = value[:, :, columns - kept :]

    def _whole(self, ids: Ids, cache: PlanCache, maps: AttentionMaps | None = None) -> tuple[Floats, list[KeysValues]]:
        """The decoder's output [R, P, W] at the positions of ids [R, L], and keys and values of each layer."""
        plan, size = self.plan, cache.history.size
        read = plan.input.every(steps_of(plan.config, len(ids)), ids, size)
        hidden = plan.positions.read(read) + plan.positions.of(0, read.shape[1])
        hidden, kept = self._conditioned(hidden, cache, 0), []
        before = np.pad(in_positions(ids, size)[:, :-1], ((0, 0), (1, 0), (0, 0)), constant_values=MISSING)
        sources: Sequence[KeysValues | None] = cache.source or [None] * len(plan.decoder)
        hide = None if cache.hide is None else cache.hide.repeat(cache.beams, 0)
        for layer, source in zip(plan.decoder, sources, strict=True):
            beside = None
            if source is not None:
                beside = source[0].repeat(cache.beams, 0), source[1].repeat(cache.beams, 0)
            hidden, pair = decoder_layer(plan, layer, hidden, before, beside, hide, maps)
            kept.append(pair)
        return hidden, kept

    @QUIET
    def attention(
        self, ids: Ids, *, source: Ids | None = None, label: Ids | None = None, maps: AttentionMaps | None = None
    ) -> AttentionMaps:
        """The attention probabilities while ids [B, L] are written, appended to `maps` or new ones."""
        found = AttentionMaps() if maps is None else maps
        cache = self.start(length=ids.shape[1], rows=len(ids), source=source, label=label)
        if source is not None:
            self.encode(source, maps=found)
        self._whole(ids, cache, found)
        return found


def slots_of(pattern: Pattern, columns: int) -> int:
    """How many of the columns are kept: at least those that a step sees."""
    if isinstance(pattern, Local1D):
        # Room moves the whole memory: of blocks that are much shorter than it, several pass between two moves.
        return min(columns, pattern.memory + max(pattern.query, pattern.memory // 4))
    return ring(pattern, columns)


def _first_seen(pattern: Pattern, column: int) -> int:
    """The first column that a column sees: all between are seen too."""
    if isinstance(pattern, Local1D):
        return max(0, column // pattern.query * pattern.query - pattern.memory)
    return 0


def in_positions(ids: Ids, size: int) -> Ids:
    """Ids [B, L] by positions of so many tokens, the last one filled with 0: [B, P, size]."""
    return np.pad(ids, ((0, 0), (0, -ids.shape[1] % size))).reshape(len(ids), -1, size)


def limit_threads(threads: int) -> AbstractContextManager[Any]:
    """Let numpy's matrix products use so many threads from now on, or within a `with` statement."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(threads, "blas")
    return limits
