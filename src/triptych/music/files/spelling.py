"""Names of notes: from MIDI pitches to steps and accidentals, by the key and by what sounds around a note.

The algorithm is PS13s1 (Meredith 2006, "The ps13 pitch spelling algorithm") in a known key: every pitch class around a
note votes, as if it were the tonic of a harmonic chromatic scale, for the name that the note has in this scale. Of
134,282 notes of 50 movements of music21's corpus (Monteverdi to Schumann, no Bach) 1.1 % get another name than printed,
counted before the raised seventh of a key that is known to be minor had votes of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triptych.music.piece.piece import KeySignature, Note, Piece

STEPS = "FCGDAEB"  # along the line of fifths; C is place 0
BEFORE, AFTER = 10, 42  # notes around a note that vote, as in the paper
PRIOR = 0.5  # of a note, for each note of the scale
LEADING = 5  # notes, for the raised seventh of a minor key
# Places on the line of fifths of the harmonic chromatic scale, in semitones from its tonic.
SCALE = np.array([0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5])
MIN_FIFTHS, MAX_FIFTHS = -15, 19  # double flats to double sharps


def spell(pitch: int, place: int) -> tuple[str, int, int]:
    """Name a MIDI pitch by its place on the line of fifths: step A to G, semitones that it is raised by, octave.

    Middle C begins octave 4.
    """
    alter = (place + 1) // 7
    return STEPS[(place + 1) % 7], alter, (pitch - alter) // 12 - 1


def places(piece: Piece) -> list[int]:
    """Place on the line of fifths of each note of a piece, in its key signatures; C is 0, G 1, F -1.

    Of names with as many votes, the nearest to the middle of the key's scale wins.
    """
    notes = piece.notes
    classes = np.array([note.pitch % 12 for note in notes], np.int64)
    seen = np.concatenate([np.zeros((1, 12), np.int64), np.eye(12, dtype=np.int64)[classes].cumsum(0)])
    number = np.arange(len(notes))
    around = seen[np.minimum(len(notes), number + AFTER)] - seen[np.maximum(0, number - BEFORE)]
    fifths, minor = _keys(notes, piece.keys)
    found = np.zeros(len(notes), np.int64)
    for signature, in_minor, pitch_class in sorted(
        set(zip(fifths.tolist(), minor.tolist(), classes.tolist(), strict=True))
    ):
        mine = (fifths == signature) & (minor == in_minor) & (classes == pitch_class)
        candidates, votes = _votes(signature, pitch_class)
        counted = (around[mine] + _scale(signature)) @ votes + LEADING * (in_minor & (candidates == signature + 8))
        found[mine] = candidates[counted.argmax(1)]
    return found.tolist()


def _keys(notes: Sequence[Note], keys: Sequence[KeySignature]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The key signature at each note, and whether it is known to be that of a minor key."""
    starts = np.array([key.start for key in keys], np.int64)
    place = np.searchsorted(starts, [note.start for note in notes], side="right")
    fifths = np.array([0, *(key.fifths for key in keys)], np.int64)
    return fifths[place], np.array([False, *(key.minor is True for key in keys)])[place]


def _scale(signature: int) -> NDArray[np.float64]:
    """Votes of the scale of a key signature by itself, [12], which decide where few notes do."""
    found = np.zeros(12)
    found[7 * np.arange(signature - 1, signature + 6) % 12] = PRIOR
    return found


def _votes(signature: int, pitch_class: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The names that a pitch class can have, nearest to the key first: [names]; and for which of them each pitch class
    votes: [12, names].
    """
    lowest = signature - 4
    tonics = lowest + (7 * np.arange(12) - lowest) % 12
    fifths = tonics + SCALE[(pitch_class - np.arange(12)) % 12]
    candidates = np.unique(fifths)
    candidates = candidates[(candidates >= MIN_FIFTHS) & (candidates <= MAX_FIFTHS)]
    candidates = candidates[np.argsort(abs(candidates - signature - 2), kind="stable")]
    return candidates, (fifths[:, None] == candidates).astype(np.float64)
