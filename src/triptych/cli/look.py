"""`triptych look`: what goes on inside. Numbers first, pictures second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from triptych.cli import options
from triptych.cli.loading import load_translator
from triptych.cli.output import answer
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.look.attention import AttentionMap, Kind
    from triptych.text.translator import Translator

app = typer.Typer(name="look", help="Look inside a model.")


@app.callback()
def _look() -> None:
    """Keep `attention` a word of its own while it is the only one."""


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
    from triptych.look.attention import check_picture, draw, save

    check_picture(out)
    translator = load_translator(model, device, threads, dtype.value)
    translation = target if target is not None else translator.translate([text], beam=beam)[0][0].text
    chosen = maps_of(translator, text, translation)[kind].only(layer=layer, head=head)
    if mean:
        chosen = chosen.mean()
    save(draw(chosen), out)
    result = {"model": model, "out": str(out), "source": text, "translation": translation, **chosen.to_dict()}
    answer(result, [str(out)], as_json=json)


def maps_of(translator: Translator, text: str, translation: str) -> dict[Kind, AttentionMap]:
    """Attention of a translator while it writes `translation` for `text`, piece by piece."""
    from triptych.look.attention import attention_maps

    source, target, recorded = translator.attention(text, translation)
    return attention_maps(recorded, translator.codec.pieces(target), translator.codec.pieces(source))
