"""What every token looks at: attention probabilities as numbers, then as heat maps.

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

Kind = Literal["encoder", "decoder", "cross"]

# The decoder's first input is a zero vector in place of a token.
START = "(start)"

AXES: dict[Kind, tuple[str, str]] = {
    "encoder": ("source", "looks at source"),
    "decoder": ("writing the target", "looks at target so far"),
    "cross": ("writing the target", "looks at source"),
}
MOST_LABELS = 120  # tokens named along an axis; of longer texts every second, third, ... is

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

    `queries` and `keys` are the tokens along the two axes; `layers` and `heads` say what the first two count.
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

    def sharpest(self) -> int:
        """Number, from 1, of the layer whose tokens decide most clearly: largest mean maximum of the heads' mean."""
        return int(self.weights.mean(1).max(-1).mean(-1).argmax()) + 1

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


def draw(attention: AttentionMap) -> Figure:
    """Draw one heat map a layer and head: a row a layer, a column a head, tokens on both axes, one colour scale."""
    from matplotlib.figure import Figure

    rows, columns = attention.weights.shape[:2]
    alone = rows * columns == 1
    inch = 0.26 if alone else 0.12  # the edge of a cell
    width = _between(len(attention.keys) * inch, 0.9, 24 / columns)
    height = _between(len(attention.queries) * inch, 0.9, 24 / rows)
    gap, head = 0.12, 0.24
    total = columns * (width + gap), rows * (height + head + gap)
    figure = Figure(figsize=total, facecolor="white")
    top = max(float(attention.weights.max()), 1e-6)
    font = 10.0 if alone else _between(min(width / len(attention.keys), height / len(attention.queries)) * 60, 4, 7)
    for row in range(rows):
        for column in range(columns):
            left = column * (width + gap) / total[0]
            bottom = 1 - (row + 1) * (height + head + gap) / total[1] + gap / total[1]
            axes = figure.add_axes((left, bottom, width / total[0], height / total[1]))
            image = axes.imshow(
                attention.weights[row, column], cmap="Blues", vmin=0, vmax=top, aspect="auto", origin="upper"
            )
            _label(axes, attention, font, left=column == 0, below=row == rows - 1)
            title = f"{attention.layers[row]}, {attention.heads[column]}"
            axes.set_title(title, fontsize=11 if alone else 8, family=_fonts(), pad=5, loc="left")
    bar_height = min(total[1] * 0.9, 2.0)
    bar = figure.add_axes(
        (1 + (0.15 - gap) / total[0], 1 - (head + bar_height) / total[1], 0.12 / total[0], bar_height / total[1])
    )
    figure.colorbar(image, cax=bar).ax.tick_params(labelsize=7, length=2)
    bar.set_ylabel("probability", fontsize=7, color="0.35")
    return figure


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
    every = -(-len(tokens) // MOST_LABELS)
    return {place: tokens[place].replace("\u2581", "_") for place in range(0, len(tokens), every)}


def _fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [name for name in FONTS if name in installed]


def _between(value: float, least: float, most: float) -> float:
    return max(min(value, most), least)


def _check_choice(name: str, number: int, count: int) -> None:
    if not 1 <= number <= count:
        raise UserError(f"expected a {name} from 1 to {count}, got {number}")
