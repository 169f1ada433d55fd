"""The grammar of chorales: which tokens may come next.

A voice sings in its range. No voice that is written rests, and no chord that is written lasts, longer than almost all
of Bach's do. A piece in a key ends on the tonic chord. So a piece is neither empty nor without movement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.music.chorales.codec import END, LOWEST, RANGES, REST, STEPS_PER_QUARTER, UNKNOWN, ChoraleCodec, Grid
from triptych.music.piece.key import Key

BASS = 3
QUARTER = 4 * STEPS_PER_QUARTER  # tokens


@dataclass(frozen=True)
class Rules:
    """What the grammar asks beyond the ranges of the voices.

    rest: sixteenths for which a written voice may rest while the given ones sing, or in a composed piece at all; in the
    beginning it enters with them. Of the 229 training chorales of JSB 227 begin with all voices, and three rests of a
    lower voice while the soprano sings are longer. None: any time.
    chord: sixteenths for which all four voices may stay as they are where all four are written; 11 of Bach's 18,500
    chords stand longer, the longest for 32. None: any time.
    ending: whether a piece whose key is known ends on its tonic chord: a harmony on its last beat, where the melody
    permits, and a composed piece by ending nowhere else.
    """

    rest: int | None = 8
    chord: int | None = 16
    ending: bool = True


BACH = Rules()
ALONE = Rules(rest=None, chord=None, ending=False)  # what the model does by itself


class ChoraleGrammar:
    """The grammar of one piece, or of several side by side: `allow` of `generate`.

    known: the grid [steps, 4] with holes (-2) that is filled in; None: a piece that is composed. end: END may follow
    more than so many ids, after whole quarter notes; None: never. key: that of the piece, for its ending. stop: of a
    piece that is composed, the sixteenths after which it is cut: its last beat is then an ending in the key. beat: its
    sixteenths.
    """

    def __init__(
        self,
        codec: ChoraleCodec,
        *,
        known: Grid | None = None,
        end: int | None = None,
        stop: int | None = None,
        key: Key | None = None,
        beat: int = STEPS_PER_QUARTER,
        rules: Rules = BACH,
    ) -> None:
        self.codec, self.known, self.end, self.rules = codec, known, end, rules
        self._places = [codec.columns.index(voice) for voice in range(4)]  # in a moment, of each voice
        self._masks = np.zeros((4, codec.vocabulary), bool)  # by voice
        for voice, (low, high) in enumerate(RANGES):
            self._masks[voice, low - LOWEST : high - LOWEST + 1] = True
            self._masks[voice, REST] = True
        self._tonic = None if key is None or not rules.ending else _chord(key)
        self._last = _last_beat(known, self._tonic, beat)
        if known is None and stop is not None and self._tonic is not None:
            self._last = range(stop - beat, stop)
        self._seen = 0  # moments that are counted
        self._rests = np.zeros((0, 4), np.int64)  # [rows, voices], sixteenths for which each has rested
        self._stood = np.zeros(0, np.int64)  # [rows], sixteenths for which the chord has lasted

    def __call__(self, written: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where a token may come next, bool [rows, vocabulary], after ids [rows, t]."""
        rows, position = written.shape
        self._count(written)
        step, place = divmod(position, 4)
        voice = self.codec.columns[place]
        allowed = np.repeat(self._masks[voice][None], rows, 0)
        if self.rules.rest is not None and self._sung(step):
            allowed[self._rests[:, voice] >= self.rules.rest, REST] = False
        if place == 3 and self.rules.chord is not None and step and self._open(step):
            now, before = written[:, position - 3 :], written[:, position - 7 : position - 3]
            held = (now == before[:, :3]).all(1) & (self._stood >= self.rules.chord)
            allowed[held, before[held, 3]] = False
        if self._last is not None and step in self._last:
            self._close(allowed, written, step, voice)
        if self.end is not None and position > self.end and position % QUARTER == 0:
            allowed[:, END] = self._may_end(written)
        return allowed

    def _count(self, written: NDArray[np.int64]) -> None:
        """Count rests and standing chords up to the last whole moment of ids [rows, t]."""
        rows = len(written)
        if not self._seen:
            self._rests = np.full((rows, 4), self.rules.rest or 0)  # all voices enter together
            self._stood = np.zeros(rows, np.int64)
        for step in range(self._seen, written.shape[1] // 4):
            moment = written[:, 4 * step : 4 * step + 4]
            silent = moment[:, self._places] == REST
            if self._sung(step):
                self._rests = np.where(silent, self._rests + 1, 0)
            same = (moment == written[:, 4 * step - 4 : 4 * step]).all(1) if step else np.zeros(rows, bool)
            self._stood = np.where(same, self._stood + 1, 1)
            self._seen = step + 1

    def _sung(self, step: int) -> bool:
        """Whether a voice that is known sings in this moment; where none is known, somebody shall."""
        if self.known is None or step >= len(self.known):
            return True
        moment = self.known[step]
        return bool((moment >= 0).any() or (moment == UNKNOWN).all())

    def _open(self, step: int) -> bool:
        return self.known is None or bool((self.known[step] == UNKNOWN).all())

    def _close(self, allowed: NDArray[np.bool_], written: NDArray[np.int64], step: int, voice: int) -> None:
        """Leave the tones of the tonic chord alone, the tonic for the bass, and one third of the two of a minor key;
        the third for the last voice above the bass if no other has it.
        """
        assert self._last is not None and self._tonic is not None
        root, *others = self._tonic
        classes = _classes(np.arange(REST))
        tones = np.isin(classes, [root] if voice == BASS else self._tonic)
        allowed[:, :REST] &= tones
        allowed[:, REST] = False
        if len(others) == 3 and voice != BASS:
            given = [] if self.known is None else self.known[self._last].reshape(-1).tolist()
            heard = [pitch % 12 for pitch in given if pitch >= 0]
            for third, other in (others[:2], others[1::-1]):
                sung = (_classes(written[:, 4 * self._last.start :]) == third).any(1) | (third in heard)
                allowed[np.ix_(sung, np.flatnonzero(classes == other))] = False
        open_ = [one for one in self.codec.columns if self.known is None or self.known[step, one] == UNKNOWN]
        if voice == next((one for one in reversed(open_) if one != BASS), None):
            thirds = others[:-1]
            given = [] if self.known is None else self.known[step].tolist()
            if not any(pitch >= 0 and pitch % 12 in thirds for pitch in given):
                without = ~np.isin(_classes(written[:, 4 * step :]), thirds).any(1)
                allowed[np.ix_(without, np.flatnonzero(~np.isin(classes, thirds)))] = False

    def _may_end(self, written: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each row's last moment is the tonic chord, over its root."""
        if self._tonic is None:
            return np.ones(len(written), bool)
        moment = written[:, -4:]
        tones = np.isin(_classes(moment), self._tonic) | (moment >= REST)
        found: NDArray[np.bool_] = tones.all(1) & (_classes(moment[:, self._places[BASS]]) == self._tonic[0])
        return found


def _classes(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pitch classes of ids, of those that are pitches."""
    return (ids + LOWEST) % 12


def _chord(key: Key) -> tuple[int, ...]:
    """The pitch classes of the tonic chord, the root first; in minor with both thirds, that of Picardy too."""
    return tuple((key.tonic + interval) % 12 for interval in ((0, 3, 4, 7) if key.minor else (0, 4, 7)))


def _last_beat(known: Grid | None, tonic: tuple[int, ...] | None, beat: int) -> range | None:
    """The moments to end on the tonic chord: the last note that is given, at most a beat of it; without given ones, the
    last beat. None where nothing is to be found there, or what is given is no part of that chord.
    """
    if known is None or tonic is None:
        return None
    sung = np.flatnonzero((known >= 0).any(1))
    stop = int(sung[-1]) + 1 if len(sung) and not (known[-1] == UNKNOWN).all() else len(known)
    start = stop - 1
    while start > max(0, stop - beat) and (known[start - 1] == known[stop - 1]).all():
        start -= 1
    found = known[start:stop]
    bass = found[:, BASS]
    fits = np.isin(found[found >= 0] % 12, tonic).all() and ((bass < 0) | (bass % 12 == tonic[0])).all()
    return range(start, stop) if fits and (found == UNKNOWN).any() else None
