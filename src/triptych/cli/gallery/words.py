"""Words in the gallery: translations of a dozen captions, and what the model looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.cli.gallery.pages import facts, figure, folded, picture, section
from triptych.look.attention import AttentionMap, draw, maps_of

if TYPE_CHECKING:
    from triptych.text.translator import Translator

BEAM = 5
WORD = "\u2581"  # SentencePiece's mark of a word's beginning
GRIDS = 3  # sentences of which every layer and head is drawn, which takes longer than all the rest of them
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
INTRODUCTION = """The model <code>{model}</code> has just translated these sentences, with a beam of {beam}
hypotheses. Under each translation is a heat map: a row for every piece of the translation, a column for every piece
of the source; the darker a cell, the more the model looked at that source piece when it wrote that row. An
underscore marks where a word begins, <code>&lt;/s&gt;</code> is the end of the sentence. The sentences were written
for this page, and are of the kind that the model has learned from: what is to be seen in a photograph, in one short
sentence."""
LIMITS = """A small model has learned what its data held and no more. It has read descriptions of photographs; news,
conversation, names, numbers and long sentences are foreign to it, and there it does not fall silent: it writes
fluent captions that are not what the sentence means. Here are two sentences from outside, so that this can be
seen. Do not use it where a mistake would cost anybody anything. And attention shows where the model read, which is
not the same as why it chose a word. The numbers behind a picture: <code>triptych look text "..." --out picture.png
--json</code>"""


PARTS = {"translating": 1, "drawing attention": 6}  # and their shares of the time


def words(translator: Translator, model: str, out: Path, begin: Callable[[str], None]) -> Iterator[str]:
    """The sections of the words; pictures go to `out`/attention. begin: called with each of the `PARTS`."""
    sentences = (*CAPTIONS, *OUTSIDE)
    begin("translating")
    translations = [found[0].text for found in translator.translate(sentences, beam=BEAM)]
    begin("drawing attention")
    items = [
        _item(translator, sentence, translation, out, f"{number:02}", whole=number <= GRIDS)
        for number, (sentence, translation) in enumerate(zip(sentences, translations, strict=True), 1)
    ]
    text = INTRODUCTION.format(model=escape(model), beam=BEAM)
    home, abroad = items[: len(CAPTIONS)], items[len(CAPTIONS) :]
    yield section("words", "Words: a translator, and what it looks at", text, [facts(translator.card), *_listed(home)])
    yield section("words-limits", "Its limits", LIMITS, _listed(abroad))


def _listed(items: list[str]) -> list[str]:
    return ['<ul class="pairs">', *items, "</ul>"]


def _item(translator: Translator, sentence: str, translation: str, out: Path, name: str, *, whole: bool) -> str:
    """One sentence as a list item: the translation, one map in sight, of some all layers and heads folded away."""
    cross = maps_of(translator, sentence, translation)["cross"]
    chosen = cross.only(layer=cross.sharpest()).mean()
    caption = f"Where it read: decoder {chosen.layers[0]} of {len(cross.layers)}, {chosen.heads[0]}."
    alone = picture(draw(chosen), out / "attention" / f"{name}-mean.png", out, _described(chosen))
    everything = []
    if whole:
        shape = f"{len(cross.layers)} layers of {len(cross.heads)} heads"
        alternative = f"Grid of heat maps like the one above: {shape}."
        grid = picture(draw(cross), out / "attention" / f"{name}-heads.png", out, alternative)
        everything = [folded("Every layer and head", shape, grid)]
    return "\n".join(
        [
            "<li>",
            f'<p class="source" lang="en">{escape(sentence)}</p>',
            f'<p class="target"{_language(translator.card)}>{escape(translation)}</p>',
            figure(alone, caption),
            *everything,
            "</li>",
        ]
    )


def _described(attention: AttentionMap) -> str:
    """Describe a heat map in words: the strongest pairs of tokens."""
    weights = attention.weights[0, 0]
    # The end of the sentence and full stops are often the strongest, and the least informative.
    pairs = [
        (float(weights[row, column]), f"{query.lstrip(WORD)} looks at {key.lstrip(WORD)}")
        for row, query in enumerate(attention.queries)
        for column, key in enumerate(attention.keys)
        if query.lstrip(WORD).isalpha() and key.lstrip(WORD).isalpha()
    ]
    strongest = "; ".join(f"{text} ({weight:.2f})" for weight, text in sorted(pairs, reverse=True)[:STRONGEST])
    return f"Heat map of attention, translation against source. Strongest: {strongest or 'nothing between words'}."


def _language(card: Mapping[str, Any]) -> str:
    """Name the language of the translations, for hyphenation and for screen readers."""
    languages = card.get("languages")
    language = languages.get("target") if isinstance(languages, Mapping) else None
    return f' lang="{escape(str(language))}"' if language else ""
