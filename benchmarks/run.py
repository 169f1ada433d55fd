"""Speed and memory, beside naive forms, torch's own modules, other packages, or another commit.

    python benchmarks/run.py attention|train|generate|translate [--json]
    python benchmarks/run.py train --beside FOLDER

Contestants work in turn in one run; medians and their ratios are printed, progress goes to standard error. With
--beside, a second checkout of this repository (`git worktree add FOLDER COMMIT`) is the other contestant.
See docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from speed import attention, beside, composing, painting, peers, rows, train, translate
from speed.tables import REPEATS, Settings, Table, lines

from triptych.cli.output import answer, progress, say
from triptych.errors import UserError
from triptych.look.measure import circumstances
from triptych.train.memory import keep_freed_memory

FORMATS = ("float32", "bfloat16")
COMPARED = ("piano", "subpixels")  # cases of `generate` that are measured beside another checkout alone
CASES = {"train": (*train.CASES, "lengths"), "generate": ("composing", "painting", "rows", *COMPARED)}


def positive(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parser() -> argparse.ArgumentParser:
    """The options of the four verbs."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = found.add_subparsers(dest="verb", required=True)
    made = {
        "attention": verbs.add_parser("attention", help="relative and local attention, forward and backward; memory"),
        "train": verbs.add_parser("train", help="whole training steps: text, relative, pixels; lengths if asked for"),
        "generate": verbs.add_parser("generate", help="composing one piece, painting pictures, rows side by side"),
        "translate": verbs.add_parser("translate", help="one sentence and batches, beam search and greedy"),
    }
    for verb, options in made.items():
        options.add_argument("--repeats", type=positive, default=REPEATS, help="rounds that count, at least 5")
        options.add_argument("--no-peers", action="store_true", help="leave other people's packages out")
        options.add_argument("--threads", type=positive)
        options.add_argument("--json", action="store_true", help="one JSON object instead of tables")
        if verb != "translate":
            options.add_argument(
                "--length", type=positive, metavar="N", help="positions, instead of those of each case"
            )
            formats = FORMATS[:1] if verb == "generate" else FORMATS
            options.add_argument("--dtype", nargs="+", choices=FORMATS, default=formats, help="composing has its own")
        if verb != "attention":
            options.add_argument("--beside", type=Path, metavar="FOLDER", help="another checkout: this against that")
        if verb in CASES:
            cases = tuple(train.CASES) if verb == "train" else CASES[verb][: -len(COMPARED)]
            options.add_argument("--case", nargs="+", choices=CASES[verb], default=cases)
    made["attention"].add_argument(
        "--memory-length",
        type=int,
        default=attention.MEMORY_LENGTH,
        metavar="N",
        help="for the memory; 0: not measured",
    )
    made["attention"].add_argument("--keep-memory", action="store_true", help="freed memory stays in the process")
    made["generate"].add_argument("--model", default="chorales", help="a model that composes")
    made["generate"].add_argument("--rows", type=positive, nargs="+", default=[1, 16], help="pictures side by side")
    made["generate"].add_argument("--peer-steps", type=positive, default=painting.SUBPIXELS, metavar="N")
    made["translate"].add_argument("--sentences", type=positive, default=translate.SENTENCES, metavar="N")
    return found


def tables(options: argparse.Namespace, settings: Settings) -> Iterator[Table]:
    """The tables that a verb asks for, one after another."""
    if options.verb == "attention":
        yield from attention.tables(settings, length=options.length, memory_length=options.memory_length)
    elif options.beside is not None:
        if getattr(options, "length", None):
            raise UserError("expected --beside or --length, got both; the cases beside another tree have their lengths")
        cases = getattr(options, "case", ())
        yield beside.compare(options.verb, options.beside, settings, torch.get_num_threads(), cases)
    elif options.verb == "train":
        yield from train.tables(options.case, settings, length=options.length)
    elif options.verb == "translate":
        yield from translate.tables(settings, sentences=options.sentences)
    else:
        length = options.length
        if alone := next((case for case in options.case if case in COMPARED), None):
            raise UserError(f"expected --beside FOLDER with --case {alone}, got none; give another checkout")
        if "composing" in options.case:
            yield from composing.tables(settings, model=options.model, tokens=length or composing.TOKENS)
        if "painting" in options.case:
            steps = length or painting.SUBPIXELS
            yield from painting.tables(settings, rows=options.rows, steps=steps, peer_steps=options.peer_steps)
        if "rows" in options.case:
            yield from rows.tables(settings, length=length)


def report(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what a verb asks for: the machine, which packages took part, and the tables."""
    if options.threads:
        torch.set_num_threads(options.threads)
    kept = (options.verb != "attention" or options.keep_memory) and keep_freed_memory()  # for all: it is one process
    compared = not options.no_peers and getattr(options, "beside", None) is None
    here = peers.installed() if compared else ()
    absent = [package for package in peers.PACKAGES if package not in here] if compared else []
    if absent:
        say(f"not installed and left out: {', '.join(absent)}; to measure them too: {peers.REMEDY}")
    with progress() as bar:

        def watch(title: str, rounds: range) -> Iterable[int]:
            if bar.disable:
                say(f"measuring {title}")
            return bar.track(rounds, description=title)

        settings = Settings(tuple(getattr(options, "dtype", FORMATS)), options.repeats, here, watch)
        around = {"bench": options.verb, **circumstances(), "keeps_memory": kept, "peers": here, "absent": absent}
        return {**around, "tables": list(tables(options, settings))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; a mistake is one line and the exit code 2."""
    options = parser().parse_args(arguments)
    try:
        found = report(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    answer(found, lines(found), as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
