import pytest
import torch
from speed import plain
from torch.nn import functional

from triptych.attention.causality import causality_violations
from triptych.attention.dense import dense
from triptych.model.batch import Batch
from triptych.shape.config import Config
from triptych.shape.pattern import Local1D

CONFIG = Config(9, width=8, heads=2, feed_forward=8, encoder_layers=1, decoder_layers=2, dropout=0.0)


@pytest.mark.parametrize("length", [1, 3, 4, 12, 14])
def test_folded_blocks_equal_the_definition(length: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 3, length, 5, dtype=torch.float64)
    expected = dense(query, key, value, pattern=Local1D(4, 4))
    torch.testing.assert_close(plain.block_local(query, key, value, block=4), expected)


def test_the_decoder_is_causal() -> None:
    model = plain.PlainTransformer(CONFIG, lambda: plain.causal).double().eval()
    assert causality_violations(model, 6, vocabulary=9) == []


def test_the_input_is_the_target_moved_by_one() -> None:
    target = torch.tensor([[3, 4, 5]])
    assert plain.shifted(Batch(target, torch.tensor([3]))).tolist() == [[0, 3, 4]]


def test_the_loss_is_the_mean_over_what_is_no_padding() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 9), torch.tensor([[1, 2, 3], [4, 0, 0]])
    rows = [0, 1, 2, 3]
    expected = functional.cross_entropy(logits.flatten(0, 1)[rows], torch.tensor([1, 2, 3, 4]))
    torch.testing.assert_close(plain.mean_loss(logits, Batch(target, torch.tensor([3, 1]))), expected)


def test_torchs_own_transformer_reads_the_source_up_to_its_length() -> None:
    torch.manual_seed(0)
    model = plain.TorchTransformer(CONFIG).eval()
    source, lengths, target = torch.tensor([[1, 2, 3]]), torch.tensor([2]), torch.tensor([[4, 5]])
    first, padded, other = (
        model(Batch(target, torch.tensor([2]), torch.tensor([ids]), lengths))
        for ids in ([1, 2, 3], [1, 2, 8], [1, 7, 3])
    )
    assert first.shape == (1, 2, 9)
    torch.testing.assert_close(first, padded)
    assert not torch.allclose(first, other)
    moved = model(Batch(torch.tensor([[4, 8]]), torch.tensor([2]), source, lengths))
    torch.testing.assert_close(moved, first)
