from collections.abc import Callable

import pytest
import torch
from speed import naive
from torch import Tensor

from triptych.attention.causality import causality_violations
from triptych.attention.dense import dense
from triptych.attention.relation import Relation
from triptych.shape.config import Config
from triptych.shape.pattern import Full


def drawn(length: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 3, length, 4, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("length", [1, 7])
@pytest.mark.parametrize("form", [naive.relative, naive.relative_by_mask])
def test_both_forms_equal_the_definition(form: Callable[..., Tensor], length: int) -> None:
    query, key, value = drawn(length)
    table = torch.randn(3, length, 4, dtype=torch.float64)
    expected = dense(query, key, value, pattern=Full(causal=True), relations=[Relation(table)])
    torch.testing.assert_close(form(query, key, value, table), expected)


def test_the_module_equals_the_definition_with_one_table_for_all_heads() -> None:
    query, key, value = drawn(7)
    mix = naive.NaiveMix(7, 4, dropout=0.5).double().eval()
    table = mix.table.flip(0).expand(3, -1, -1)
    expected = dense(query, key, value, pattern=Full(causal=True), relations=[Relation(table)])
    torch.testing.assert_close(mix(query, key, value), expected)


def test_the_module_drops_probabilities_while_training() -> None:
    query, key, value = drawn(7)
    mix = naive.NaiveMix(7, 4, dropout=0.5).double()
    assert not torch.equal(mix(query, key, value), mix(query, key, value))


def test_the_model_is_causal() -> None:
    config = Config(9, width=8, heads=2, feed_forward=8, encoder_layers=0, decoder_layers=2)
    model = naive.naive_transformer(config, 6).double().eval()
    assert causality_violations(model, 6, vocabulary=9) == []
