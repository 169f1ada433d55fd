"""`triptych compose`, `continue`, `accompany`, `harmonize`, `infill`: music in and out, as MIDI, sound, picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli import options
from triptych.cli.loading import load_composer, load_pianist, plays_performances
from triptych.cli.output import answer, say
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.music.piece.performance import Performance
    from triptych.music.piece.piece import Piece

Out = Annotated[
    list[Path],
    typer.Option(
        "--out",
        dir_okay=False,
        metavar="FILE",
        help="What to write: .mid, .wav, .musicxml, .svg (score) or .png (piano roll); may be given several times.",
    ),
]
HARDLY_ANY = 1.0  # seconds that a model adds where it takes a piece as ended
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
Primer = Annotated[Path, typer.Argument(metavar="PRIMER.mid", help="The beginning: a MIDI or MusicXML file.")]
Melody = Annotated[
    Path,
    typer.Argument(
        metavar="MELODY.mid",
        help="A MIDI or MusicXML file; its part named melody, voice, soprano, lead or vocal is the melody, else its "
        "highest notes.",
    ),
]
Given = Annotated[
    Path,
    typer.Argument(metavar="PIECE.mid", help="A MIDI or MusicXML file; of more than four notes four are read."),
]
Metre = Annotated[
    str | None,
    typer.Option(
        "--metre",
        metavar="3/4",
        help="The time signature; without, that of the file, or 4/4.",
        rich_help_panel=options.GENERATION,
    ),
]
Upbeat = Annotated[
    str | None,
    typer.Option(
        "--upbeat",
        metavar="BEATS",
        help="Before the first bar line: beats (1, 0.5) or a note value (1/8); without, that of the file, or found.",
        rich_help_panel=options.GENERATION,
    ),
]
Transposed = Annotated[
    str,
    typer.Option(
        "--transpose",
        metavar="HOW",
        help="Notes that voices cannot sing: auto transposes the piece, and back in the end; stay does not go back; "
        "octaves moves these notes alone; or semitones, -24 to 24, and back.",
    ),
]
OnlyNew = Annotated[bool, typer.Option("--only-new", help="Write what the model adds, without what was given.")]
Program = Annotated[
    list[str] | None,
    typer.Option(
        "--program",
        metavar="NAME",
        help="Instrument of General MIDI, 0 to 127 or its name: flute; of one voice: bass=cello. May be given again.",
    ),
]


def compose(
    out: Out,
    label: Label = None,
    seconds: Seconds = None,
    tokens: Tokens = None,
    tempo: Annotated[
        float | None,
        typer.Option("--tempo", min=10, max=400, metavar="BPM", help="Of chorales: quarter notes a minute; else 84."),
    ] = None,
    metre: Metre = None,
    upbeat: Upbeat = None,
    program: Program = None,
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
    _check(out, seconds, tokens, program=program, metre=metre, upbeat=upbeat)
    sampling = options.sampling(temperature, top_k, top_p)
    if plays_performances(model):
        if tempo is not None:
            raise UserError(f"expected no --tempo for piano music, whose time is free, got {tempo:g}; leave it out")
        pianist = load_pianist(model, device, threads, dtype.value)
        piece = pianist.compose(label=label, seconds=seconds, tokens=tokens, sampling=sampling, seed=seed)
        _tell(_barred(piece, metre, upbeat), model, out, soundfont, program, as_json=json)
        return
    from triptych.music.chorales.codec import TEMPO

    tempo = TEMPO if tempo is None else tempo
    steps = _steps(seconds, tokens, tempo)
    composer = load_composer(model, device, threads, dtype.value)
    piece = composer.compose(label=label, steps=steps, sampling=sampling, seed=seed, tempo=tempo)
    _tell(_barred(piece, metre, upbeat), model, out, soundfont, program, as_json=json)


def continue_(
    primer: Primer,
    out: Out,
    label: Label = None,
    seconds: Seconds = None,
    tokens: Tokens = None,
    metre: Metre = None,
    upbeat: Upbeat = None,
    transpose: Transposed = "auto",
    only_new: OnlyNew = False,
    program: Program = None,
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
    from triptych.music.chorales.given import read_transpose
    from triptych.music.piece.bars import in_sixteenths
    from triptych.music.piece.key import signed
    from triptych.music.piece.transcription import in_time_of

    _check(out, seconds, tokens, program=program, metre=metre, upbeat=upbeat)
    sampling = options.sampling(temperature, top_k, top_p)
    if plays_performances(model):
        pianist = load_pianist(model, device, threads, dtype.value)
        played = _heard(primer)
        length: dict[str, Any] = {"seconds": seconds, "tokens": tokens}
        found = pianist.continue_(played, label=label, only_new=only_new, sampling=sampling, seed=seed, **length)
        if seconds is None and tokens is None:
            _tell_ended(primer, found.seconds - (0 if only_new else played.seconds))
        found = _barred(found, metre, None)
        begin = played.seconds if only_new else 0.0
        given = signed(_read(primer, metre, upbeat, quiet=True))
        found = in_time_of(found, given, begin)
        found = found if found.keys else replace(found, keys=(replace(given.key_at(0), start=0),))
        _tell(found, model, out, soundfont, program, as_json=json)
        return
    changes = read_transpose(transpose)
    composer = load_composer(model, device, threads, dtype.value)
    piece = _read(primer, metre, upbeat)
    more = _steps(seconds, tokens, piece.tempo)
    steps = None if more is None else in_sixteenths(piece).length + more
    how: dict[str, Any] = {
        "label": label,
        "steps": steps,
        "transpose": changes,
        "only_new": only_new,
        "told": _teller(primer),
    }
    found = composer.continue_(piece, sampling=sampling, seed=seed, **how)
    if steps is None:
        _tell_ended(primer, found.seconds - (0 if only_new else piece.seconds))
    _tell(found, model, out, soundfont, program, as_json=json)


def accompany(
    melody: Melody,
    out: Out,
    model: options.Model,  # none ships that could
    label: Label = None,
    program: Program = None,
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
    from triptych.music.piece.transcription import in_time_of

    _check(out, program=program)
    sampling = options.sampling(temperature, top_k, top_p)
    pianist = load_pianist(model, device, threads, dtype.value)
    tune = _heard(melody, melody=True)
    found = pianist.accompany(tune, label=label, sampling=sampling, seed=seed)
    found = in_time_of(found, _read(melody, None, None, quiet=True))
    _tell(found, model, out, soundfont, program, as_json=json)


def harmonize(
    melody: Melody,
    out: Out,
    label: Label = None,
    metre: Metre = None,
    upbeat: Upbeat = None,
    transpose: Transposed = "auto",
    only_new: OnlyNew = False,
    program: Program = None,
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
    from triptych.music.chorales.given import read_transpose

    _check(out, program=program, metre=metre, upbeat=upbeat)
    sampling = options.sampling(temperature, top_k, top_p)
    changes = read_transpose(transpose)
    composer = load_composer(model, device, threads, dtype.value)
    how: dict[str, Any] = {"label": label, "transpose": changes, "only_new": only_new, "told": _teller(melody)}
    found = composer.harmonize(_read(melody, metre, upbeat), sampling=sampling, seed=seed, **how)
    _tell(found, model, out, soundfont, program, as_json=json)


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
    metre: Metre = None,
    upbeat: Upbeat = None,
    transpose: Transposed = "auto",
    program: Program = None,
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
    from triptych.music.chorales.given import read_transpose

    _check(out, program=program, metre=metre, upbeat=upbeat)
    sampling = options.sampling(temperature, top_k, top_p)
    how: dict[str, Any] = {"first": first, "last": last, "transpose": read_transpose(transpose), "told": _teller(piece)}
    composer = load_composer(model, device, threads, dtype.value)
    found = composer.infill(_read(piece, metre, upbeat), voice, sampling=sampling, seed=seed, **how)
    _tell(found, model, out, soundfont, program, as_json=json)


def _check(
    out: Sequence[Path],
    seconds: float | None = None,
    tokens: int | None = None,
    *,
    program: Sequence[str] | None,
    metre: str | None = None,
    upbeat: str | None = None,
) -> None:
    """Complain about a suffix, two lengths, or what is no instrument, metre or upbeat, before any work is done."""
    from triptych.music.files.save import check_suffix
    from triptych.music.piece.instruments import read_program
    from triptych.music.piece.piece import Piece
    from triptych.music.piece.upbeat import with_bars

    for path in out:
        check_suffix(path)
    for text in program or ():
        read_program(text.rpartition("=")[2])
    if metre is not None:  # without one, the upbeat is a part of a bar of the file
        with_bars(Piece((), resolution=480), metre, upbeat)
    if seconds is not None and tokens is not None:
        raise UserError("expected --seconds or --tokens, got both; leave one out")


def _heard(path: Path, *, melody: bool = False) -> Performance:
    """A MIDI file as it sounds on a piano, or its melody; what is changed on the way is told."""
    from triptych.music.files.reading import MusicReader, read_performance
    from triptych.music.performances.melody import melody_of_parts

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


def _tell_ended(primer: Path, added: float) -> None:
    """Say why a continuation of so many seconds is hardly any, if it is."""
    if added < HARDLY_ANY:
        told = f"the model takes it for a whole piece, which has ended, and adds {max(added, 0):.1f} seconds"
        say(f"{primer}: {told}; --seconds asks for more")


def _read(path: Path, metre: str | None, upbeat: str | None, *, quiet: bool = False) -> Piece:
    """A piece, in the metre and with the upbeat that a person says; what was left out or changed is told."""
    from triptych.music.files.reading import read_piece
    from triptych.music.piece.upbeat import with_bars

    piece, words = read_piece(path)
    for word in () if quiet else words:
        say(f"{path}: {word}")
    return with_bars(piece, metre, upbeat)


def _barred(piece: Piece, metre: str | None, upbeat: str | None) -> Piece:
    """A piece that is composed, in the metre and with the upbeat that a person says."""
    from triptych.music.piece.upbeat import in_bars, with_bars

    found = with_bars(piece, metre, upbeat)
    return found if metre is None or not piece.metrical else in_bars(found)[0]


def _teller(path: Path) -> Callable[[str], None]:
    """What says a word about a file."""
    return lambda word: say(f"{path}: {word}")


def _steps(seconds: float | None, tokens: int | None, tempo: float) -> int | None:
    """Sixteenths of a duration."""
    from triptych.music.chorales.codec import STEPS_PER_QUARTER
    from triptych.music.chorales.sampler import MOST_STEPS

    if seconds is not None:
        second = tempo / 60 * STEPS_PER_QUARTER
        if seconds * second > MOST_STEPS:
            most = int(MOST_STEPS / second)
            raise UserError(f"expected --seconds of at most {most} at {tempo:g} beats a minute, got {seconds:g}")
        return max(1, round(seconds * second))
    return None if tokens is None else -(-tokens // 4)


def _tell(
    piece: Piece,
    model: str,
    out: Sequence[Path],
    soundfont: Path | None,
    program: Sequence[str] | None,
    *,
    as_json: bool,
) -> None:
    from triptych.music.files.save import save_music
    from triptych.music.piece.instruments import read_programs

    if program:
        piece = replace(piece, programs=read_programs(program, piece.voices, piece.programs))
    refused: list[UserError] = []
    for path in out:
        try:
            save_music(piece, path, soundfont=soundfont)
        except UserError as error:  # the other files are written all the same
            refused.append(UserError(f"{path}: {error}"))
    if refused:
        raise refused[0]
    told: dict[str, Any] = {
        "model": model,
        "out": [str(path) for path in out],
        "notes": len(piece.notes),
        "seconds": round(piece.seconds, 3),
    }
    if len(piece.voices) > 1:  # a chorale
        told["sixteenths"] = piece.length
    answer(told, [str(path) for path in out], as_json=as_json)
