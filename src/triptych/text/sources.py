"""Sentences to translate in batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

SENTENCES = 32  # translated at once
TOGETHER = 10_240  # source tokens of all hypotheses that are translated at once: of 32 sentences with beam 5, 64 each


def by_length(sources: Sequence[Sequence[int]], beam: int, workers: int = 1) -> Iterator[list[int]]:
    """Batches of row numbers, long sentences first, so that memory is at its largest at once; empty lines stay out.

    A batch of long sentences, or with a wide beam, has fewer of them, so that memory stays bounded; and so has one of
    few sentences for several workers.
    """
    order = sorted((row for row, ids in enumerate(sources) if len(ids) > 1), key=lambda row: -len(sources[row]))
    share = -(-len(order) // workers)
    while order:
        count = min(SENTENCES, share, max(1, TOGETHER // (beam * len(sources[order[0]]))))
        yield order[:count]
        order = order[count:]
