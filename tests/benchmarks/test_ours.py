import io
import json
import sys

import pytest
import torch
from speed import ours

from triptych.shape.pattern import Local1D
from triptych.shape.relations import ByDistance


def test_the_cases_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "training", lambda built, batches, dtype: lambda: float(batches[0].lengths.sum()))
    monkeypatch.setattr(ours, "keep_freed_memory", lambda: True)
    found = ours.train()
    assert len(found) == 2 * 6 and found["relative, 1 x 2,048, float32"]() == 2048
    assert isinstance(ours.PIXELS.pattern, Local1D) and not ours.RELATIVE.relations
    assert ours.related(ours.RELATIVE, 512).relations == (ByDistance(512),)


def test_models_that_ship_generate_and_translate() -> None:
    made = ours.generate()
    assert made["composing, 8 pieces"]() == 8 and made["painting, 16 pictures"]() == 16
    assert ours.translate()["8 sentences, beam 5"]() == 8


def test_captions_are_the_same_every_time() -> None:
    assert ours.captions(3) == ours.captions(5)[:3] and all(line[0].isupper() for line in ours.captions(5))


def test_answers_are_lines_and_what_is_printed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def noisy() -> float:
        print("a library prints")
        return 3.0

    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO("noisy\nnoisy\n"))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "argv", ["ours.py", "train"])
    monkeypatch.setattr(ours, "VERBS", {"train": lambda: {"noisy": noisy}})
    ours.main()
    begun, *answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert begun["names"] == ["noisy"] and begun["package"].endswith("triptych")
    assert len(answers) == 2 and all(each["units"] == 3 and each["seconds"] > 0 for each in answers)
    assert err.getvalue() == "a library prints\n" * 2


def test_sentence_pairs_are_padded_with_zero() -> None:
    for batch, length in zip(ours.sentence_pairs(50, 100), ours.LENGTHS, strict=True):
        assert batch.target.shape == (100 // length, length) and int(batch.lengths.max()) == length
        beyond = torch.arange(length) >= batch.lengths[:, None]
        assert not batch.target[beyond].any() and (batch.target[~beyond] > 1).all()
