"""`triptych bench`: how fast, beside the naive form, torch's own modules and the peers that are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from triptych.cli import options
from triptych.cli.output import answer, progress, say
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.bench.measure import Settings, Table

app = typer.Typer(name="bench", help="Measure speed on this processor, beside the naive form, torch and peers.")


class Formats(StrEnum):
    """Number formats to measure in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    both = "both"


Repeats = Annotated[
    int, typer.Option("--repeats", metavar="N", help="Rounds that count, at least 5; the median is told.")
]
Length = Annotated[
    int | None, typer.Option("--length", min=1, metavar="N", help="Positions, instead of those of each table.")
]
Peers = Annotated[bool, typer.Option("--peers/--no-peers", help="Other people's packages, where installed.")]
Keep = Annotated[
    bool,
    typer.Option("--keep-memory/--fresh-memory", help="Freed memory stays in the process, as in training; for all."),
]
Dtypes = Annotated[
    Formats, typer.Option("--dtype", help="Number format of the products.", rich_help_panel=options.MACHINE)
]


@app.command()
def attention(
    length: Length = None,
    memory_length: Annotated[
        int, typer.Option("--memory-length", min=0, metavar="N", help="Positions for the memory; 0: not measured.")
    ] = 16_384,
    repeats: Repeats = 7,
    peers: Peers = True,
    keep_memory: Keep = False,
    threads: options.Threads = None,
    dtype: Dtypes = Formats.both,
    json: options.Json = False,
) -> None:
    """Time relative and local attention, forward and backward, and measure the memory of the relative one."""

    def tables(settings: Settings) -> Iterable[Table]:
        from triptych.bench import attention

        return attention.tables(settings, length=length, memory_length=memory_length)

    _report("attention", tables, repeats, peers, keep_memory, threads, dtype, json)


@app.command()
def train(
    case: Annotated[
        Literal["text", "relative", "pixels", "all"], typer.Option("--case", help="What is trained.")
    ] = "all",
    length: Length = None,
    repeats: Repeats = 7,
    peers: Peers = True,
    keep_memory: Keep = True,
    threads: options.Threads = None,
    dtype: Dtypes = Formats.both,
    json: options.Json = False,
) -> None:
    """Time whole training steps in tokens a second: a translator, relative attention, local attention."""
    if case == "text" and length is not None:
        raise UserError(
            "expected --length with the case relative, pixels or all, got text, whose sentences have theirs"
        )

    def tables(settings: Settings) -> Iterable[Table]:
        from triptych.bench import train

        return train.tables(train.CASES if case == "all" else (case,), settings, length=length)

    _report("train", tables, repeats, peers, keep_memory, threads, dtype, json)


def _report(
    name: str,
    tables: Callable[[Settings], Iterable[Table]],
    repeats: int,
    peers: bool,
    keep_memory: bool,
    threads: int | None,
    dtype: Formats,
    json: bool,
) -> None:
    """Measure the tables and tell them, with what the machine was and which peers took part."""
    from triptych.bench.measure import Settings, circumstances, lines
    from triptych.bench.peers import PACKAGES, REMEDY, installed
    from triptych.model.device import use_device
    from triptych.train.memory import keep_freed_memory

    use_device("cpu", threads, "auto")
    kept = keep_memory and keep_freed_memory()  # for all contestants: it is one process
    here = installed() if peers else ()
    absent = [package for package in PACKAGES if package not in here] if peers else []
    dtypes = ("float32", "bfloat16") if dtype is Formats.both else (dtype.value,)
    with progress() as bar:

        def watch(title: str, rounds: range) -> Iterable[int]:
            if bar.disable:
                say(f"measuring {title}")
            return bar.track(rounds, description=title)

        settings = Settings(dtypes, repeats, here, watch)
        report: dict[str, Any] = {
            "bench": name,
            **circumstances(),
            "keeps_memory": kept,
            "peers": here,
            "absent": absent,
        }
        if absent:
            say(f"not installed and left out: {', '.join(absent)}; to measure them too: {REMEDY}")
        report["tables"] = list(tables(settings))
    answer(report, lines(report), as_json=json)
