"""Chorales <-> token ids: four voices a sixteenth, soprano first (Huang et al. 2018, section 4.1: S1 A1 T1 B1 S2 ...).

A chorale is a grid: int64 [steps, 4] of MIDI pitches, a step a sixteenth, -1 a rest. Held and repeated notes are one
and the same in it, as in the data set of that paper; `onsets` tells them apart for notes that were read from a piece.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.music.bars import BAR, in_sixteenths
from triptych.music.key import key_of
from triptych.music.piece import Note, Piece

Grid = NDArray[np.int64]

VOICES = ("soprano", "alto", "tenor", "bass")
STEPS_PER_QUARTER = 4
LOWEST, HIGHEST = 36, 81  # of the chorales of Bach, C2 to A5
RANGES = ((60, 81), (52, 74), (46, 69), (36, 66))  # of each voice in them
REST = HIGHEST - LOWEST + 1
END = REST + 1
HOLE = END + 1  # in a source alone: a note that is to be found
SILENT = -1
UNKNOWN = -2  # in a grid with holes
MOST_STEPS = 100_000  # of a piece that is read
TEMPO = 84.0  # quarter notes a minute
FILE = "chorale.json"


class ChoraleCodec:
    """The vocabulary of four-part chorales: a pitch an id (0 is C2), then REST and END; HOLE in sources alone."""

    vocabulary = END + 1
    source_vocabulary = HOLE + 1

    def encode(self, grid: Grid, *, holes: bool = False) -> NDArray[np.int64]:
        """Ids [4 * steps] of a grid, without END. With `holes`, -2 is a note that is to be found.

        Raises UserError for pitches that no chorale has.
        """
        grid = check_grid(grid, holes=holes)
        ids = np.where(grid >= 0, grid - LOWEST, REST)
        return np.where(grid == UNKNOWN, HOLE, ids).reshape(-1)

    def decode(self, ids: Iterable[int]) -> Grid:
        """The grid of any ids at all: up to END; what is no pitch is a rest; an unfinished step ends with rests."""
        kept = []
        for token in ids:
            if token == END:
                break
            kept.append(token + LOWEST if 0 <= token < REST else SILENT)
        kept += [SILENT] * (-len(kept) % 4)
        return np.array(kept, np.int64).reshape(-1, 4)

    def to_bytes(self) -> bytes:
        """What a model folder keeps of the codec: a word for its kind and the numbers that it stands on."""
        return (json.dumps({"lowest": LOWEST, "highest": HIGHEST, "voices": VOICES}) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ChoraleCodec:
        """The codec of a model folder; one of another kind is a UserError."""
        try:
            known = json.loads(data) == json.loads(cls().to_bytes())
        except (ValueError, RecursionError):
            known = False
        if not known:
            raise UserError(f"expected a codec of chorales in {FILE}, got another; use the version that wrote it")
        return cls()


def check_grid(grid: Grid, *, holes: bool = False) -> Grid:
    """The grid, if it is one whose pitches the vocabulary has. With `holes`, notes in it may be unknown (-2)."""
    grid = np.asarray(grid)
    if grid.ndim != 2 or grid.shape[1] != 4 or not len(grid) or grid.dtype.kind not in "iu":
        raise UserError(f"expected integers [steps, 4], got {grid.dtype} {list(grid.shape)}; give four voices a step")
    wrong = grid[(grid > HIGHEST) | ((grid >= 0) & (grid < LOWEST)) | (grid < (UNKNOWN if holes else SILENT))]
    if wrong.size:
        raise UserError(
            f"expected pitches from {LOWEST} to {HIGHEST}, or {SILENT} for a rest, got {wrong[0]}; transpose it"
        )
    return grid.astype(np.int64)


def upbeat(steps: int) -> int:
    """Steps before the first bar line of a chorale: a quarter note if it is so much longer than whole bars.

    So most of Bach's are.
    """
    return STEPS_PER_QUARTER if steps > BAR and steps % BAR == STEPS_PER_QUARTER else 0


def to_piece(
    grid: Grid, tempo: float = TEMPO, *, pickup: int | None = None, struck: NDArray[np.bool_] | None = None
) -> Piece:
    """Notes of a grid, in the key that it sounds in: equal pitches of one voice that follow each other are one note.

    pickup: steps before the first bar line; without, those of `upbeat`. struck [steps, 4]: where a note begins all the
    same.
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
    return Piece(tuple(notes), STEPS_PER_QUARTER, tempo, VOICES, len(grid), before, keys=(key_of(grid).signature,))


def from_piece(piece: Piece) -> tuple[Grid, list[str]]:
    """The grid of a piece, and a word about everything that was changed on the way.

    Voices named soprano, alto, tenor or bass are these; any other four are taken from the highest (by mean pitch) to
    the lowest; and of any other number, the notes that sound together are handed out from the soprano down, and what is
    more than four is left out. Notes are moved to the nearest sixteenth and last at least one.
    Raises UserError where a pitch is outside the vocabulary.
    """
    moved, words = _moved(piece)
    columns = _columns(piece)
    if not columns:
        grid, more = _handed_out(moved)
        left_out = f"; more than four in {more} sixteenths" if more else ""
        voices = len({note.voice for note in piece.notes})
        words.append(f"{voices} voice{'s' * (voices > 1)}: notes handed out from the soprano down{left_out}")
        return check_grid(grid), words
    grid, over = np.full((moved.length, 4), SILENT, np.int64), 0
    for note in moved.notes:
        place = np.s_[note.start : note.end, columns[note.voice]]
        over += bool((grid[place] != SILENT).any())
        grid[place] = note.pitch
    if over:
        words.append(f"{over} of {len(moved.notes)} notes begin while another of their voice sounds, and replace it")
    return check_grid(grid), words


def melody_of(piece: Piece) -> tuple[Grid, list[str]]:
    """The highest notes of a piece as a soprano, the three other voices unknown (to be harmonized)."""
    moved, words = _moved(piece)
    melody = np.full((moved.length, 4), UNKNOWN, np.int64)
    melody[:, 0] = _handed_out(moved)[0][:, 0]
    return check_grid(melody, holes=True), words


def onsets(piece: Piece, grid: Grid, *, melody: bool = False) -> NDArray[np.bool_]:
    """Where a note of the piece begins in the grid that was made from it: bool [steps, 4].

    melody: the grid is that of `melody_of`, where a note of any voice may be the soprano's.
    """
    columns = {} if melody else _columns(piece)
    begins = np.zeros(grid.shape, bool)
    for note in _moved(piece)[0].notes:
        place = np.s_[note.start, columns.get(note.voice, slice(None))]
        begins[place] |= grid[place] == note.pitch
    return begins


def _moved(piece: Piece) -> tuple[Piece, list[str]]:
    """The piece in sixteenths, and a word if notes were moved."""
    if not piece.notes:
        raise UserError("expected a piece with notes, got none; choose another file")
    found = in_sixteenths(piece)
    if found.length > MOST_STEPS:
        raise UserError(f"expected a piece of at most {MOST_STEPS:,} sixteenths, got {found.length:,}; cut it")
    moved = sum(note.start * STEPS_PER_QUARTER % piece.resolution != 0 for note in piece.notes)
    return found, [f"{moved} of {len(piece.notes)} notes moved to the nearest sixteenth"] if moved else []


def _columns(piece: Piece) -> dict[int, int]:
    """The column of each voice that has notes, by its name or by its mean pitch; empty where neither tells."""
    pitches: dict[int, list[int]] = {}
    for note in piece.notes:
        pitches.setdefault(note.voice, []).append(note.pitch)
    names = [piece.voices[voice].strip().lower() for voice in pitches]
    if len(set(names)) == len(names) and set(names) <= set(VOICES):
        return {voice: VOICES.index(name) for voice, name in zip(pitches, names, strict=True)}
    if len(pitches) != 4:
        return {}
    ordered = sorted(pitches, key=lambda voice: (-sum(pitches[voice]) / len(pitches[voice]), voice))
    return {voice: column for column, voice in enumerate(ordered)}


def _handed_out(piece: Piece) -> tuple[Grid, int]:
    """The four highest pitches of each step of a piece in sixteenths, and how many steps have more."""
    changes = np.zeros((piece.length + 1, 128), np.int32)
    for note in piece.notes:
        changes[note.start, note.pitch] += 1
        changes[note.end, note.pitch] -= 1
    sounding = (changes.cumsum(0, dtype=np.int32)[:-1] > 0)[:, ::-1]
    place = sounding.cumsum(1, dtype=np.int32)
    grid = np.full((piece.length, 4), SILENT, np.int64)
    for voice in range(4):
        found = sounding & (place == voice + 1)
        grid[:, voice] = np.where(found.any(1), 127 - found.argmax(1), SILENT)
    return grid, int((place[:, -1] > 4).sum())
