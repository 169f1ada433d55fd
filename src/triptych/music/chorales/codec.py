"""Chorales <-> token ids: four voices a sixteenth (Huang et al. 2018, section 4.1: S1 A1 T1 B1 S2 ...), in any order.

A chorale is a grid: int64 [steps, 4] of MIDI pitches, a step a sixteenth, -1 a rest. Held and repeated notes are one
and the same in it, as in the data set of that paper; `onsets` separates them in a grid that was read from a piece.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, shown
from triptych.music.piece.bars import BAR, in_sixteenths
from triptych.music.piece.key import key_of
from triptych.music.piece.piece import Note, Piece, overlaps

Grid = NDArray[np.int64]
Value = TypeVar("Value", bound=np.generic)

VOICES = ("soprano", "alto", "tenor", "bass")
STEPS_PER_QUARTER = 4
LOWEST, HIGHEST = 36, 81  # of the chorales of Bach, C2 to A5
RANGES = ((60, 81), (52, 74), (46, 69), (36, 66))  # of each voice in them
REST = HIGHEST - LOWEST + 1
END = REST + 1
HOLE = END + 1  # in a source alone: a note that is to be found
SILENT = -1
UNKNOWN = -2  # in a grid with holes
MAX_STEPS = 100_000  # of a piece that is read
POLYPHONIC = 0.2  # share of notes that begin within another of their voice, from which on voices are chords
PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
TEMPO = 84.0  # quarter notes a minute
FILE = "chorale.json"


class ChoraleCodec:
    """The vocabulary of four-part chorales: a pitch an id (0 is C2), then REST and END; HOLE in sources alone.

    order: the four voices as they follow each other within a moment. A model that writes the bass first conditions
    the alto on it; likelihoods of different orders are of the same pieces and can be compared.
    """

    vocabulary = END + 1
    source_vocabulary = HOLE + 1

    def __init__(self, order: Sequence[str] = VOICES) -> None:
        if not all(isinstance(name, str) for name in order) or sorted(order) != sorted(VOICES):
            raise UserError(f"expected each of {', '.join(VOICES)} once, in some order, got {order!r}; name all four")
        self.order = tuple(order)
        self.columns = tuple(VOICES.index(name) for name in order)  # of a grid, by their place in a moment

    def ordered(self, values: NDArray[Value]) -> NDArray[Value]:
        """Values [steps, 4] of the voices as those of the tokens [4 * steps]."""
        return values[:, self.columns].reshape(-1)

    def encode(self, grid: Grid, *, holes: bool = False) -> NDArray[np.int64]:
        """Ids [4 * steps] of a grid, without END. With `holes`, -2 is a note that is to be found.

        Raises UserError for pitches that no chorale has.
        """
        grid = check_grid(grid, holes=holes)
        ids = np.where(grid >= 0, grid - LOWEST, REST)
        return self.ordered(np.where(grid == UNKNOWN, HOLE, ids))

    def decode(self, ids: Iterable[int]) -> Grid:
        """The grid of any ids at all: up to END; what is no pitch is a rest; an unfinished step ends with rests."""
        before_end = itertools.takewhile(lambda token: token != END, ids)
        kept = [token + LOWEST if 0 <= token < REST else SILENT for token in before_end]
        kept += [SILENT] * (-len(kept) % 4)
        return np.array(kept, np.int64).reshape(-1, 4)[:, [self.order.index(name) for name in VOICES]]

    def heard(self, ids: Iterable[int]) -> Iterator[Note]:
        """The notes of ids up to END, each as soon as its end is known (in sixteenths)."""
        sounding: list[tuple[int, int] | None] = [None] * 4  # start and pitch
        step = -1
        for number, token in enumerate(itertools.takewhile(lambda token: token != END, ids)):
            step, place = divmod(number, 4)
            voice = self.columns[place]
            pitch = token + LOWEST if token < REST else SILENT
            before = sounding[voice]
            if before is not None and before[1] == pitch:
                continue
            if before is not None:
                yield Note(before[0], step, before[1], voice=voice)
            sounding[voice] = (step, pitch) if pitch >= 0 else None
        for voice, held in enumerate(sounding):
            if held is not None:
                yield Note(held[0], step + 1, held[1], voice=voice)

    def to_bytes(self) -> bytes:
        """What a model folder keeps of the codec: the lowest and the highest pitch, and the voices in their order."""
        return (json.dumps({"lowest": LOWEST, "highest": HIGHEST, "voices": self.order}) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ChoraleCodec:
        """The codec of a model folder; one of another kind is a UserError."""
        try:
            read = json.loads(data)
            codec = cls(read["voices"])
            if read == json.loads(codec.to_bytes()):
                return codec
        except (ValueError, RecursionError, KeyError, TypeError):
            pass
        raise UserError(f"expected a codec of chorales in {FILE}, got another; use the version that wrote it")


def check_grid(grid: Grid, *, holes: bool = False) -> Grid:
    """The grid, if it is one whose pitches the vocabulary has. With `holes`, notes in it may be unknown (-2)."""
    grid = np.asarray(grid)
    if grid.ndim != 2 or grid.shape[1] != 4 or not len(grid) or grid.dtype.kind not in "iu":
        raise UserError(f"expected integers [steps, 4], got {grid.dtype} {list(grid.shape)}; give four voices a step")
    wrong = grid[(grid > HIGHEST) | ((grid >= 0) & (grid < LOWEST)) | (grid < (UNKNOWN if holes else SILENT))]
    if wrong.size:
        got = f"{pitch_name(int(wrong[0]))} ({wrong[0]})" if wrong[0] >= 0 else str(wrong[0])
        raise UserError(
            f"expected notes from {pitch_name(LOWEST)} ({LOWEST}) to {pitch_name(HIGHEST)} ({HIGHEST}), or {SILENT} "
            f"for a rest, got {got}; transpose it"
        )
    return grid.astype(np.int64)


def upbeat(steps: int) -> int:
    """Steps before the first bar line of a chorale: a quarter note if it is so much longer than whole bars.

    So most of Bach's are.
    """
    return STEPS_PER_QUARTER if steps > BAR and steps % BAR == STEPS_PER_QUARTER else 0


def to_piece(
    grid: Grid,
    tempo: float = TEMPO,
    *,
    pickup: int | None = None,
    struck: NDArray[np.bool_] | None = None,
    like: Piece | None = None,
) -> Piece:
    """Notes of a grid, in the key that it sounds in: equal pitches of one voice that follow each other are one note.

    pickup: steps before the first bar line; without, those of `upbeat`. struck [steps, 4]: where a note begins all the
    same. like: a piece in sixteenths whose metres, key signatures, if it has any, and changes of tempo are taken.
    """
    begins = np.ones((len(grid) + 1, 4), bool)
    begins[1:-1] = grid[1:] != grid[:-1]
    if struck is not None:
        begins[:-1] |= struck
    notes = []
    for voice in range(4):
        for start, end in itertools.pairwise(np.flatnonzero(begins[:, voice]).tolist()):
            if grid[start, voice] >= 0:
                notes.append(Note(start, end, int(grid[start, voice]), voice=voice))
    before = upbeat(len(grid)) if pickup is None else pickup
    model = Piece(()) if like is None else like
    keys = model.keys or (key_of(grid).signature,)
    metres, tempos = model.metres, model.tempos
    return Piece(
        tuple(notes), STEPS_PER_QUARTER, tempo, VOICES, len(grid), before, metres=metres, keys=keys, tempos=tempos
    )


def voice_numbers(voices: str | Iterable[str]) -> list[int]:
    """Return the columns of a grid that belong to voices of these names, or to the one of this name."""
    if not isinstance(voices, Iterable):
        raise UserError(f"expected voices of {', '.join(VOICES)}, got {shown(voices)}; name them in a list")
    given = [voices] if isinstance(voices, str) else list(voices)
    names = [str(voice).strip().lower() for voice in given]
    for voice, name in zip(given, names, strict=True):
        if name not in VOICES:
            raise UserError(f"expected a voice of {', '.join(VOICES)}, got {voice!r}")
    if not names:
        raise UserError(f"expected a voice of {', '.join(VOICES)}, got none; name one")
    return [VOICES.index(name) for name in names]


def from_piece(piece: Piece) -> tuple[Grid, list[str]]:
    """The grid of a piece, and a word about everything that was changed on the way.

    Voices named soprano, alto, tenor or bass are these. Others, up to four of a note at a time, are ordered by their
    mean pitch; of less than four, the uppermost is the soprano if a soprano can sing it, and each of the others what it
    is nearest to. Of more voices, or of chords, the notes that sound together are handed out: the highest to the
    soprano, the lowest to the bass, and what is more than four is left out.
    Notes are moved to the nearest sixteenth and last at least one. Raises UserError where a pitch is outside the
    vocabulary.
    """
    moved, words = to_sixteenths(piece)
    columns = _columns(moved)
    if not columns:
        grid, more = _handed_out(moved)
        left_out = f"; what is more than four is left out, in {more} sixteenths" if more else ""
        voices = len({note.voice for note in piece.notes})
        words.append(
            f"{voices} voice{'s' * (voices > 1)}: notes handed out, the highest to the soprano, the lowest to the bass"
            f"{left_out}"
        )
        return check_grid(grid), words
    grid, over = np.full((moved.length, 4), SILENT, np.int64), 0
    for note in moved.notes:
        place = np.s_[note.start : note.end, columns[note.voice]]
        over += bool((grid[place] != SILENT).any())
        grid[place] = note.pitch
    if over:
        words.append(f"{over} of {len(moved.notes)} notes begin while another of their voice sounds, and replace it")
    return check_grid(grid), words


def onsets(piece: Piece, grid: Grid) -> NDArray[np.bool_]:
    """Where a note of the piece begins in the grid that `from_piece` made of it: bool [steps, 4]."""
    moved, _ = to_sixteenths(piece)
    columns = _columns(moved)
    begins = np.zeros(grid.shape, bool)
    for note in moved.notes:
        place = np.s_[note.start, columns.get(note.voice, slice(None))]
        begins[place] |= grid[place] == note.pitch
    return begins


def to_sixteenths(piece: Piece) -> tuple[Piece, list[str]]:
    """The piece in sixteenths, and a word if notes were moved. Raises UserError for one without notes, or too long."""
    if not piece.notes:
        raise UserError("expected a piece with notes, got none; choose another file")
    found = in_sixteenths(piece)
    if found.length > MAX_STEPS:
        raise UserError(f"expected a piece of at most {MAX_STEPS:,} sixteenths, got {found.length:,}; cut it")
    moved = sum(note.start * STEPS_PER_QUARTER % piece.resolution != 0 for note in piece.notes)
    return found, [f"{moved} of {len(piece.notes)} notes moved to the nearest sixteenth"] if moved else []


def pitch_name(pitch: int) -> str:
    """The name of a MIDI pitch: C4 is 60."""
    return f"{PITCHES[pitch % 12]}{pitch // 12 - 1}"


def _columns(piece: Piece) -> dict[int, int]:
    """The column of each voice that has notes, by its name or by its mean pitch; empty where neither decides."""
    notes: dict[int, list[Note]] = {}
    for note in piece.notes:
        notes.setdefault(note.voice, []).append(note)
    names = [piece.voices[voice].strip().lower() for voice in notes]
    if len(set(names)) == len(names) and set(names) <= set(VOICES):
        return {voice: VOICES.index(name) for voice, name in zip(notes, names, strict=True)}
    over = sum(overlaps(line) for line in notes.values())
    if len(notes) > 4 or over > POLYPHONIC * len(piece.notes):
        return {}
    means = {voice: sum(note.pitch for note in line) / len(line) for voice, line in notes.items()}
    ordered = sorted(means, key=lambda voice: (-means[voice], voice))

    def misfit(chosen: Iterable[int]) -> float:
        low = 100.0 * (0 not in chosen and means[ordered[0]] >= RANGES[0][0])
        return low + sum(abs(means[voice] - sum(RANGES[one]) / 2) for voice, one in zip(ordered, chosen, strict=True))

    return dict(zip(ordered, min(itertools.combinations(range(4), len(ordered)), key=misfit), strict=True))


def _handed_out(piece: Piece) -> tuple[Grid, int]:
    """The pitches of each step of a piece in sixteenths for four voices, and how many steps have more.

    Of four or more: the three highest and the lowest. Of three, the middle one is the alto's if it is nearer to the
    middle of that voice. Of two, and of one alone, a note too low for an alto is the bass's.
    """
    changes = np.zeros((piece.length + 1, 128), np.int32)
    for note in piece.notes:
        changes[note.start, note.pitch] += 1
        changes[note.end, note.pitch] -= 1
    sounding = (changes.cumsum(0, dtype=np.int32)[:-1] > 0)[:, ::-1]
    place = sounding.cumsum(1, dtype=np.int32)
    count = place[:, -1]
    grid = np.full((piece.length, 4), SILENT, np.int64)
    for voice in range(4):
        nth = np.where((voice == 3) & (count > 4), count, voice + 1)
        found = sounding & (place == nth[:, None])
        grid[:, voice] = np.where(found.any(1), 127 - found.argmax(1), SILENT)
    alto, tenor = (sum(RANGES[voice]) / 2 for voice in (1, 2))
    rows = np.flatnonzero(count == 3)
    low = np.abs(grid[rows, 1] - alto) > np.abs(grid[rows, 1] - tenor)
    grid[rows, 3] = grid[rows, 2]
    grid[rows, 2] = np.where(low, grid[rows, 1], SILENT)
    grid[rows, 1] = np.where(low, SILENT, grid[rows, 1])
    for number in (2, 1):
        rows = np.flatnonzero((count == number) & (grid[:, number - 1] < RANGES[1][0]))
        grid[rows, 3], grid[rows, number - 1] = grid[rows, number - 1], SILENT
    return grid, int((count > 4).sum())
