"""`triptych train`: a model from a person's own data. One command a panel."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli import options
from triptych.cli.output import answer
from triptych.cli.training.settings import Setup
from triptych.errors import UserError
from triptych.model.device import is_first

if TYPE_CHECKING:
    from triptych.train.run.package import Outcome

app = typer.Typer(name="train", help="Train a model on your own data.")

Out = Annotated[Path, typer.Option(file_okay=False, metavar="RUN", help="Folder of the run.")]


@app.command()
@options.grouped
def text(
    *,
    source: options.Source,
    target: options.Target = None,
    held_out_source: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sentences to measure on, not learn from.")
    ] = None,
    held_out_target: Annotated[Path | None, typer.Option(metavar="FILE", help="Their translations.")] = None,
    setup: Setup,
    out: Out = Path("runs/text"),
    machine: options.Machine,
) -> None:
    """Train a translator on sentence pairs."""
    if held_out_target is not None and held_out_source is None:
        raise UserError("expected --held-out-source with --held-out-target, got the target alone; give both")
    from triptych.cli.training.text import TextUse, train

    with setup.begun(setup.tables(machine), out, machine, [TextUse]) as run:
        outcome = train(run, source, target, held_out_source, held_out_target)
    _finish(outcome, machine)


@app.command()
@options.grouped
def image(*, data: options.PictureSets, setup: Setup, out: Out = Path("runs/image"), machine: options.Machine) -> None:
    """Train a painter on pictures of one size.

    The class of a picture is the first folder that it is in, below one of a split (train, valid, test); classes and
    their counts are printed before training. Settings of the table data: task (paint, complete, upscale) and for
    upscaling its factor (4); size, a list of height and width, to have all resized, and channels (1, 3), without
    which both are what most pictures have; mirror (false): pictures are turned left to right as often as not; shift
    (0): they move by up to so many pixels; hue (0): their colours turn by up to so many degrees; held_out, so many
    pictures of the validation split at most (2,000). The table model also takes cell, the rows and subpixel columns
    at one position, or "pixel"; its preset is small-pixels for colour and small for grey. With --from, the pictures
    are resized to the model's size, and classes that it has not are added; dropout and input.word_dropout may
    change.
    """
    from triptych.cli.training.image import PictureUse, train
    from triptych.image.augmentation import Augmentation

    with setup.begun(setup.tables(machine), out, machine, [PictureUse, Augmentation], ["cell"]) as run:
        for number, path in enumerate(data, 1):
            run.out.reads(f"--data {number}", path)
        outcome = train(run, data)
    _finish(outcome, machine)


@app.command()
@options.grouped
def music(*, data: options.Music, setup: Setup, out: Out = Path("runs/music"), machine: options.Machine) -> None:
    """Train a composer on chorales, four voices on a grid of sixteenths; or a pianist on performances, as they were
    played: on a folder made by `prepare music`, or with kind = "performance" in the table data.

    Settings of that table for a pianist: task (compose, accompany), length of the crops in tokens, stretch (0.05) and
    semitones (3) that they are changed by at most, unlabelled (0.1), the share of them whose label is hidden, and
    held_out, the number of pieces to measure on, if not on all.
    For a composer: task (compose, infill), length of the crops in tokens, order of the voices within a moment (["bass",
    "soprano", "alto", "tenor"]), transpose and label (true, false); shares of the pieces, of which none is changed
    unless asked for: rests (begin with rests), shift (begin elsewhere in the bar), thin (have voices that rest);
    teachers, a list of trained composers, and composed, a number of pieces that the first of them makes: to compose,
    their probabilities of all pieces are soft targets to a share (0.75); to fill in, the composed pieces join the data,
    or the teachers' probabilities are soft targets in the same way, if one of them fills in.
    With --from, dropout, pattern and order may change. A pianist may then be given the keyboard, input =
    {keyboard = [88, 100, 32]}, and a composer the metre, positions = {metre = 48}, sixteenths of the longest bar. Of a
    composer input.word_dropout may change, and one that composes is given an encoder by task = "infill", as deep as its
    decoder unless encoder_layers of the table model is given. Labels are not smoothed unless asked for:
    likelihood is the measure, and notes are drawn from it.
    """
    from triptych.cli.training import chorales, performances
    from triptych.music.chorales.augmentation import Augmentation
    from triptych.music.performances.data import PerformanceAugmentation

    tables = setup.tables(machine)
    played = performances.is_performance(data, tables)
    of_chorales = [chorales.ChoraleUse, chorales.Teaching, Augmentation]
    kinds = [performances.PerformanceUse, PerformanceAugmentation] if played else of_chorales
    with setup.begun(tables, out, machine, kinds) as run:
        run.out.reads("--data", data)
        outcome = performances.train(run, data) if played else chorales.train(run, data)
    _finish(outcome, machine)


def _finish(outcome: Outcome, machine: options.Machine) -> None:
    """Answer with what became of the run."""
    if is_first():
        lines = [f"{outcome.folder}: {outcome.reason} after {outcome.updates:,} updates"]
        answer(asdict(outcome), lines, as_json=machine.json)
    if outcome.reason == "interrupted":
        raise typer.Exit(130)
