from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from triptych.cli.options import Draw, Machine, grouped


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
    assert Draw().sampling(0.7).temperature == 0.7 and Draw(temperature=0.5).sampling(0.7).temperature == 0.5
    drawn = Draw(seed=3, top_k=4, top_p=0.9, min_p=0.05).arguments()
    assert drawn["seed"] == 3
    assert (drawn["sampling"].top_k, drawn["sampling"].top_p, drawn["sampling"].min_p) == (4, 0.9, 0.05)


def test_where_a_verb_computes() -> None:
    assert Machine(device="cpu", threads=2).place == {"device": "cpu", "threads": 2}
