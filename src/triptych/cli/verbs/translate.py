"""`triptych translate`: sentences in, translations out, line by line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

import typer

from triptych.cli import options
from triptych.cli.loading import load
from triptych.cli.output import answer, say
from triptych.errors import UserError
from triptych.text.files import Arriving, Unusable, decoded, lines_of, raw_lines

if TYPE_CHECKING:
    from triptych.generation.beam import LengthPenalty
    from triptych.text.translator import Translation, Translator

# Lines translated together: enough to fill sorted batches, few enough that the first answers come soon.
LINES_AT_ONCE = 1000
BEAM = 5


@dataclass(frozen=True)
class Search:
    """The options of a translation."""

    PANEL: ClassVar = "Generation"

    beam: Annotated[
        int | None, typer.Option("--beam", min=1, metavar="N", help="Hypotheses kept at every step; else 5.")
    ] = None
    nbest: Annotated[int, typer.Option(min=1, metavar="N", help="Translations a line.")] = 1
    length_penalty: Annotated[
        float | None, typer.Option(metavar="ALPHA", help="Above 0 favours longer translations; else 0.6.")
    ] = None
    length_convention: Annotated[
        Literal["gnmt", "power", "sockeye", "none"] | None,
        typer.Option(help="How ALPHA is meant: ((5+n)/6)^a, else; n^a; ((b+n)/(b+1))^a."),
    ] = None
    no_repeat_ngram: Annotated[
        int, typer.Option(min=0, metavar="N", help="No N pieces in succession come twice in a translation; 0: any may.")
    ] = 0

    def check(self, draw: options.Draw) -> None:
        """Raise UserError for options that cannot be, before a model is loaded."""
        draw.sampling()
        self.penalty()
        others = "--temperature, --top-k, --top-p and --min-p"
        if draw.given and self.nbest > 1:
            raise UserError(f"expected --nbest 1 when sampling, got {self.nbest}; leave out {others}")
        for name in ("beam", "length_penalty", "length_convention"):
            if draw.given and (value := getattr(self, name)) is not None:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"expected no {option} when sampling, got {value}; leave it out, or {others}")
        if self.nbest > (beam := self.beam or BEAM):
            raise UserError(f"expected --nbest of at most --beam={beam}, got {self.nbest}; raise --beam")

    def translations(
        self, translator: Translator, lines: Sequence[str], draw: options.Draw, first: int, *, align: bool
    ) -> list[list[Translation]]:
        """The translations of lines, of which the first one has the number `first`: best first, or the one drawn."""
        how: dict[str, Any] = {"align": align, "no_repeat_ngram": self.no_repeat_ngram}
        if draw.given:
            return [[one] for one in translator.sample(lines, draw.sampling(), draw.seed, first=first, **how)]
        return translator.translate(
            lines, beam=self.beam or BEAM, nbest=self.nbest, length_penalty=self.penalty(), **how
        )

    def penalty(self) -> LengthPenalty:
        """The length penalty that the options describe."""
        from triptych.generation.beam import LengthPenalty

        alpha = 0.6 if self.length_penalty is None else self.length_penalty
        return LengthPenalty(convention=self.length_convention or "gnmt", alpha=alpha)


@options.grouped
def translate(
    *,
    text: Annotated[
        list[str] | None, typer.Argument(help="Sentences, each in quotation marks. Without: lines of standard input.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Translate the lines of this file, gz or not.")
    ] = None,
    model: options.Model = "captions-en-de",
    search: Search,
    draw: options.Draw,
    machine: options.Machine,
) -> None:
    """Translate sentences: beam search, or sampling with --temperature, --top-k, --top-p or --min-p.

    One translation a line, as soon as the line comes; a line that cannot be read is left empty, and named at the end.
    With --nbest, lines of number, score (the log-probability over the length penalty) and text, separated by tabs.
    """
    search.check(draw)
    lines, must_wait = _lines(text or (), file)
    from triptych.text.data import Report
    from triptych.text.translator import Translator

    translator = load(Translator, model, machine)
    described: list[dict[str, object]] = []
    count, refused, unfamiliar = 0, Report(), Report()
    for group in _groups(lines, must_wait):
        faults = {place: str(line) for place, line in enumerate(group) if isinstance(line, Unusable)}
        texts = ["" if isinstance(line, Unusable) else line for line in group]
        faults |= translator.refused(texts)
        for place in sorted(faults):
            refused.add(faults[place], count + place + 1)
        usable = ["" if place in faults else line for place, line in enumerate(texts)]
        if len(faults) == len(group) and not count and len(group) < LINES_AT_ONCE and not must_wait():
            break  # none of them can be translated
        found = search.translations(translator, usable, draw, count, align=machine.json)
        for place in translator.codec.unfamiliar(usable):
            unfamiliar.add("", count + place + 1)
        if machine.json:
            described += [
                _described(*row, faults.get(place)) for place, row in enumerate(zip(texts, found, strict=True))
            ]
        else:
            answer({}, _written(found, count, numbered=search.nbest > 1), as_json=False)
            sys.stdout.flush()
        count += len(group)
    if unfamiliar.counts:
        say(
            f"note: {unfamiliar.skipped:,} of {count:,} lines have characters that {model} never learned "
            f"({unfamiliar.numbers('')}); such lines come out badly"
        )
    if machine.json and (count or not refused.counts):
        answer({"model": model, "translations": described}, (), as_json=True)
    if refused.counts:
        raise UserError(
            f"expected lines of UTF-8 that the model can read, got {refused.kinds()}; "
            + ("each is left empty, all others are translated; " if count else "")
            + "mend or split them"
        )


def _lines(texts: Sequence[str], file: Path | None) -> tuple[Iterator[str | Unusable], Callable[[], bool]]:
    """The sentences to translate, without their line ends, from where the person put them; and whether the next one is
    still to come.
    """
    if texts and file is not None:
        raise UserError(f"expected TEXT or --file, got both ({file}); leave one out")
    if texts:
        return _decoded(_encoded(" ".join(text.split("\n"))) for text in texts), lambda: False
    if file is not None:
        return _decoded(raw_lines(file)), lambda: False
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError('expected TEXT, --file or lines on standard input, got none; try: triptych translate "A dog."')
    arriving = Arriving(cast(BufferedReader, sys.stdin.buffer))
    return _decoded(lines_of(arriving, "standard input")), arriving.must_wait


def _encoded(text: str) -> bytes:
    """Return the bytes of an argument: those that the locale cannot decode arrive as lone surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate of no byte, which Windows lets through
        return text.encode("utf-8", "surrogatepass")


def _decoded(lines: Iterable[bytes]) -> Iterator[str | Unusable]:
    """Decode UTF-8 whatever the locale; a line that cannot be used becomes its `Unusable`."""
    for line in lines:
        try:
            yield decoded(line).strip()
        except Unusable as fault:
            yield fault


def _groups(lines: Iterator[str | Unusable], must_wait: Callable[[], bool]) -> Iterator[list[str | Unusable]]:
    """Cut lines into groups, where there are enough or the next one is still to come. Where they cannot be read to
    their end, those before are given first.
    """
    group: list[str | Unusable] = []
    try:
        for line in lines:
            group.append(line)
            if len(group) == LINES_AT_ONCE or must_wait():
                yield group
                group = []
    except UserError:
        if group:
            yield group
        raise
    if group:
        yield group


def _described(source: str, choices: Sequence[Translation], fault: str | None) -> dict[str, object]:
    if fault is not None:
        return {"source": source, "hypotheses": [], "error": fault}
    found: list[dict[str, object]] = []
    for choice in choices:
        alignment = " ".join(f"{source}-{target}" for source, target in choice.alignment)
        found.append({**asdict(choice), "log_prob": choice.log_prob, "alignment": alignment})
    return {"source": source, "hypotheses": found}


def _written(found: Iterable[Sequence[Translation]], first: int, *, numbered: bool) -> Iterator[str]:
    for number, choices in enumerate(found, first + 1):
        for choice in choices:
            yield f"{number}\t{choice.score:.4f}\t{choice.text}" if numbered else choice.text
