from hypothesis import given
from hypothesis import strategies as st

from triptych.text.sources import SENTENCES, TOGETHER, by_length


@given(st.lists(st.integers(1, 400), max_size=80), st.integers(1, 40))
def test_batches_hold_each_sentence_once_and_are_bounded(lengths: list[int], beam: int) -> None:
    sources = [[7] * length for length in lengths]
    batches = list(by_length(sources, beam))
    assert sorted(row for batch in batches for row in batch) == [row for row, ids in enumerate(sources) if len(ids) > 1]
    longest = [len(sources[batch[0]]) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch in batches:
        assert 1 <= len(batch) <= SENTENCES
        assert len(batch) == 1 or len(batch) * beam * max(len(sources[row]) for row in batch) <= TOGETHER


def test_few_sentences_are_shared_among_workers() -> None:
    sources = [[2] * length + [1] for length in range(1, 8)]
    for workers, sizes in ((1, [7]), (2, [4, 3]), (3, [3, 3, 1]), (99, [1] * 7)):
        assert [len(rows) for rows in by_length(sources, 5, workers)] == sizes
    assert not list(by_length([[1]], 5, 4)), "an empty line needs no worker"
