"""`triptych train text`: sentence pairs, and the translator that learns them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from triptych.cli.output import say
from triptych.cli.training.settings import Run, made
from triptych.fields import Checked, Share

if TYPE_CHECKING:
    from triptych.train.run.package import Outcome


@dataclass(frozen=True)
class TextUse(Checked):
    """The settings of [data] for sentence pairs. sampling: the share of words that are cut into other pieces."""

    CALLED = "data.{name}"

    sampling: Share = 0.0


@dataclass(frozen=True)
class Vocabulary(Checked):
    """The setting of [model] that is no field of `Config`: pieces of a new vocabulary."""

    CALLED = "model.{name}"

    vocabulary: Annotated[int, "a number of pieces"] | None = None


def train(
    run: Run, source: Path, target: Path | None, held_out_source: Path | None, held_out_target: Path | None
) -> Outcome:
    """Train a new translator, or go on from one."""
    from triptych.text.data import read_pairs
    from triptych.text.translator import Translator

    use = run.use(TextUse)
    made(Vocabulary, run.tables["model"])
    names = ("--source", "--target", "--held-out-source", "--held-out-target")
    for name, path in zip(names, (source, target, held_out_source, held_out_target), strict=True):
        if path is not None:
            run.out.reads(name, path)
    pairs = read_pairs(source, target)
    held_out = None if held_out_source is None else read_pairs(held_out_source, held_out_target)
    if run.start_from is not None:
        (dropout,) = run.changes("dropout")
        translator = run.load(Translator).with_dropout(dropout)
    else:
        translator = Translator.new(pairs, **run.new())
    say(f"training on {len(pairs):,} sentence pairs ({pairs.report})")
    if run.start_from is not None and (odd := len(translator.codec.unfamiliar([*pairs.source, *pairs.target]))):
        say(f"note: {odd:,} sentences have characters that the vocabulary of {run.start_from} lacks")
    if held_out is not None and held_out.report.skipped:
        say(f"held out: {held_out.report}")
    return translator.fit(pairs, held_out=held_out, subword_sampling=use.sampling, **run.fit())
