"""`triptych compose`, `continue`, `accompany`, `harmonize`, `infill`: music in and out, as MIDI, sound, picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from triptych.cli import options
from triptych.cli.loading import load, plays_performances
from triptych.cli.output import answer, say, say_about
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.music.piece.piece import Piece

MIN_ADDED = 1.0  # seconds; a continuation that adds less is explained
Label = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of chorales: major, minor, or a key: G minor. Of piano music: a composer."),
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
    Path, typer.Argument(metavar="PIECE.mid", help="A MIDI or MusicXML file; of more than four notes four are read.")
]
Transposed = Annotated[
    str,
    typer.Option(
        metavar="HOW",
        help="Notes that voices cannot sing: auto transposes the piece, and back in the end; stay does not go back; "
        "octaves moves these notes alone; or semitones, -24 to 24, and back.",
    ),
]
OnlyNew = Annotated[bool, typer.Option("--only-new", help="Write what the model adds, without what was given.")]


@dataclass(frozen=True)
class Files:
    """The options of the files that a piece is written to; names and instruments are checked before any work."""

    out: Annotated[
        list[Path],
        typer.Option(
            dir_okay=False,
            metavar="FILE",
            help="What to write: .mid, .wav, .musicxml, .svg (score) or .png (piano roll); may be given several times.",
        ),
    ]
    program: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Instrument of General MIDI, 0 to 127 or its name: flute; of one voice: bass=cello. May be given "
            "again.",
        ),
    ] = None
    soundfont: Annotated[
        Path | None, typer.Option(metavar="FILE.sf2", help="For .wav: play through FluidSynth with this soundfont.")
    ] = None

    def __post_init__(self) -> None:
        from triptych.music.files.save import check_suffix
        from triptych.music.piece.instruments import read_program
        from triptych.shape.marks import check_out

        for path in self.out:
            check_suffix(path)
            check_out(path)
        for text in self.program or ():
            read_program(text.rpartition("=")[2])

    def write(self, piece: Piece, model: str, machine: options.Machine) -> None:
        """Write the piece to all files and answer with their names; where one fails the others are written."""
        from triptych.music.files.save import save_music
        from triptych.music.piece.instruments import read_programs
        from triptych.music.piece.performance import LOWEST

        if low := sum(note.pitch < LOWEST for note in piece.notes):
            say(f"note: {low:,} of {len(piece.notes):,} notes are below A0, the lowest key of a piano")
        if self.program:
            piece = replace(piece, programs=read_programs(self.program, piece.voices, piece.programs))
        failed: list[UserError] = []
        for path in self.out:
            try:
                save_music(piece, path, soundfont=self.soundfont)
            except UserError as error:
                failed.append(UserError(f"{path}: {error}"))
        if failed:
            raise failed[0]
        names, length = [str(path) for path in self.out], {"seconds": round(piece.seconds, 3)}
        if len(piece.voices) > 1:  # a chorale
            length["sixteenths"] = piece.length
        answer({"model": model, "out": names, "notes": len(piece.notes), **length}, names, as_json=machine.json)


@dataclass(frozen=True)
class Bars:
    """The options of a piece's bars."""

    PANEL: ClassVar = "Generation"

    metre: Annotated[
        str | None, typer.Option(metavar="3/4", help="The time signature; without, that of the file, or 4/4.")
    ] = None
    upbeat: Annotated[
        str | None,
        typer.Option(
            metavar="BEATS",
            help="Before the first bar line: beats (1, 0.5) or a note value (1/8); without, that of the file, or "
            "found.",
        ),
    ] = None

    def __post_init__(self) -> None:
        from triptych.music.piece.piece import Piece
        from triptych.music.piece.upbeat import with_bars

        if self.metre is not None:  # without one, the upbeat is a part of a bar of the file
            with_bars(Piece((), resolution=480), self.metre, self.upbeat)

    def read(self, path: Path, *, quiet: bool = False) -> Piece:
        """Read the piece of a file, with these bars; say what was left out or changed, unless quiet."""
        from triptych.music.files.reading import read_piece
        from triptych.music.piece.upbeat import with_bars

        piece, words = read_piece(path)
        say_about(path, () if quiet else words)
        return with_bars(piece, self.metre, self.upbeat)

    def cut(self, piece: Piece) -> Piece:
        """Return a composed piece with these bars."""
        from triptych.music.piece.upbeat import in_bars, with_bars

        if self.metre is not None:  # another upbeat may suit it
            piece = replace(piece, pickup=None)
        found = with_bars(piece, self.metre, self.upbeat)
        return found if self.metre is None or not piece.metrical else in_bars(found)[0]


@dataclass(frozen=True)
class Length:
    """The options of how long a piece is, or what is added to one."""

    PANEL: ClassVar = "Generation"

    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=86_400,
            metavar="S",
            help="How long the piece is, or what is added to one; without, it ends by itself.",
        ),
    ] = None
    tokens: Annotated[
        int | None, typer.Option(min=4, metavar="N", help="The same in tokens; of chorales, four a sixteenth.")
    ] = None

    def __post_init__(self) -> None:
        if self.seconds is not None and self.tokens is not None:
            raise UserError("expected --seconds or --tokens, got both; leave one out")

    def sixteenths(self, tempo: float) -> int | None:
        """The length in sixteenths at a tempo in quarter notes a minute."""
        from triptych.music.chorales.codec import STEPS_PER_QUARTER
        from triptych.music.chorales.sampler import MAX_STEPS

        if self.seconds is not None:
            second = tempo / 60 * STEPS_PER_QUARTER
            if self.seconds * second > MAX_STEPS:
                most = int(MAX_STEPS / second)
                raise UserError(
                    f"expected --seconds of at most {most} at {tempo:g} beats a minute, got {self.seconds:g}"
                )
            return max(1, round(self.seconds * second))
        return None if self.tokens is None else -(-self.tokens // 4)


@options.grouped
def compose(
    *,
    files: Files,
    label: Label = None,
    length: Length,
    tempo: Annotated[
        float | None, typer.Option(min=10, max=400, metavar="BPM", help="Of chorales: quarter notes a minute; else 84.")
    ] = None,
    bars: Bars,
    model: options.Model = "chorales",
    draw: options.Draw,
    machine: options.Machine,
) -> None:
    """Compose a piece from nothing."""
    from triptych.music.chorales.codec import TEMPO

    if plays_performances(model):
        from triptych.music.performances.pianist import Pianist

        if tempo is not None:
            raise UserError(f"expected no --tempo for piano music, whose time is free, got {tempo:g}; leave it out")
        pianist = load(Pianist, model, machine)
        how = draw.arguments(pianist.trained)
        piece = pianist.compose(label=label, seconds=length.seconds, tokens=length.tokens, **how)
    else:
        from triptych.music.chorales.composer import Composer

        tempo = TEMPO if tempo is None else tempo
        steps = length.sixteenths(tempo)
        composer = load(Composer, model, machine)
        piece = composer.compose(label=label, steps=steps, tempo=tempo, **draw.arguments(composer.trained))
    files.write(bars.cut(piece), model, machine)


@options.grouped
def continue_(
    *,
    primer: Primer,
    files: Files,
    label: Label = None,
    length: Length,
    bars: Bars,
    transpose: Transposed = "auto",
    only_new: OnlyNew = False,
    model: options.Model = "chorales",
    draw: options.Draw,
    machine: options.Machine,
) -> None:
    """Continue a primer; --seconds and --tokens count what is added to it."""
    from triptych.music.chorales.given import read_transpose
    from triptych.music.piece.bars import in_sixteenths

    how: dict[str, Any] = {"label": label, "only_new": only_new}
    if plays_performances(model):
        from triptych.music.files.reading import read_performance
        from triptych.music.performances.pianist import Pianist

        if transpose != "auto":
            raise UserError(f"expected no --transpose for piano music, which needs none, got {transpose}; leave it out")
        pianist = load(Pianist, model, machine)
        played, words = read_performance(primer)
        say_about(primer, words)
        how |= draw.arguments(pianist.trained)
        found = pianist.continue_(played, seconds=length.seconds, tokens=length.tokens, **how)
        given = played.seconds
        piece = _transcribed(found, primer, bars, begin=given if only_new else 0.0)
    else:
        from triptych.music.chorales.composer import Composer

        changes = read_transpose(transpose)
        composer = load(Composer, model, machine)
        read = bars.read(primer)
        if 2 * sum(4 * note.start % read.resolution > 0 for note in read.notes) > len(read.notes):
            say_about(
                primer, "most of its notes begin between sixteenths, as they are played; --model piano fits better"
            )
        how |= draw.arguments(composer.trained)
        more = length.sixteenths(read.tempo)
        steps = None if more is None else in_sixteenths(read).length + more
        piece = found = composer.continue_(
            read, steps=steps, transpose=changes, report=partial(say_about, primer), **how
        )
        given = read.seconds
    added = found.seconds - (0 if only_new else given)
    if length == Length() and added < MIN_ADDED:
        why = f"the model takes it for a whole piece, which has ended, and adds {max(added, 0):.1f} seconds"
        say_about(primer, f"{why}; --seconds asks for more")
    files.write(piece, model, machine)


@options.grouped
def accompany(
    *,
    melody: Melody,
    files: Files,
    model: options.Model,  # none ships that could
    label: Label = None,
    draw: options.Draw,
    machine: options.Machine,
) -> None:
    """Play a melody on the piano with an accompaniment; every note of it is struck at its time."""
    from triptych.music.files.reading import MusicReader
    from triptych.music.performances.melody import melody_of_parts
    from triptych.music.performances.pianist import Pianist
    from triptych.music.piece.transcription import in_time_of

    pianist = load(Pianist, model, machine)
    how = draw.arguments(pianist.trained)
    with MusicReader() as reader:
        parts, words = reader.read_parts(melody, pedal=False)
    tune, more = melody_of_parts(parts)
    say_about(melody, [*words, *more])
    found = pianist.accompany(tune, label=label, **how)
    files.write(in_time_of(found, Bars().read(melody, quiet=True)), model, machine)


@options.grouped
def harmonize(
    *,
    melody: Melody,
    files: Files,
    label: Label = None,
    bars: Bars,
    transpose: Transposed = "auto",
    only_new: OnlyNew = False,
    model: options.Model = "chorales-infill",
    draw: options.Draw,
    machine: options.Machine,
) -> None:
    """Give a melody an alto, a tenor and a bass; the melody stays as it is."""
    from triptych.music.chorales.composer import Composer
    from triptych.music.chorales.given import read_transpose

    how: dict[str, Any] = {"label": label, "only_new": only_new, "transpose": read_transpose(transpose)}
    composer = load(Composer, model, machine)
    how |= {"report": partial(say_about, melody), **draw.arguments(composer.trained)}
    files.write(composer.harmonize(bars.read(melody), **how), model, machine)


@options.grouped
def infill(
    *,
    piece: Given,
    files: Files,
    voice: Annotated[list[str], typer.Option(metavar="VOICE", help="To write anew; may be given several times.")],
    first: Annotated[
        int | None, typer.Option("--from", min=0, metavar="BAR", help="First bar of it; 0 is an upbeat.")
    ] = None,
    last: Annotated[int | None, typer.Option("--to", min=0, metavar="BAR", help="Last bar of it.")] = None,
    bars: Bars,
    transpose: Transposed = "auto",
    model: options.Model = "chorales-infill",
    draw: options.Draw,
    machine: options.Machine,
) -> None:
    """Write a voice (soprano, alto, tenor, bass) anew to fit all other notes, which stay as they are."""
    from triptych.music.chorales.composer import Composer
    from triptych.music.chorales.given import read_transpose

    how: dict[str, Any] = {"first": first, "last": last, "transpose": read_transpose(transpose)}
    composer = load(Composer, model, machine)
    how |= {"report": partial(say_about, piece), **draw.arguments(composer.trained)}
    files.write(composer.infill(bars.read(piece), voice, **how), model, machine)


def _transcribed(played: Piece, primer: Path, bars: Bars, begin: float) -> Piece:
    """Return a performance with the bars and the key of the primer that it continues, from second `begin` of it."""
    from triptych.music.piece.key import signed
    from triptych.music.piece.transcription import in_time_of

    given = signed(bars.read(primer, quiet=True))
    found = in_time_of(replace(bars, upbeat=None).cut(played), given, begin)
    return found if found.keys else replace(found, keys=(replace(given.key_at(0), start=0),))
