"""The settings of a training run: the tables of a recipe file, changed by `--set`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from triptych.cli.loading import Loaded, named
from triptych.cli.options import Machine
from triptych.errors import UserError
from triptych.extras import require
from triptych.shape.plain import bounded, from_toml, read_bounded
from triptych.shape.settings import check_names, names_of

if TYPE_CHECKING:
    from triptych.train.recipe import Recipe
    from triptych.train.run.folder import RunFolder

# The tables of a recipe file: `model` has the preset and fields of `Config`, `data` how the data is used, `card` what
# the model's card is to say, `training` the fields of `Recipe`. A bare key in --set belongs to the last one.
TABLES = ("model", "data", "card", "training")
Tables = dict[str, dict[str, Any]]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Setup:
    """The options of every training run but its data and its folder."""

    recipe: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, metavar="FILE.toml", help="Settings of model and run.")
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting: epochs=3, model.preset=tiny."),
    ] = None
    start_from: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Go on from this model's weights and vocabulary.")
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --out stopped.")] = False

    def tables(self, machine: Machine) -> Tables:
        """Read the tables of the recipe file, changed by --set and --dtype."""
        tables = read_settings(self.recipe, self.settings or ())
        if machine.dtype != "auto":
            tables["training"]["dtype"] = machine.dtype
        return tables

    @contextmanager
    def begun(
        self, tables: Tables, out: Path, machine: Machine, data: Sequence[type], model: Sequence[str] = ()
    ) -> Iterator[Run]:
        """Check the names of the settings, and claim the folder of the run inside the block.

        data: the dataclasses of the settings of [data]. model: settings of [model] beside the fields of `Config`.
        """
        require("torch", '"triptych train"')
        from triptych.shape.config import Config
        from triptych.train.recipe import Recipe
        from triptych.train.run.folder import claimed

        check_names("model", tables["model"], ["preset", *model, *names_of(Config)])
        check_names("data", tables["data"], names_of(*data))
        recipe = Recipe.from_mapping(tables["training"])
        with claimed(out, resume=self.resume) as folder:
            yield Run(tables, recipe, folder, self.start_from, self.resume, machine)


@dataclass(frozen=True)
class Run:
    """A run that has claimed its folder."""

    tables: Tables
    recipe: Recipe
    out: RunFolder
    start_from: str | None
    resume: bool
    machine: Machine

    def use(self, kind: type[Made]) -> Made:
        """The settings of [data] that are fields of a dataclass."""
        return made(kind, self.tables["data"])

    def changes(self, *allowed: str) -> list[Any]:
        """The settings of [model] of these names with --from, None where one is not given: `input.word_dropout` is that
        of the table `input`. Raises UserError for others.
        """
        inner, given = {name.partition(".")[0] for name in allowed if "." in name}, dict[str, Any]()
        for name, value in self.tables["model"].items():
            if name in inner and isinstance(value, Mapping):
                given |= {f"{name}.{each}": item for each, item in value.items()}
            else:
                given[name] = value
        if others := [name for name in given if name not in allowed]:
            raise UserError(
                f"expected no [model] setting but {', '.join(allowed)} with --from, got {', '.join(others)}; the shape "
                "is given"
            )
        return [given.get(name) for name in allowed]

    def new(self) -> dict[str, Any]:
        """What makes a new model: the seed, the machine and the settings of [model]."""
        return {"seed": self.recipe.seed, **self.machine.place, **self.tables["model"]}

    def load(self, kind: type[Loaded]) -> Loaded:
        """The model to go on from."""
        assert self.start_from is not None
        return kind.load(named(self.start_from), dtype="float32", **self.machine.place)

    def check_task(self, given: str | None, task: str) -> None:
        """Raise UserError where [data] has another task than the model to go on from."""
        if given not in (None, task):
            raise UserError(f"expected data.task {task}, that of {self.start_from}, got {given!r}; leave it out")

    def fit(self) -> dict[str, Any]:
        """What every product's `fit` takes beside its data."""
        return {"recipe": self.recipe, "out": self.out, "resume": self.resume, "card": self.tables["card"]}


def made(kind: type[Made], table: Mapping[str, Any]) -> Made:
    """The dataclass of those settings of a table that are fields of it."""
    return kind(**{name: table[name] for name in names_of(kind) if name in table})


def read_settings(recipe: Path | None, assignments: Sequence[str]) -> Tables:
    """Read the tables of a recipe file, changed by `key=value` assignments."""
    tables: Tables = {name: {} for name in TABLES}
    if recipe is not None:
        for name, table in from_toml(read_bounded(recipe), recipe).items():
            if name not in TABLES or not isinstance(table, dict):
                raise UserError(f"expected the tables {', '.join(TABLES)} in {recipe}, got {name!r}")
            tables[name].update(table)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise UserError(f"expected --set key=value, got {assignment!r}")
        table_name, _, name = key.strip().rpartition(".")
        if table_name and table_name not in TABLES:
            raise UserError(f"expected --set to name one of {', '.join(TABLES)}, got {table_name!r} in {assignment!r}")
        tables[table_name or TABLES[-1]][name] = _value(value.strip())
    return tables


def _value(text: str) -> Any:
    """The value as TOML reads it (3, 0.5, true, [1, 2]); what TOML cannot read is a word: adamw, tiny."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return bounded(tables, "--set")["value"]
