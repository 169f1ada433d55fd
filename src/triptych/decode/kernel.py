"""Generation with a plan in C: the library that installing built from `kernel.c`, and a decoder that runs it.

The numpy form is the definition; see `interpreter`. Where there is no library, or TRIPTYCH_KERNEL=off, it generates.

Shapes in comments: R rows, H heads, D width of a head, P = D filled up to whole vectors, W = H D, V vocabulary.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache as once
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.decode.arithmetic import Floats
from triptych.decode.flat import LANES, PANEL, FlatModel, aligned, filled, flat_model, structs
from triptych.decode.history import Ids
from triptych.decode.interpreter import QUIET, PlanCache, PlanDecoder
from triptych.decode.plan import Plan
from triptych.decode.steps.heads import LogProbs
from triptych.decode.steps.inputs import TokenSteps, columns_of
from triptych.errors import UserError
from triptych.shape.config import Config
from triptych.shape.parts import Mixture, Pixels
from triptych.shape.pattern import Local1D, Local2D, causal_neighbours, ring, table

VARIABLE = "TRIPTYCH_KERNEL"
# Levels of processors, the best first, each with a library of its own, and the features that it needs by numpy's names.
LEVELS = {"avx512": ("AVX512_SKX", "FMA3", "F16C"), "avx2": ("AVX2", "FMA3", "F16C"), "portable": ()}
NOT_FINITE, NOTHING_ALLOWED = 1, 2  # what a run returns
MAX_THREADS = 64
REVISION = 2  # of the functions of the library
UNHELD = 2  # references to the memory of an array without views, while it is asked how many
PLAIN: Mapping[str, float] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}  # no restriction


@once
def library() -> ctypes.CDLL | None:
    """The library for this processor; None where there is none, or the environment switches it off.

    Raises UserError where the environment asks for one that is not there.
    """
    asked = os.environ.get(VARIABLE, "").lower()
    if asked == "off":
        return None
    if asked not in ("", "on", *LEVELS):
        raise UserError(f"expected {VARIABLE} to be on, off, {', '.join(LEVELS)}, got {asked!r}; correct or unset it")
    usable = [level for level, needed in LEVELS.items() if all(_features().get(each) for each in needed)]
    if asked in LEVELS and asked not in usable:
        raise UserError(f"expected a processor for {VARIABLE}={asked}, got one without; unset it")
    tried = [asked] if asked in LEVELS else usable
    found = next((one for level in tried if (one := _opened(level)) is not None), None)
    if found is None and asked:
        raise UserError(f"expected a kernel for {VARIABLE}={asked}, got none; install again with a C compiler")
    return found


def engine() -> str:
    """What generates: the kernel and its level, or numpy."""
    found = library()
    return "numpy" if found is None else f"kernel ({Path(found._name).stem.removeprefix('kernel_')})"


def _features() -> dict[str, bool]:
    """The features of the processor that numpy has found; of another architecture none of those asked for."""
    found: dict[str, bool] = getattr(import_module("numpy._core._multiarray_umath"), "__cpu_features__", {})
    return found


def _opened(level: str) -> ctypes.CDLL | None:
    try:
        found = ctypes.CDLL(str(Path(__file__).with_name(f"kernel_{level}.so")))
    except OSError:
        return None
    found.triptych_largest.restype = ctypes.c_int64
    ours = [REVISION, *map(ctypes.sizeof, structs()), ctypes.sizeof(_Rows)]
    sizes = (ctypes.c_int64 * len(ours))()
    found.triptych_sizes(sizes)
    return found if list(sizes) == ours else None  # of another version


class _Rows(ctypes.Structure):
    """The rows of one generation: `Rows` of kernel.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in (
            "ids", "source", "keys", "values", "rows_of", "cross", "source_of", "seen", "added", "label", "positions",
            "table", "neighbours", "struck", "now", "velocity", "uniforms", "allowed", "drawn", "hidden", "log_probs",
            "work", "mixture", "weights", "lists", "counts",
        )),
        *((name, ctypes.c_int32) for name in (
            "rows", "physical", "slots", "length", "positions_count", "steps", "sources", "source_positions",
            "added_rows", "added_columns", "most_keys", "threads", "top_k", "unused",
        )),
        *((name, ctypes.c_double) for name in ("temperature", "top_p", "min_p")),
    ]  # fmt: skip


@dataclass
class KernelCache(PlanCache):
    """What the rows of one generation remember; keys and values lie in arrays of their own, which never move.

    Attributes:
        memory: keys and values, each [layers, H, physical rows, slots, P].
        rows_of: int32 [R, slots], the physical row in which the key of a slot lies.
        cross: keys and values of the sources, [layers, 2, sources, H, Q, P]; seen: int32 [sources], how many of the
            positions are no padding; source_of: int32 [R].
        hidden: [R, W], the decoder's output at the present position.
        log_probs: [R, V filled up to whole panels] of the last step.
        work: arrays that the kernel writes into, by name.
        call: the struct that points to all of these; moved: whether rows have changed places since it did.
    """

    memory: tuple[Floats, Floats] = field(init=False)
    rows_of: NDArray[np.int32] = field(init=False)
    hidden: Floats = field(init=False)
    log_probs: Floats = field(init=False)
    cross: Floats | None = None
    seen: NDArray[np.int32] | None = None
    source_of: NDArray[np.int32] | None = None
    work: dict[str, NDArray[Any]] = field(default_factory=dict)
    call: _Rows | None = None
    moved: bool = False

    def unheld(self) -> Floats:
        """Where the next log-probabilities go: where the last ones lie, unless somebody holds these."""
        if sys.getrefcount(self.log_probs.base) > UNHELD:
            self.log_probs = aligned(self.log_probs.shape)
        return self.log_probs

    def select(self, rows: Ids) -> None:
        """Let new row r continue old row `rows[r]`: nothing but numbers of rows is moved."""
        if len(rows) == self.rows and (rows == np.arange(self.rows)).all():
            return
        if len(rows) > self.rows:
            raise UserError(
                f"expected at most {self.rows} row{'s' * (self.rows > 1)}, got {len(rows)}; start with as many"
            )
        self.history.select(rows)
        self.reading.select(rows)
        self.rows_of, self.hidden, self.begun, self.moved = self.rows_of[rows], self.hidden[rows], None, True
        self.label = None if self.label is None else self.label[rows]
        self.source_of = None if self.source_of is None else self.source_of[rows]
        if self.added is not None and len(self.added) > 1:
            self.added = self.added[rows]


class KernelDecoder(PlanDecoder):
    """Steps and draws in C; encoders, prefill and maps are the interpreter's."""

    def __init__(self, plan: Plan, flat: FlatModel, kernel: ctypes.CDLL, threads: int) -> None:
        """kernel: see `library`. threads: that share the work of a step."""
        super().__init__(plan)
        self._flat, self._kernel, self._threads = flat, kernel, max(1, min(threads, MAX_THREADS))
        self._alone: list[None] = []  # one for each caller of `one_thread_each`: appending needs no lock
        self._itself = isinstance(plan.config.head, Mixture)  # its log-probabilities are the head's own, in numpy

    @contextmanager
    def one_thread_each(self) -> Iterator[None]:
        """Let each caller's thread compute alone within a `with` statement: several call at once."""
        self._alone.append(None)
        try:
            yield
        finally:
            self._alone.pop()

    @property
    def threads(self) -> int:
        """How many share the work of a step."""
        return 1 if self._alone else self._threads

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _fresh(self, rows: int, length: int, beams: int) -> KernelCache:
        config, flat = self.plan.config, self._flat
        history, reading = self._history(rows, length)
        cache = KernelCache(beams, history, reading, [], [])
        columns = history.ids.shape[1]
        slots, layers = max(1, ring(config.pattern, columns)), config.decoder_layers
        shape = layers, config.heads, rows, slots, flat.model.padded
        cache.memory = aligned(shape), aligned(shape)
        cache.log_probs = aligned((rows, filled(config.vocabulary, PANEL)))
        cache.rows_of = np.repeat(np.arange(rows, dtype=np.int32)[:, None], slots, 1)
        cache.hidden = np.zeros((rows, config.width), np.float32)
        return cache

    def _keep_source(self, cache: PlanCache, encoded: Floats, lengths: Ids | None) -> None:
        super()._keep_source(cache, encoded, lengths)
        assert isinstance(cache, KernelCache)
        sources, positions = encoded.shape[:2]
        config = self.plan.config
        shape = config.decoder_layers, 2, sources, config.heads, positions, self._flat.model.padded
        cache.cross = aligned(shape)
        for layer, (key, value) in enumerate(cache.source):
            cache.cross[layer, 0, ..., : key.shape[3]] = key
            cache.cross[layer, 1, ..., : key.shape[3]] = value
        lengths = np.full(sources, positions * config.input.size) if lengths is None else lengths
        cache.seen = np.minimum(-(-lengths // config.input.size), positions).astype(np.int32)
        cache.source_of = np.arange(sources, dtype=np.int32).repeat(cache.beams)

    def _keep(self, cache: PlanCache, layer: int, columns: int, key: Floats, value: Floats) -> None:
        """Keys and values [R, H, columns, D] of the first columns, of which the last are kept."""
        assert isinstance(cache, KernelCache)
        slots, width = cache.memory[0].shape[3], key.shape[3]
        cache.rows_of[:] = np.arange(cache.rows)[:, None]
        kept = np.arange(max(0, columns - slots), columns)
        for memory, found in zip(cache.memory, (key, value), strict=True):
            memory[layer][:, : cache.rows, kept % slots, :width] = found[:, :, kept].transpose(1, 0, 2, 3)

    # -- steps --------------------------------------------------------------------------------------------------------

    @QUIET
    def step(self, ids: Ids | None, cache: PlanCache) -> LogProbs:
        """Log-probabilities [R, V] of the next token; `ids` [R] are the last ones, None at first."""
        assert isinstance(cache, KernelCache)
        cache.history.follow(ids, 1, self.plan.config.vocabulary)
        fresh = cache.history.place == 0
        if fresh or not self._itself:
            self._call(cache)
        cache.taken += 1
        if not self._itself:
            return cache.log_probs[: cache.rows, : self.plan.config.vocabulary]
        if fresh or cache.begun is None:
            cache.begun = self.plan.head.begin(cache.hidden, cache.history)
        return self.plan.head.step(cache.begun, cache.history)

    def draw(
        self,
        ids: Ids | None,
        cache: PlanCache,
        uniforms: NDArray[np.float64],
        allowed: NDArray[np.bool_] | None = None,
        **sampling: float,
    ) -> Ids | None:
        """The next ids [steps, R], of uniform numbers [steps, R], drawn in C; see `generation.protocol`.

        allowed: bool [R, V], of a single step. sampling: temperature, top_k, top_p, min_p.
        """
        assert isinstance(cache, KernelCache)
        if self._itself and (sampling or allowed is not None):
            return None
        cache.history.follow(ids, 1, self.plan.config.vocabulary)
        cache.begun = None
        room = cache.history.ids.shape[1] * cache.history.size - cache.history.length
        uniforms = np.ascontiguousarray(uniforms[:room])
        failed = self._call(cache, uniforms, allowed, sampling)
        if failed:
            raise LookupError if failed == NOTHING_ALLOWED else FloatingPointError
        cache.history.length += len(uniforms) - 1
        cache.taken += len(uniforms)
        drawn: Ids = cache.work["drawn"]
        return drawn

    def largest(
        self, scores: NDArray[np.floating[Any]], offset: NDArray[np.float64], count: int
    ) -> tuple[NDArray[np.float64], Ids, Ids]:
        """What `generation.top.largest` finds of scores [groups, beams, V] of this decoder."""
        groups, beams, vocabulary = scores.shape
        rows = scores.reshape(-1, vocabulary).astype(np.float32, copy=False)
        rows = rows if rows.strides[1] == rows.itemsize else np.ascontiguousarray(rows)
        given = rows, np.ascontiguousarray(offset)
        found = (np.empty((groups, count)), np.empty((groups, count), np.int64), np.empty((groups, count), np.int64))
        sizes = (ctypes.c_int64(size) for size in (groups, beams, vocabulary, rows.strides[0] // 4, count))
        places = [ctypes.c_void_p(_address(array)) for array in (*given, *found)]
        broken = self._kernel.triptych_largest(*places[:2], *sizes, *places[2:])
        if broken >= 0:
            raise FloatingPointError(broken)
        return found

    def _call(
        self,
        cache: KernelCache,
        uniforms: NDArray[np.float64] | None = None,
        allowed: NDArray[np.bool_] | None = None,
        sampling: Mapping[str, float] = PLAIN,
    ) -> int:
        """One run of the library: as many steps as there are uniform numbers, or one without a draw."""
        steps = 1 if uniforms is None else len(uniforms)
        history, size = cache.history, cache.history.size
        assert history.length + steps <= size * history.ids.shape[1]
        call = cache.call = self._bound(cache) if cache.call is None else cache.call
        if cache.moved:
            self._bind_rows(cache, call)
        call.log_probs = _address(cache.unheld())
        held: list[NDArray[Any]] = []  # while the library reads them
        if uniforms is None:
            call.uniforms = None
        else:
            held += [uniforms, np.empty((steps, cache.rows), np.int64)]
            call.uniforms, call.drawn = (_address(array) for array in held)
            cache.work["drawn"] = held[1]
        call.allowed = None
        if allowed is not None:
            held.append(np.ascontiguousarray(allowed))
            call.allowed = _address(held[-1])
        first, last = -(-history.length // size), (history.length + steps - 1) // size
        if last >= first:
            held.append(self.plan.positions.of(first, last + 1))
            call.positions = _address(held[-1])
        call.length, call.steps, call.threads = history.length, steps, min(self.threads, len(cache.work["weights"]))
        if sampling is not PLAIN:
            for name in PLAIN:
                setattr(call, name, sampling.get(name, PLAIN[name]))
        return int(self._kernel.triptych_run(ctypes.byref(self._flat.model), ctypes.byref(call)))

    def _bound(self, cache: KernelCache) -> _Rows:
        """The struct of the arrays of a cache."""
        config, columns = self.plan.config, cache.history.ids.shape[1]
        call = _Rows(physical=cache.memory[0].shape[2], slots=cache.memory[0].shape[3], positions_count=columns)
        call.most_keys = self._most(cache)
        _bind(call, {"keys": cache.memory[0], "values": cache.memory[1], "cross": cache.cross, "seen": cache.seen})
        if isinstance(config.pattern, Local2D):
            _bind(call, {"table": _block_table(config, columns)})
        if isinstance(config.input, Pixels):
            _bind(call, {"neighbours": causal_neighbours(config.pattern, columns_of(config), columns)})
        if cache.cross is not None:
            call.sources, call.source_positions = cache.cross.shape[2], cache.cross.shape[4]
        for name in PLAIN:
            setattr(call, name, PLAIN[name])
        self._bind_rows(cache, call)
        return call

    def _bind_rows(self, cache: KernelCache, call: _Rows) -> None:
        """Point to the arrays that are new where rows have changed places."""
        call.rows, cache.moved = cache.rows, False
        rows = {"ids": cache.history.ids, "source": cache.history.source, "rows_of": cache.rows_of}
        _bind(call, {**rows, "source_of": cache.source_of, "label": cache.label, "hidden": cache.hidden})
        if cache.added is not None:
            call.added_rows, call.added_columns = cache.added.shape[:2]
            _bind(call, {"added": cache.added})
        if isinstance(cache.reading, TokenSteps) and cache.reading.keyboard is not None:
            keyboard = cache.reading.keyboard
            _bind(call, {"struck": keyboard.struck, "now": keyboard.now, "velocity": keyboard.velocity})
        _bind(call, self._work(cache))

    def _most(self, cache: KernelCache) -> int:
        return most_keys(self.plan.config, cache.history.ids.shape[1], cache.memory[0].shape[3])

    def _work(self, cache: KernelCache) -> dict[str, NDArray[Any]]:
        """The arrays that the kernel writes into: for as many rows as there are, of which later fewer may be left."""
        work, rows, config, flat, most = cache.work, cache.rows, self.plan.config, self._flat, self._most(cache)
        positions = 0 if cache.cross is None else cache.cross.shape[4]
        if not work:
            floats = rows * flat.row_floats + self.threads * (2 * flat.model.padded + max(most, positions) + 2 * LANES)
            work["lists"] = np.zeros(rows * (1 + flat.model.relation_count) * most + positions, np.int32)
            work["counts"] = np.zeros(rows, np.int32)
            work["work"] = aligned((floats,))
            work["mixture"] = np.zeros((rows, flat.mixture_doubles))
            work["weights"] = np.zeros((self.threads, 2 * config.vocabulary))
        start = rows * (1 + flat.model.relation_count) * most
        work["lists"][start : start + positions] = np.arange(positions)
        return {name: array for name, array in work.items() if name != "drawn"}


def _bind(call: _Rows, arrays: Mapping[str, NDArray[Any] | None]) -> None:
    """Point to arrays by the names of fields."""
    for name, array in arrays.items():
        if array is not None:
            assert array.flags.c_contiguous
            setattr(call, name, _address(array))


def _address(array: NDArray[Any]) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


def most_keys(config: Config, columns: int, slots: int) -> int:
    """The most keys that a step sees, filled up to whole vectors."""
    most = slots
    if isinstance(config.pattern, Local1D):
        most = min(columns, config.pattern.memory + config.pattern.query)
    if isinstance(config.pattern, Local2D):
        most = _block_table(config, columns).shape[1]
    return max(LANES, -(-most // LANES) * LANES)


@once
def _block_table(config: Config, columns: int) -> NDArray[np.int32]:
    assert isinstance(config.pattern, Local2D)
    found: NDArray[np.int32] = np.ascontiguousarray(np.sort(table(config.pattern, columns), 1).astype(np.int32))
    return found


def decoder_of(plan: Plan, stored: Mapping[str, NDArray[Any]], threads: int) -> PlanDecoder:
    """The fastest decoder of a plan whose weights are `stored`: in C where there is a library that can, or in numpy."""
    found = library()
    flat = None if found is None else flat_model(plan, stored)
    if found is None or flat is None:
        return PlanDecoder(plan)
    return KernelDecoder(plan, flat, found, threads)
