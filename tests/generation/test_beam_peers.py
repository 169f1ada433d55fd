"""The probability tables of two peers' own tests, with their figures: what they find, this search finds.

fairseq: tests/test_sequence_generator.py and tests/utils.py. tensor2tensor: utils/beam_search_test.py. Their tables say
what each *place* in the beam predicts, whatever it holds, so these tests also pin the order inside the beam.
"""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from triptych.generation.beam import Hypothesis, LengthPenalty, beam_search


class Places:
    """Knows which source a row belongs to; the place of a row inside its source is its number modulo `beam`."""

    def __init__(self, sources: int, beam: int, state: NDArray[Any] | None = None) -> None:
        self.source = np.arange(sources).repeat(beam)
        self.beam = beam
        self.position = 0
        self.state = state

    @property
    def rows(self) -> int:
        return len(self.source)

    def select(self, rows: NDArray[Any]) -> None:
        self.source = self.source[rows]
        if self.state is not None:
            self.state = self.state[rows]


def _log(probabilities: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


class PlaceTable:
    """Probabilities [step][source][place][V]; past the last step END is certain."""

    def __init__(self, steps: list[list[list[list[float]]]], end: int) -> None:
        self.steps = np.array(steps, np.float64)
        self.end = end

    def step(self, ids: NDArray[Any] | None, cache: Places) -> NDArray[Any]:
        step, cache.position = cache.position, cache.position + 1
        if step >= len(self.steps):
            certain = np.zeros((cache.rows, self.steps.shape[-1]))
            certain[:, self.end] = 1.0
            return _log(certain)
        places = np.arange(cache.rows) % cache.beam
        return _log(self.steps[step, cache.source, places])


def check(found: list[Hypothesis], expected: list[tuple[list[int], list[float]]], penalty: LengthPenalty) -> None:
    """Same ids, same probability at each position, and the score that these give."""
    assert [list(one.ids) for one in found] == [ids for ids, _ in expected]
    for one, (ids, probabilities) in zip(found, expected, strict=True):
        assert [math.exp(log_prob) for log_prob in one.log_probs] == pytest.approx(probabilities, abs=1e-6)
        total = sum(map(math.log, probabilities))
        assert one.score == pytest.approx(total / penalty.divisor(len(ids)), abs=1e-6)


# fairseq: 0 = start, 1 = padding (neither is ever predicted), 2 = END, 3 = unknown

EOS, W1, W2 = 2, 4, 5


def row(eos: float, w1: float, w2: float) -> list[float]:
    return [0.0, 0.0, eos, 0.0, w1, w2]


FAIRSEQ = PlaceTable(
    [
        [[row(0.0, 0.9, 0.1)] * 2, [row(0.0, 0.7, 0.3)] * 2],
        [[row(1.0, 0.0, 0.0), row(0.0, 0.9, 0.1)], [row(0.25, 0.35, 0.4), row(0.0, 0.1, 0.9)]],
        [[row(0.0, 0.1, 0.9), row(0.6, 0.2, 0.2)], [row(0.6, 0.4, 0.0), row(0.01, 0.0, 0.99)]],
        [[row(1.0, 0.0, 0.0), row(1.0, 0.0, 0.0)], [row(0.1, 0.5, 0.4), row(1.0, 0.0, 0.0)]],
    ],
    EOS,
)
SHORT, LONG = ([W1, EOS], [0.9, 1.0]), ([W2, W1, W2, EOS], [0.1, 0.9, 0.9, 1.0])
THREE, FOUR = ([W1, W2, EOS], [0.7, 0.4, 0.6]), ([W1, W2, W1, EOS], [0.7, 0.4, 0.4, 1.0])


def fairseq(penalty: LengthPenalty, stop: str = "first", **settings: object) -> list[list[Hypothesis]]:
    """fairseq stops a sentence at `beam` finished hypotheses: "first". Its max_len_b, 200, does not count END."""
    return beam_search(
        FAIRSEQ, Places(2, 2), beam=2, nbest=2, end=EOS, penalty=penalty, stop=stop, **{"max_length": 201, **settings}  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("penalty", "first", "second"),
    [
        pytest.param(LengthPenalty("power", 1.0), [SHORT, LONG], [FOUR, THREE], id="normalized"),
        pytest.param(LengthPenalty("none"), [SHORT, LONG], [THREE, FOUR], id="unnormalized"),
        pytest.param(LengthPenalty("power", 0.6), [SHORT, LONG], [THREE, FOUR], id="favouring-short"),
        pytest.param(LengthPenalty("power", 5.0), [LONG, SHORT], [FOUR, THREE], id="favouring-long"),
    ],
)
def test_fairseq_length_penalties(
    penalty: LengthPenalty, first: list[tuple[list[int], list[float]]], second: list[tuple[list[int], list[float]]]
) -> None:
    found = fairseq(penalty)
    check(found[0], first, penalty)
    check(found[1], second, penalty)


@pytest.mark.parametrize("stop", ["first", "exact"])
def test_fairseq_max_length(stop: str) -> None:
    """max_len_b = 2 is three ids with END; at the third END is forced, with the probability the model gives it."""
    penalty = LengthPenalty("power", 1.0)
    found = fairseq(penalty, stop, max_length=3)
    check(found[0], [SHORT, ([W2, W2, EOS], [0.1, 0.1, 0.6])], penalty)
    check(found[1], [THREE, ([W2, W2, EOS], [0.3, 0.9, 0.01])], penalty)


def test_fairseq_without_early_stop() -> None:
    """fairseq once had --no-early-stop; "exact" is what it meant.

    Its test expected [w2 w2 w2 w2] at 0.4 and then [w1 w2 w1] for sentence 2, although [w2 w2 w2 w1] at 0.5 is better:
    the first hypothesis that should have replaced a worse one was dropped, because the worst had not been looked up
    yet. Here it is kept: it is the best, and the one fairseq expected first comes second, with fairseq's score.
    """
    penalty = LengthPenalty("power", 1.0)
    found = fairseq(penalty, "exact", max_length=99)
    check(found[0], [SHORT, LONG], penalty)
    better, fairseq_best = [0.3, 0.9, 0.99, 0.5, 1.0], [0.3, 0.9, 0.99, 0.4, 1.0]
    check(found[1], [([W2, W2, W2, W1, EOS], better), ([W2, W2, W2, W2, EOS], fairseq_best)], penalty)


def test_fairseq_prefix() -> None:
    """fairseq has no figures for prefix_tokens on this table; these follow from it. Its padding is our -1.

    Sentence 1 forced to w2: while one hypothesis is forced, it alone lives, in place 0, so step 1 predicts from place
    0. Sentence 2 is free at first, then forced to w2 in both places.
    """
    penalty = LengthPenalty("power", 1.0)
    found = fairseq(penalty, prefix=np.array([[W2, -1], [-1, W2]]))
    # place 0 ends at once: [w2 END] = 0.1 * 1; nothing else has any probability
    check(found[0], [([W2, EOS], [0.1, 1.0])], penalty)
    # 0.7 * 0.4 = 0.28 stays before 0.3 * 0.9 = 0.27, as without the prefix
    check(found[1], [FOUR, THREE], penalty)


# tensor2tensor: END = 1; its ids begin with a start id 0 and are padded with 0, ours are not

NONE = LengthPenalty("none")


Steps = list[list[list[list[float]]]]


def t2t(steps: Steps, beam: int, penalty: LengthPenalty, **settings: int) -> list[list[Hypothesis]]:
    return beam_search(
        PlaceTable(steps, 1), Places(len(steps[0]), beam), end=1, beam=beam, nbest=beam, penalty=penalty, **settings
    )


BEAM_TWO = [
    [[[0.1, 0.1, 0.8], [0.1, 0.1, 0.8]]],
    [[[0.4, 0.5, 0.1], [0.2, 0.4, 0.4]]],
    [[[0.05, 0.9, 0.05], [0.4, 0.4, 0.2]]],
]
OTHER = [
    [[0.1, 0.1, 0.8], [0.1, 0.1, 0.8]],
    [[0.3, 0.6, 0.1], [0.2, 0.4, 0.4]],
    [[0.05, 0.9, 0.05], [0.4, 0.4, 0.2]],
]


def test_t2t_greedy_batch_one() -> None:
    found = t2t([[[[0.7, 0.3]]], [[[0.4, 0.6]]], [[[0.5, 0.5]]]], 1, NONE, max_length=3)
    check(found[0], [([0, 1], [0.7, 0.6])], NONE)


def test_t2t_not_greedy_beam_two() -> None:
    """tensor2tensor finishes any END among 2 * beam candidates, we those among the first `beam`; the n best agree."""
    found = t2t(BEAM_TWO, 2, NONE, max_length=3)
    check(found[0], [([2, 1], [0.8, 0.5]), ([2, 0, 1], [0.8, 0.4, 0.9])], NONE)


def test_t2t_greedy_corner_case() -> None:
    """No END within decode_length 2. tensor2tensor hands back the unfinished [2, 2] at 0.7 * 0.5.

    We never return what has not ended: END is forced, so that one step more is needed for the same two ids, and with
    max_length 2 the END that is forced costs its probability.
    """
    table = [[[[0.2, 0.1, 0.7]]], [[[0.4, 0.1, 0.5]]]]
    check(t2t(table, 1, NONE, max_length=3)[0], [([2, 2, 1], [0.7, 0.5, 1.0])], NONE)
    check(t2t(table, 1, NONE, max_length=2)[0], [([2, 1], [0.7, 0.1])], NONE)


def test_t2t_batch_two_beam_two_with_alpha() -> None:
    """alpha 3.5: the longer hypothesis wins in the first sentence and not in the second; lengths count END."""
    both = [[one[0], other] for one, other in zip(BEAM_TWO, OTHER, strict=True)]
    found = t2t(both, 2, LengthPenalty("gnmt", 3.5), max_length=3)
    assert [[one.ids for one in each] for each in found] == [[(2, 0, 1), (2, 1)], [(2, 1), (2, 0, 1)]]
    expected = [
        [math.log(0.8 * 0.4 * 0.9) / (8 / 6) ** 3.5, math.log(0.8 * 0.5) / (7 / 6) ** 3.5],
        [math.log(0.8 * 0.6) / (7 / 6) ** 3.5, math.log(0.8 * 0.3 * 0.9) / (8 / 6) ** 3.5],
    ]
    assert [[one.score for one in each] for each in found] == [pytest.approx(each) for each in expected]


def test_t2t_beam_two_with_alpha() -> None:
    penalty = LengthPenalty("gnmt", 3.5)
    found = t2t(BEAM_TWO, 2, penalty, max_length=3)
    check(found[0], [([2, 0, 1], [0.8, 0.4, 0.9]), ([2, 1], [0.8, 0.5])], penalty)


class Counting(PlaceTable):
    """Adds a number to the state of each place, and notes the state it found at each step."""

    def __init__(self, steps: list[list[list[list[float]]]], add: list[float]) -> None:
        super().__init__(steps, 1)
        self.add = np.array(add)
        self.seen: list[list[float]] = []

    def step(self, ids: NDArray[Any] | None, cache: Places) -> NDArray[Any]:
        assert cache.state is not None
        self.seen.append(cache.state.tolist())
        cache.state = cache.state + self.add
        return super().step(ids, cache)


def test_t2t_states() -> None:
    model = Counting([[[[0.7, 0.3]]], [[[0.4, 0.6]]], [[[0.5, 0.5]]]], [1.0])
    beam_search(model, Places(1, 1, np.zeros(1)), end=1, beam=1, max_length=3, penalty=NONE)
    assert model.seen == [[0.0], [1.0]]


def test_t2t_state_follows_the_beam() -> None:
    """Both hypotheses always come from place 0, so its state is what both go on with."""
    model = Counting(BEAM_TWO, [3.0, 7.0])
    beam_search(model, Places(1, 2, np.zeros(2)), end=1, beam=2, nbest=2, max_length=3, penalty=NONE)
    assert model.seen == [[0.0, 0.0], [3.0, 3.0], [6.0, 6.0]]
