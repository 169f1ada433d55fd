"""What models of piano performances have learned, beside the pianists they learned from.

    python benchmarks/piano.py --data PREPARED [--models MODEL ...] [--compose MODEL] [--minutes 10]
    python benchmarks/piano.py --data PREPARED_WITH_MELODIES --accompany MODEL

On the pieces of the split valid of prepared music, --pieces of them:
1. Length: nats a token at positions L to 2L of a piece (L: --length) with everything before in sight, and with the last
   L tokens only: every eighth stretch of 64 tokens, whose short context is so L - 64 to L tokens.
2. Minutes of music composed in one go: how dense and how loud it is, its longest silence and note, and where its
   pitches lie, beside the validation pieces; and how many seconds of music are made in one.
3. Accompaniment: nats a token given the melody, given that of another song (cut, or with rests at its end, to be as
   long), and given rests alone; of the melodies of the pieces' first --seconds, the notes that were played.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from triptych.cli.output import answer
from triptych.errors import UserError
from triptych.generation.sampling import Sampling
from triptych.model.batch import Batch
from triptych.music.performances.codec import on_grid, onsets
from triptych.music.performances.data import held_out_windows
from triptych.music.performances.melody import REST
from triptych.music.performances.pianist import LENGTH, Pianist
from triptych.music.performances.shards import VALID, Entry, Shards
from triptych.music.piece.performance import Performance, from_piece
from triptych.splits import evenly
from triptych.train.loop import held_out_loss

STRETCH, EVERY = 64, 8  # tokens that are compared at once, and of how many such stretches one is
HELD = 5.0  # seconds: longer than almost all notes of pianists
MARKS = {"5 %": 0.05, "median": 0.5, "95 %": 0.95}


@torch.no_grad()
def nats(pianist: Pianist, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each of ids [L] given all before it, without a label: [L]."""
    target = torch.from_numpy(ids)[None]
    found: NDArray[np.float64] = (
        pianist.module().eval().nll(Batch(target, torch.tensor([len(ids)])))[0].double().numpy()
    )
    return found


def length_row(name: str, pianist: Pianist, shards: Shards, length: int, pieces: int) -> dict[str, object]:
    """Nats a token at positions L to 2L, with everything in sight and with the last L tokens only."""
    if length < STRETCH:
        raise UserError(f"expected --length from {STRETCH}, got {length}")
    far, near = [], []  # by piece and stretch
    long = [entry for entry in shards.of_split(VALID) if entry.tokens >= 2 * length]
    for entry in (long[place] for place in evenly(len(long), pieces)):
        ids = pianist.codec.encode(shards.performance(entry))[: 2 * length]
        whole = nats(pianist, ids)
        lasts = range(length + STRETCH, 2 * length + 1, EVERY * STRETCH)
        far.append([whole[last - STRETCH : last].mean() for last in lasts])
        near.append([nats(pianist, ids[last - length : last])[-STRETCH:].mean() for last in lasts])
    apart = np.mean(far, 1) - np.mean(near, 1)
    return {
        "model": name,
        "L": length,
        "pieces": len(far),
        "tokens": np.size(far) * STRETCH,
        "all before": float(np.mean(far)),
        "the last L": float(np.mean(near)),
        "difference": float(apart.mean()),
        "standard error": float(apart.std(ddof=1) / len(apart) ** 0.5) if len(apart) > 1 else 0.0,
    }


def played_row(name: str, performances: Sequence[Performance]) -> dict[str, object]:
    """What is heard in some performances."""
    notes = np.concatenate([one.notes for one in performances])
    silences = [max([0.0, *gaps(one)]) for one in performances]
    row: dict[str, object] = {"music of": name, "minutes": sum(one.seconds for one in performances) / 60}
    row |= {"notes/s": len(notes) / sum(one.seconds for one in performances), "longest silence, s": max(silences)}
    lengths = notes["end"] - notes["start"]
    row |= {"longest note, s": float(lengths.max()), f"of {HELD:g} s and more": float((lengths >= HELD).mean())}
    for what in ("pitch", "velocity"):
        row |= {f"{what}, {mark}": float(np.quantile(notes[what], share)) for mark, share in MARKS.items()}
    return row


def gaps(performance: Performance) -> Iterator[float]:
    """Seconds in which nothing sounds, between notes."""
    ends = np.maximum.accumulate(performance.notes["end"])
    yield from (start - end for end, start in zip(ends, performance.notes["start"][1:], strict=False) if start > end)


def composing(
    name: str, pianist: Pianist, shards: Shards, minutes: float, sampling: Sampling, options: argparse.Namespace
) -> Iterator[dict[str, object]]:
    """The rows of what was composed, and of the validation pieces."""
    start = time.perf_counter()
    piece = pianist.compose(seconds=60 * minutes, label=options.label, sampling=sampling, seed=options.seed)
    took = time.perf_counter() - start
    performance, _ = from_piece(piece)
    tokens = len(pianist.codec.encode(performance))
    speed = {"tokens/s": tokens / took, "times as fast as it plays": piece.seconds / took}
    yield {**played_row(name, [performance]), **speed}
    entries = shards.evenly(VALID, options.pieces)
    yield played_row("pianists, validation", [shards.performance(entry) for entry in entries])


def accompaniment_row(name: str, pianist: Pianist, shards: Shards, options: argparse.Namespace) -> dict[str, object]:
    """What a melody tells, and whether all of it is played."""
    songs = [windows_of(pianist, shards, entry) for entry in shards.evenly(VALID, options.pieces)]
    if len(songs) < 2:
        raise UserError("expected at least two validation pieces, so that melodies can be of another; see --pieces")
    windows = [one for song in songs for one in song]
    strange = [
        given(one, other[place % len(other)].source)
        for song, other in zip(songs, [*songs[1:], songs[0]], strict=True)
        for place, one in enumerate(song)
    ]
    nothing = [given(one, torch.full_like(one.source, REST)) for one in windows if one.source is not None]
    found = {"the melody": windows, "another song's": strange, "rests": nothing}
    row: dict[str, object] = {"model": name, "tokens": sum(one.tokens for one in windows)}
    row |= {what: held_out_loss(pianist.module(), batches) for what, batches in found.items()}
    asked = kept = 0
    for number, entry in enumerate(shards.evenly(VALID, options.pieces)[: options.played]):
        melody = opening(shards.melody(entry), options.seconds)
        music, _ = from_piece(pianist.accompany(melody, seed=options.seed + number))
        struck = set(onsets(on_grid(music)))
        reference = onsets(on_grid(melody))
        asked, kept = asked + len(reference), kept + sum(one in struck for one in reference)
    return {**row, "notes of melodies": asked, "played": kept}


def windows_of(pianist: Pianist, shards: Shards, entry: Entry) -> list[Batch]:
    """The windows of one piece, with its melody, each a batch."""
    alone = copy(shards)
    alone.entries = [entry]
    return held_out_windows(alone, pianist.codec, task="accompany", tokens_per_batch=1)


def given(window: Batch, source: torch.Tensor | None) -> Batch:
    """A window with another source, as long as its own."""
    assert window.source is not None and source is not None
    length = window.source.size(1)
    filled = torch.nn.functional.pad(source[:, :length], (0, max(0, length - source.size(1))), value=REST)
    return replace(window, source=filled)


def opening(melody: Performance, seconds: float) -> Performance:
    """The notes that end within the first seconds after the first one."""
    notes = melody.notes.copy()
    begin = notes["start"].min(initial=np.inf)
    notes["start"] -= begin
    notes["end"] -= begin
    return Performance(notes[notes["end"] <= seconds])


def lines(tables: dict[str, list[dict[str, object]]]) -> Iterable[str]:
    """Markdown, a row a line."""
    for title, rows in tables.items():
        yield f"\n{title}"
        heads = list(dict.fromkeys(key for row in rows for key in row))
        yield "| " + " | ".join(heads) + " |"
        yield "|" + "---|" * len(heads)
        for row in rows:
            yield "| " + " | ".join(figure(row.get(head, "")) for head in heads) + " |"


def figure(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder that `triptych prepare music` made")
    parser.add_argument("--models", nargs="*", default=[], help="to compare by length")
    parser.add_argument("--compose", help="a model that composes minutes of music")
    parser.add_argument("--accompany", help="a model that accompanies melodies")
    parser.add_argument("--pieces", type=int, default=20, help="validation pieces")
    parser.add_argument("--length", type=int, default=LENGTH)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--label")
    parser.add_argument("--played", type=int, default=10, help="melodies that are accompanied")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.pieces < 1 or not (options.models or options.compose or options.accompany):
        raise UserError("expected a model of --models, --compose or --accompany, and at least one piece; see --help")
    shards = Shards(options.data)
    tables: dict[str, list[dict[str, object]]] = {}
    for name in options.models:
        row = length_row(
            name, Pianist.load(name, device="cpu", dtype="float32"), shards, options.length, options.pieces
        )
        tables.setdefault("length", []).append(row)
    if options.compose:
        sampling = Sampling(temperature=options.temperature, top_p=options.top_p)
        pianist = Pianist.load(options.compose, device="cpu")
        rows = composing(options.compose, pianist, shards, options.minutes, sampling, options)
        tables["minutes of music"] = list(rows)
    if options.accompany:
        pianist = Pianist.load(options.accompany, device="cpu")
        tables["accompaniment"] = [accompaniment_row(options.accompany, pianist, shards, options)]
    answer({"data": options.data, **tables}, lines(tables), as_json=options.json)


if __name__ == "__main__":
    main()
