"""The options that verbs share, each written once. Importing this costs nothing but Typer."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from triptych.generation.sampling import Sampling

MACHINE = "Machine and output"
GENERATION = "Generation"


class DtypeName(StrEnum):
    """Number formats a person may ask for."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    float64 = "float64"


# Every verb.
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=MACHINE)
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, metavar="N", help="Processor threads; torch chooses.", rich_help_panel=MACHINE),
]
Dtype = Annotated[DtypeName, typer.Option("--dtype", help="Number format of the weights.", rich_help_panel=MACHINE)]
Json = Annotated[
    bool,
    typer.Option("--json", help="One JSON object on standard output, nothing else.", rich_help_panel=MACHINE),
]

# Every verb that uses a model.
Model = Annotated[
    str,
    typer.Option("--model", metavar="NAME", help="A name of `triptych models`, a folder, or hf:owner/name."),
]

# Every verb that generates.
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=2**64 - 1, metavar="N", help="One seed, one result.", rich_help_panel=GENERATION),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        min=0.0,
        metavar="T",
        help="Above 1 wilder, below 1 tamer, 0 the most probable token every time.",
        rich_help_panel=GENERATION,
    ),
]
TopK = Annotated[
    int | None,
    typer.Option(
        "--top-k",
        min=0,
        metavar="K",
        help="Draw from the K most probable tokens only; 0: from all.",
        rich_help_panel=GENERATION,
    ),
]
TopP = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        min=0.0,
        max=1.0,
        metavar="P",
        help="Draw from the fewest tokens that hold probability P, above 0.",
        rich_help_panel=GENERATION,
    ),
]
MinP = Annotated[
    float | None,
    typer.Option(
        "--min-p",
        min=0.0,
        max=1.0,
        metavar="P",
        help="Draw from the tokens at least P times as probable as the best one.",
        rich_help_panel=GENERATION,
    ),
]


def sampling(
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None = None,
    *,
    usual: float = 1.0,
) -> Sampling:
    """What the four options ask for; one that was not given restricts nothing. usual: the temperature otherwise."""
    from triptych.generation.sampling import Sampling

    return Sampling(
        temperature=usual if temperature is None else temperature,
        top_k=top_k or 0,
        top_p=1.0 if top_p is None else top_p,
        min_p=min_p or 0.0,
    )
