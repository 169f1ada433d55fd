"""The page that `triptych demo` makes: translations of a dozen captions, and what the model looked at.

It needs no network and no server: relative links to pictures beside it, style inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from triptych import __version__
from triptych.cli.look import maps_of
from triptych.cli.output import progress
from triptych.look.attention import AttentionMap, draw
from triptych.picture import save

if TYPE_CHECKING:
    from triptych.text.translator import Translator

BEAM = 5
SHARPNESS = 1.5  # dots of a picture to a dot of the page, so that it is sharp on fine screens too
WORD = "\u2581"  # SentencePiece's mark of a word's beginning
STRONGEST = 4  # pairs of tokens that the text for people who do not see the picture names

CAPTIONS = (
    "A brown dog jumps over a small stream.",
    "Two women are drinking coffee outside a bakery.",
    "A boy in a yellow raincoat is standing in a puddle.",
    "An old man is reading a newspaper on a bench in the park.",
    "Three children are building a castle on the beach.",
    "A woman with a red umbrella crosses the street.",
    "A man is repairing his bicycle in front of a garage.",
    "The goalkeeper in green catches the ball.",
    "A girl is feeding the ducks at a lake.",
    "Several people are waiting for a train.",
    "A musician plays the violin while a crowd listens.",
    "A white cat sleeps on a wooden chair.",
)
OUTSIDE = (
    "The committee postponed its vote on the budget until Thursday.",
    "Could you please send me the invoice once more?",
)
FACTS = {
    "domain": "Domain",
    "data": "Trained on",
    "parameters": "Parameters",
    "scores": "Scores",
    "license": "Licence",
}


def build(translator: Translator, model: str, out: Path) -> Path:
    """Write `out`/index.html and its pictures in `out`/attention; returns the page's path."""
    sentences = (*CAPTIONS, *OUTSIDE)
    translations = [found[0].text for found in translator.translate(sentences, beam=BEAM)]
    items = []
    with progress() as bar:
        task = bar.add_task("drawing attention", total=len(sentences))
        for number, (sentence, translation) in enumerate(zip(sentences, translations, strict=True), 1):
            items.append(_item(translator, sentence, translation, out, f"{number:02}"))
            bar.advance(task)
    page = Template(files("triptych.cli").joinpath("gallery.html").read_text("utf-8")).substitute(
        model=escape(model),
        facts=_facts(translator.card),
        captions="\n".join(items[: len(CAPTIONS)]),
        outside="\n".join(items[len(CAPTIONS) :]),
        command=escape(f"triptych demo --model {model}"),
        version=__version__,
        beam=BEAM,
    )
    path = out / "index.html"
    path.write_text(page, "utf-8")
    return path


def _item(translator: Translator, sentence: str, translation: str, out: Path, name: str) -> str:
    """One sentence as a list item: the translation, one map in sight, all layers and heads folded away."""
    cross = maps_of(translator, sentence, translation)["cross"]
    chosen = cross.only(layer=cross.sharpest()).mean()
    caption = f"Where it read: decoder {chosen.layers[0]} of {len(cross.layers)}, {chosen.heads[0]}."
    alone = _picture(chosen, out, f"{name}-mean.png", _told(chosen))
    shape = f"{len(cross.layers)} layers of {len(cross.heads)} heads"
    grid = _picture(cross, out, f"{name}-heads.png", f"Grid of heat maps like the one above: {shape}.")
    return "\n".join(
        [
            "<li>",
            f'<p class="source" lang="en">{escape(sentence)}</p>',
            f'<p class="target"{_language(translator.card)}>{escape(translation)}</p>',
            f'<figure><div class="picture">{alone}</div><figcaption>{caption}</figcaption></figure>',
            # Wider than its frame: with a place in the tab order it can be scrolled with the keys.
            f'<details><summary>Every layer and head</summary><div class="picture" role="region" tabindex="0" '
            f'aria-label="{shape}">{grid}</div></details>',
            "</li>",
        ]
    )


def _picture(attention: AttentionMap, out: Path, name: str, alternative: str) -> str:
    """Draw the map into `out`/attention and return its element; the size keeps the page from jumping."""
    from PIL import Image

    path = out / "attention" / name
    save(draw(attention), path)
    with Image.open(path) as image:
        width, height = (round(edge / SHARPNESS) for edge in image.size)
    return f'<img src="attention/{name}" width="{width}" height="{height}" loading="lazy" alt="{escape(alternative)}">'


def _told(attention: AttentionMap) -> str:
    """Tell a heat map in words: the strongest pairs of tokens."""
    weights = attention.weights[0, 0]
    # The end of the sentence and full stops are often the strongest, and tell the least.
    pairs = [
        (float(weights[row, column]), f"{query.lstrip(WORD)} looks at {key.lstrip(WORD)}")
        for row, query in enumerate(attention.queries)
        for column, key in enumerate(attention.keys)
        if query.lstrip(WORD).isalpha() and key.lstrip(WORD).isalpha()
    ]
    told = "; ".join(f"{text} ({weight:.2f})" for weight, text in sorted(pairs, reverse=True)[:STRONGEST])
    return f"Heat map of attention, translation against source. Strongest: {told or 'nothing between words'}."


def _language(card: Mapping[str, Any]) -> str:
    """Name the language of the translations, for hyphenation and for screen readers."""
    languages = card.get("languages")
    language = languages.get("target") if isinstance(languages, Mapping) else None
    return f' lang="{escape(str(language))}"' if language else ""


def _facts(card: Mapping[str, Any]) -> str:
    """What the model's card says of itself, as rows of a definition list."""
    from triptych.cli.models import worded

    return "\n".join(
        f"<dt>{title}</dt><dd>{escape(worded(card[key]))}</dd>" for key, title in FACTS.items() if card.get(key)
    )
