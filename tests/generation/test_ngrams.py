import numpy as np
import pytest

from triptych.generation.ngrams import no_repeat


def banned(ids: list[int], size: int) -> set[int]:
    """By the definition: what would make the last `size` ids a sequence that was there before."""
    grams = {tuple(ids[at : at + size]) for at in range(len(ids) - size + 1)}
    return {token for token in range(5) if tuple([*ids, token][-size:]) in grams}


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 9, 30])
def test_what_would_come_twice_is_not_allowed(size: int, length: int) -> None:
    allow = no_repeat(size, 5)
    assert allow is not None
    ids = np.random.default_rng(size).integers(0, 5, (7, length))
    found = [set(np.flatnonzero(~row).tolist()) for row in allow(ids)]
    assert found == [banned(row, size) for row in ids.tolist()]
    assert length < 30 or any(found)


def test_size_0_allows_everything() -> None:
    assert no_repeat(0, 5) is None
