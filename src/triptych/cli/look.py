"""`triptych look`: what goes on inside. Numbers first, pictures second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from triptych.cli import options
from triptych.cli.loading import load_composer, load_translator
from triptych.cli.output import answer, progress, say
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.look.arcs import Arcs
    from triptych.look.attention import AttentionMap, Kind
    from triptych.music.composer import Composer
    from triptych.music.piece import Piece
    from triptych.text.translator import Translator

TEXT, MUSIC = "Of a translation", "Of a piece"

app = typer.Typer(name="look", help="Look inside a model, or at what a layer costs.")


@app.command()
def attention(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="The sentence to translate, in quotation marks; or a piece: FILE.mid.")
    ],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, metavar="FILE.png", help="Picture: .png, .svg, .pdf.")],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="As elsewhere; without, captions-en-de, or chorales for a piece."),
    ] = None,
    layer: Annotated[int | None, typer.Option("--layer", min=1, metavar="N", help="One layer, counted from 1.")] = None,
    head: Annotated[int | None, typer.Option("--head", min=1, metavar="N", help="One head, counted from 1.")] = None,
    kind: Annotated[
        Literal["cross", "encoder", "decoder"] | None,
        typer.Option(
            "--kind",
            help="Target to source (what you get without), source to itself, or target to itself.",
            rich_help_panel=TEXT,
        ),
    ] = None,
    mean: Annotated[
        bool, typer.Option("--mean", help="The mean over the heads of a layer.", rich_help_panel=TEXT)
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--translation",
            metavar="TEXT",
            help="Look at this translation, not the model's own.",
            rich_help_panel=TEXT,
        ),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option("--beam", min=1, metavar="N", help="Hypotheses kept at every step; else 5.", rich_help_panel=TEXT),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            "--step", min=1, metavar="N", help="The note at this sixteenth; else the last.", rich_help_panel=MUSIC
        ),
    ] = None,
    voice: Annotated[
        Literal["soprano", "alto", "tenor", "bass"] | None,
        typer.Option("--voice", help="Whose note it is; else the soprano's.", rich_help_panel=MUSIC),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Draw what every token of a translation looks at, or what one note of a piece does; --json adds the numbers."""
    if mean and head is not None:
        raise UserError(f"expected --head or --mean, got both (head {head}); leave one out")
    from triptych.picture import check_picture, save

    check_picture(out)
    if Path(what).suffix.lower() in (".mid", ".midi"):
        from triptych.look.arcs import draw as draw_arcs
        from triptych.music.midi import read_midi

        _refuse("a piece", {"--kind": kind, "--mean": mean or None, "--translation": target, "--beam": beam})
        name = model or "chorales"
        composer = load_composer(name, device, threads, dtype.value)
        arcs = arcs_of(composer, read_midi(what), step=step, voice=voice or "soprano", layer=layer, head=head)
        save(draw_arcs(arcs), out)
        answer({"model": name, "out": str(out), "piece": what, **arcs.to_dict()}, [str(out)], as_json=json)
        return
    from triptych.look.attention import draw

    _refuse("a sentence", {"--step": step, "--voice": voice})
    name = model or "captions-en-de"
    translator = load_translator(name, device, threads, dtype.value)
    translation = target if target is not None else translator.translate([what], beam=beam or 5)[0][0].text
    chosen = maps_of(translator, what, translation)[kind or "cross"].only(layer=layer, head=head)
    if mean:
        chosen = chosen.mean()
    save(draw(chosen), out)
    result = {"model": name, "out": str(out), "source": what, "translation": translation, **chosen.to_dict()}
    answer(result, [str(out)], as_json=json)


@app.command()
def similarity(
    piece: Annotated[Path, typer.Argument(metavar="PIECE.mid", help="A MIDI file.")],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, metavar="FILE.png", help="Picture: .png, .svg, .pdf.")],
    json: options.Json = False,
) -> None:
    """Draw which beats of a piece sound alike, which shows its repeats; --json adds the numbers."""
    from triptych.look.similarity import WINDOW, draw, repetition, similarity
    from triptych.music.midi import read_midi
    from triptych.picture import check_picture, save

    check_picture(out)
    read = read_midi(piece)
    matrix = similarity(read)
    save(draw(matrix, pickup=-(-read.pickup // read.resolution)), out)
    repeated = repetition(matrix) if len(matrix) >= 2 * WINDOW else None
    answer(
        {"out": str(out), "piece": str(piece), "repetition": repeated, "similarity": matrix.round(4).tolist()},
        [str(out)],
        as_json=json,
    )


@app.command()
def complexity(
    out: Annotated[Path, typer.Option("--out", dir_okay=False, metavar="FILE.png", help="Picture: .png, .svg, .pdf.")],
    width: Annotated[int, typer.Option("--width", metavar="D", help="Width of a layer, a power of two from 16.")] = 256,
    longest: Annotated[
        int, typer.Option("--longest", metavar="N", help="Longest length, a power of two; full attention to its half.")
    ] = 16_384,
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", help="Runs of which the median is taken, at least 5.")
    ] = 5,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Measure the complexity table of the Transformer paper and draw it; --json adds the numbers."""
    from triptych.look.complexity import Plan, measure
    from triptych.look.complexity_picture import draw
    from triptych.model.device import use_device
    from triptych.picture import check_picture, save

    check_picture(out)
    plan = Plan(width, longest, repeats)
    use_device("cpu", threads, "float32")
    with progress() as bar:
        task = bar.add_task("", total=plan.steps + 1)
        found = measure(plan, tell=lambda what: bar.update(task, advance=1, description=what))
    save(draw(found), out)
    answer({"out": str(out), **found.to_dict()}, [str(out)], as_json=json)


def _refuse(what: str, options: Mapping[str, object]) -> None:
    """Complain about options of the other panel."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UserError(f"expected no {given[0]} for {what}, got {options[given[0]]}; leave it out")


def maps_of(translator: Translator, text: str, translation: str) -> dict[Kind, AttentionMap]:
    """Attention of a translator while it writes `translation` for `text`, piece by piece."""
    from triptych.look.attention import attention_maps

    source, target, recorded = translator.attention(text, translation)
    return attention_maps(recorded, translator.codec.pieces(target), translator.codec.pieces(source))


def arcs_of(
    composer: Composer, piece: Piece, *, step: int | None, voice: str, layer: int | None, head: int | None
) -> Arcs:
    """What the note of a voice at a sixteenth (from 1; else the last) looks at, in one layer (else the last).

    A model that reads sixteenths of four voices looks at moments: its arcs end at the same voice there.
    """
    import numpy as np

    from triptych.look.arcs import COLOURS, Arcs
    from triptych.music.codec import VOICES, from_piece, to_piece

    grid, _ = from_piece(piece)
    steps = len(grid)
    if not 1 <= (step or steps) <= steps:
        raise UserError(f"expected --step from 1 to {steps}, got {step}")
    chosen = 4 * ((step or steps) - 1) + VOICES.index(voice)
    layers = composer.attention(grid[: chosen // 4 + 1])
    if not 1 <= (layer or len(layers)) <= len(layers):
        raise UserError(f"expected --layer from 1 to {len(layers)}, got {layer}")
    number = (layer or len(layers)) - 1
    # The query that writes `chosen` has read the positions before its own; what stands at key 0 is the start.
    patch = composer.model.config.patch
    size = 1 if patch is None else patch.size
    row = layers[number][0, :, chosen // size].float()
    read = (row / row.sum(-1, keepdim=True))[:, 1 : chosen // size + 1].cpu().numpy()
    # A position may be a whole sixteenth: what goes there is drawn to the same voice.
    weights = np.zeros((len(read), chosen), read.dtype)
    weights[:, chosen % size :: size][:, : read.shape[1]] = read
    heads = range(len(weights)) if head is None else [head - 1]
    if not heads[-1] < len(weights):
        raise UserError(f"expected --head from 1 to {len(weights)}, got {head}")
    if len(heads) > len(COLOURS):
        say(f"of {len(heads)} heads the first {len(COLOURS)} are drawn; choose another with --head")
        heads = heads[: len(COLOURS)]
    return Arcs(
        to_piece(grid),
        np.repeat(np.arange(steps), 4),
        grid.reshape(-1),
        chosen,
        weights[list(heads)],
        f"layer {number + 1}",
        tuple(f"head {each + 1}" for each in heads),
    )
