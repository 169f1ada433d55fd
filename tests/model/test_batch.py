import numpy as np
import torch

from triptych.model.batch import Batch, Batches, Examples, padded
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


def test_padding() -> None:
    ids, lengths = padded([np.array([3, 4, 5]), np.array([6])])
    assert ids.tolist() == [[3, 4, 5], [6, 0, 0]] and lengths.tolist() == [3, 1]
    wide, _ = padded([np.ones((3, 2), np.float32), np.ones((5, 2), np.float32)], multiple=4)
    assert wide.shape == (2, 8, 2) and wide.dtype == np.float32 and wide.sum() == 16


def test_batches_are_made_when_they_are_asked_for() -> None:
    made: list[int] = []

    def make(part: int) -> Batch:
        made.append(part)
        return Batch.of(np.full((1, 2), part), np.array([2]))

    batches = Batches(make, range(3, 9))
    rest = batches[2:][1:]
    assert (len(batches), len(rest), made) == (6, 3, [])
    assert [int(batch.target[0, 0]) for batch in rest] == made == [6, 7, 8]
    assert int(batches[-1].target[0, 0]) == 8


def test_examples_are_joined() -> None:
    rows = [np.array([3, 1]), np.array([4, 5, 6, 1]), np.array([7])]
    plain = Examples(rows).batch(np.array([2, 0]))
    assert plain.target.tolist() == [[7, 0], [3, 1]] and plain.lengths.tolist() == [1, 2]
    assert plain.source is plain.source_lengths is plain.label is plain.soft_targets is plain.metre is None
    full = Examples(rows, rows[::-1], [8, 9, 10], [np.eye(8, dtype=np.float32)[row] for row in rows], multiple=3)
    batch = full.batch(np.array([1, 2]))
    assert batch.source is not None and batch.label is not None and batch.soft_targets is not None
    assert batch.target.tolist() == [[4, 5, 6, 1, 0, 0], [7, 0, 0, 0, 0, 0]]
    assert batch.source.tolist() == [[4, 5, 6, 1, 0, 0], [3, 1, 0, 0, 0, 0]] and batch.label.tolist() == [9, 10]
    assert batch.soft_targets.shape == (2, 6, 8) and batch.soft_targets.dtype == torch.float32
