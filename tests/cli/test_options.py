from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, ClassVar, cast

import pytest
import typer
from typer.testing import CliRunner

from triptych.cli.options import Draw, Machine, grouped
from triptych.generation.sampling import Sampling
from triptych.trained import Trained


@dataclass(frozen=True)
class Size:
    PANEL: ClassVar = "Size of it"
    height: Annotated[int, typer.Option("--height", min=1)]
    width: Annotated[int, typer.Option("--width")] = 3

    def __post_init__(self) -> None:
        if self.width > 9:
            raise ValueError("too wide")


def test_a_group_is_its_options() -> None:
    seen: list[tuple[str, Size, bool]] = []
    app = typer.Typer()

    @app.command()
    @grouped
    def verb(*, name: Annotated[str, typer.Argument()], size: Size, loud: bool = False) -> None:
        """A verb."""
        seen.append((name, size, loud))

    run = CliRunner().invoke
    assert run(app, ["a", "--height", "2"]).exit_code == 0
    assert run(app, ["b", "--height", "2", "--width", "4", "--loud"]).exit_code == 0
    assert seen == [("a", Size(2, 3), False), ("b", Size(2, 4), True)]
    assert run(app, ["a"]).exit_code == run(app, ["a", "--height", "0"]).exit_code == 2
    with pytest.raises(ValueError, match="too wide"):
        run(app, ["a", "--height", "2", "--width", "10"], catch_exceptions=False)
    shown = run(app, ["--help"]).output
    assert "A verb." in shown and "Size of it" in shown and "--width" in shown


def test_what_options_of_a_draw_mean() -> None:
    assert not Draw(seed=7).given and Draw(min_p=0.1).given
    plain = Draw().sampling()
    assert (plain.temperature, plain.top_k, plain.top_p, plain.min_p) == (1.0, 0, 1.0, 0.0)


def test_an_option_of_a_draw_that_is_not_given_is_as_the_card_has_it() -> None:
    trained = cast(Trained, SimpleNamespace(usual=Sampling(temperature=0.7, min_p=0.2)))
    assert Draw().arguments(trained) == {"sampling": trained.usual, "seed": 0}
    drawn = Draw(seed=3, top_k=4, top_p=0.9, min_p=0.05).arguments(trained)
    assert drawn == {"sampling": Sampling(temperature=0.7, top_k=4, top_p=0.9, min_p=0.05), "seed": 3}
    assert Draw(temperature=0.0).arguments(trained)["sampling"] == Sampling(temperature=0.0, min_p=0.2)


def test_where_a_verb_computes() -> None:
    assert Machine(device="cpu", threads=2).place == {"device": "cpu", "threads": 2}
