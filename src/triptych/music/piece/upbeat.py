"""Where the bars of a piece begin: given by a person, given by its file, or found by its rhythm.

Notes that begin bars are long, and a piece ends on a strong beat (Lerdahl and Jackendoff 1983, "A Generative Theory of
Tonal Music", metrical preference rules 5 and 6). So of a piece that begins at once and gives no upbeat, the
bar lines are tried at every beat, and moved only where they then suit the notes much better.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from triptych.errors import UserError
from triptych.music.piece.bars import in_sixteenths
from triptych.music.piece.metre import COMMON, Metre
from triptych.music.piece.piece import Piece

CLEARLY = 0.15  # by which bar lines must suit the notes better than those without an upbeat
ENDING = 0.15  # of the score, for a last note that begins a bar; half of it in the middle of one
WHOLE = 0.2  # for bars that end with the piece
NAMES = {1: "a sixteenth", 2: "an eighth", 3: "a dotted eighth", 4: "a quarter", 6: "a dotted quarter", 8: "a half"}


def with_bars(piece: Piece, metre: str | None = None, upbeat: str | None = None) -> Piece:
    """The piece in a given metre and with a given upbeat, both as text; None keeps the piece's own.

    upbeat: beats of the metre, such as 1 or 0.5, or a note value, such as 1/8. Raises UserError for what is neither,
    or is no part of a bar.
    """
    if metre is not None:
        piece = replace(piece, metres=(Metre.parse(metre),), pickup=piece.pickup if piece.metres else None)
    if upbeat is None:
        return piece
    first = piece.bars.number(1).metre
    wrong = UserError(
        f"expected --upbeat of less than a bar of {first}, in beats (1, 0.5) or as a note value (1/8), got {upbeat!r}"
    )
    try:
        value = Fraction(upbeat.strip())
    except (ValueError, ZeroDivisionError):
        raise wrong from None
    quarters = 4 * value if "/" in upbeat else value * 4 / first.unit
    ticks = quarters * piece.resolution
    if not 0 <= ticks < first.ticks(piece.resolution):
        raise wrong
    return replace(piece, pickup=round(ticks), metres=(replace(first, start=0), *piece.metres[1:]))


def in_bars(piece: Piece) -> tuple[Piece, list[str]]:
    """A piece in sixteenths with a metre and an upbeat, or none, and a word about each that is not its own."""
    words = []
    if not piece.metres:
        words.append("has no metre, so bars are of 4/4; --metre sets another")
        piece = replace(piece, metres=(COMMON,))
    if piece.pickup is None:
        pickup = found_upbeat(piece)
        piece = replace(piece, pickup=pickup)
        if pickup:
            name = NAMES.get(pickup, f"{pickup} sixteenths")
            words.append(f"begins with an upbeat of {name}, by its rhythm; --upbeat 0 if it has none")
    return piece, words


def barred(piece: Piece) -> Piece:
    """The piece with the upbeat that `in_bars` finds, in its own ticks; a performance as it is."""
    if piece.pickup is not None or not piece.metrical:
        return piece
    return replace(piece, pickup=round(found_upbeat(in_sixteenths(piece)) * piece.resolution / 4))


def found_upbeat(piece: Piece) -> int:
    """Sixteenths before the first bar line of a piece in sixteenths, by its notes; 0 where they do not ask for any.

    A piece that begins with rests has its bar lines where they are, and so has one whose metre changes.
    """
    if not piece.notes or piece.notes[0].start > 0 or len(piece.metres) > 1:
        return 0
    metre = piece.bars.number(1).metre
    bar, beat = metre.ticks(4), metre.beat(4)
    end = max(note.end for note in piece.notes)
    if end <= 2 * bar or beat >= bar:
        return 0
    step = min(beat, 2)
    scores = {pickup: _score(piece, metre, pickup) for pickup in range(0, -(-bar // 2), step)}
    best = max(scores, key=lambda pickup: (scores[pickup], -pickup))
    return best if scores[best] >= scores[0] + CLEARLY else 0


def _score(piece: Piece, metre: Metre, pickup: int) -> float:
    """How well bar lines suit the notes, from 0 to about 1: long notes begin on strong places."""
    bar, beat = metre.ticks(4), metre.beat(4)
    halves = bar % (2 * beat) == 0
    weighed = total = 0.0
    for note in piece.notes:
        place = (note.start - pickup) % bar
        strength = 1.0 if place == 0 else 0.5 if halves and 2 * place == bar else 0.25 if place % beat == 0 else 0.0
        length = min(note.end - note.start, bar)
        weighed += strength * length
        total += length
    last = (max(note.start for note in piece.notes) - pickup) % bar
    ending = ENDING if last == 0 else ENDING / 2 if halves and 2 * last == bar else 0.0
    # A last bar is full, or shorter by the upbeat.
    full = WHOLE if piece.length % bar in (0, pickup) else 0.0
    return weighed / total + ending + full
