import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.errors import UserError
from triptych.model.config import Config, Positions
from triptych.model.recall import Recall, Recent, run_lengths
from triptych.model.transformer import Transformer


def slow(ids: Tensor, period: int) -> Tensor:
    runs = torch.zeros_like(ids)
    for row in range(len(ids)):
        for at in range(period, ids.size(1)):
            if ids[row, at] == ids[row, at - period]:
                runs[row, at] = runs[row, at - period] + 1
    return runs


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 3), length=st.integers(0, 30), period=st.integers(1, 5), seed=st.integers(0, 9))
def test_run_lengths(rows: int, length: int, period: int, seed: int) -> None:
    ids = torch.randint(2, (rows, length), generator=torch.Generator().manual_seed(seed))
    assert run_lengths(ids, period).tolist() == slow(ids, period).tolist()
    recent = Recent.nothing(rows, period, torch.device("cpu"))
    for at in range(length):
        recent.append(ids[:, at], at)
        assert recent.ids[:, at % period].tolist() == ids[:, at].tolist()
        assert recent.runs[:, at % period].tolist() == slow(ids, period)[:, at].tolist()


def test_it_tells_of_the_token_one_period_back_and_its_run() -> None:
    config = Config(5, width=4, heads=1, positions=Positions(grid=(2,)), recall=2)
    recall = Recall(config)
    told = recall(torch.tensor([[3, 1, 3, 1, 3, 0]]))
    tokens, runs = 2 * recall.tokens.weight, 2 * recall.runs.weight  # 2 is the root of the width
    want = [0 * tokens[0], 0 * tokens[0], tokens[3] + runs[0], tokens[1] + runs[0], tokens[3] + runs[1]]
    torch.testing.assert_close(told[0], torch.stack([*want, tokens[1] + runs[1]]))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_sequences_have_nothing_to_recall(length: int) -> None:
    config = Config(5, width=4, heads=1, positions=Positions(grid=(3,)), recall=2)
    assert Recall(config)(torch.zeros(2, length, dtype=torch.int64)).tolist() == [[[0.0] * 4] * length] * 2


def test_steps_equal_the_whole_pass_also_when_rows_change_places() -> None:
    torch.manual_seed(0)
    shape = {"width": 8, "heads": 2, "feed_forward": 8, "encoder_layers": 0, "decoder_layers": 1, "dropout": 0.0}
    model = Transformer(Config(4, positions=Positions(grid=(3,)), recall=3, **shape)).double().eval()  # type: ignore[arg-type]
    target = torch.randint(4, (2, 25))
    target[:, 9:18] = target[:, :3].repeat(1, 3)
    want = model(target)
    cache = model.start(length=25, rows=2)
    for at in range(25):
        if at == 11:  # the rows change places
            cache.select(torch.tensor([1, 0]))
            target, want = target.flip(0), want.flip(0)
        got = model.step(None if at == 0 else target[:, at - 1], cache)
        torch.testing.assert_close(got, want[:, at], rtol=1e-10, atol=1e-10)


def test_it_needs_a_period() -> None:
    with pytest.raises(UserError, match=r"expected positions\.grid with recall"):
        Config(5, recall=3)
