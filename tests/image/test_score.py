import math

import numpy as np
import pytest

from triptych.errors import UserError
from triptych.image.data import shrunk
from triptych.image.files.pictures import Pictures
from triptych.image.painter import Painter
from triptych.image.score import bicubic, enlargement, likelihood, similarity, worded

ODD = {"preset": "tiny", "device": "cpu", "cell": [2, 3]}


def slowly(painter: Painter, pictures: Pictures, hidden: np.ndarray | None = None) -> np.ndarray:  # type: ignore[type-arg]
    """Bits of every subpixel [N, height, width, channels], from the logits, a picture at a time."""
    found = []
    for place in range(len(pictures)):
        some = slice(place, place + 1)
        batch = painter._reads.batch(pictures.only(some), None if hidden is None else hidden[some])
        scores = painter.module().eval()(batch.target, source=batch.source, label=batch.label).log_softmax(-1)
        bits = -scores.gather(-1, batch.target[..., None])[0, :, 0].detach().double().numpy() / math.log(2)
        codec, grid = painter.codec, np.empty(painter.codec.tokens)
        grid[codec.order] = bits
        whole = grid.reshape(codec.rows * codec.cell[0], -1)[: codec.height, : codec.width * codec.channels]
        found.append(whole.reshape(codec.shape))
    return np.stack(found)


def test_bits_are_those_of_the_logits_wherever_they_stand(pictures: Pictures) -> None:
    """Also with padding: cells of 2 x 3 subpixels, in blocks that the picture does not fill."""
    pattern = {"kind": "local_2d", "query_rows": 3, "query_columns": 3, "memory_rows": 1, "memory_columns": 2}
    painter = Painter.new(pictures, pattern=pattern, **ODD)  # type: ignore[arg-type]
    assert not painter.codec.inside.all()
    found, bits = painter.evaluate(pictures), slowly(painter, pictures)
    assert found.bits_per_dim == pytest.approx(bits.mean(), rel=1e-5)
    assert found.heat == pytest.approx(bits.mean(0).sum(2), rel=1e-4)
    assert found.per_channel == pytest.approx(bits.mean((0, 1, 2)), rel=1e-4)
    figures = found.to_dict()
    assert (figures["pictures"], figures["subpixels"]) == (12, 12 * 192)
    assert figures["nats"] == pytest.approx(bits.sum((1, 2, 3)).mean() * math.log(2), rel=1e-5)
    error = bits.mean((1, 2, 3)).std(ddof=1) / math.sqrt(12)
    assert figures["interval"] == pytest.approx(1.96 * error, rel=1e-4)
    assert len(worded(figures)) == 3


@pytest.mark.parametrize("task", ["paint", "complete"])
def test_only_what_is_hidden_counts(pictures: Pictures, task: str) -> None:
    painter = Painter.new(pictures, task=task, **ODD)  # type: ignore[arg-type]
    hidden = np.random.default_rng(1).random((12, 8, 8)) < np.linspace(0.1, 0.9, 12)[:, None, None]
    found = painter.evaluate(pictures, hidden=hidden)
    bits = slowly(painter, pictures, hidden)
    assert found.bits_per_dim == pytest.approx(bits[hidden].mean(), rel=1e-5)
    assert found.counts.sum() == 3 * hidden.sum() and 0 < found.interval < 1
    everything = painter.evaluate(pictures, hidden=np.ones((12, 8, 8), bool))
    assert everything.bits_per_dim == pytest.approx(painter.evaluate(pictures).bits_per_dim)


def test_a_mask_for_each_picture(pictures: Pictures) -> None:
    painter = Painter.new(pictures, **ODD)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="expected masks"):
        painter.evaluate(pictures, hidden=np.ones((8, 8), bool))
    one = likelihood(
        painter.module(),
        painter._reads,
        Pictures(pictures.pictures[:1], pictures.labels[:1], pictures.names),  # type: ignore[index]
    )
    assert math.isnan(one.interval)


def test_progress_is_reported(pictures: Pictures) -> None:
    painter, calls = Painter.new(pictures, **ODD), []  # type: ignore[arg-type]
    likelihood(painter.module(), painter._reads, pictures, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (12, 12)


def test_similarity() -> None:
    truth = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    off = truth.astype(int)
    off[..., 0] = np.where(off[..., 0] > 127, off[..., 0] - 10, off[..., 0] + 10)
    psnr, ssim = similarity(truth, off.astype(np.uint8))
    assert psnr == pytest.approx(10 * math.log10(255**2 / (100 / 3)))
    assert 0.9 < ssim < 1
    assert similarity(truth, truth) == (pytest.approx(72.2, abs=0.1), 1.0)
    assert similarity(truth[:, :4], truth[:, :4])[1] == 1.0, "a smaller window"
    assert math.isnan(similarity(truth[:, :2], truth[:, :2])[1])


def test_an_enlargement_is_judged_by_samples_and_by_their_mean() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(60, 190, (3, 16, 16, 1), dtype=np.uint8)
    samples = (truth + random.integers(-40, 41, (5, *truth.shape))).astype(np.uint8)
    small = shrunk(truth, 2)
    found = enlargement(truth, samples, small)
    assert found.mean_psnr > found.psnr + 4 and found.mean_ssim > found.ssim
    assert enlargement(truth, truth[None], small).consistency == pytest.approx(72.2, abs=0.1)
    assert found.consistency > found.psnr
    assert (found.bicubic_psnr, found.bicubic_ssim) == similarity(truth, bicubic(small, 2))
    singles = [similarity(truth, sample) for sample in samples]
    assert (found.psnr, found.ssim) == pytest.approx(tuple(np.mean(singles, 0)), rel=1e-12)


def test_bicubic_enlarges_flat_pictures_exactly() -> None:
    for channels in (1, 3):
        flat = np.full((2, 4, 4, channels), 93, np.uint8)
        assert np.array_equal(bicubic(flat, 4), np.full((2, 16, 16, channels), 93))
