"""Performances as pieces with a beat, for scores: the beat is found, and notes go to the nearest sixteenth.

Beats are tracked by dynamic programming over the onsets (Ellis 2007, "Beat Tracking by Dynamic Programming") at the
tempo at which they repeat most. What has no beat that a score could show is refused.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.music.piece.piece import Piece
from triptych.music.piece.upbeat import found_upbeat

RATE = 100  # frames a second
USUAL = 0.6  # seconds of a beat, the most usual; half and twice of it are a standard deviation and a half away
SPREAD = 0.66  # of its logarithm to the base 2
TIGHT = 100.0  # how much a beat that comes early or late costs
SLOWEST, FASTEST = 1.5, 0.25  # seconds of a beat
TOGETHER = 0.04  # seconds within which notes are struck as one chord
MAX_CROWDED = 0.15  # share of the onsets that may fall on the sixteenth of another
ON_GRID = 0.9  # share of the onsets of a file on its sixteenths or triplets, if its beats mean anything
NEAR = 0.04  # quarter notes

Seconds = NDArray[np.float64]


def transcribed(piece: Piece) -> Piece:
    """A performance as a piece in sixteenths with a beat. Its metres, if it has any, are kept; an upbeat is found.

    Raises UserError where no beat suits the notes.
    """
    notes = piece.notes
    if not notes:
        return replace(piece, resolution=4, length=0, metrical=True)
    start = _chords(np.array([piece.seconds_at(note.start) for note in notes]))
    end = np.array([piece.seconds_at(note.end) for note in notes])
    weights = np.array([note.velocity for note in notes], np.float64)
    slow, fast = beats_of(start, weights), beats_of(start, weights, share=0.5)
    beats = slow if _crowds(start, slow) <= MAX_CROWDED else fast
    if (crowds := _crowds(start, beats)) > MAX_CROWDED:
        raise UserError(
            f"expected music with a beat for a score, got {crowds:.0%} of its moments on the sixteenths of others; "
            "save it as .mid or .wav, or as .png, a piano roll"
        )
    begin = _grid(start, beats)
    first = int(begin.min()) // 4 * 4
    begin, stop = begin - first, _grid(end, beats) - first
    found = {}
    for note, one, other in zip(notes, begin.tolist(), stop.tolist(), strict=True):
        found[one, note.pitch] = replace(note, start=one, end=max(one + 1, other))
    kept = tuple(sorted(found.values()))
    tempo = round(float(60 / np.median(np.diff(beats))))
    score = Piece(kept, 4, tempo, piece.voices, metres=piece.metres, keys=piece.keys, programs=piece.programs)
    return replace(score, pickup=found_upbeat(score))


def beats_of(onsets: Seconds, weights: NDArray[np.float64], share: float = 1.0) -> Seconds:
    """Seconds of the beats of notes that begin at `onsets` [notes], from before the first to after the last.

    weights: how loud each is. share: of the beat that is most likely, as half of it, which is a beat too.
    """
    frames = np.rint(onsets * RATE).astype(np.int64)
    counts = np.bincount(frames, weights / weights.mean(), minlength=int(frames.max()) + 1)
    window = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2)  # 20 milliseconds: hands are not exact
    strength = np.convolve(np.sqrt(counts.astype(np.float64)), window, mode="same")
    strength /= max(float(strength.std()), 1e-9)
    period = max(share * _period(strength), FASTEST * RATE)
    tracked = _tracked(strength, period)
    step = float(np.median(np.diff(tracked))) if len(tracked) > 1 else period
    step /= RATE
    found = tracked / RATE
    before = np.arange(int(np.ceil(max(0.0, found[0] - onsets.min()) / step)) + 2, 0, -1)
    after = np.arange(1, int(np.ceil(max(0.0, onsets.max() - found[-1]) / step)) + 3)
    return np.concatenate([found[0] - step * before, found, found[-1] + step * after])


def _period(strength: NDArray[np.float64]) -> float:
    """Frames of a beat: where the onsets agree most with themselves later, and beats are usual."""
    lags = np.arange(int(FASTEST * RATE), int(SLOWEST * RATE) + 1)
    size = 1 << (2 * max(len(strength), 2 * len(lags) + 2 * int(lags[0]))).bit_length()
    spectrum = np.fft.rfft(strength, size)
    again = np.fft.irfft(spectrum * spectrum.conj(), size)
    usual = np.exp(-0.5 * (np.log2(lags / (USUAL * RATE)) / SPREAD) ** 2)
    score = usual * np.maximum(again[lags] + 0.5 * again[2 * lags], 0)
    return float(lags[score.argmax()])


def _tracked(strength: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """Frames of beats about a period apart that together meet the strongest onsets."""
    steps = np.arange(-round(2 * period), -round(period / 2) + 1)
    cost = -TIGHT * np.log(-steps / period) ** 2
    total, before = strength.copy(), np.full(len(strength), -1)
    for frame in range(len(strength)):
        places = frame + steps
        inside = places >= 0
        if inside.any():
            options = cost[inside] + total[places[inside]]
            best = int(options.argmax())
            if options[best] > 0:
                total[frame] += options[best]
                before[frame] = places[inside][best]
    frame = len(strength) - 1 - int(total[::-1][: int(2 * period)].argmax())
    beats = []
    while frame >= 0:
        beats.append(frame)
        frame = int(before[frame])
    return np.array(beats[::-1], np.float64)


def _chords(start: Seconds) -> Seconds:
    """The onsets, those that are struck together moved to the first of them. They are in order."""
    found = start.copy()
    for place in range(1, len(found)):
        if start[place] - found[place - 1] < TOGETHER:
            found[place] = found[place - 1]
    return found


def _grid(seconds: Seconds, beats: Seconds) -> NDArray[np.int64]:
    """The nearest sixteenths, four to a beat."""
    place = np.clip(np.searchsorted(beats, seconds, side="right") - 1, 0, len(beats) - 2)
    within = (seconds - beats[place]) / (beats[place + 1] - beats[place])
    return np.floor(4 * (place + within) + 0.5).astype(np.int64)


def _crowds(start: Seconds, beats: Seconds) -> float:
    """The share of the moments at which notes begin that fall on the sixteenth of another one."""
    moments = np.unique(start)
    return 1 - len(np.unique(_grid(moments, beats))) / len(moments)


def in_time_of(played: Piece, given: Piece, begin: float = 0.0) -> Piece:
    """What was played on in free time, in the beats of a file that was given, if these mean anything: see `on_grid`.

    begin: seconds of the file at which what was played begins.
    """
    if not on_grid(given):
        return played
    factor = max(1, -(-960 // given.resolution))
    given = replace(given, notes=(), length=0, voices=played.voices, programs=played.programs)
    given = given.in_ticks(given.resolution * factor, lambda tick: tick * factor)
    given = given.after(given.tick_at(begin)) if begin else given
    notes = []
    for note in played.notes:
        start, end = (given.tick_at(played.seconds_at(tick)) for tick in (note.start, note.end))
        notes.append(replace(note, start=start, end=max(end, start + 1)))
    return replace(given, notes=tuple(notes))


def on_grid(piece: Piece) -> bool:
    """Whether the notes of a file begin on its beats, their quarters and thirds, as those of a score do."""
    quarters = np.array([note.start for note in piece.notes]) / piece.resolution
    away = np.minimum(*(abs(parts * quarters - np.rint(parts * quarters)) / parts for parts in (4, 3)))
    return bool(len(quarters)) and float((away <= NEAR).mean()) >= ON_GRID
