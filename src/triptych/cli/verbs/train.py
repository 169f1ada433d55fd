"""`triptych train`: a model from a person's own data. One command a panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli import options
from triptych.cli.loading import load_chorales, named
from triptych.cli.output import answer, is_first, say
from triptych.cli.settings import read_settings
from triptych.cli.verbs import train_image, train_piano
from triptych.errors import UserError

if TYPE_CHECKING:
    import torch

    from triptych.model.transformer import Transformer
    from triptych.music.chorales.codec import Grid
    from triptych.music.chorales.composer import Composer
    from triptych.music.chorales.data import Distillation
    from triptych.train.recipe import Recipe
    from triptych.train.run.folder import RunFolder
    from triptych.train.run.package import Outcome
    from triptych.train.run.state import State

app = typer.Typer(name="train", help="Train a model on your own data.")

# What [data] may say of trained composers to learn from, and what holds without it.
AUGMENTATION = ("transpose", "label", "rests", "shift", "thin")
TEACHING: dict[str, Any] = {"teachers": [], "composed": 0, "share": 0.75}
MOST_METRE = 4096  # sixteenths of a bar, of `Positions.metre`
MOST_COMPOSED = 100_000


Setup = Annotated[
    Path | None,
    typer.Option("--recipe", exists=True, dir_okay=False, metavar="FILE.toml", help="Settings of model and run."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting: epochs=3, model.preset=tiny."),
]
From = Annotated[
    str | None, typer.Option("--from", metavar="MODEL", help="Go on from this model's weights and vocabulary.")
]
Out = Annotated[Path, typer.Option("--out", file_okay=False, metavar="RUN", help="Folder of the run.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where the run in --out stopped.")]


@app.command()
@options.grouped
def text(
    *,
    source: Annotated[
        Path, typer.Option("--source", metavar="FILE", help="Sentences, one a line; or pairs as TSV or JSONL.")
    ],
    target: Annotated[
        Path | None, typer.Option("--target", metavar="FILE", help="Their translations, line by line.")
    ] = None,
    held_out_source: Annotated[
        Path | None,
        typer.Option("--held-out-source", metavar="FILE", help="Sentences to measure on, not learn from."),
    ] = None,
    held_out_target: Annotated[
        Path | None, typer.Option("--held-out-target", metavar="FILE", help="Their translations.")
    ] = None,
    recipe: Setup = None,
    settings: Settings = None,
    start_from: From = None,
    out: Out = Path("runs/text"),
    resume: Resume = False,
    machine: options.Machine,
) -> None:
    """Train a translator on sentence pairs."""
    if held_out_target is not None and held_out_source is None:
        raise UserError("expected --held-out-source with --held-out-target, got the target alone; give both")
    tables = _tables(recipe, settings, machine.dtype, data=["sampling"])
    from triptych.text.data import read_pairs
    from triptych.text.translator import Translator
    from triptych.train.recipe import Recipe
    from triptych.train.run.folder import claimed

    run = Recipe.from_mapping(tables["training"])
    sampling = tables["data"].get("sampling", 0.0)
    if isinstance(sampling, bool) or not isinstance(sampling, int | float) or not 0 <= sampling <= 1:
        raise UserError(f"expected data.sampling from 0 to 1, got {sampling!r}; 0 switches it off")
    vocabulary = tables["model"].get("vocabulary")
    if vocabulary is not None and (isinstance(vocabulary, bool) or not isinstance(vocabulary, int)):
        raise UserError(f"expected model.vocabulary to be a number of pieces, got {vocabulary!r}")
    given = {
        "--source": source,
        "--target": target,
        "--held-out-source": held_out_source,
        "--held-out-target": held_out_target,
    }
    with claimed(out, resume=resume) as folder:
        for name, path in given.items():
            if path is not None:
                folder.reads(name, path)
        pairs = read_pairs(source, target)
        held_out = None if held_out_source is None else read_pairs(held_out_source, held_out_target)
        if start_from is not None:
            dropout = _only_dropout(tables["model"])
            translator = Translator.load(named(start_from), **machine.place, dtype="float32")
            translator = translator if dropout is None else translator.with_dropout(dropout)
        else:
            translator = Translator.new(pairs, **machine.place, seed=run.seed, **tables["model"])
        say(f"training on {len(pairs):,} sentence pairs ({pairs.report})")
        if start_from is not None and (strange := len(translator.codec.unfamiliar([*pairs.source, *pairs.target]))):
            say(f"note: {strange:,} sentences have characters that the vocabulary of {start_from} lacks")
        if held_out is not None and held_out.report.skipped:
            say(f"held out: {held_out.report}")
        outcome = translator.fit(
            pairs,
            held_out=held_out,
            recipe=run,
            out=folder,
            resume=resume,
            card=tables["card"],
            subword_sampling=sampling,
        )
    _tell(outcome, as_json=machine.json)


@app.command()
@options.grouped
def image(
    *,
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            metavar="PATH",
            help="A folder of pictures or of IDX files, or a .npz; several are joined.",
        ),
    ],
    recipe: Setup = None,
    settings: Settings = None,
    start_from: From = None,
    out: Out = Path("runs/image"),
    resume: Resume = False,
    machine: options.Machine,
) -> None:
    """Train a painter on pictures of one size.

    The class of a picture is the first folder that it is in, below one of a split (train, valid, test); classes and
    their counts are told before training. Settings of the table data: task (paint, complete, upscale) and for upscaling
    its factor (4); size, a list of height and width, to have all resized, and channels (1, 3), without which both are
    what most pictures have; mirror (false): pictures are turned left to right as often as not; shift (0): they move by
    up to so many pixels; hue (0): their colours turn by up to so many degrees; held_out, so many pictures of the
    validation split at most (2,000). The table model also takes cell, the rows and subpixel columns at one position, or
    "pixel"; its preset is small-pixels for colour and small for grey. With --from, the pictures are resized to the
    model's size, and classes that it has not are added; dropout and input.word_dropout may change.
    """
    tables = _tables(recipe, settings, machine.dtype, data=[*train_image.SETTINGS], model=["cell"])
    from triptych.train.recipe import Recipe
    from triptych.train.run.folder import claimed

    run = Recipe.from_mapping(tables["training"])
    changes: dict[str, Any] = {}
    if start_from is not None:
        changes["word_dropout"] = _only_word_dropout(tables["model"])
        changes["dropout"] = _only_dropout(tables["model"], "dropout or input.word_dropout")
    where = machine.place
    with claimed(out, resume=resume) as folder:
        for number, path in enumerate(data, 1):
            folder.reads(f"--data {number}", path)
        outcome = train_image.train_painter(
            data, tables, run, where, start_from=start_from, out=folder, resume=resume, **changes
        )
    _tell(outcome, as_json=machine.json)


@app.command()
@options.grouped
def music(
    *,
    data: Annotated[
        Path,
        typer.Option("--data", metavar="PATH", help="JSB JSON, prepared music, a folder or zip of MIDI or MusicXML."),
    ],
    recipe: Setup = None,
    settings: Settings = None,
    start_from: From = None,
    out: Out = Path("runs/music"),
    resume: Resume = False,
    machine: options.Machine,
) -> None:
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
    decoder unless encoder_layers of the table model says otherwise. Labels are not smoothed unless asked for:
    likelihood is the measure, and notes are drawn from it.
    """
    played = train_piano.is_performance(data, read_settings(recipe, settings or ())["data"])
    known = train_piano.SETTINGS if played else ["kind", "task", "length", "order", *AUGMENTATION, *TEACHING]
    tables = _tables(recipe, settings, machine.dtype, data=list(known))
    from triptych.train.recipe import Recipe
    from triptych.train.run.folder import claimed

    run = Recipe.from_mapping(tables["training"])
    where = machine.place
    with claimed(out, resume=resume) as folder:
        folder.reads("--data", data)
        how: dict[str, Any] = {"start_from": start_from, "out": folder, "resume": resume}
        if played:
            model = tables["model"]
            changes: dict[str, Any] = {}
            if start_from is not None:
                changes = {name: model.pop(name, None) for name in ("pattern", "input")}
                changes["dropout"] = _only_dropout(model, "dropout, pattern or input.keyboard")
            outcome = train_piano.train_pianist(data, tables, run, where, **changes, **how)
        else:
            outcome = _train_composer(data, tables, run, where, **how)
    _tell(outcome, as_json=machine.json)


def _train_composer(
    data: Path,
    tables: dict[str, dict[str, Any]],
    run: Recipe,
    where: Mapping[str, Any],
    *,
    start_from: str | None,
    out: RunFolder,
    resume: bool,
) -> Outcome:
    """Train a new composer, or go on from `start_from`."""
    from triptych.music.chorales.augmentation import Augmentation
    from triptych.music.chorales.composer import Composer
    from triptych.shape.store import locate, read_card

    use = tables["data"]
    use.pop("kind", None)
    task = use.pop("task", None)
    if task not in (None, "compose", "infill"):
        raise UserError(f"expected data.task to be compose or infill, got {task!r}")
    length = use.pop("length", 1024)
    if isinstance(length, bool) or not isinstance(length, int):
        raise UserError(f"expected data.length to be a number of tokens, got {length!r}")
    teachers, composed, share = _teaching(use)
    order = use.pop("order", None)
    if order is not None and not isinstance(order, list):
        raise UserError(f'expected data.order to be a list of voices, ["bass", "soprano", ...], got {order!r}')
    augmentation = Augmentation(**use)
    if start_from is not None:
        model = tables["model"]
        word_dropout, metre, pattern = _only_word_dropout(model), _only_metre(model), model.pop("pattern", None)
        layers = model.pop("encoder_layers", None) if task == "infill" else None
        dropout = _only_dropout(
            model, "dropout, input.word_dropout, positions.metre, pattern, or with data.task=infill encoder_layers"
        )
        composer = Composer.load(named(start_from), dtype="float32", **where)
        if task == "infill" and (composer.task != task or layers is not None):
            deep = composer.config.decoder_layers if layers is None else layers
            composer = composer.with_encoder(deep, seed=run.seed)
        composer = composer.with_dropout(dropout, word_dropout)
        composer = composer if pattern is None else composer.with_pattern(pattern)
        composer = composer if metre is None else composer.with_metre(metre)
        composer = composer if order in (None, list(composer.codec.order)) else composer.with_order(order)
        if task not in (None, composer.task):
            raise UserError(f"expected data.task {composer.task}, that of {start_from}, got {task!r}; leave it out")
    else:
        ordered: dict[str, Any] = {} if order is None else {"order": order}
        composer = Composer.new(task=task or "compose", seed=run.seed, **where, **ordered, **tables["model"])
    grids: Sequence[Grid] = load_chorales(data, "train")
    held_out = load_chorales(data, "valid")
    distillation = None
    if teachers:  # soft targets are of the training pieces alone
        masters = {name: Composer.load(named(name), **where) for name in dict.fromkeys(teachers)}
        chosen = [masters[name] for name in teachers]
        digests = {name: str(read_card(locate(named(name)))["sha256"]["weights.safetensors"]) for name in masters}
        out.keep("teachers", digests)
        grids, distillation = _taught(chosen, grids, composer, composed, share, run, out)
    say(f"training on {len(grids):,} pieces, {len(held_out):,} held out")
    return composer.fit(
        grids,
        held_out=held_out,
        distillation=distillation,
        recipe=run,
        out=out,
        resume=resume,
        length=length,
        augmentation=augmentation,
        card=tables["card"],
    )


def _teaching(settings: dict[str, Any]) -> tuple[list[str], int, float]:
    """Take the settings about teachers out of those of [data]."""
    given = "share" in settings
    teachers, composed, share = (settings.pop(name, usual) for name, usual in TEACHING.items())
    if not isinstance(teachers, list) or not all(isinstance(name, str) for name in teachers):
        raise UserError(f'expected data.teachers to be a list of models, ["chorales"], got {teachers!r}')
    if isinstance(composed, bool) or not isinstance(composed, int) or not 0 <= composed <= MOST_COMPOSED:
        raise UserError(f"expected data.composed from 0 to {MOST_COMPOSED:,} pieces, got {composed!r}")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise UserError(f"expected data.share from 0 to 1, got {share!r}")
    if given and not teachers:
        raise UserError("expected data.teachers with data.share, got none; name a composer, or leave data.share out")
    if composed and not teachers:
        raise UserError(f"expected data.teachers with data.composed={composed}, got none; name a composer")
    return teachers, composed, share


def _taught(
    teachers: Sequence[Composer],
    grids: Sequence[Grid],
    pupil: Composer,
    composed: int,
    share: float,
    run: Recipe,
    out: RunFolder,
) -> tuple[Sequence[Grid], Distillation | None]:
    """The training pieces, with composed ones or without, and the teachers' soft targets of them."""
    from triptych.model.heads.base import SMOOTHED
    from triptych.music.chorales.distillation import distilled, distilled_to_infill

    models, task, codec = [teacher.module() for teacher in teachers], pupil.task, pupil.codec
    for teacher in teachers:
        if teacher.codec.order != codec.order:
            raise UserError(
                f"expected teachers with the voices in the order {', '.join(codec.order)}, got "
                f"{', '.join(teacher.codec.order)}; probabilities of a voice depend on those before it"
            )
    if run.label_smoothing and (task != "infill" or any(teacher.task == "infill" for teacher in teachers)):
        raise UserError(SMOOTHED)
    if any(teacher.task == "infill" for teacher in teachers):
        if task != "infill" or composed:
            raise UserError(
                "expected data.task=infill and data.composed=0 with a teacher that fills in, got "
                f"{task} and {composed}; leave that teacher or data.composed out"
            )
        dtype = dtype_of_teachers(models[0], run, out.state)
        return grids, distilled_to_infill(
            models, grids, share=share, codec=codec, seed=run.seed, dtype=dtype, progress=_asked
        )
    if task == "infill" and not composed:
        raise UserError(
            "expected data.composed from 1 with composing teachers for the task infill, got 0; say how many"
        )
    if composed:
        say(f"composing {composed:,} pieces")
    made = teachers[0].composed(composed, seed=run.seed)
    if task == "infill":
        return [*grids, *grids, *made], None  # the data twice, so that it is not outnumbered
    dtype = dtype_of_teachers(models[0], run, out.state)
    return grids, distilled(models, grids, made, share=share, codec=codec, dtype=dtype, progress=_asked)


def dtype_of_teachers(teacher: Transformer, run: Recipe, resumed: State | None) -> torch.dtype:
    """In which the teachers' products are computed: that of the recipe, of "auto" the faster one. A run that is
    resumed keeps what it found: its soft targets have to be the same.
    """
    import torch

    from triptych.train.precision import cost_of_bfloat16, fast_dtype

    if run.dtype != "auto":
        name: str = run.dtype
    elif resumed is not None:
        name = resumed.progress.orthogonal
    else:
        return fast_dtype(cost_of_bfloat16(teacher.device))
    found: torch.dtype = getattr(torch, name)
    return found


def _asked(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        say(f"asked the teachers about {done:,} of {total:,} pieces")


def _tables(
    recipe: Path | None,
    settings: Sequence[str] | None,
    dtype: options.DtypeName,
    *,
    data: Sequence[str],
    model: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """The settings of a run, their names checked; `data` and `model` are those that the panel alone knows."""
    tables = read_settings(recipe, settings or ())
    if dtype is not options.DtypeName.auto:
        tables["training"]["dtype"] = dtype.value
    from triptych.shape.config import Config
    from triptych.shape.settings import check_names, names_of

    check_names("model", tables["model"], ["preset", *model, *names_of(Config)])
    check_names("data", tables["data"], data)
    return tables


def _only_metre(model: dict[str, Any]) -> int | None:
    """Take the one setting of positions that may change out of those of [model]."""
    positions = model.pop("positions", None)
    if positions is None:
        return None
    longest = positions.get("metre") if isinstance(positions, dict) and len(positions) == 1 else None
    if isinstance(longest, bool) or not isinstance(longest, int) or not 1 <= longest <= MOST_METRE:
        raise UserError(
            f"expected of model.positions only {{ metre = 1 to {MOST_METRE} }} with --from, got {positions!r}"
        )
    return longest


def _only_word_dropout(settings: dict[str, Any]) -> float | None:
    """What [model.input] leaves open with --from; any other setting of it stays, and is then refused."""
    reads = settings.get("input")
    if not isinstance(reads, dict) or list(reads) != ["word_dropout"]:
        return None
    word_dropout: float = settings.pop("input")["word_dropout"]
    return word_dropout


def _only_dropout(settings: dict[str, Any], allowed: str = "dropout") -> float | None:
    """The setting of [model] that every model to go on from leaves open; `allowed` are those that this one does."""
    dropout: float | None = settings.pop("dropout", None)
    if settings:
        given = ", ".join(settings)
        raise UserError(f"expected no [model] setting but {allowed} with --from, got {given}; the shape is given")
    return dropout


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    if is_first():
        lines = [f"{outcome.folder}: {outcome.reason} after {outcome.updates:,} updates"]
        answer(asdict(outcome), lines, as_json=as_json)
    if outcome.reason == "interrupted":
        raise typer.Exit(130)
