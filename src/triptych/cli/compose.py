"""`triptych compose`, `continue`, `accompany`, `harmonize`, `infill`: music in and out, as MIDI, sound, picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli import options
from triptych.cli.loading import load_composer, load_pianist, plays_performances
from triptych.cli.output import answer, say
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.music.performance import Performance
    from triptych.music.piece import Piece

Out = Annotated[
    list[Path],
    typer.Option(
        "--out",
        dir_okay=False,
        metavar="FILE",
        help="What to write: .mid, .wav, .musicxml, .svg (score) or .png (piano roll); may be given several times.",
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="NAME",
        help="Of chorales: major, minor, or a key: G minor. Of piano music: a composer.",
        rich_help_panel=options.GENERATION,
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        min=0.5,
        max=86_400,
        metavar="S",
        help="How long the piece is, or what is added to one; without, it ends by itself.",
        rich_help_panel=options.GENERATION,
    ),
]
Tokens = Annotated[
    int | None,
    typer.Option(
        "--tokens",
        min=4,
        metavar="N",
        help="The same in tokens; of chorales, four a sixteenth.",
        rich_help_panel=options.GENERATION,
    ),
]
Soundfont = Annotated[
    Path | None,
    typer.Option("--soundfont", metavar="FILE.sf2", help="For .wav: play through FluidSynth with this soundfont."),
]
Primer = Annotated[Path, typer.Argument(metavar="PRIMER.mid", help="The beginning: a MIDI file.")]
Melody = Annotated[Path, typer.Argument(metavar="MELODY.mid", help="A MIDI file; its highest notes are the melody.")]
Given = Annotated[Path, typer.Argument(metavar="PIECE.mid", help="A MIDI file of up to four voices.")]


def compose(
    out: Out,
    label: Label = None,
    seconds: Seconds = None,
    tokens: Tokens = None,
    tempo: Annotated[
        float | None,
        typer.Option("--tempo", min=10, max=400, metavar="BPM", help="Of chorales: quarter notes a minute; else 84."),
    ] = None,
    soundfont: Soundfont = None,
    model: options.Model = "chorales",
    seed: options.Seed = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Compose a piece from nothing."""
    _check(out, seconds, tokens)
    sampling = options.sampling(temperature, top_k, top_p)
    if plays_performances(model):
        if tempo is not None:
            raise UserError(f"expected no --tempo for piano music, whose time is free, got {tempo:g}; leave it out")
        pianist = load_pianist(model, device, threads, dtype.value)
        piece = pianist.compose(label=label, seconds=seconds, tokens=tokens, sampling=sampling, seed=seed)
        _tell(piece, model, out, soundfont, as_json=json)
        return
    from triptych.music.codec import TEMPO

    tempo = TEMPO if tempo is None else tempo
    steps = _steps(seconds, tokens, tempo)
    composer = load_composer(model, device, threads, dtype.value)
    piece = composer.compose(label=label, steps=steps, sampling=sampling, seed=seed, tempo=tempo)
    _tell(piece, model, out, soundfont, as_json=json)


def continue_(
    primer: Primer,
    out: Out,
    label: Label = None,
    seconds: Seconds = None,
    tokens: Tokens = None,
    soundfont: Soundfont = None,
    model: options.Model = "chorales",
    seed: options.Seed = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Continue a primer; --seconds and --tokens count what is added to it."""
    _check(out, seconds, tokens)
    sampling = options.sampling(temperature, top_k, top_p)
    if plays_performances(model):
        pianist = load_pianist(model, device, threads, dtype.value)
        played = _heard(primer)
        found = pianist.continue_(played, label=label, seconds=seconds, tokens=tokens, sampling=sampling, seed=seed)
        _tell(found, model, out, soundfont, as_json=json)
        return
    composer = load_composer(model, device, threads, dtype.value)
    piece, given = _read(primer, otherwise=", or continue it as a performance: --model piano")
    more = _steps(seconds, tokens, piece.tempo)
    steps = None if more is None else given + more
    found = composer.continue_(piece, label=label, steps=steps, sampling=sampling, seed=seed)
    _tell(found, model, out, soundfont, as_json=json)


def accompany(
    melody: Melody,
    out: Out,
    model: options.Model,  # none ships that could
    label: Label = None,
    soundfont: Soundfont = None,
    seed: options.Seed = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Play a melody on the piano with an accompaniment; every note of it is struck at its time."""
    _check(out)
    sampling = options.sampling(temperature, top_k, top_p)
    pianist = load_pianist(model, device, threads, dtype.value)
    tune = _heard(melody, melody=True)
    found = pianist.accompany(tune, label=label, sampling=sampling, seed=seed)
    _tell(found, model, out, soundfont, as_json=json)


def harmonize(
    melody: Melody,
    out: Out,
    soundfont: Soundfont = None,
    model: options.Model = "chorales-infill",
    seed: options.Seed = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Give a melody an alto, a tenor and a bass; the melody stays as it is."""
    _check(out)
    sampling = options.sampling(temperature, top_k, top_p)
    composer = load_composer(model, device, threads, dtype.value)
    piece, _ = _read(melody, melody=True)
    found = composer.harmonize(piece, sampling=sampling, seed=seed)
    _tell(found, model, out, soundfont, as_json=json)


def infill(
    piece: Given,
    out: Out,
    voice: Annotated[
        list[str], typer.Option("--voice", metavar="VOICE", help="To write anew; may be given several times.")
    ],
    first: Annotated[
        int | None, typer.Option("--from", min=0, metavar="BAR", help="First bar of it; 0 is an upbeat.")
    ] = None,
    last: Annotated[int | None, typer.Option("--to", min=0, metavar="BAR", help="Last bar of it.")] = None,
    soundfont: Soundfont = None,
    model: options.Model = "chorales-infill",
    seed: options.Seed = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Write a voice (soprano, alto, tenor, bass) anew to fit all other notes, which stay as they are."""
    _check(out)
    sampling = options.sampling(temperature, top_k, top_p)
    composer = load_composer(model, device, threads, dtype.value)
    given, _ = _read(piece)
    found = composer.infill(given, voice, first=first, last=last, sampling=sampling, seed=seed)
    _tell(found, model, out, soundfont, as_json=json)


def _check(out: Sequence[Path], seconds: float | None = None, tokens: int | None = None) -> None:
    """Complain about a suffix, or two lengths, before any work is done."""
    from triptych.music.piece import check_suffix

    for path in out:
        check_suffix(path)
    if seconds is not None and tokens is not None:
        raise UserError("expected --seconds or --tokens, got both; leave one out")


def _heard(path: Path, *, melody: bool = False) -> Performance:
    """A MIDI file as it sounds on a piano, or its melody; what is changed on the way is told."""
    from triptych.music.melody import melody_of_parts
    from triptych.music.reading import MusicReader, read_performance

    if melody:
        with MusicReader() as reader:
            parts, words = reader.read_parts(path, pedal=False)
        found, more = melody_of_parts(parts)
        words += more
    else:
        found, words = read_performance(path)
    for word in words:
        say(f"{path}: {word}")
    return found


def _read(path: Path, *, melody: bool = False, otherwise: str = "") -> tuple[Piece, int]:
    """A piece and its sixteenths; what is changed on the way to them is told. otherwise: what else a person may do with
    a piece that is no chorale.
    """
    from triptych.music.codec import from_piece, melody_of
    from triptych.music.reading import read_piece

    piece, read = read_piece(path)
    try:
        grid, words = melody_of(piece) if melody else from_piece(piece)
    except UserError as error:
        raise UserError(f"{path}: {error}{otherwise}") from None
    for word in read + words:
        say(f"{path}: {word}")
    return piece, len(grid)


def _steps(seconds: float | None, tokens: int | None, tempo: float) -> int | None:
    """Sixteenths of a duration."""
    from triptych.music.codec import STEPS_PER_QUARTER
    from triptych.music.composer import MOST_STEPS

    if seconds is not None:
        second = tempo / 60 * STEPS_PER_QUARTER
        if seconds * second > MOST_STEPS:
            most = int(MOST_STEPS / second)
            raise UserError(f"expected --seconds of at most {most} at {tempo:g} beats a minute, got {seconds:g}")
        return max(1, round(seconds * second))
    return None if tokens is None else -(-tokens // 4)


def _tell(piece: Piece, model: str, out: Sequence[Path], soundfont: Path | None, *, as_json: bool) -> None:
    for path in out:
        piece.save(path, soundfont=soundfont)
    told: dict[str, Any] = {
        "model": model,
        "out": [str(path) for path in out],
        "notes": len(piece.notes),
        "seconds": round(piece.seconds, 3),
    }
    if len(piece.voices) > 1:  # a chorale
        told["sixteenths"] = piece.length
    answer(told, [str(path) for path in out], as_json=as_json)
