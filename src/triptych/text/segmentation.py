"""Subword regularisation that is a function of its seed: each epoch sees the same words cut into other pieces.

Kudo 2018, "Subword Regularization", section 3.3: a segmentation is drawn with probability proportional to p ** alpha
among the best ones. SentencePiece can draw too, but (in release 0.2.3) one seed gives another draw in every process,
so that no training run could resume exactly. Here the draw is numpy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from triptych.errors import UserError

BEST = 16  # segmentations of a word to draw among: the `l` of the paper, a word at a time


class Ragged:
    """Many lists of ids in one array: as Python integers they would take ten times the memory."""

    def __init__(self, ids: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
        self.ids, self.lengths = ids, lengths
        self.ends: NDArray[np.int64] = np.cumsum(lengths)

    @classmethod
    def of(cls, lists: Sequence[Sequence[int] | NDArray[np.int64]]) -> Ragged:
        """Join lists of ids."""
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        return cls(np.fromiter(chain.from_iterable(lists), np.int32, int(lengths.sum())), lengths)

    def lists(self) -> list[list[int]]:
        """The lists again."""
        return [self[row].tolist() for row in range(len(self.lengths))]

    def __getitem__(self, row: int) -> NDArray[np.int64]:
        end = self.ends[row]
        return self.ids[end - self.lengths[row] : end].astype(np.int64)


class Segmentations:
    """All the segmentations of some lines, to draw from again and again.

    No piece reaches across a blank, so a line is drawn word by word, and a word that occurs a thousand times is
    analysed once: a draw of 58,000 lines is a few array operations.
    """

    def __init__(
        self, processor: sentencepiece.SentencePieceProcessor, encoded: Sequence[Sequence[int]], alpha: float
    ) -> None:
        """Analyse `encoded`, the best segmentations of the lines, each ending with END. `alpha` is the exponent."""
        words, self._occurrences, self._starts = _words(processor, encoded)
        alternatives = _alternatives(processor, words)
        counts = np.fromiter(map(len, alternatives), np.int64, len(alternatives))
        self._first = np.cumsum(counts) - counts
        self._last = self._first + counts - 1
        self._pieces = Ragged.of(list(chain.from_iterable(alternatives)))
        self._cumulated = self._distribution(processor, alpha, counts)

    def draw(self, seed: Sequence[int]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Draw a segmentation of every line: all ids one after another, END included, and the length of each line.

        `seed` is one or more integers from 0; the same seed gives the same draw in every process.
        """
        if not len(self._occurrences):
            return np.empty(0, np.int32), np.empty(0, np.int64)
        uniform = np.random.default_rng(list(seed)).random(len(self._occurrences))
        # Alternative a of word w covers one stretch of [w, w + 1].
        chosen = np.searchsorted(self._cumulated, self._occurrences + uniform, side="right")
        chosen = np.clip(chosen, self._first[self._occurrences], self._last[self._occurrences])
        lengths = self._pieces.lengths[chosen]
        ends = np.cumsum(lengths)
        places = np.arange(ends[-1]) + np.repeat(self._pieces.ends[chosen] - ends, lengths)
        return self._pieces.ids[places], np.add.reduceat(lengths, self._starts)

    def _distribution(
        self, processor: sentencepiece.SentencePieceProcessor, alpha: float, counts: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Cumulated probabilities of the alternatives, those of word w ending at w + 1."""
        if not len(counts):
            return np.empty(0)
        scores = np.array([processor.get_score(piece) for piece in range(processor.get_piece_size())], np.float64)
        logits = alpha * np.add.reduceat(scores[self._pieces.ids], self._pieces.ends - self._pieces.lengths)
        weights = np.exp(logits - np.repeat(np.maximum.reduceat(logits, self._first), counts))
        share = weights / np.repeat(np.add.reduceat(weights, self._first), counts)
        running = np.cumsum(share)
        before = np.repeat(running[self._first] - share[self._first], counts)
        word = np.repeat(np.arange(len(counts)), counts)
        return np.asarray(running - before + word)


def _words(
    processor: sentencepiece.SentencePieceProcessor, encoded: Sequence[Sequence[int]]
) -> tuple[list[tuple[int, ...]], NDArray[np.int64], NDArray[np.int64]]:
    """Cut lines into words: the different words, the word of each occurrence, and where each line starts among these.

    END is the last word of every line.
    """
    names = [processor.id_to_piece(piece) for piece in range(processor.get_piece_size())]
    if any("▁" in name[1:] for name in names):
        raise UserError("expected pieces within words to sample segmentations, got pieces across them; set alpha to 0")
    begins = {piece for piece, name in enumerate(names) if name.startswith("▁") or piece == processor.eos_id()}
    known: dict[tuple[int, ...], int] = {}
    occurrences: list[int] = []
    starts: list[int] = []
    for ids in encoded:
        starts.append(len(occurrences))
        begin = 0
        for place, piece in enumerate(ids):
            if piece in begins and place > begin:
                occurrences.append(known.setdefault(tuple(ids[begin:place]), len(known)))
                begin = place
        occurrences.append(known.setdefault(tuple(ids[begin:]), len(known)))
    return list(known), np.array(occurrences, np.int64), np.array(starts, np.int64)


def _alternatives(
    processor: sentencepiece.SentencePieceProcessor, words: Sequence[tuple[int, ...]]
) -> list[list[list[int]]]:
    """Find the `BEST` segmentations of each word; the word as it is where it does not come back from its text."""
    try:
        texts = [processor.decode(list(word)) for word in words]
        best: list[list[list[int]]] = processor.nbest_encode(texts, nbest_size=BEST)
    except RuntimeError:
        raise UserError(
            "expected a unigram vocabulary to sample segmentations, got another kind; set alpha to 0"
        ) from None
    # Normalisation may change a text twice (it hardly ever does), and END has no text.
    return [found if list(word) in found else [list(word)] for word, found in zip(words, best, strict=True)]
