"""The options that verbs share, in groups. Importing this costs nothing but Typer."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_type_hints

import typer

if TYPE_CHECKING:
    from triptych.generation.sampling import Sampling
    from triptych.trained import Trained

DRAWN = ("temperature", "top_k", "top_p", "min_p")  # the fields of a `Sampling`

# Every verb that uses a model.
Model = Annotated[str, typer.Option(metavar="NAME", help="A name of `triptych models`, a folder, or hf:owner/name.")]
Split = Annotated[str, typer.Option(metavar="NAME", help="train, valid (where none is named: every tenth) or test.")]
Engine = Annotated[
    Literal["auto", "plan", "torch"],
    typer.Option(
        help="plan: likelihoods too by what generates, in numpy; torch: all in torch; auto: likelihoods in torch, "
        "the rest in numpy. All need torch to be installed."
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="So many of all, evenly from first to last.")]
# The data of training and measuring.
Source = Annotated[Path, typer.Option(metavar="FILE", help="Sentences, one a line; or pairs as TSV or JSONL.")]
Target = Annotated[Path | None, typer.Option(metavar="FILE", help="Their translations, line by line.")]
PictureSets = Annotated[
    list[Path],
    typer.Option(metavar="PATH", help="A folder of pictures or of IDX files, or a .npz; several are joined."),
]
Music = Annotated[
    Path, typer.Option(metavar="PATH", help="JSB JSON, prepared music, a folder or zip of MIDI or MusicXML.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**64 - 1, metavar="N", help="One seed, one result.")]
Beam = Annotated[int, typer.Option(min=1, metavar="N", help="Hypotheses kept at every step.")]


Json = Annotated[
    bool,
    typer.Option(
        "--json", rich_help_panel="Machine and output", help="One JSON object on standard output, nothing else."
    ),
]


@dataclass(frozen=True)
class Machine:
    """The options of every verb that computes with a model: where it computes, and how it answers."""

    PANEL: ClassVar = "Machine and output"

    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu; through torch cuda, cuda:1, mps.")] = "auto"
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processor threads; without torch 1 unless given.")
    ] = None
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16", "float64"],
        typer.Option(help="Number format of the weights; all but auto through torch."),
    ] = "auto"
    json: Json = False

    @property
    def place(self) -> dict[str, Any]:
        """The device and the number of threads, as the products take them."""
        return {"device": self.device, "threads": self.threads}


@dataclass(frozen=True)
class Draw:
    """The options of every verb that samples; one that is not given is as the card of the model has it."""

    PANEL: ClassVar = "Generation"

    seed: Seed = 0
    temperature: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="T", help="Above 1 wilder, below 1 tamer, 0 the most probable token every time."),
    ] = None
    top_k: Annotated[
        int | None, typer.Option(min=0, metavar="K", help="Draw from the K most probable tokens only; 0: from all.")
    ] = None
    top_p: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, metavar="P", help="Draw from the fewest tokens that hold probability P, above 0."
        ),
    ] = None
    min_p: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="P",
            help="Draw from tokens at least P times as probable as the most probable one; 0: from all.",
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether any option but the seed was given."""
        return any(getattr(self, name) is not None for name in DRAWN)

    def sampling(self, trained: Trained | None = None) -> Sampling:
        """The draw that the options describe. trained: whose own draw it is where an option was not given."""
        from triptych.generation.sampling import Sampling

        given = {name: value for name in DRAWN if (value := getattr(self, name)) is not None}
        return replace(Sampling() if trained is None else trained.usual, **given)

    def arguments(self, trained: Trained) -> dict[str, Any]:
        """The draw and its seed, as the products of `trained` take them."""
        return {"sampling": self.sampling(trained), "seed": self.seed}


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of its groups: a parameter whose type is a dataclass becomes the fields of it, each an
    option, under the heading `PANEL` in its help; the verb is called with the dataclass made of them.
    """
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb, eval_str=True).parameters.values():
        if not is_dataclass(group := parameter.annotation):
            kept = parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=_under(None, parameter.annotation))
            parameters.append(kept)
            continue
        groups[parameter.name] = group
        hints = get_type_hints(group, include_extras=True)
        parameters += [
            parameter.replace(
                name=each.name,
                kind=parameter.KEYWORD_ONLY,
                default=parameter.empty if each.default is MISSING else each.default,
                annotation=_under(getattr(group, "PANEL", None), hints[each.name]),
            )
            for each in fields(group)
        ]

    @functools.wraps(verb)
    def run(**given: Any) -> None:
        made = {
            name: group(**{each.name: given.pop(each.name) for each in fields(group)}) for name, group in groups.items()
        }
        verb(**given, **made)

    vars(run)["__signature__"] = inspect.Signature(parameters)  # what Typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _under(panel: str | None, annotation: Any) -> Any:
    """An option under a heading in the help, in which a switch takes no value."""
    if not get_args(annotation):
        return annotation
    kind, option = get_args(annotation)
    option = copy.copy(option)
    option.rich_help_panel = panel or option.rich_help_panel
    if kind is bool:
        option.metavar = ""
    return Annotated[kind, option]
