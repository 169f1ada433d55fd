"""`triptych evaluate`: how good is a model on data it has not seen? One command a panel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from triptych.cli import options
from triptych.cli.loading import load, load_chorales, load_pictures, load_shards, plays_performances
from triptych.cli.output import answer, progress, say
from triptych.errors import UserError
from triptych.extras import require

if TYPE_CHECKING:
    from triptych.image.files.pictures import Pictures
    from triptych.image.painter import Painter
    from triptych.text.data import Pairs

app = typer.Typer(name="evaluate", help="Measure a model on data that it has not seen.")


@app.command()
@options.grouped
def text(
    *,
    source: options.Source,
    target: options.Target = None,
    model: options.Model = "captions-en-de",
    reference_tokenised: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The translations lower-cased and Moses-tokenised: adds bleu_lc_tok, the older papers' measure.",
        ),
    ] = None,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Of the translations: de, fr; else as in the card.")
    ] = None,
    limit: options.Limit = None,
    beam: options.Beam = 5,
    engine: options.Engine = "auto",
    machine: options.Machine,
) -> None:
    """Measure a translator: BLEU and chrF (sacreBLEU) of its translations, perplexity of the references."""
    for package in ("torch", "sacrebleu", "sacremoses"):
        require(package, '"triptych evaluate text"', "eval")
    from triptych.text.data import read_pairs
    from triptych.text.translator import Translator

    pairs = read_pairs(source, target)
    if pairs.report.skipped:
        say(str(pairs.report))
    tokenised = None if reference_tokenised is None else _aligned(reference_tokenised, pairs)
    translator = load(Translator, model, machine, engine)
    if strange := len(translator.codec.unfamiliar(pairs.evenly(limit).source)):
        say(f"note: {strange:,} source sentences have characters that {model} never learned; such lines come out badly")
    result = translator.evaluate(pairs, beam=beam, limit=limit, tokenised_references=tokenised, language=language)
    if result.note is not None:
        say(f"note: {result.note}")
    if result.bleu_lc_tok is None:
        named = language or translator.language
        why = (
            f"Moses has no rules for {named!r}" if named else f"the card of {model} names no language; give --language"
        )
        say(f"note: there is no bleu_lc_tok: {why}")
    figures = asdict(result)
    answer({"model": model, **figures}, _table({**figures, "note": None}), as_json=machine.json)


@app.command()
@options.grouped
def image(
    *,
    data: options.PictureSets,
    model: options.Model = "fashion",
    split: options.Split = "valid",
    limit: options.Limit = None,
    hide: Annotated[
        Literal["top", "bottom", "left", "right", "random"] | None,
        typer.Option(help="Count only this half, or a random 60 % of the pixels, given all the others."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, metavar="N", help="Of an upscaling model: tries for each picture.")
    ] = 5,
    seed: options.Seed = 0,
    heat: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="FILE.png", help="Draw where the bits go: .png, .svg, .pdf.")
    ] = None,
    engine: options.Engine = "auto",
    machine: options.Machine,
) -> None:
    """Measure a painter: bits a dimension with their 95 % interval, nats a picture, bits of each channel.

    Pictures without labels, or of classes that the model has not, are measured without a class, and their number is
    printed. A model that completes is measured with --hide, and reads all the rest; one that paints reads of it what
    comes before. One that upscales is also judged by PSNR, SSIM and consistency, beside bicubic.
    """
    require("torch", '"triptych evaluate image"', "eval")
    from triptych.image.data import hiding
    from triptych.image.painter import Painter
    from triptych.image.score import missing, worded
    from triptych.picture import check_picture, save

    if heat is not None:
        check_picture(heat)
    painter = load(Painter, model, machine, engine)
    height, width, channels = painter.codec.shape
    pictures = load_pictures(data, split, channels=channels, size=(height, width))
    pictures = pictures.evenly(limit)
    _say_labels(painter, pictures)
    hidden = None if hide is None else hiding(hide, len(pictures), height, width)
    with progress() as bar:
        task = bar.add_task("bits", total=len(pictures))
        found = painter.evaluate(pictures, hidden=hidden, progress=lambda done, _: bar.update(task, completed=done))
        enlarged: dict[str, float] = {}
        if painter.task == "upscale":
            task = bar.add_task("samples", total=samples)
            judged = painter.evaluate_enlargement(
                pictures, samples=samples, seed=seed, progress=lambda done, _: bar.update(task, completed=done)
            )
            enlarged = {**asdict(judged), "temperature": painter.trained.usual.temperature}
    if heat is not None:
        from triptych.look.heat import draw

        save(draw(found.heat), heat)
    figures = {**found.to_dict(), **enlarged}
    for word in missing(figures, min(height, width)):
        say(f"note: {word}")
    everything = "all" if painter.task == "complete" else None
    asked = {"model": model, "split": split, "hidden": hide or everything}
    answer({**asked, **figures}, worded(figures), as_json=machine.json)


@app.command()
@options.grouped
def music(
    *,
    data: options.Music,
    model: options.Model = "chorales",
    split: options.Split = "valid",
    limit: options.Limit = None,
    transposition_ensemble: Annotated[
        bool,
        typer.Option(
            "--transposition-ensemble", help="By the mean of the probabilities in twelve keys: 12 times as long."
        ),
    ] = False,
    engine: options.Engine = "auto",
    machine: options.Machine,
) -> None:
    """Measure a composer: negative log-likelihood in nats a token of whole pieces, rests counted, and of each voice.

    Of a model that harmonizes: of the three lower voices, given the soprano. Of a pianist: of every event but the end,
    in windows of 2,048 that half overlap; of one that accompanies, given the melody.
    """
    require("torch", '"triptych evaluate music"', "eval")
    if plays_performances(model):
        if transposition_ensemble:
            raise UserError(
                "expected a model of chorales for --transposition-ensemble, got one of piano music; leave it out"
            )
        from triptych.music.performances.pianist import Pianist

        pianist = load(Pianist, model, machine, engine)
        with TemporaryDirectory() as folder:
            shards = load_shards(data, Path(folder) / "notes", melody=pianist.task == "accompany")
            found = pianist.evaluate(shards, split, limit=limit)
        answer({"model": model, "split": split, **found.to_dict()}, found.worded(), as_json=machine.json)
        return
    from triptych.music.chorales.composer import Composer
    from triptych.splits import evenly

    grids = load_chorales(data, split)
    grids = [grids[place] for place in evenly(len(grids), limit)]
    composer = load(Composer, model, machine, engine)
    result = composer.evaluate(grids, transposition_ensemble=transposition_ensemble)
    if data.suffix.lower() != ".json":
        say(f"{split}: {len(grids):,} pieces; of a folder or zip every tenth by name is held out")
    asked = {"model": model, "split": split, "transposition_ensemble": transposition_ensemble}
    answer({**asked, **result.to_dict()}, result.worded(), as_json=machine.json)


def _say_labels(painter: Painter, pictures: Pictures) -> None:
    """Say what becomes of labels that are not the model's."""
    labels = painter.codec.labels
    if pictures.labels is None or not labels:
        if labels:
            say("the pictures have no labels: all are measured without a class")
        elif pictures.names:
            say("the model has no classes: all pictures are measured without one")
        return
    numbers = painter.codec.numbers(pictures.names)
    counts = pictures.counts()
    others = [name for name, number in zip(pictures.names, numbers, strict=True) if number < 0 and counts[name]]
    if others:
        count, shown = sum(counts[name] for name in others), ", ".join(others[:10]) + ", ..." * (len(others) > 10)
        say(f"{count:,} of {len(pictures):,} pictures are measured without a class: the model has no {shown}")
    elif not set(pictures.names) <= set(labels):
        say(f"the classes have numbers: they are taken for the model's in order, 0 for {labels[0]}")


def _aligned(path: Path, pairs: Pairs) -> list[str]:
    """Read the lines of a file that belong to the pairs: some of their lines may have been skipped."""
    from triptych.text.files import read_lines

    lines, whole = read_lines(path), len(pairs) + pairs.report.skipped
    if len(lines) != whole:
        count = f"at least {whole}" if len(lines) < whole else f"{whole}"
        raise UserError(f"expected {count} lines in {path}, got {len(lines)}; align it with --target")
    return [lines[pairs.line(index) - 1] for index in range(len(pairs))]


def _table(result: Mapping[str, Any]) -> list[str]:
    shown = {key: value for key, value in result.items() if value is not None}
    width = max(map(len, shown), default=0)
    return [f"{key:<{width}}  {f'{value:.2f}' if isinstance(value, float) else value}" for key, value in shown.items()]
