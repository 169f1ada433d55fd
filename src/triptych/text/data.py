"""Sentence pairs: files -> `Pairs` -> batches of a token budget, in buckets of like length.

A line that cannot be used is skipped, and the report names it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.model.batch import Batches, Examples
from triptych.splits import evenly
from triptych.text.codec import TextCodec, text_lines
from triptych.text.files import Unusable, decoded, raw_lines
from triptych.text.segmentation import Ragged

Indices = NDArray[np.int64]

NOISE = 2.0  # tokens by which the order by source length is blurred: more mixes better and pads more
SHOWN_LINES = 5  # line numbers that a report shows of each kind of fault
MAX_CHARACTERS = 1000  # of each side of a pair as it is read; longer ones are skipped and reported
MAX_TOKENS = 256  # of each side once it is encoded, END included; as well
LOOKED_AT = 100  # first rows, by which the form of a file is decided where its name does not


@dataclass
class Report:
    """The lines that were skipped: of each kind of fault how many, and the first few line numbers (from 1)."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[int]] = field(default_factory=dict)

    def add(self, fault: str, line: int) -> None:
        """Note that `line` was skipped because of `fault`."""
        self.counts[fault] = self.counts.get(fault, 0) + 1
        shown = self.first.setdefault(fault, [])
        if len(shown) < SHOWN_LINES:
            shown.append(line)

    @property
    def skipped(self) -> int:
        """Number of lines skipped, of all kinds."""
        return sum(self.counts.values())

    def kinds(self) -> str:
        """Describe the faults: ``2 empty source (lines 4, 9); 1 malformed row (line 12)``."""
        return "; ".join(f"{count:,} {fault} ({self.numbers(fault)})" for fault, count in self.counts.items())

    def numbers(self, fault: str) -> str:
        """Name the lines of a fault: ``lines 4, 9``."""
        count = self.counts[fault]
        numbers = ", ".join(map(str, self.first[fault])) + (", ..." if count > SHOWN_LINES else "")
        return f"line{'s' if count > 1 else ''} {numbers}"

    def __str__(self) -> str:
        """One line: ``skipped 3 pairs: 2 empty source (lines 4, 9); 1 malformed row (line 12)``."""
        if not self.counts:
            return "skipped no pairs"
        return f"skipped {self.skipped:,} pair{'s' if self.skipped > 1 else ''}: {self.kinds()}"


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs in the order of their file. `lines` are their line numbers (empty: 1, 2, 3, ...).

    Either side may be given as any iterable of texts; anything else is a UserError.
    """

    source: Sequence[str]
    target: Sequence[str]
    lines: Sequence[int] = ()
    report: Report = field(default_factory=Report)

    def __post_init__(self) -> None:
        for side in ("source", "target"):
            object.__setattr__(self, side, text_lines(getattr(self, side), f"the {side} sentences"))
        if len(self.source) != len(self.target):
            raise UserError(
                f"expected as many targets as sources, got {len(self.target)} and {len(self.source)}; "
                "pair them one to one"
            )
        assert len(self.lines) in (0, len(self.source)), "one line number a pair"

    def __len__(self) -> int:
        return len(self.source)

    def only(self, rows: Iterable[int]) -> Pairs:
        """Return the pairs of these numbers, from 0, with the whole report."""
        rows = list(rows)
        chosen = [self.source[row] for row in rows], [self.target[row] for row in rows]
        return Pairs(*chosen, [self.line(row) for row in rows], self.report)

    def evenly(self, most: int | None) -> Pairs:
        """Return at most so many pairs, evenly from all of them."""
        return self.only(evenly(len(self), most).tolist())

    def line(self, index: int) -> int:
        """Line number of a pair in its file."""
        return self.lines[index] if self.lines else index + 1


def step(count: int) -> int:
    """The distance between held-out pairs of `count`: 100; less below 100 pairs, more beyond 100,000 of them."""
    return max(2, min(100, count), count // 1000)


def split(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """Return pairs to train on, and those that are held out. Raises UserError for fewer than two."""
    if len(pairs) < 2:
        raise UserError(
            f"expected at least 2 sentence pairs, one to train on and one to hold out, got {len(pairs)} "
            f"({pairs.report}); give more"
        )
    every = step(len(pairs))
    kept = [row for row in range(len(pairs)) if row % every]
    held = [row for row in range(len(pairs)) if not row % every]
    return pairs.only(kept), pairs.only(held)


def read_pairs(source: str | Path, target: str | Path | None = None) -> Pairs:
    """Read sentence pairs: two files of lines, or, with `source` alone, one TSV (two columns) or JSONL file.

    A JSONL row is ``{"source": "...", "target": "..."}``. Each file is UTF-8, gz or not (by its content, not its
    name). Lines end with LF or CRLF and with nothing else, so no other separator can shift one side. Unusable
    lines are skipped and listed in `Pairs.report`, which the caller shows. A missing or unreadable file, unequal line
    counts and a file without any usable pair are UserErrors.
    """
    rows, parse = _rows(Path(source), None if target is None else Path(target))
    sources: list[str] = []
    targets: list[str] = []
    lines: list[int] = []
    report = Report()
    for number, row in enumerate(rows, 1):
        try:
            pair = _checked(*parse(row))
        except Unusable as fault:
            report.add(str(fault), number)
            continue
        sources.append(pair[0])
        targets.append(pair[1])
        lines.append(number)
    if not lines:
        got = str(report) if report.counts else "an empty file"
        name = source if target is None else f"{source} and {target}"
        raise UserError(f"expected sentence pairs in {name}, got none that can be used ({got}); mend the file")
    return Pairs(sources, targets, lines, report)


def _checked(source: str, target: str) -> tuple[str, str]:
    source, target = source.strip(), target.strip()
    for side, text in (("source", source), ("target", target)):
        if not text:
            raise Unusable(f"empty {side}")
        if len(text) > MAX_CHARACTERS:
            raise Unusable(f"{side} over {MAX_CHARACTERS} characters")
    return source, target


def _parse_lines(row: tuple[bytes, bytes]) -> tuple[str, str]:
    return decoded(row[0], "source"), decoded(row[1], "target")


def _parse_tsv(row: bytes) -> tuple[str, str]:
    columns = decoded(row, "row").split("\t")
    if len(columns) != 2:
        raise Unusable("empty row" if not row.strip() else "row without exactly two columns")
    return columns[0], columns[1]


def _parse_jsonl(row: bytes) -> tuple[str, str]:
    text = decoded(row, "row")
    if not text.strip():
        raise Unusable("empty row")
    try:
        value = json.loads(text)
        source, target = value["source"], value["target"]
        (source + target).encode()  # a lone surrogate in an escape cannot be encoded
    except UnicodeEncodeError:
        raise Unusable("row not UTF-8") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Unusable('row that is no {"source": "...", "target": "..."}') from None
    return source, target


def _rows(path: Path, target: Path | None) -> tuple[Iterator[Any], Callable[[Any], tuple[str, str]]]:
    """Return the rows and their parser. The form of one file is decided by its name, or else by its first rows."""
    if target is not None:
        return _zipped(path, target), _parse_lines
    rows = raw_lines(path)
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in (".tsv", ".tab"):
        return rows, _parse_tsv
    if suffix in (".jsonl", ".ndjson"):
        return rows, _parse_jsonl
    seen = list(islice(rows, LOOKED_AT))  # read once only: the path may be a pipe
    parse = _form(seen)
    if parse is None:
        raise UserError(f"expected TSV or JSONL in {path}, got neither; give a second file with the target lines")
    return chain(seen, rows), parse


def _form(rows: Iterable[bytes]) -> Callable[[bytes], tuple[str, str]] | None:
    """Decide how most rows can be read: as JSON objects, or as columns between tabs; None: as neither.

    A sentence may begin with a brace, so a row is JSON only if it can be parsed.
    """
    rows = [row for row in rows if row.strip()]
    objects = sum(map(_is_object, rows))
    columns = sum(b"\t" in row and not _is_object(row) for row in rows)
    if objects > columns or (not columns and any(row.lstrip().startswith(b"{") for row in rows)):
        return _parse_jsonl
    return _parse_tsv if 2 * columns >= len(rows) > 0 else None


def _is_object(row: bytes) -> bool:
    try:
        return isinstance(json.loads(row), dict)
    except (ValueError, RecursionError):
        return False


def _zipped(source: Path, target: Path) -> Iterator[tuple[bytes, bytes]]:
    """Walk two files in step."""
    counts = [0, 0]
    for pair in zip_longest(raw_lines(source), raw_lines(target)):
        for side in (0, 1):
            counts[side] += pair[side] is not None
        if None not in pair:
            yield pair
    if counts[0] != counts[1]:
        raise UserError(
            f"expected as many lines in {target} as in {source}, got {counts[1]} and {counts[0]}; "
            "align the files line by line"
        )


class PairData:
    """Sentence pairs, encoded and in batches: what training and measuring read.

    A batch holds at most `tokens_per_batch` target positions, END and padding included, and at most twice as many
    source positions; widths are rounded up to `multiple`, so that few shapes occur. Each pair comes exactly once an
    epoch. `alpha` above 0 draws a new segmentation of both sides each epoch (`TextCodec.segmentations`); it needs a
    unigram vocabulary. With ``shuffle=False`` batches run from short to long: for held-out data.

    Pairs of more than `longest` tokens on a side, or more than a batch holds, are left out and added to the report in
    `pairs.report`. `pairs` are those in use, `kept` their places among those given. If none is left, that is a
    UserError, which calls them `what`.
    """

    def __init__(
        self,
        pairs: Pairs,
        codec: TextCodec,
        *,
        tokens_per_batch: int = 4096,
        alpha: float = 0.0,
        seed: int = 0,
        longest: int = MAX_TOKENS,
        multiple: int = 4,
        shuffle: bool = True,
        what: str = "sentence pairs",
    ) -> None:
        if multiple < 1 or tokens_per_batch < max(2, multiple):
            raise UserError(
                f"expected batches of at least {max(2, multiple)} tokens in multiples of at least 1, "
                f"got {tokens_per_batch} in multiples of {multiple}; raise them"
            )
        if seed < 0:
            raise UserError(f"expected a seed of 0 or more, got {seed}; choose another")
        self.codec = codec
        self.tokens_per_batch = tokens_per_batch
        self.alpha = alpha
        self.seed = seed
        self._multiple = multiple
        self._shuffle = shuffle
        self._longest = min(longest, tokens_per_batch // multiple * multiple)
        self.kept, self.pairs, self._best = self._encoded(pairs, what)
        self._segmentations = [codec.segmentations(side.lists(), alpha) for side in self._best] if alpha else []

    def __len__(self) -> int:
        """Return the number of pairs in use."""
        return len(self.pairs)

    def epoch(self, number: int) -> Batches:
        """Return the batches of epoch `number` (from 0): a function of it, data, settings and seed alone. Their parts
        are places in `pairs`.
        """
        source, target = (self._sampled(side, number) for side in (0, 1)) if self.alpha else self._best
        generator = np.random.default_rng([self.seed, number]) if self._shuffle else None
        groups = self._cut(self._order(source, target, generator), source, target)
        if generator is not None:
            groups = [groups[place] for place in np.argsort(generator.random(len(groups)))]
        return Batches(Examples(target, source, multiple=self._multiple).batch, groups)

    def _encoded(self, pairs: Pairs, what: str) -> tuple[list[int], Pairs, tuple[Ragged, Ragged]]:
        """Encode both sides once and leave out what is too long or turns out empty."""
        source, target = self.codec.encode_lines(pairs.source), self.codec.encode_lines(pairs.target)
        report = deepcopy(pairs.report)
        kept = []
        for index, (one, other) in enumerate(zip(source, target, strict=True)):
            if max(len(one), len(other)) > self._longest:
                side = "source" if len(one) > self._longest else "target"
                report.add(f"{side} over {self._longest} tokens", pairs.line(index))
            elif min(len(one), len(other)) < 2:  # END alone
                report.add("empty source" if len(one) < 2 else "empty target", pairs.line(index))
            else:
                kept.append(index)
        if not kept:
            raise UserError(
                f"expected {what} of at most {self._longest} tokens, got none that can be used ({report}); "
                "raise the limit or mend the data"
            )
        used = replace(pairs.only(kept), report=report)
        sides = Ragged.of([source[index] for index in kept]), Ragged.of([target[index] for index in kept])
        return kept, used, sides

    def _sampled(self, side: int, number: int) -> Ragged:
        """Draw segmentations of side 0 or 1; one that is too long falls back to the best one."""
        drawn = Ragged(*self._segmentations[side].draw([self.seed, number, side]))
        if drawn.lengths.max() <= self._longest:
            return drawn
        best = self._best[side]
        return Ragged.of([(drawn if drawn.lengths[row] <= self._longest else best)[row] for row in range(len(self))])

    def _order(self, source: Ragged, target: Ragged, generator: np.random.Generator | None) -> Indices:
        """Order pairs by the bucket of the target length, then by the source length.

        With a generator the source lengths carry some noise, so that the neighbours change every epoch.
        Every second bucket runs from long to short: a batch across two buckets then holds sources of like length.
        """
        bucket = -(-target.lengths // self._multiple)
        length = source.lengths.astype(np.float64)
        if generator is not None:
            length += generator.random(len(length)) * NOISE
        return np.lexsort((np.where(bucket % 2 == 0, length, -length), bucket))

    def _cut(self, order: Indices, source: Ragged, target: Ragged) -> list[Indices]:
        """Cut an order into batches as large as the budget allows."""
        # A source position costs half a target position: it meets no output layer and no cached step.
        widths = np.maximum(_up(target.lengths, self._multiple), _up(source.lengths, self._multiple) / 2)[order]
        cuts, widest = [0], 0.0
        for place, width in enumerate(widths.tolist()):
            widest = max(widest, width)
            if (place + 1 - cuts[-1]) * widest > self.tokens_per_batch and place > cuts[-1]:
                cuts.append(place)
                widest = width
        return np.split(order, cuts[1:])


def _up(length: Indices, multiple: int) -> Indices:
    """Round up to a multiple."""
    return -(-length // multiple) * multiple
