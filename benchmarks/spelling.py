"""How often our names of notes are those that are printed: `python benchmarks/spelling.py`.

Movements of music21's corpus (Monteverdi to Schumann, no Bach), pitch by pitch and in the printed key signatures,
beside four fixed windows of twelve names on the line of fifths. Reading them takes some minutes.
"""

from __future__ import annotations

import argparse
from typing import Any

from triptych.music.files.spelling import STEPS, places
from triptych.music.piece.piece import KeySignature, Note, Piece

COMPOSERS = {
    "mozart": 12,
    "haydn": 12,
    "beethoven": 12,
    "schumann_robert": 4,
    "schumann_clara": 4,
    "corelli": 4,
    "schubert": 4,
    "monteverdi": 6,
    "handel": 3,
}
SUFFIXES = (".mxl", ".xml", ".krn", ".musicxml")
FINE = 48  # ticks a quarter note
WINDOWS = (-1, -2, -3, -4)  # first place of a window, from the key signature


def printed(path: Any) -> list[tuple[int, int, int, int]]:
    """Tick, pitch, place on the line of fifths and key signature of every note of a movement, in order."""
    import music21

    rows = []
    score: Any = music21.converter.parse(path)
    for part in score.parts:
        sharps = 0
        for element in part.flatten():
            if isinstance(element, music21.key.KeySignature):
                sharps = element.sharps or 0
            elif isinstance(element, music21.note.Note | music21.chord.Chord):
                for pitch in element.pitches:
                    place = STEPS.index(pitch.step) - 1 + 7 * int(pitch.alter)
                    rows.append((int(FINE * element.offset), pitch.midi, place, sharps))
    return sorted(rows)


def piece_of(rows: list[tuple[int, int, int, int]]) -> Piece:
    """The notes without their names, in their key signatures."""
    keys: dict[int, KeySignature] = {}
    last = None
    for tick, _, _, sharps in rows:
        if sharps != last:
            keys.setdefault(tick, KeySignature(tick, sharps))
            last = sharps
    return Piece(tuple(Note(tick, tick + 1, pitch) for tick, pitch, _, _ in rows), FINE, keys=tuple(keys.values()))


def main() -> None:
    """Count, and print."""
    import music21

    argparse.ArgumentParser(description=__doc__).parse_args()
    wrong, total, movements = 0, 0, 0
    windows = dict.fromkeys(WINDOWS, 0)
    for composer, count in COMPOSERS.items():
        paths = [path for path in music21.corpus.getComposer(composer) if str(path).endswith(SUFFIXES)]
        for path in paths[:count]:
            rows = printed(path)
            movements += bool(rows)
            total += len(rows)
            wrong += sum(place != row[2] for place, row in zip(places(piece_of(rows)), rows, strict=True))
            for low in WINDOWS:
                windows[low] += sum(
                    sharps + low + (7 * pitch - sharps - low) % 12 != place for _, pitch, place, sharps in rows
                )
    print(f"{movements} movements, {total:,} notes: {wrong / total:.2%} get another name than printed")
    for low, count in windows.items():
        print(f"a window from {low:+d}: {count / total:.2%}")


if __name__ == "__main__":
    main()
