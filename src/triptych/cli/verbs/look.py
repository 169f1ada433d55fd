"""`triptych look`: what goes on inside. Numbers first, pictures second. One command a panel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from triptych.cli import options
from triptych.cli.loading import load, plays_performances, read_for
from triptych.cli.output import answer, progress, say, say_about
from triptych.errors import UserError
from triptych.extras import require
from triptych.picture import check_picture, save
from triptych.shape.marks import check_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure


app = typer.Typer(name="look", help="Look inside a model, or at what a layer costs.")


@dataclass(frozen=True)
class Drawing:
    """The option of the picture that is drawn; its name is checked before any work."""

    out: Annotated[Path, typer.Option(dir_okay=False, metavar="FILE.png", help="Picture: .png, .svg, .pdf.")]

    def __post_init__(self) -> None:
        check_picture(self.out)
        check_out(self.out)

    def finish(self, drawn: Figure, numbers: Mapping[str, object], machine: options.Machine) -> None:
        """Save the picture, and answer with its name and the numbers that it shows."""
        save(drawn, self.out)
        answer({"out": str(self.out), **numbers}, [str(self.out)], as_json=machine.json)


Layer = Annotated[int | None, typer.Option(min=1, metavar="N", help="One layer, counted from 1.")]
Head = Annotated[int | None, typer.Option(min=1, metavar="N", help="One head, counted from 1.")]


@app.command()
@options.grouped
def text(
    *,
    sentence: Annotated[str, typer.Argument(metavar="SENTENCE", help="What to translate, in quotation marks.")],
    drawing: Drawing,
    model: options.Model = "captions-en-de",
    kind: Annotated[
        Literal["encoder", "decoder", "cross"] | None,
        typer.Option(
            help="Source to itself, target to itself, or target to source; else all three, one below another."
        ),
    ] = None,
    layer: Layer = None,
    head: Head = None,
    mean: Annotated[bool, typer.Option("--mean", help="The mean over the heads of a layer.")] = False,
    target: Annotated[
        str | None, typer.Option("--translation", metavar="TEXT", help="Look at this translation, not the model's own.")
    ] = None,
    beam: options.Beam = 5,
    machine: options.Machine,
) -> None:
    """Draw what every token of a sentence and of its translation looks at: encoder self-attention, masked decoder
    self-attention, encoder-decoder attention; --json adds the numbers.
    """
    from triptych.look.attention import draw, maps_of
    from triptych.text.translator import Translator

    if mean and head is not None:
        raise UserError(f"expected --head or --mean, got both (head {head}); leave one out")
    _refuse_file(sentence)
    translator = load(Translator, model, machine)
    translation = target if target is not None else translator.translate([sentence], beam=beam)[0][0].text
    found = maps_of(translator, sentence, translation)
    chosen = [each.only(layer=layer, head=head) for name, each in found.items() if kind in (None, name)]
    if mean:
        chosen = [each.mean() for each in chosen]
    numbers = {"source": sentence, "translation": translation, "maps": [each.to_dict() for each in chosen]}
    drawing.finish(draw(*chosen), {"model": model, **numbers}, machine)


@app.command()
@options.grouped
def picture(
    *,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A picture: PNG, JPEG or WebP.")],
    drawing: Drawing,
    similarity: Annotated[
        bool, typer.Option("--similarity", help="Draw which places look alike instead; no model is asked.")
    ] = False,
    pixel: Annotated[
        str | None, typer.Option(metavar="ROW,COLUMN", help="Counted from 0; else the one in the middle.")
    ] = None,
    model: options.Model = "fashion",
    label: Annotated[str | None, typer.Option(metavar="CLASS", help="Of the picture.")] = None,
    layer: Layer = None,
    head: Head = None,
    machine: options.Machine,
) -> None:
    """Draw what one pixel of a picture looked at when it was made; --json adds the numbers."""
    chosen = _pixel(pixel)
    if similarity:
        from triptych.image.files.pictures import read_picture
        from triptych.look.patches import draw as draw_places
        from triptych.look.patches import repetition
        from triptych.look.patches import similarity as similarity_of
        from triptych.look.pixels import pixel_within

        _refuse("--similarity", {"--label": label, "--layer": layer, "--head": head})
        whole, words = read_picture(path)
        say_about(path, words)
        matrix = similarity_of(whole)
        height, width = whole.shape[:2]
        row, column = pixel_within(chosen, (height, width))
        alike = matrix[row * width + column].reshape(height, width).round(4).tolist()
        numbers = {"pixel": [row, column], "repetition": repetition(matrix, width), "similarity": alike}
        drawing.finish(draw_places(whole, matrix, (row, column)), {"picture": str(path), **numbers}, machine)
        return
    from triptych.image.painter import Painter
    from triptych.look.pixels import draw, pixel_of

    painter = load(Painter, model, machine)
    shown, _ = read_for(path, painter)
    found = pixel_of(painter, shown, chosen, label=label, layer=layer, head=head)
    drawing.finish(draw(found), {"model": model, "picture": str(path), **found.to_dict()}, machine)


@app.command()
@options.grouped
def piece(
    *,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A piece: MIDI or MusicXML.")],
    drawing: Drawing,
    similarity: Annotated[
        bool, typer.Option("--similarity", help="Draw which beats sound alike instead; no model is asked.")
    ] = False,
    model: options.Model = "chorales",
    layer: Layer = None,
    head: Head = None,
    step: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The note at this sixteenth; else the last.")
    ] = None,
    voice: Annotated[
        Literal["soprano", "alto", "tenor", "bass"] | None, typer.Option(help="Whose note it is; else the soprano's.")
    ] = None,
    note: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of a piano model: the note of this number; else the last.")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="NAME", help="Of a piano model: the composer.")] = None,
    machine: options.Machine,
) -> None:
    """Draw what one note of a piece looked at when it was written; --json adds the numbers."""
    from triptych.look import arcs, notes
    from triptych.music.files.reading import read_performance, read_piece

    of_chorales, of_piano = {"--step": step, "--voice": voice}, {"--note": note, "--label": label}
    chosen: dict[str, Any] = {"layer": layer, "head": head, "warn": say}
    if similarity:
        _refuse("--similarity", {"--layer": layer, "--head": head, **of_chorales, **of_piano})
        _similar_beats(path, drawing, machine)
        return
    if plays_performances(model):
        from triptych.music.performances.pianist import Pianist

        _refuse("piano music", of_chorales)
        played, words = read_performance(path)
        say_about(path, words)
        pianist = load(Pianist, model, machine)
        found = notes.arcs_of_performance(pianist, played, note=note, label=label, **chosen)
    else:
        from triptych.music.chorales.composer import Composer

        _refuse("a chorale", of_piano)
        composer = load(Composer, model, machine)
        read, words = read_piece(path)
        say_about(path, words)
        found = notes.arcs_of(composer, read, step=step, voice=voice or "soprano", **chosen)
    drawing.finish(arcs.draw(found), {"model": model, "piece": str(path), **found.to_dict()}, machine)


@app.command()
@options.grouped
def complexity(
    *,
    drawing: Drawing,
    width: Annotated[int, typer.Option(metavar="D", help="Width of a layer, a power of two from 16.")] = 256,
    longest: Annotated[
        int, typer.Option(metavar="N", help="Longest length, a power of two; full attention to its half.")
    ] = 16_384,
    repeats: Annotated[int, typer.Option(metavar="N", help="Runs of which the median is taken, at least 5.")] = 5,
    machine: options.Machine,
) -> None:
    """Measure the complexity table of the Transformer paper on the processor, in float32, and draw it; --json adds the
    numbers.
    """
    require("torch", '"triptych look complexity"')
    from triptych.look.complexity import Plan, measure
    from triptych.look.complexity_picture import draw
    from triptych.model.device import use_device

    if machine.device not in ("auto", "cpu") or machine.dtype not in ("auto", "float32"):
        raise UserError(
            f"expected --device cpu and --dtype float32, got {machine.device} and {machine.dtype}; leave them out"
        )
    plan = Plan(width, longest, repeats)
    use_device("cpu", machine.threads, "float32")
    with progress() as bar:
        task = bar.add_task("", total=plan.steps + 1)
        found = measure(plan, report=lambda step: bar.update(task, advance=1, description=step))
    drawing.finish(draw(found), found.to_dict(), machine)


def _similar_beats(path: Path, drawing: Drawing, machine: options.Machine) -> None:
    from triptych.look.similarity import WINDOW, beats_of, draw, repetition, similarity
    from triptych.music.files.reading import read_piece
    from triptych.music.piece.upbeat import barred

    read, words = read_piece(path)
    say_about(path, words)
    read = barred(read)
    matrix = similarity(read)
    repeated = repetition(matrix) if len(matrix) >= 2 * WINDOW else None
    numbers = {"piece": str(path), "repetition": repeated, "similarity": matrix.round(4).tolist()}
    drawing.finish(draw(matrix, bars=list(beats_of(read).values())), numbers, machine)


def _refuse(what: str, options: Mapping[str, object]) -> None:
    """Raise UserError for options that have no effect with `what`."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UserError(f"expected no {given[0]} for {what}, got {options[given[0]]}; leave it out")


def _refuse_file(sentence: str) -> None:
    """Raise UserError where a sentence is empty, or the name of a file or folder."""
    if not sentence.strip():
        raise UserError('expected a sentence, got none; try: triptych look text "A dog runs." --out look.png')
    try:
        there = Path(sentence).exists()
    except (OSError, ValueError):  # too long a name, or one that no file can have
        return
    if there:
        kind = "folder" if Path(sentence).is_dir() else "file"
        raise UserError(
            f"expected a sentence, got the {kind} {sentence!r}; for files there are look picture and look piece"
        )


def _pixel(written: str | None) -> tuple[int, int] | None:
    if written is None:
        return None
    parts = written.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise UserError(f"expected --pixel ROW,COLUMN as in 14,10, got {written!r}")
    return int(parts[0]), int(parts[1])
