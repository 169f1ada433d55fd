"""`triptych look`: what goes on inside. Numbers first, pictures second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from triptych.cli import options
from triptych.cli.loading import (
    load_composer,
    load_painter,
    load_pianist,
    load_translator,
    plays_performances,
    read_for,
)
from triptych.cli.output import answer, progress, say
from triptych.cli.verbs.look_music import arcs_of, arcs_of_performance
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.image.codec import Pixels
    from triptych.image.painter import Painter
    from triptych.look.attention import AttentionMap, Kind
    from triptych.look.pixels import PixelAttention
    from triptych.text.translator import Translator

TEXT, MUSIC, IMAGE = "Of a translation", "Of a piece", "Of a picture"

app = typer.Typer(name="look", help="Look inside a model, or at what a layer costs.")


@app.command()
def attention(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="The sentence to translate, in quotation marks; or a piece (.mid, .musicxml), or a picture (.png).",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, metavar="FILE.png", help="Picture: .png, .svg, .pdf.")],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="As elsewhere; without: captions-en-de, chorales or fashion."),
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
    note: Annotated[
        int | None,
        typer.Option(
            "--note",
            min=1,
            metavar="N",
            help="Of a piano model: the note of this number; else the last.",
            rich_help_panel=MUSIC,
        ),
    ] = None,
    pixel: Annotated[
        str | None,
        typer.Option(
            "--pixel", metavar="ROW,COLUMN", help="Counted from 0; else the one in the middle.", rich_help_panel=IMAGE
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label", metavar="CLASS", help="Of the picture, or the composer of piano music.", rich_help_panel=IMAGE
        ),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Draw what every token of a translation looks at, or what one note of a piece or one pixel of a picture does;
    --json adds the numbers.
    """
    if mean and head is not None:
        raise UserError(f"expected --head or --mean, got both (head {head}); leave one out")
    from triptych.picture import check_picture, save

    check_picture(out)
    of_text = {"--kind": kind, "--mean": mean or None, "--translation": target, "--beam": beam}
    of_chorales, of_image = {"--step": step, "--voice": voice}, {"--pixel": pixel, "--label": label}
    of_music = {**of_chorales, "--note": note}
    suffix = Path(what).suffix.lower()
    if _is_picture(suffix):
        from triptych.look.pixels import draw as draw_pixel

        _refuse("a picture", {**of_text, **of_music})
        name = model or "fashion"
        painter = load_painter(name, device, threads, dtype.value)
        shown, _ = read_for(Path(what), painter)
        found = pixel_of(painter, shown, _pixel(pixel), label=label, layer=layer, head=head)
        save(draw_pixel(found), out)
        answer({"model": name, "out": str(out), "picture": what, **found.to_dict()}, [str(out)], as_json=json)
        return
    if _is_music(suffix):
        from triptych.look.arcs import draw as draw_arcs
        from triptych.music.files.reading import read_performance, read_piece

        _refuse("a piece", {**of_text, "--pixel": pixel})
        name = model or "chorales"
        if plays_performances(name):
            _refuse("piano music", of_chorales)
            played, words = read_performance(what)
            for word in words:
                say(f"{what}: {word}")
            pianist = load_pianist(name, device, threads, dtype.value)
            arcs = arcs_of_performance(pianist, played, note=note, label=label, layer=layer, head=head)
        else:
            _refuse("a chorale", {"--note": note, "--label": label})
            composer = load_composer(name, device, threads, dtype.value)
            read, words = read_piece(what)
            for word in words:
                say(f"{what}: {word}")
            arcs = arcs_of(composer, read, step=step, voice=voice or "soprano", layer=layer, head=head)
        save(draw_arcs(arcs), out)
        answer({"model": name, "out": str(out), "piece": what, **arcs.to_dict()}, [str(out)], as_json=json)
        return
    from triptych.look.attention import draw

    _refuse_file(what)
    _refuse("a sentence", {**of_music, **of_image})
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
    piece: Annotated[Path, typer.Argument(metavar="FILE", help="A piece (.mid, .musicxml) or a picture (.png, ...).")],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, metavar="FILE.png", help="Picture: .png, .svg, .pdf.")],
    pixel: Annotated[
        str | None,
        typer.Option("--pixel", metavar="ROW,COLUMN", help="Of a picture: whose likes are drawn; else the middle."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Draw which beats of a piece sound alike, or which places of a picture look alike; --json adds the numbers."""
    from triptych.look.similarity import WINDOW, beats_of, draw, repetition, similarity
    from triptych.music.files.reading import read_piece
    from triptych.picture import check_picture, save

    check_picture(out)
    if _is_picture(piece.suffix):
        _similar_places(piece, out, _pixel(pixel), as_json=json)
        return
    _refuse("a piece", {"--pixel": pixel})
    read, words = read_piece(piece)
    for word in words:
        say(f"{piece}: {word}")
    matrix = similarity(read)
    save(draw(matrix, bars=list(beats_of(read).values())), out)
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


def _is_music(suffix: str) -> bool:
    from triptych.music.files.folder import SUFFIXES

    return suffix.lower() in SUFFIXES


def _refuse_file(what: str) -> None:
    """Complain about a sentence that is the name of a file: it is looked into, or it is none of ours."""
    from triptych.image.folders import SUFFIXES
    from triptych.music.files.folder import SUFFIXES as MUSIC

    try:
        there = Path(what).exists()
    except (OSError, ValueError):  # too long a name, or one that no file can have
        return
    if there:
        raise UserError(
            f"expected a sentence, a piece ({', '.join(MUSIC)}) or a picture ({', '.join(SUFFIXES)}), got the "
            f"{'folder' if Path(what).is_dir() else 'file'} {what!r}; save it as .mid or .png"
        )


def _is_picture(suffix: str) -> bool:
    from triptych.image.folders import SUFFIXES

    return suffix.lower() in SUFFIXES


def _pixel(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise UserError(f"expected --pixel ROW,COLUMN as in 14,10, got {text!r}")
    return int(parts[0]), int(parts[1])


def _within(pixel: tuple[int, int] | None, size: tuple[int, ...]) -> tuple[int, int]:
    """The pixel, or that in the middle."""
    row, column = pixel or (size[0] // 2, size[1] // 2)
    if row >= size[0] or column >= size[1]:
        raise UserError(
            f"expected --pixel from 0,0 to {size[0] - 1},{size[1] - 1}, got {row},{column}; rows come first"
        )
    return row, column


def _similar_places(path: Path, out: Path, pixel: tuple[int, int] | None, *, as_json: bool) -> None:
    from triptych.image.files import read_picture
    from triptych.look.patches import draw, repetition, similarity
    from triptych.picture import save

    picture, words = read_picture(path)
    for word in words:
        say(f"{path}: {word}")
    matrix = similarity(picture)
    chosen = _within(pixel, picture.shape[:2])
    save(draw(picture, matrix, chosen), out)
    alike = matrix[chosen[0] * picture.shape[1] + chosen[1]].reshape(picture.shape[:2])
    told = {"out": str(out), "picture": str(path), "pixel": list(chosen)}
    numbers = {"repetition": repetition(matrix, picture.shape[1]), "similarity": alike.round(4).tolist()}
    answer({**told, **numbers}, [str(out)], as_json=as_json)


def pixel_of(
    painter: Painter,
    picture: Pixels,
    pixel: tuple[int, int] | None = None,
    *,
    label: str | None = None,
    layer: int | None = None,
    head: int | None = None,
) -> PixelAttention:
    """What a pixel (else the one in the middle) looks at in one layer (else the last).

    A position may hold several pixels, or one channel of one: its attention is spread over its pixels, and that to all
    channels of a pixel is added up.
    """
    import numpy as np

    from triptych.look.pixels import PixelAttention
    from triptych.shape.pattern import Full, block_size, visible

    codec, pattern = painter.codec, painter.model.config.pattern
    chosen = _within(pixel, codec.shape)
    layers = painter.attention(picture, label=label)
    if not 1 <= (layer or len(layers)) <= len(layers):
        raise UserError(f"expected --layer from 1 to {len(layers)}, got {layer}")
    number = (layer or len(layers)) - 1
    position = int(codec.places[chosen][0])
    weights = layers[number][0, :, position]
    if not 1 <= (head or len(weights)) <= len(weights):
        raise UserError(f"expected --head from 1 to {len(weights)}, got {head}")
    heads = range(len(weights)) if head is None else [head - 1]
    # Key j has read position j - 1; what stands at key 0 is the start.
    read = np.zeros((len(heads), codec.positions))
    read[:, :position] = weights[list(heads), 1 : position + 1]
    seen, own = np.zeros(codec.positions, bool), np.zeros(codec.positions, bool)
    seen[[key - 1 for key in visible(pattern, position).tolist() if key]] = True
    if not isinstance(pattern, Full):
        first = position // block_size(pattern) * block_size(pattern)
        own[first : first + block_size(pattern)] = True
    pixels = np.bincount(codec.places.reshape(-1), minlength=codec.positions)  # subpixels at each position
    return PixelAttention(
        picture,
        chosen,
        np.asarray(own[codec.places].any(2)),
        np.asarray(seen[codec.places].any(2)),
        (read / np.maximum(1, pixels))[:, codec.places].sum(3),
        f"layer {number + 1}",
        tuple(f"head {each + 1}" for each in heads),
    )


def maps_of(translator: Translator, text: str, translation: str) -> dict[Kind, AttentionMap]:
    """Attention of a translator while it writes `translation` for `text`, piece by piece."""
    from triptych.look.attention import attention_maps

    source, target, recorded = translator.attention(text, translation)
    return attention_maps(recorded, translator.codec.pieces(target), translator.codec.pieces(source))
