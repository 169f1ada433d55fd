"""`triptych look`: what goes on inside. Numbers first, pictures second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from triptych.cli import options
from triptych.cli.loading import load_translator
from triptych.cli.output import answer, progress
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.look.attention import AttentionMap, Kind
    from triptych.text.translator import Translator

app = typer.Typer(name="look", help="Look inside a model, or at what a layer costs.")


@app.command()
def attention(
    text: Annotated[str, typer.Argument(help="The sentence to translate, in quotation marks.")],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, metavar="FILE.png", help="Picture: .png, .svg, .pdf.")],
    model: options.Model = "captions-en-de",
    kind: Annotated[
        Literal["cross", "encoder", "decoder"],
        typer.Option("--kind", help="Target to source, source to itself, or target to itself."),
    ] = "cross",
    layer: Annotated[int | None, typer.Option("--layer", min=1, metavar="N", help="One layer, counted from 1.")] = None,
    head: Annotated[int | None, typer.Option("--head", min=1, metavar="N", help="One head, counted from 1.")] = None,
    mean: Annotated[bool, typer.Option("--mean", help="The mean over the heads of a layer.")] = False,
    target: Annotated[
        str | None, typer.Option("--translation", metavar="TEXT", help="Look at this translation, not the model's own.")
    ] = None,
    beam: Annotated[int, typer.Option("--beam", min=1, metavar="N", help="Hypotheses kept at every step.")] = 5,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Draw what every token looks at while a sentence is translated; --json adds the numbers."""
    if mean and head is not None:
        raise UserError(f"expected --head or --mean, got both (head {head}); leave one out")
    from triptych.look.attention import draw
    from triptych.picture import check_picture, save

    check_picture(out)
    translator = load_translator(model, device, threads, dtype.value)
    translation = target if target is not None else translator.translate([text], beam=beam)[0][0].text
    chosen = maps_of(translator, text, translation)[kind].only(layer=layer, head=head)
    if mean:
        chosen = chosen.mean()
    save(draw(chosen), out)
    result = {"model": model, "out": str(out), "source": text, "translation": translation, **chosen.to_dict()}
    answer(result, [str(out)], as_json=json)


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


def maps_of(translator: Translator, text: str, translation: str) -> dict[Kind, AttentionMap]:
    """Attention of a translator while it writes `translation` for `text`, piece by piece."""
    from triptych.look.attention import attention_maps

    source, target, recorded = translator.attention(text, translation)
    return attention_maps(recorded, translator.codec.pieces(target), translator.codec.pieces(source))
