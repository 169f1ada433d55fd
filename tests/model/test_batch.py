import numpy as np
import torch

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.shape.config import Config


def test_what_counts() -> None:
    target, lengths = torch.zeros(3, 4, dtype=torch.int64), torch.tensor([4, 2, 3])
    assert Batch(target, lengths).counted().long().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]
    batch = Batch(target, lengths, context=torch.tensor([0, 1, 3]))
    assert batch.counted().long().tolist() == [[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert batch.tokens == 5 and batch.rows(slice(1, 3)).tokens == 1 and batch.to("cpu").tokens == 5


def test_parts_with_their_context_are_the_whole() -> None:
    torch.manual_seed(0)
    model = Transformer(Config(vocabulary=11, width=16, heads=2, encoder_layers=0, decoder_layers=2)).eval()
    ids = torch.randint(11, (1, 10))
    whole = model.loss(Batch(ids, torch.tensor([10])))[1]
    first = model.loss(Batch(ids[:, :6], torch.tensor([6])))[1]
    # the second part begins where the whole does: all that its tokens see is the same
    second = model.loss(Batch(ids, torch.tensor([10]), context=torch.tensor([6])))[1]
    torch.testing.assert_close(first + second, whole)


def test_a_batch_of_arrays() -> None:
    target, lengths, context = np.array([[3, 4, 1], [5, 1, 0]]), np.array([3, 2]), np.array([1, 0])
    batch = Batch.of(target, lengths, None, context=context)
    for tensor, array in ((batch.target, target), (batch.lengths, lengths), (batch.context, context)):
        assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.int64 and tensor.tolist() == array.tolist()
    assert batch.source is None and batch.tokens == 4
