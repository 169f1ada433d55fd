"""The piano in the gallery: half a minute from nothing, and half a minute after the opening of a prelude."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.cli.gallery.pages import facts, figure, heard, picture, section
from triptych.cli.output import say

if TYPE_CHECKING:
    from triptych.music.performances.pianist import Pianist
    from triptych.music.piece.piece import Piece

SECONDS = 30.0
LABEL, COMPOSING, CONTINUING = "Chopin", 2, 1  # a composer, and seeds
SHAPES = (".mid", ".wav")
# Johann Sebastian Bach, Prelude in C major (BWV 846, 1722, in the public domain), its first bars, each half a bar that
# is played twice: two held notes, and three that are broken over them.
BARS = ((60, 64, 67, 72, 76), (60, 62, 69, 74, 77), (59, 62, 67, 74, 77), (60, 64, 67, 72, 76), (60, 64, 69, 76, 81))
SIXTEENTH = 0.22  # seconds
LOUDNESS = (62, 54, 58, 62, 66)  # of the five notes, each the middle of a bin, so that it comes back as it is

COMPOSED = """<code>{model}</code> has played this just now, from {what}: one event after another was
drawn, which key goes down or up, how loud, and how many hundredths of a second pass. It learned from performances by
pianists. In the roll a note is the darker the louder it is."""
CONTINUED = """It was given the first five bars of Bach's Prelude in C (entered by us, as even as a machine plays),
{primer:.0f} seconds, and went on for {seconds:.0f} more. What was given comes back as it was. Try your own:
<code>triptych continue {given} --model {model} --seconds 30 --out longer.mid</code>"""
ARCS = """What the last note of this piece looked at when it was struck: the strongest weights of all heads as arcs, the
broader the more attention."""
SIMILARITY = """Every half second of what was continued compared with every other, dark where they sound alike. The
prelude's bars are the squares at the upper left."""
LIMITS = """It has trained for five hours and was still improving. It keeps the pace of what it was given for a while,
but not its figure; and what it plays from nothing has phrases, but no theme that comes back."""


def primer() -> Piece:
    """The opening of the prelude, encoded by us."""
    from triptych.music.piece.performance import Performance

    rows = []
    for number, chord in enumerate(BARS):
        for half in range(2):
            begin = (16 * number + 8 * half) * SIXTEENTH
            end = begin + 8 * SIXTEENTH
            for at, place in enumerate((0, 1, 2, 3, 4, 2, 3, 4)):
                start = begin + at * SIXTEENTH
                rows.append((start, end if at < 2 else start + SIXTEENTH, chord[place], LOUDNESS[place]))
    return Performance.of(*zip(*rows, strict=True)).to_piece()


PARTS = {"playing the piano": 10, "continuing a prelude": 5}  # and their shares of the time


def piano(pianist: Pianist, out: Path, begin: Callable[[str], None]) -> Iterator[str]:
    """The sections of the piano; files go to `out`/piano. begin: called with each of the `PARTS`."""
    begin("playing the piano")
    from triptych.look import arcs, similarity
    from triptych.look.notes import arcs_of_performance
    from triptych.music.files.save import save_music
    from triptych.music.piece.performance import from_piece

    folder = out / "piano"
    folder.mkdir(parents=True, exist_ok=True)
    name = escape(str(pianist.card["name"]))
    label = LABEL if LABEL in pianist.codec.labels else None
    piece = pianist.compose(label=label, seconds=SECONDS, seed=COMPOSING)
    found = arcs_of_performance(pianist, from_piece(piece)[0], label=label, warn=say)
    drawn = picture(arcs.draw(found), folder / "arcs.png", out, "Arcs from the last note to earlier events.")
    looked = figure(drawn, ARCS)
    what = f"nothing but the name of {escape(label)}" if label else "nothing at all"
    text = COMPOSED.format(model=name, what=what)
    body = [facts(pianist.card), *heard(piece, folder / "composed", out, SHAPES), looked]
    yield section("piano", "A piano: half a minute from nothing", text, body)

    begin("continuing a prelude")
    given = primer()
    save_music(given, folder / "primer.mid")
    longer = pianist.continue_(given, seconds=SECONDS, seed=CONTINUING)
    matrix = similarity.similarity(longer)
    drawn_matrix = similarity.draw(matrix, seconds=60 / longer.tempo)
    alike = picture(drawn_matrix, folder / "similarity.png", out, f"Self-similarity of {len(matrix)} half seconds.")
    shown = figure(alike, SIMILARITY)
    text = CONTINUED.format(model=name, primer=given.seconds, seconds=SECONDS, given="piano/primer.mid")
    body = [*heard(longer, folder / "continued", out, SHAPES), shown, f"<p>{LIMITS}</p>"]
    yield section("continued", "A prelude continued", text, body)
