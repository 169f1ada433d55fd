"""Attention of every token: probabilities as numbers, then as heat maps.

Layers and heads are counted from 1 here, as in the titles of the pictures.
Attention shows where information was read, which is not the same as why (Jain and Wallace 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from triptych.decode.maps import AttentionMaps, Map
from triptych.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from triptych.text.translator import Translator

Kind = Literal["encoder", "decoder", "cross"]

# The decoder's first input is a zero vector in place of a token.
START = "(start)"

AXES: dict[Kind, tuple[str, str]] = {
    "encoder": ("source", "looks at source"),
    "decoder": ("writing the target", "looks at target"),
    "cross": ("writing the target", "looks at source"),
}
KINDS: dict[Kind, str] = {
    "encoder": "Encoder self-attention",
    "decoder": "Masked decoder self-attention",
    "cross": "Encoder-decoder attention",
}
GAP, TITLE, NAME = 0.12, 0.24, 0.3  # inches: between maps, for the title of one, and for the name of a kind
MAX_LABELS = 120  # tokens named along an axis; of longer texts every second, third, ... is

# Tried in this order for every glyph, as far as they are installed. DejaVu comes with matplotlib and covers Latin,
# Greek, Cyrillic and the mark of a word's beginning.
FONTS = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Arial Unicode MS",
    "PingFang SC",
    "Microsoft YaHei",
)


@dataclass(frozen=True)
class AttentionMap:
    """Attention of one kind: `weights` float32 [layers, heads, queries, keys], every row sums to 1.

    `queries` and `keys` are the tokens along the two axes; `layers` and `heads` name the first two axes.
    """

    kind: Kind
    weights: Map
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    layers: tuple[str, ...]
    heads: tuple[str, ...]

    def __post_init__(self) -> None:
        names = tuple(map(len, (self.layers, self.heads, self.queries, self.keys)))
        if self.weights.shape != names:
            raise UserError(f"expected weights of the shape of their names {names}, got {self.weights.shape}")

    def only(self, layer: int | None = None, head: int | None = None) -> AttentionMap:
        """Keep one layer and/or one head, counted from 1."""
        chosen = self
        if layer is not None:
            _check_choice("layer", layer, len(self.layers))
            chosen = replace(chosen, weights=chosen.weights[layer - 1 : layer], layers=chosen.layers[layer - 1 : layer])
        if head is not None:
            _check_choice("head", head, len(self.heads))
            chosen = replace(chosen, weights=chosen.weights[:, head - 1 : head], heads=chosen.heads[head - 1 : head])
        return chosen

    def mean(self) -> AttentionMap:
        """Average over the heads."""
        return replace(self, weights=self.weights.mean(1, keepdims=True), heads=(f"mean of {len(self.heads)} heads",))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; probabilities rounded to 6 decimals."""
        values = self.weights.astype(np.float64).round(6).tolist()
        return {
            "kind": self.kind,
            "layers": list(self.layers),
            "heads": list(self.heads),
            "queries": list(self.queries),
            "keys": list(self.keys),
            "weights": values,
        }


def attention_maps(
    recorded: AttentionMaps, target_tokens: Sequence[str], source_tokens: Sequence[str] = ()
) -> dict[Kind, AttentionMap]:
    """Name what one forward pass of a single sequence has recorded, by the tokens of both sides.

    Row i of "decoder" and "cross" is the step that writes target token i; it has read the tokens before i only, which
    is why the first column of "decoder" is the start. A decoder-only model has one kind.
    """
    written, read = tuple(target_tokens), tuple(source_tokens)
    found: dict[Kind, AttentionMap] = {}
    if recorded.encoder:
        found["encoder"] = _named("encoder", recorded.encoder, read, read)
    if recorded.decoder:
        found["decoder"] = _named("decoder", recorded.decoder, written, (START, *written[:-1]))
    if recorded.cross:
        found["cross"] = _named("cross", recorded.cross, written, read)
    return found


def maps_of(translator: Translator, text: str, translation: str) -> dict[Kind, AttentionMap]:
    """Attention of a translator while it writes `translation` for `text`, piece by piece."""
    source, target, recorded = translator.attention(text, translation)
    return attention_maps(recorded, translator.codec.pieces(target), translator.codec.pieces(source))


def draw(*maps: AttentionMap) -> Figure:
    """Draw one heat map a layer and head: a row a layer, a column a head, tokens on both axes, one colour scale.

    Maps of several kinds are drawn one below the other, each under its name and with its own colour scale.
    """
    from matplotlib.figure import Figure

    grids = [_Grid.of(each, titled=len(maps) > 1) for each in maps]
    width, height = max(grid.width for grid in grids), sum(grid.height for grid in grids)
    figure = Figure(figsize=(width, height), facecolor="white")
    top = height
    for grid in grids:
        grid.draw(figure, width, height, top)
        top -= grid.height
    return figure


@dataclass(frozen=True)
class _Grid:
    """The heat maps of one kind and their measures in inches: of one map, and of all with what is around them."""

    attention: AttentionMap
    across: float
    down: float
    font: float
    above: float
    below: float

    @classmethod
    def of(cls, attention: AttentionMap, *, titled: bool) -> _Grid:
        rows, columns = attention.weights.shape[:2]
        inch = 0.26 if rows * columns == 1 else 0.12  # the edge of a cell
        across = _between(len(attention.keys) * inch, 0.9, 24 / columns)
        down = _between(len(attention.queries) * inch, 0.9, 24 / rows)
        font = _between(min(across / len(attention.keys), down / len(attention.queries)) * 60, 4, 7)
        font = 10.0 if rows * columns == 1 else font
        longest = max(map(len, attention.keys)) * font * 0.65 / 72  # the names of the keys, which are upright
        return cls(attention, across, down, font, NAME * titled, (longest + 0.5) * titled)

    @property
    def width(self) -> float:
        return len(self.attention.heads) * (self.across + GAP)

    @property
    def height(self) -> float:
        return self.above + len(self.attention.layers) * (self.down + TITLE + GAP) + self.below

    def draw(self, figure: Figure, width: float, height: float, top: float) -> None:
        """Draw the maps on a figure of that size in inches, downwards from `top`."""
        attention = self.attention
        rows, columns = attention.weights.shape[:2]
        most = max(float(attention.weights.max()), 1e-6)
        if self.above:
            figure.text(0, top / height, KINDS[attention.kind], fontsize=11, va="top")
        for row in range(rows):
            for column in range(columns):
                left = column * (self.across + GAP)
                bottom = top - self.above - (row + 1) * (self.down + TITLE + GAP) + GAP
                axes = figure.add_axes((left / width, bottom / height, self.across / width, self.down / height))
                image = axes.imshow(attention.weights[row, column], cmap="Blues", vmin=0, vmax=most, aspect="auto")
                _label(axes, attention, self.font, left=column == 0, below=row == rows - 1)
                title = f"{attention.layers[row]}, {attention.heads[column]}"
                size = 11 if rows * columns == 1 else 8
                axes.set_title(title, fontsize=size, family=_fonts(), pad=5, loc="left")
        bar_height = min((self.height - self.above - self.below) * 0.9, 2.0)
        bottom = top - self.above - TITLE - bar_height
        bar = figure.add_axes(((self.width + 0.15 - GAP) / width, bottom / height, 0.12 / width, bar_height / height))
        figure.colorbar(image, cax=bar).ax.tick_params(labelsize=7, length=2)
        bar.set_ylabel("probability", fontsize=7, color="0.35")


def _named(kind: Kind, layers: list[Map], queries: tuple[str, ...], keys: tuple[str, ...]) -> AttentionMap:
    if len(layers[0]) != 1:
        raise UserError(
            f"expected the attention of a single sequence, got a batch of {len(layers[0])}; give them singly"
        )
    weights = np.concatenate(layers)  # [layers, H, queries, keys]
    return AttentionMap(
        kind,
        weights,
        queries,
        keys,
        layers=tuple(f"layer {number}" for number in range(1, weights.shape[0] + 1)),
        heads=tuple(f"head {number}" for number in range(1, weights.shape[1] + 1)),
    )


def _label(axes: Axes, attention: AttentionMap, font: float, *, left: bool, below: bool) -> None:
    """Name tokens along the outer edges of the grid, and the two axes once each."""
    query_name, key_name = AXES[attention.kind]
    style: dict[str, Any] = {"fontsize": font, "family": _fonts(), "parse_math": False}  # "$" is a token too
    # Ticks are what takes the time of a picture, so the inner panels have none.
    keys, queries = _shown(attention.keys) if below else {}, _shown(attention.queries) if left else {}
    axes.set_xticks(list(keys), list(keys.values()), rotation=90, **style)
    axes.set_yticks(list(queries), list(queries.values()), **style)
    axes.tick_params(length=0, pad=2)
    for spine in axes.spines.values():
        spine.set_color("0.75")
    if below:
        axes.set_xlabel(key_name, fontsize=max(font, 7), color="0.35")
    if left:
        axes.set_ylabel(query_name, fontsize=max(font, 7), color="0.35")


def _shown(tokens: Sequence[str]) -> dict[int, str]:
    """Tokens to name, by place. SentencePiece's mark of a word's beginning becomes the lighter underscore."""
    every = -(-len(tokens) // MAX_LABELS)
    return {place: tokens[place].replace("\u2581", "_") for place in range(0, len(tokens), every)}


def _fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [name for name in FONTS if name in installed]


def _between(value: float, least: float, most: float) -> float:
    return max(min(value, most), least)


def row_of(
    layers: Sequence[Map], position: int, layer: int | None, head: int | None
) -> tuple[Map, str, tuple[str, ...]]:
    """Attention of one position in a layer (else the last), by one head or all: [heads, keys], and their names.

    layers: each [1, heads, positions, keys]. layer, head: counted from 1.
    """
    number = len(layers) if layer is None else layer
    _check_choice("layer", number, len(layers))
    row = layers[number - 1][0, :, position]
    if head is not None:
        _check_choice("head", head, len(row))
    heads = range(len(row)) if head is None else [head - 1]
    return row[list(heads)], f"layer {number}", tuple(f"head {each + 1}" for each in heads)


def _check_choice(name: str, number: int, count: int) -> None:
    if not 1 <= number <= count:
        raise UserError(f"expected a {name} from 1 to {count}, got {number}")
