"""Notes in the gallery: a chorale from nothing and a melody that gets three voices, to hear, to read, to look into."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.cli.gallery.pages import facts, figure, folded, heard, picture, section
from triptych.cli.output import say

if TYPE_CHECKING:
    from triptych.music.chorales.composer import Composer
    from triptych.music.piece.piece import Piece

LABEL, COMPOSING = "G minor", 8  # a key and a seed, chosen for its voice leading among sixteen
CALM, HARMONIZING = 0.7, 7  # temperature, for likelier notes, and of eight seeds the one with the best voice leading
# "Freude, schöner Götterfunken" (Beethoven 1824, in the public domain), in F major: pitch and sixteenths.
PHRASE = tuple((pitch, 4) for pitch in (69, 69, 70, 72, 72, 70, 69, 67, 65, 65, 67, 69))
OPEN, CLOSE = ((69, 6), (67, 2), (67, 8)), ((67, 6), (65, 2), (65, 8))
MIDDLE = (
    *((67, 4), (67, 4), (69, 4), (65, 4), (67, 4), (69, 2), (70, 2), (69, 4), (65, 4)),
    *((67, 4), (69, 2), (70, 2), (69, 4), (67, 4), (65, 4), (67, 4), (60, 8)),
)
ODE = (*PHRASE, *OPEN, *PHRASE, *CLOSE, *MIDDLE, *PHRASE, *CLOSE)
SHAPES = (".mid", ".wav", ".musicxml")

COMPOSED = """<code>{model}</code> has written this piece just now, note by note, from nothing but the wish for
{label}. It may wander off from that. It learned from 229 chorales of Bach. Every note knew those of the last
twelve bars before it and none after; where the piece ends is its own decision. It is the best of sixteen tries. In the
roll, time goes to the right and pitch upwards, a colour a voice."""
HARMONIZED = """<code>{model}</code> was given the melody alone, “Freude, schöner Götterfunken” (Beethoven, 1824),
and found alto, tenor and bass to all of it at once: it knew how the melody goes on. This is the best of eight
tries. Try your own: <code>triptych harmonize {melody} --seed 2 --out harmonized.mid</code>"""
ARCS = """What one note of the soprano looked at when it was written: an arc for each head and moment, the broader
the more attention. Attention shows where the model read, not why it chose the note."""
SIMILARITY = """Every beat of the piece compared with every other, dark where they sound alike: a dark line beside
the diagonal is a passage that returns."""
LIMITS = """It keeps the style for a phrase or two and forgets the plan of the whole: cadences come, but not always
where a congregation would breathe. Held and repeated notes are one and the same to it, so words could not be set to
it."""


def melody() -> Piece:
    """The melody that ships, encoded by us."""
    from triptych.music.piece.piece import KeySignature, Note, Piece

    notes, start = [], 0
    for pitch, length in ODE:
        notes.append(Note(start, start + length, pitch))
        start += length
    return Piece(tuple(notes), tempo=96.0, voices=("melody",), keys=(KeySignature(0, -1, minor=False),))


PARTS = {"composing a chorale": 3, "harmonizing a melody": 4}  # and their shares of the time


def notes(composer: Composer, filler: Composer, out: Path, begin: Callable[[str], None]) -> Iterator[str]:
    """The sections of the notes; files go to `out`/notes. begin: called with each of the `PARTS`."""
    begin("composing a chorale")
    folder = out / "notes"
    folder.mkdir(parents=True, exist_ok=True)
    piece = composer.compose(label=LABEL, seed=COMPOSING)
    described = COMPOSED.format(model=escape(str(composer.card["name"])), label=LABEL)
    looked = _looked_into(composer, piece, folder, out)
    body = [facts(composer.card), *_shown(piece, folder / "chorale", out), *looked]
    yield section("notes", "Notes: a chorale from nothing", described, body)

    from triptych.generation.sampling import Sampling
    from triptych.music.files.save import save_music

    begin("harmonizing a melody")
    given = melody()
    save_music(given, folder / "melody.mid")
    found = filler.harmonize(given, sampling=Sampling(temperature=CALM), seed=HARMONIZING)
    described = HARMONIZED.format(model=escape(str(filler.card["name"])), melody="notes/melody.mid")
    body = [facts(filler.card), *_shown(found, folder / "harmonized", out), f"<p>{LIMITS}</p>"]
    yield section("harmony", "A melody harmonized", described, body)


def _shown(piece: Piece, path: Path, out: Path) -> Iterator[str]:
    """A piece to hear, as a roll, as files, and engraved where verovio is installed."""
    yield from heard(piece, path, out, SHAPES)
    if importlib.util.find_spec("verovio") is None:
        say('the gallery is without scores: they need verovio; pip install "triptych[score]"')
        return
    from triptych.music.files.save import save_music

    save_music(piece, path.with_suffix(".svg"))
    where = path.with_suffix(".svg").relative_to(out).as_posix()
    score = f'<img src="{where}" loading="lazy" alt="The same as a score of four voices.">'
    yield folded("The score", "score", score)


def _looked_into(composer: Composer, piece: Piece, folder: Path, out: Path) -> Iterator[str]:
    """What a note looked at, and where the piece returns to itself."""
    from triptych.look import arcs, similarity
    from triptych.look.notes import arcs_of

    step = 3 * piece.length // 4 // 4 * 4 + 1
    found = arcs_of(composer, piece, step=step, warn=say)
    (strongest,) = found.strongest(1)
    back = int(found.ticks[found.chosen] - found.ticks[strongest.token])
    described = f"Arcs from a note of the soprano to earlier moments; the strongest goes back {back} sixteenths."
    drawn = picture(arcs.draw(found), folder / "arcs.png", out, described)
    yield figure(drawn, ARCS)
    matrix = similarity.similarity(piece)
    described = f"Self-similarity of {len(matrix)} beats."
    drawn = picture(similarity.draw(matrix), folder / "similarity.png", out, described)
    yield figure(drawn, SIMILARITY)
