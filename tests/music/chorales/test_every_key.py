from collections.abc import Callable

import numpy as np
import pytest
import torch

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.music.chorales.codec import REST, ChoraleCodec, Grid
from triptych.music.chorales.data import transposed
from triptych.music.chorales.every_key import KEYS, probabilities

CODEC = ChoraleCodec()
ModelOf = Callable[..., Transformer]


def piece(label: int = -1) -> tuple[Grid, Batch]:
    grid = np.array([[72, 65, 60, 48], [74, 65, -1, 50], [71, 62, 55, 43]])
    ids = torch.from_numpy(CODEC.encode(grid))[None]
    return grid, Batch(ids, torch.tensor([12]), label=torch.tensor([label]))


def test_there_are_twelve_keys() -> None:
    assert sorted(key % 12 for key in KEYS) == list(range(12))


@pytest.mark.parametrize(("label", "moved"), [(-1, -1), (1, 1), (2 + 11, 2 + 2), (14 + 9, 14)])
def test_it_is_the_mean_over_keys_moved_back(model_of: ModelOf, label: int, moved: int) -> None:
    """Two keys by hand; the label of a key moves along, that of a mode stays."""
    model, (grid, batch) = model_of(), piece(label)
    want = torch.zeros(12, CODEC.vocabulary, dtype=torch.float64)
    for shift, other in ((0, label), (3, moved)):
        ids = torch.from_numpy(CODEC.encode(transposed(grid, shift)))[None]
        with torch.no_grad():
            found = model(ids, label=torch.tensor([other]))[0].softmax(-1)
        want[:, : REST - shift] += found[:, shift:REST] / 2
        want[:, REST:] += found[:, REST:] / 2
    torch.testing.assert_close(probabilities(model, batch, (0, 3)), want)


def test_in_the_key_of_the_piece_alone_nothing_is_lost(model_of: ModelOf) -> None:
    model, (_, batch) = model_of(), piece()
    found = probabilities(model, batch, (0,))
    with torch.no_grad():
        torch.testing.assert_close(found, model(batch.target, label=batch.label)[0].softmax(-1))


def test_a_key_without_a_pitch_of_the_piece_ends_there(model_of: ModelOf) -> None:
    """Moved up by six, the second note is above the vocabulary: from the third on, this key is not asked."""
    model = model_of()
    ids = torch.tensor([[30, 42, 10, 5]])
    batch = Batch(ids, torch.tensor([4]))
    both, alone = probabilities(model, batch, (0, 6)), probabilities(model, batch, (0,))
    torch.testing.assert_close(both[2:], alone[2:])
    assert not torch.allclose(both[:2], alone[:2])
