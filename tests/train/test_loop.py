import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from copies import Copies, Stopping, make, read_log, recipe

from triptych.errors import DivergedError, UserError
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.model.weights import save_transformer, transformer_of
from triptych.shape.store import read_model
from triptych.train import loop, plan, update
from triptych.train.loop import fit, held_out_loss
from triptych.train.run import folder as run_folder
from triptych.train.run.package import Package, inherited
from triptych.train.run.state import read_state


def weights(model: Transformer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"average_last": 3, "evaluations": 1},
        {"ema": 0.9, "optimizer": "muon", "accumulate": 4, "dtype": "bfloat16"},
        {"optimizer": "adam", "clip": 0},
    ],
)
def test_resume_is_exact_to_the_bit_in_the_middle_of_an_epoch(changes: dict[str, object], tmp_path: Path) -> None:
    ours = recipe(**changes)
    straight = make()
    fit(straight, Copies(), Copies().epoch(9), ours, tmp_path / "straight", quiet=True)

    broken = make()
    outcome = fit(broken, Stopping(), Copies().epoch(9), ours, tmp_path / "broken", quiet=True)
    assert outcome.reason == "interrupted" and 0 < outcome.updates < 18 // int(ours.accumulate)
    resumed = make()
    outcome = fit(resumed, Copies(), Copies().epoch(9), ours, tmp_path / "broken", resume=True, quiet=True)
    assert outcome.reason == "finished"
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    best, other = (transformer_of(read_model(tmp_path / name)).state_dict() for name in ("straight", "broken"))
    assert all(torch.equal(best[name], other[name]) for name in best)
    pointers = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("straight", "broken")]
    assert pointers[0] == pointers[1]
    keys = ("event", "update", "nll")
    logs = [
        [{key: line.get(key) for key in keys} for line in read_log(tmp_path / name) if line["event"] != "start"]
        for name in ("straight", "broken")
    ]
    assert logs[0] == logs[1]


def test_accumulation_equals_one_large_batch(tmp_path: Path) -> None:
    class Halves(Copies):
        def epoch(self, number: int) -> Sequence[Batch]:
            return [
                half for batch in super().epoch(number) for half in (batch.rows(slice(0, 3)), batch.rows(slice(3, 8)))
            ]

    whole, halves = make(dropout=0.0), make(dropout=0.0)
    fit(whole, Copies(), Copies().epoch(9), recipe(), tmp_path / "whole", quiet=True)
    fit(halves, Halves(), Copies().epoch(9), recipe(accumulate=2), tmp_path / "halves", quiet=True)
    # The key's bias has no effect on a softmax, so its gradient is rounding, which Adam blows up: compare what is seen.
    batch = Copies().epoch(5)[0]
    logits = [model.eval()(batch.target, source=batch.source) for model in (whole, halves)]
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-3, atol=1e-4)


class Clock:
    """A clock of its own: an update takes one second, an evaluation so many, a saving half of one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, evaluation: float) -> None:
        self.now = 0.0
        held_out, write = loop.held_out_loss, run_folder.write_file

        def passing(function: Any, seconds: float) -> Any:
            def slow(*arguments: Any, **options: Any) -> Any:
                self.now += seconds
                return function(*arguments, **options)

            return slow

        monkeypatch.setattr(update, "set_lr_scale", passing(update.set_lr_scale, 1.0))  # in each update
        monkeypatch.setattr(loop, "held_out_loss", passing(held_out, evaluation))
        monkeypatch.setattr(run_folder, "write_file", passing(write, 0.25))
        monkeypatch.setattr(plan, "measure_step", lambda *_: 0.3)  # far from the truth
        monkeypatch.setattr(plan, "measure_optimizers", lambda *_: 0.1)
        monkeypatch.setattr(plan, "cost_of_bfloat16", lambda _: 2.0)
        monkeypatch.setattr(loop.time, "perf_counter", lambda: self.now)


@pytest.mark.parametrize(("evaluation", "average"), [(0, 0), (10, 3)])
def test_hours_are_those_of_the_clock(
    evaluation: float, average: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluation, saving and the mean at the end included, whatever was expected at first; the rate ends at zero."""
    clock = Clock(monkeypatch, evaluation)
    settings = recipe(epochs=None, hours=200 / 3600, evaluations=0.2, average_last=average)
    outcome = fit(make(), Copies(), Copies().epoch(9), settings, tmp_path, quiet=True)
    assert outcome.reason == "finished"
    assert clock.now == pytest.approx(200, rel=0.05) and outcome.seconds == pytest.approx(clock.now, rel=0.01)
    rates = [float(str(line["lr_scale"])) for line in read_log(tmp_path) if line["event"] == "train"]
    assert rates[-1] < 0.15 * max(rates)  # of the last update that was logged


def test_the_state_is_saved_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut costs minutes, however rare the evaluations are; a disk that is full for a while ends nothing."""
    Clock(monkeypatch, 0)
    seen: list[int] = []
    write_state, write = run_folder.RunFolder.write_state, run_folder.write_file

    def noted(folder: Any, state: Any) -> None:
        seen.append(state.progress.update)
        write_state(folder, state)

    def full(path: Path, *rest: Any) -> None:
        if path.name == "resume.safetensors" and seen[-1:] == [61]:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, *rest)

    monkeypatch.setattr(run_folder.RunFolder, "write_state", noted)
    monkeypatch.setattr(run_folder, "write_file", full)
    settings = recipe(epochs=25, evaluations=1 / 25, save_every=0.5)
    assert fit(make(), Copies(), Copies().epoch(9), settings, tmp_path, quiet=True).reason == "finished"
    apart = [after - before for before, after in itertools.pairwise(seen)]
    assert len(seen) >= 4 and max(apart) <= 32, seen
    assert recipe().save_every == 10


def test_a_resumed_run_keeps_its_number_formats(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = recipe(optimizer="muon", epochs=1)
    monkeypatch.setattr(plan, "cost_of_bfloat16", lambda device: 9.0)
    fit(make(), Copies(), Copies().epoch(9), settings, tmp_path, quiet=True)
    assert read_state(tmp_path).progress.orthogonal == "float32"
    monkeypatch.setattr(plan, "cost_of_bfloat16", lambda device: 0.1)
    fit(make(), Copies(), Copies().epoch(9), settings, tmp_path, resume=True, quiet=True)
    assert read_state(tmp_path).progress.orthogonal == "float32"


def test_patience_stops_and_the_best_is_kept(tmp_path: Path) -> None:
    scores = iter([1.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    outcome = fit(
        make(),
        Copies(),
        Copies().epoch(9),
        recipe(epochs=9, evaluations=1, patience=2),
        tmp_path,
        measure=lambda model: {"score": next(scores)},
        quiet=True,
    )
    assert outcome.reason == "no better for long enough" and outcome.score == 5.0
    assert read_model(tmp_path).card["training"]["updates"] == 12


def test_last_checkpoints_are_averaged(tmp_path: Path) -> None:
    fit(make(), Copies(), Copies().epoch(9), recipe(average_last=3, evaluations=1), tmp_path, quiet=True)
    held_out = [line for line in read_log(tmp_path) if line["event"] == "held_out"]
    assert [line["update"] for line in held_out] == [6, 12, 18, 18]
    pointer = json.loads((tmp_path / "run.json").read_text())
    assert len(pointer["kept"]) == 3


def test_a_nan_stops_with_the_last_good_checkpoint(tmp_path: Path) -> None:
    class Poisoned(Copies):
        def epoch(self, number: int) -> Sequence[Batch]:
            if number == 2:
                with torch.no_grad():
                    model.decoder[0].feed_forward.inner.weight[0, 0] = float("nan")
            return super().epoch(number)

    model = make()
    with pytest.raises(DivergedError, match="no longer finite at update 13"):
        fit(model, Poisoned(), Copies().epoch(9), recipe(), tmp_path, quiet=True)
    kept = read_model(tmp_path)
    assert kept.card["training"]["updates"] == 12
    assert all(np.isfinite(value).all() for value in kept.weights.values())
    assert read_log(tmp_path)[-1]["event"] == "diverged"


def test_weights_that_go_bad_in_an_update_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss before the update was finite; the held-out loss after it is not."""
    model = make()
    loss, looks = model.loss, []

    def poisoned(batch: Batch, smoothing: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        if not model.training:
            looks.append(batch)
            if len(looks) > 6:  # six batches are one look at the held-out data
                with torch.no_grad():
                    model.decoder[0].feed_forward.inner.weight[0, 0] = float("nan")
        return loss(batch, smoothing)

    monkeypatch.setattr(model, "loss", poisoned)
    with pytest.raises(DivergedError, match="update 12"):
        fit(
            model,
            Copies(),
            Copies().epoch(9),
            recipe(evaluations=1),
            tmp_path,
            measure=lambda _: {"score": 1.0},
            quiet=True,
        )
    pointer = json.loads((tmp_path / "run.json").read_text())
    assert pointer["best"].endswith("0000006") and pointer["last"].endswith("0000006")
    for name in ("best", "last"):
        kept = transformer_of(read_model(tmp_path / pointer[name]))
        assert all(value.isfinite().all() for value in kept.state_dict().values())


def test_a_score_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    scores = iter([float("nan"), 2.0, float("nan")])
    outcome = fit(
        make(),
        Copies(),
        Copies().epoch(9),
        recipe(evaluations=1),
        tmp_path,
        measure=lambda _: {"score": next(scores)},
        quiet=True,
    )
    assert outcome.score == 2.0 and read_model(tmp_path).card["training"]["updates"] == 12


def test_a_resumed_run_keeps_model_vocabulary_and_data(tmp_path: Path) -> None:
    pieces = Package({"tokenizer.model": b"pieces"}, {})
    fit(make(), Stopping(), Copies().epoch(9), recipe(), tmp_path, package=pieces, quiet=True)

    def resume(model: Transformer, data: Copies, package: Package) -> None:
        fit(model, data, Copies().epoch(9), recipe(), tmp_path, package=package, resume=True, quiet=True)

    with pytest.raises(UserError, match="keeps its model: width was 16, got 32"):
        resume(make(width=32), Copies(), pieces)
    with pytest.raises(UserError, match=r"keeps its model: dropout was 0\.3, got 0\.1"):
        resume(make(dropout=0.1), Copies(), pieces)
    with pytest.raises(UserError, match="keeps its vocabulary"):
        resume(make(), Copies(), Package({"tokenizer.model": b"others"}, {}))
    with pytest.raises(UserError, match="an epoch had 6 updates, these give 5"):
        resume(make(), Copies(batches=5), pieces)
    (tmp_path / "run.json").unlink()  # which the resume state makes up for
    resume(make(), Copies(), pieces)
    assert read_model(tmp_path).files == {"tokenizer.model": b"pieces"}


def test_a_run_does_not_hide_a_model(tmp_path: Path) -> None:
    save_transformer(tmp_path, make(), {}, {})
    with pytest.raises(UserError, match="which holds a model"):
        fit(make(), Copies(), Copies().epoch(9), recipe(), tmp_path, quiet=True)


def test_what_a_card_keeps_of_the_model_before() -> None:
    card = {"name": "fashion", "license": "MIT", "data": "clothes", "scores": {"a": 1}, "languages": {"target": "de"}}
    assert inherited(card) == {"languages": {"target": "de"}, "from": "fashion"}
    assert inherited({"task": "paint"}) == {"task": "paint"}


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found none; train without --resume"):
        fit(make(), Copies(), Copies().epoch(9), recipe(), tmp_path, resume=True, quiet=True)
    fit(make(), Copies(), Copies().epoch(9), recipe(), tmp_path, quiet=True)
    with pytest.raises(UserError, match="already holds a run"):
        fit(make(), Copies(), Copies().epoch(9), recipe(), tmp_path, quiet=True)
    with pytest.raises(UserError, match=r"learning_rate was 0\.003, got 0\.5"):
        fit(make(), Copies(), Copies().epoch(9), recipe(learning_rate=0.5), tmp_path, resume=True, quiet=True)
    (tmp_path / "resume.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="damaged"):
        fit(make(), Copies(), Copies().epoch(9), recipe(), tmp_path, resume=True, quiet=True)
    with pytest.raises(UserError, match="without a batch"):
        fit(make(), Copies(batches=0), Copies().epoch(9), recipe(), tmp_path / "none", quiet=True)
    with pytest.raises(UserError, match="held-out data"):
        held_out_loss(make(), [])
    with pytest.raises(UserError, match="held-out data"):
        fit(make(), Copies(), [], recipe(), tmp_path / "none", quiet=True)
    assert not (tmp_path / "none").exists()


def test_trains_outside_the_main_thread(tmp_path: Path) -> None:
    found = []
    thread = threading.Thread(
        target=lambda: found.append(fit(make(), Copies(), Copies().epoch(9), recipe(epochs=1), tmp_path, quiet=True))
    )
    thread.start()
    thread.join()
    assert found and found[0].reason == "finished"


SCRIPT = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, sys.argv[1])
    from copies import Copies, make, recipe as recipe_of
    from pathlib import Path
    from triptych.train.loop import fit
    model = make(dropout=0.0)
    changes = dict(pair.split("=") for pair in sys.argv[3:])
    settings = recipe_of(**{key: int(value) for key, value in changes.items()})
    outcome = fit(model, Copies(rows=5), Copies().epoch(9), settings, Path(sys.argv[2]))
    print(outcome.reason, outcome.updates)
    """
)


def test_sigterm_saves_and_names_how_to_resume(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path / "run"), "epochs=100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        log = tmp_path / "run" / "log.jsonl"
        while not (log.exists() and '"train"' in log.read_text()):
            assert time.monotonic() < deadline and process.poll() is None, "no training began"
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 0 and out.startswith("interrupted")
    assert "stopped by SIGTERM" in error and "--resume" in error
    assert (tmp_path / "run" / "resume.safetensors").exists()


def test_a_signal_repeated_at_once_is_the_same_signal(tmp_path: Path) -> None:
    class Twice(Copies):
        """Asks to stop twice in a row, as torchrun and the terminal do together."""

        def epoch(self, number: int) -> Sequence[Batch]:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            return super().epoch(number)

    outcome = fit(make(), Late(Twice()), Copies().epoch(9), recipe(), tmp_path, quiet=True)
    assert outcome.reason == "interrupted" and outcome.updates == 7
    assert (tmp_path / "resume.safetensors").exists()


class Late:
    """The given data from its second epoch on; plain copies before."""

    def __init__(self, data: Copies) -> None:
        self.data = data

    def epoch(self, number: int) -> Sequence[Batch]:
        return self.data.epoch(number) if number else Copies().epoch(number)
