"""`triptych translate`: sentences in, translations out, line by line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from triptych.cli import options
from triptych.cli.loading import load_translator
from triptych.cli.output import answer, say
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.text.translator import Translation

# Lines translated together: enough to fill sorted batches, few enough that the first answers come soon.
LINES_AT_ONCE = 1000


def translate(
    text: Annotated[
        list[str] | None, typer.Argument(help="Sentences, each in quotation marks. Without: lines of standard input.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Translate the lines of this file, gz or not.")
    ] = None,
    model: options.Model = "captions-en-de",
    beam: Annotated[
        int,
        typer.Option(
            "--beam", min=1, metavar="N", help="Hypotheses kept at every step.", rich_help_panel=options.GENERATION
        ),
    ] = 5,
    nbest: Annotated[
        int,
        typer.Option("--nbest", min=1, metavar="N", help="Translations a line.", rich_help_panel=options.GENERATION),
    ] = 1,
    length_penalty: Annotated[
        float,
        typer.Option(
            "--length-penalty",
            metavar="ALPHA",
            help="Above 0 favours longer translations.",
            rich_help_panel=options.GENERATION,
        ),
    ] = 0.6,
    length_convention: Annotated[
        Literal["gnmt", "power", "sockeye", "none"],
        typer.Option(
            "--length-convention",
            help="How ALPHA is meant: ((5+n)/6)^a, n^a, ((b+n)/(b+1))^a.",
            rich_help_panel=options.GENERATION,
        ),
    ] = "gnmt",
    seed: options.Seed = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Translate sentences: beam search, or sampling when --temperature, --top-k or --top-p is given.

    One translation a line; with --nbest, lines of number, score (a log-probability) and text, separated by tabs.
    """
    if nbest > beam:
        raise UserError(f"expected --nbest of at most --beam={beam}, got {nbest}; raise --beam")
    lines = _lines(text or (), file)
    from triptych.generation.beam import LengthPenalty

    samples = any(option is not None for option in (temperature, top_k, top_p))
    if samples and nbest > 1:
        raise UserError(f"expected --nbest 1 when sampling, got {nbest}; leave out --temperature, --top-k and --top-p")
    sampling = options.sampling(temperature, top_k, top_p)
    penalty = LengthPenalty(convention=length_convention, alpha=length_penalty)
    translator = load_translator(model, device, threads, dtype.value)
    told: list[dict[str, object]] = []
    first, warned = 0, False
    while group := list(islice(lines, LINES_AT_ONCE)):
        if samples:
            found = [[choice] for choice in translator.sample(group, sampling, seed + first, align=json)]
        else:
            found = translator.translate(group, beam=beam, nbest=nbest, length_penalty=penalty, align=json)
        if not warned and (number := _unfamiliar(found)) is not None:
            warned = True
            say(f"note: line {first + number} has characters that {model} never learned; such lines come out badly")
        if json:
            told.extend(_described(source, choices) for source, choices in zip(group, found, strict=True))
        else:
            answer({}, _written(found, first, numbered=nbest > 1), as_json=False)
            sys.stdout.flush()
        first += len(group)
    if json:
        answer({"model": model, "translations": told}, (), as_json=True)


def _lines(texts: Sequence[str], file: Path | None) -> Iterator[str]:
    """Yield the sentences to translate, without their line ends, from where the person put them."""
    if texts and file is not None:
        raise UserError(f"expected TEXT or --file, got both ({file}); leave one out")
    if texts:
        return (" ".join(text.split("\n")) for text in texts)
    if file is not None:
        from triptych.text.data import read_lines

        return iter(read_lines(file))
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError('expected TEXT, --file or lines on standard input, got none; try: triptych translate "A dog."')
    return _decoded(sys.stdin.buffer)


def _decoded(stream: Iterable[bytes]) -> Iterator[str]:
    """Decode UTF-8 whatever the locale says, and end lines at line feeds only, so that they stay as many."""
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode().strip()
        except UnicodeDecodeError:
            raise UserError(f"expected UTF-8 on standard input, got other bytes in line {number}; convert it") from None


def _unfamiliar(found: Iterable[Sequence[Translation]]) -> int | None:
    """The first line, counted from 1, of which some character has no piece and was read byte by byte."""
    for number, choices in enumerate(found, 1):
        if any(piece.startswith("<0x") for piece in choices[0].source_tokens):
            return number
    return None


def _described(source: str, choices: Sequence[Translation]) -> dict[str, object]:
    return {
        "source": source,
        "hypotheses": [
            {
                "text": choice.text,
                "score": choice.score,
                "tokens": choice.tokens,
                "log_probs": choice.log_probs,
                "source_tokens": choice.source_tokens,
                "alignment": choice.alignment,
            }
            for choice in choices
        ],
    }


def _written(found: Iterable[Sequence[Translation]], first: int, *, numbered: bool) -> Iterator[str]:
    for number, choices in enumerate(found, first + 1):
        for choice in choices:
            yield f"{number}\t{choice.score:.4f}\t{choice.text}" if numbered else choice.text
