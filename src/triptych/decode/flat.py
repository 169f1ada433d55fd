"""The flat form of a plan: its weights, laid out for `kernel.c`, and the structs that point to them.

Matrices lie in panels of 32 outputs, in the number format in which they are stored; sizes and kinds are whole numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.decode.plan import Plan
from triptych.decode.steps.inputs import columns_of, place_scale
from triptych.decode.steps.pixels import KNOWN
from triptych.shape.config import Config
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels, Tied, Tokens
from triptych.shape.pattern import Full, Local1D, Local2D, block_size, table
from triptych.shape.relations import ByDistance, ByPitch, ByTime
from triptych.shape.relations import Layer as RelationLayer
from triptych.shape.weights import as_float32

PANEL = 32  # outputs of a matrix that lie side by side
LANES = 16  # numbers of a vector
CACHE_LINE = 64  # bytes
MAX_RELATIONS, MAX_CHANNELS = 3, 4
FORMATS = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, np.dtype(np.uint16): 2}
ACTIVATIONS = {"relu": 0, "gelu": 1, "swiglu": 2}
RELATIONS: dict[type[Any], int] = {ByDistance: 0, ByPitch: 1, ByTime: 2}
PATTERNS: dict[type[Any], int] = {Full: 0, Local1D: 1, Local2D: 2}
INPUTS: dict[type[Any], int] = {Tokens: 0, Patches: 1, Pixels: 2}
HEADS: dict[type[Any], int] = {Tied: 1, PatchNetwork: 2, Mixture: 3}
Array = NDArray[Any]


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class Linear(ctypes.Structure):
    """A matrix in panels and its bias."""

    _fields_ = [*_fields(ctypes.c_void_p, "weight bias"), *_fields(ctypes.c_int32, "inputs outputs format unused")]


class Norm(ctypes.Structure):
    """Gain and bias of a layer norm."""

    _fields_ = _fields(ctypes.c_void_p, "gain bias")


class Network(ctypes.Structure):
    """A feed-forward network and the norm around it."""

    _fields_ = [("norm", Norm), ("inner", Linear), ("outer", Linear)]


class Relation(ctypes.Structure):
    """A relation's table in a layer."""

    _fields_ = [("rows", ctypes.c_void_p), *_fields(ctypes.c_int32, "count format kind clip offset unit size unused")]


class Layer(ctypes.Structure):
    """A layer of the decoder."""

    _fields_ = [
        ("norm", Norm), *_fields(Linear, "query_key_value output"), ("relations", Relation * MAX_RELATIONS),
        ("cross_norm", Norm), *_fields(Linear, "cross_query cross_output"), ("network", Network),
    ]  # fmt: skip


class Table(ctypes.Structure):
    """A table of vectors of the width."""

    _fields_ = [
        ("rows", ctypes.c_void_p), *_fields(ctypes.c_int32, "count format"), ("scale", ctypes.c_float),
        ("stride", ctypes.c_int32),
    ]  # fmt: skip


class Model(ctypes.Structure):
    """A plan."""

    _fields_ = [
        *_fields(ctypes.c_void_p, "layers patch known"),
        *_fields(Norm, "final patch_norm"),
        *_fields(Linear, "projection output"),
        *_fields(Table, "tokens second before places same times"),
        *_fields(
            ctypes.c_int32,
            "width heads head_width padded layer_count relation_count cross pre activation feed_forward input head "
            "size vocabulary repeat channels components patch_layers patch_feed_forward keys shifts velocities "
            "pattern query memory block table_width inner_width",
        ),
        ("query_scale", ctypes.c_float),
    ]


def structs() -> list[type[ctypes.Structure]]:
    """The structs whose sizes are compared with those of the library."""
    return [Linear, Norm, Network, Relation, Layer, Table, Model]


@dataclass
class FlatModel:
    """A plan laid out for the kernel. `kept` are the arrays that its pointers point to.

    Attributes:
        row_floats: numbers that a row needs to be computed in.
        mixture_doubles: numbers of a row's mixture.
    """

    model: Model
    row_floats: int
    mixture_doubles: int
    kept: list[Any]


def flat_model(plan: Plan, stored: Mapping[str, Array]) -> FlatModel | None:
    """The flat form of a plan, of its weights as they are stored; None where the kernel has no form for a part."""
    return _Layout(plan, stored).flat() if expressible(plan.config) else None


def expressible(config: Config) -> bool:
    """Whether the kernel knows every part of a configuration: a list of what it knows, so that what is new is not
    computed otherwise.
    """
    relations = [type(each) for each in config.relations]
    return (
        config.activation in ACTIVATIONS
        and type(config.pattern) in PATTERNS
        and type(config.input) in INPUTS
        and type(config.head) in HEADS
        and all(each in RELATIONS for each in relations)
        and len(relations) <= MAX_RELATIONS
        and not (isinstance(config.input, Pixels) and config.input.channels > MAX_CHANNELS)
    )


def filled(count: int, whole: int) -> int:
    """The next multiple of `whole`."""
    return -(-count // whole) * whole


class _Layout:
    """Makes the structs of one plan."""

    def __init__(self, plan: Plan, stored: Mapping[str, Array]) -> None:
        self.plan, self.config, self.stored = plan, plan.config, stored
        self.kept: list[Any] = []

    def flat(self) -> FlatModel:
        """All of it."""
        config = self.config
        padded, relations = filled(config.width // config.heads, LANES), len(config.relations)
        model, head = Model(), config.head
        layers = (Layer * config.decoder_layers)(*map(self._layer, range(config.decoder_layers)))
        self.kept.append(layers)
        model.layers = ctypes.addressof(layers)
        model.width, model.heads, model.head_width = config.width, config.heads, config.width // config.heads
        model.padded, model.layer_count, model.relation_count = padded, config.decoder_layers, relations
        model.cross = int(config.encoder_layers > 0 and not config.aligned)
        model.pre, model.activation = int(config.norm == "pre"), ACTIVATIONS[config.activation]
        model.feed_forward, model.vocabulary, model.size = config.feed_forward, config.vocabulary, config.input.size
        model.input, model.head = INPUTS[type(config.input)], HEADS[type(head)]
        model.query_scale = np.float32((config.width // config.heads) ** -0.5)
        if config.norm == "pre":
            model.final = self._norm("decoder_norm")
        if self.plan.positions.projection is not None:
            model.projection = self._linear(self.plan.positions.projection)
        gates = 2 if config.activation == "swiglu" else 1
        model.inner_width = gates * config.feed_forward
        self._pattern(model)
        self._input(model)
        self._head(model, gates)
        width = filled(config.width, PANEL)
        row = 3 * width + filled(3 * config.width, PANEL) + filled(model.inner_width, PANEL)
        mixture = model.components * (1 + 4 * model.channels + model.channels**2)
        return FlatModel(model, row, mixture, self.kept)

    def _pattern(self, model: Model) -> None:
        pattern = self.config.pattern
        model.pattern = PATTERNS[type(pattern)]
        if isinstance(pattern, Local1D):
            model.query, model.memory = pattern.query, pattern.memory
        if isinstance(pattern, Local2D):
            model.block = block_size(pattern)
            model.table_width = table(pattern, 1).shape[1]

    def _input(self, model: Model) -> None:
        config, read = self.config, self.config.input
        if isinstance(read, Tokens):
            scale = config.width**0.5
            model.tokens = self._table("input.embedding.weight", scale)
            if read.keyboard is not None:
                model.keys, model.shifts, model.velocities = read.keyboard
                model.second = self._table("input.keyboard.vectors.weight", scale)
            return
        scale = place_scale(config)
        model.tokens = self._table("input.places.tokens.weight", scale)
        if isinstance(read, Patches) and read.repeat_features:
            model.repeat = read.repeat_features
            model.second = self._table("input.places.repeats.weight", scale)
        if isinstance(read, Pixels):
            model.channels = read.channels
            if columns_of(config):
                model.second = self._table("input.above.tokens.weight", scale)

    def _head(self, model: Model, gates: int) -> None:
        config, head = self.config, self.config.head
        if isinstance(head, Tied):
            model.output = self._linear(self.stored["input.embedding.weight"])
        if isinstance(head, PatchNetwork):
            scale = place_scale(config)
            model.before = self._table("head.before.tokens.weight", scale)
            model.places = self._table("head.places.weight", scale)
            if model.repeat:
                model.same = self._table("head.repeats.tokens.weight", scale)
                model.times = self._table("head.repeats.repeats.weight", scale)
            names = [(f"head.layers.{number}", f"head.around.{number}.norm") for number in range(head.layers)]
            networks = (Network * head.layers)(*(self._network(*each) for each in names))
            self.kept.append(networks)
            model.patch, model.patch_layers = ctypes.addressof(networks), head.layers
            model.patch_feed_forward = head.feed_forward
            model.inner_width = max(model.inner_width, gates * head.feed_forward)
            if config.norm == "pre":
                model.patch_norm = self._norm("head.norm")
            model.output = self._linear(self.stored["head.output.weight"])
        if isinstance(head, Mixture):
            weight, width = self.stored["head.parameters_of.weight"], config.width
            model.output = self._linear(weight[:, :width], self.stored["head.parameters_of.bias"])
            model.known = self._pointer(as_float32(weight[:, width:]).astype(np.float64))
            model.components = head.components
            model.inner_width = max(model.inner_width, len(weight))
            assert weight.shape[1] == width + (KNOWN - 1) * model.channels

    # -- parts --------------------------------------------------------------------------------------------------------

    def _layer(self, number: int) -> Layer:
        name, where = f"decoder.{number}.", RelationLayer(causal=True, first=number == 0)
        layer = Layer(
            norm=self._norm(f"{name}around_attention.norm"),
            query_key_value=self._named(f"{name}attention.query_key_value"),
            output=self._named(f"{name}attention.output"),
            network=self._network(f"{name}feed_forward", f"{name}around_feed_forward.norm"),
        )
        for place, relation in enumerate(self.config.relations):
            if not relation.rows(where):
                continue
            kind = {ByDistance: "distance", ByPitch: "pitch", ByTime: "time"}[type(relation)]
            rows = self._filled(self._as_stored(self.stored[f"{name}attention.relations.{kind}"]))
            layer.relations[place] = Relation(
                rows=self._pointer(rows),
                count=rows.shape[1],
                format=FORMATS[rows.dtype],
                kind=RELATIONS[type(relation)],
                clip=int(relation.far == "clip"),
                offset=relation.row(where).offset,  # type: ignore[attr-defined]  # the known ones are differences
                unit=getattr(relation, "unit", 1),
                size=relation.size,
            )
        if self.config.encoder_layers and not self.config.aligned:
            layer.cross_norm = self._norm(f"{name}around_cross.norm")
            layer.cross_query = self._named(f"{name}cross.query")
            layer.cross_output = self._named(f"{name}cross.output")
        return layer

    def _network(self, name: str, around: str) -> Network:
        return Network(self._norm(around), self._named(f"{name}.inner"), self._named(f"{name}.outer"))

    def _norm(self, name: str) -> Norm:
        parts = (as_float32(self.stored[f"{name}.{part}"]) for part in ("weight", "bias"))
        return Norm(*(self._pointer(part) for part in parts))

    def _named(self, name: str) -> Linear:
        return self._linear(self.stored[f"{name}.weight"], self.stored[f"{name}.bias"])

    def _linear(self, weight: Array, bias: Array | None = None) -> Linear:
        """Panels [ceil(out / 32), in, 32] of a matrix [out, in]."""
        out, read = weight.shape
        weight, wide = self._as_stored(weight), filled(out, PANEL)
        rows = np.zeros((wide, read), weight.dtype)
        rows[:out] = weight
        added = np.zeros(wide, np.float32)
        added[:out] = 0 if bias is None else as_float32(bias)
        panels = rows.reshape(-1, PANEL, read).transpose(0, 2, 1)
        return Linear(self._pointer(panels), self._pointer(added), read, out, FORMATS[weight.dtype])

    def _table(self, name: str, scale: float) -> Table:
        rows = self._filled(self._as_stored(self.stored[name]))
        return Table(self._pointer(rows), len(rows), FORMATS[rows.dtype], np.float32(scale), rows.shape[1])

    def _as_stored(self, array: Array) -> Array:
        """In a number format of the kernel: float64 becomes float32."""
        return array if array.dtype in FORMATS else as_float32(array)

    def _filled(self, rows: Array) -> Array:
        """Rows [..., n] filled up with zeros to whole vectors."""
        return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, -rows.shape[-1] % LANES)])

    def _pointer(self, array: Array) -> int:
        whole = aligned(array.shape, array.dtype)
        whole[...] = array
        self.kept.append(whole)
        return int(whole.ctypes.data)


def aligned(shape: tuple[int, ...], dtype: np.typing.DTypeLike = np.float32) -> Array:
    """Zeros that begin with a line of the processor's cache, so that no vector lies across two."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)
