import json
from pathlib import Path
from typing import Any

import pytest

from triptych.music.chorales.augmentation import Augmentation
from triptych.music.chorales.composer import Composer
from triptych.shape.parts import Patches
from triptych.shape.pattern import Local1D
from triptych.train.run.package import Outcome


@pytest.fixture
def pairs(tmp_path: Path) -> list[str]:
    (tmp_path / "s").write_text("a b\nc d\n", "utf-8")
    (tmp_path / "t").write_text("x y\nz w\n", "utf-8")
    return ["--source", str(tmp_path / "s"), "--target", str(tmp_path / "t")]


def test_a_new_model(run: Any, translator: Any, pairs: list[str], tmp_path: Path) -> None:
    held_out = ["--held-out-source", pairs[1], "--held-out-target", pairs[3]]
    ran = run("train", "text", *pairs, *held_out, "--set", "epochs=2", "--out", tmp_path / "run", "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert (report["folder"], report["score"], report["updates"]) == (str(tmp_path / "run"), 2.5, 3)
    assert "2 sentence pairs" in ran.err
    assert [name for name, _ in translator.calls] == ["new", "fit"]
    asked = translator.calls[1][1]
    assert asked["recipe"].epochs == 2.0 and len(asked["held_out"]) == 2 and asked["resume"] is False


def test_from_another_model(run: Any, translator: Any, pairs: list[str], tmp_path: Path) -> None:
    assert (
        run("train", "text", *pairs, "--set", "epochs=2", "--from", "captions-en-de", "--out", tmp_path / "run").code
        == 0
    )
    assert [name for name, _ in translator.calls] == ["load", "fit"]


def test_mistakes(run: Any, translator: Any, pairs: list[str]) -> None:
    assert "--source" in run("train", "text").err
    assert "did you mean 'epochs'" in run("train", "text", *pairs, "--set", "epoch=2").err
    assert "did you mean 'width'" in run("train", "text", *pairs, "--set", "epochs=1", "--set", "model.wdth=8").err
    assert "setting data.pairs" in run("train", "text", *pairs, "--set", "epochs=1", "--set", "data.pairs=8").err
    assert (
        "data.sampling to be a number, got 'x'"
        in run("train", "text", *pairs, "--set", "epochs=1", "--set", "data.sampling=x").err
    )
    assert (
        "number of pieces, got 1.5"
        in run("train", "text", *pairs, "--set", "epochs=1", "--set", "model.vocabulary=1.5").err
    )
    assert "float64" in run("train", "text", *pairs, "--set", "epochs=1", "--dtype", "float64").err
    shaped = ["--set", "epochs=1", "--set", "model.preset=tiny", "--from", "captions-en-de"]
    assert "no [model] setting but dropout with --from, got preset" in run("train", "text", *pairs, *shaped).err
    assert "--held-out-source" in run("train", "text", *pairs, "--held-out-target", pairs[1], "--set", "epochs=1").err
    assert translator.calls == []


@pytest.fixture
def chorales(tmp_path: Path) -> Path:
    """Two pieces to train on, one held out."""
    piece = [[72, 64, 55, 48]] * 6 + [[71, 62, 55, 43]] * 2 + [[-1, -1, -1, -1]]
    path = tmp_path / "chorales.json"
    path.write_text(json.dumps({"train": [piece, piece[2:]], "valid": [piece[:8]]}), "utf-8")
    return path


SMALL = [
    *("--set", "model.preset=tiny", "--set", "model.width=16", "--set", "model.heads=2", "--set", "dtype=float32"),
    *("--set", "model.decoder_layers=1", "--set", "epochs=2", "--set", "tokens_per_batch=32", "--set", "warmup=1"),
]


@pytest.mark.parametrize("task", ["compose", "infill"])
def test_a_composer(run: Any, chorales: Path, tmp_path: Path, task: str) -> None:
    arguments = ["train", "music", "--data", chorales, *SMALL, "--set", "data.length=64", "--threads", 1, "--json"]
    ran = run(*arguments, "--set", f"data.task={task}", "--set", "card.domain=scales", "--out", tmp_path / "run")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert (report["folder"], report["reason"], report["updates"]) == (str(tmp_path / "run"), "finished", 4)
    assert "training on 2 pieces, 1 held out" in ran.err
    composer = Composer.load(tmp_path / "run", device="cpu")
    assert composer.task == task and composer.config.width == 16
    assert {key: composer.card[key] for key in ("task", "domain", "crop")} == {
        "task": task,
        "domain": "scales",
        "crop": 64,
    }
    again = run(*arguments, "--set", f"data.task={task}", "--set", "card.domain=scales", "--resume",
                "--set", "data.transpose=false", "--out", tmp_path / "run")  # fmt: skip
    assert again.code == 2 and "keeps its data and card: transposed was True, got False" in again.err
    # On from there: with the task of that model, and with another dropout or pattern only.
    further = ["train", "music", "--data", chorales, "--from", tmp_path / "run", "--out", tmp_path / "next"]
    pattern = ["--set", "model.pattern={kind='local_1d',query=8,memory=8}"]
    changes = ["--set", "model.dropout=0.3", *pattern, "--set", "data.label=false"]
    changes += ["--set", "model.positions={metre=24}"]
    ran = run(*further, *SMALL[6:8], *SMALL[10:], *changes, "--json")
    assert ran.code == 0, ran.err
    config = Composer.load(tmp_path / "next", device="cpu").config
    assert config.dropout == 0.3 and config.pattern == Local1D(8, 8) and config.positions.metre == 24
    ran = run(*further, *SMALL[10:], "--set", "model.positions={metre=0}", "--out", tmp_path / "wrong")
    assert ran.code == 2 and "expected positions.metre to be a whole number from 1, got 0" in ran.err
    if task == "infill":
        ran = run(*further, *SMALL[10:], "--set", "data.task=compose", "--out", tmp_path / "wrong")
        assert ran.code == 2 and "expected data.task infill, that of" in ran.err
        return
    # A composer is given an encoder, and then fills in.
    encoder = ["--set", "data.task=infill", "--set", "model.encoder_layers=1", "--out", tmp_path / "filler"]
    ran = run(*further, *SMALL[6:8], *SMALL[10:], *encoder)
    assert ran.code == 0, ran.err
    filler = Composer.load(tmp_path / "filler", device="cpu")
    assert filler.task == filler.card["task"] == "infill" and filler.config.encoder_layers == 1
    ran = run(*further, *SMALL[10:], "--set", "model.encoder_layers=1", "--out", tmp_path / "wrong")
    assert (
        ran.code == 2 and "expected data.task=infill with model.encoder_layers and --from, got another task" in ran.err
    )
    ran = run(*further[:4], "--from", tmp_path / "filler", *SMALL[10:], *encoder[:4], "--out", tmp_path / "twice")
    assert ran.code == 2 and "expected a decoder alone to be given an encoder, got encoder_layers=1" in ran.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.task=paint"], "expected data.task to be one of compose, infill, got 'paint'"),
        (["data.length=3.5"], "data.length to be a number of tokens, got 3.5"),
        (["data.length=true"], "data.length to be a number of tokens, got True"),
        (["data.length=100"], "data.length in whole bars (64 tokens each), got 100"),
        (["data.length=0"], "data.length in whole bars (64 tokens each), got 0"),
        (["data.transpose=1"], "data.transpose to be true or false, got 1"),
        (["data.lable=true"], "did you mean 'label'"),
        (["data.sampling=0.1"], "unknown setting data.sampling"),
        (["model.vocabulary=100"], "expected no vocabulary, got 100"),
        (["model.classes=7"], "expected classes=26"),
        (["model.preset=[1]"], "expected preset to be one of"),
        (["data.teachers=chorales"], "expected data.teachers to be a list of models"),
        (["data.composed=3"], "expected data.teachers with data.composed=3, got none"),
        (["data.composed=-1"], "expected data.composed of 0 to 100,000, got -1"),
        (["data.share=0.5"], "expected data.teachers with data.share=0.5, got none"),
        (["data.teachers=['chorales']", "label_smoothing=0.1"], "label_smoothing=0 with teachers"),
        (["model.positions={length=7}"], "no positions.length with sinusoidal positions, got 7"),
        (["model.relations={pitch={size=3,far='zero'}}"], "unknown setting relations.far of pitch"),
        (["model.head={kind='mixture',layers=2}"], "unknown setting head.layers of mixture"),
        (["matrix_learning_rate=0.02"], "expected optimizer=muon with matrix_learning_rate, got adamw"),
        (["card.task=paint"], "expected no task in the table card"),
        (["data.share=1.5"], "expected data.share of 0 to 1, got 1.5"),
        (["model.encoder_layers=2"], "encoder_layers 0 for the task compose, got 2"),
        (["data.task=infill", "model.encoder_layers=0"], "encoder_layers from 1 for the task infill, got 0"),
    ],
)
def test_mistakes_with_music(run: Any, chorales: Path, tmp_path: Path, settings: list[str], message: str) -> None:
    changes = [part for setting in settings for part in ("--set", setting)]
    ran = run("train", "music", "--data", chorales, *SMALL, *changes, "--out", tmp_path / "run")
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err.splitlines()[-1] and ran.err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "run").exists()


def test_music_that_is_not_there(run: Any, chorales: Path, tmp_path: Path) -> None:
    ran = run("train", "music", "--data", tmp_path / "none.zip", *SMALL)
    assert ran.code == 2 and ran.err.count("\n") == 1 and "which is not there" in ran.err
    chorales.write_text('{"train": [[[60, 55, 50, 40]]]}', "utf-8")
    ran = run("train", "music", "--data", chorales, *SMALL)
    assert ran.code == 2 and ran.err.count("\n") == 1 and "got 'valid'; its names: 'train'" in ran.err


def test_settings_of_the_data_arrive(run: Any, chorales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fit(composer: Composer, grids: Any, **options: Any) -> Outcome:
        asked.update(options, pieces=len(grids))
        return Outcome(tmp_path, 1.0, "finished", 1, 1.0)

    monkeypatch.setattr(Composer, "fit", fit)
    changes = ["--set", "data.length=64", "--set", "data.transpose=false", "--set", "seed=9"]
    assert run("train", "music", "--data", chorales, *SMALL, *changes, "--out", tmp_path / "run").code == 0
    assert (asked["pieces"], len(asked["held_out"]), asked["length"], asked["resume"]) == (2, 1, 64, False)
    assert asked["augmentation"] == Augmentation(transpose=False, label=True)
    assert (asked["recipe"].seed, asked["recipe"].epochs, asked["recipe"].label_smoothing) == (9, 2.0, None)
    changes += ["--set", "label_smoothing=0.05"]
    assert run("train", "music", "--data", chorales, *SMALL, *changes, "--out", tmp_path / "run").code == 0
    assert asked["recipe"].label_smoothing == 0.05


def test_teachers(run: Any, chorales: Path, tmp_path: Path) -> None:
    """What a composer says of all pieces is learned; to fill in, the pieces that it makes join the data."""
    arguments = ["train", "music", "--data", chorales, *SMALL, "--set", "data.length=64", "--threads", 1, "--json"]
    assert run(*arguments, "--out", tmp_path / "first").code == 0
    teachers = f'data.teachers=["{tmp_path / "first"}"]'
    further = [*arguments, "--set", teachers, "--set", "data.composed=1", "--set", "data.share=0.5"]
    ran = run(*further, "--out", tmp_path / "second")
    assert ran.code == 0, ran.err
    assert "composing 1 pieces" in ran.err and "asked the teachers about 3 of 3 pieces" in ran.err
    assert "training on 2 pieces, 1 held out" in ran.err
    log = [json.loads(line) for line in (tmp_path / "second" / "log.jsonl").read_text("utf-8").splitlines()]
    plain = [json.loads(line) for line in (tmp_path / "first" / "log.jsonl").read_text("utf-8").splitlines()]
    assert log[-1]["nll"] != plain[-1]["nll"]
    without = ["--set", "data.task=infill", "--set", "data.composed=0"]
    ran = run(*arguments, "--set", teachers, *without, "--out", tmp_path / "none")
    assert ran.code == 2 and "expected data.composed from 1 with composing teachers" in ran.err
    ran = run(*further, "--set", "data.task=infill", "--out", tmp_path / "third")
    assert ran.code == 0, ran.err
    assert "training on 5 pieces, 1 held out" in ran.err
    filling = [*arguments, "--set", f'data.teachers=["{tmp_path / "third"}"]']
    ran = run(*filling, "--set", "data.task=infill", "--out", tmp_path / "filled")
    assert ran.code == 0, ran.err
    assert "asked the teachers about 2 of 2 pieces" in ran.err
    ran = run(*filling, "--out", tmp_path / "wrong")
    assert ran.code == 2 and "expected data.task=infill and data.composed=0 with a teacher that fills in" in ran.err
    # A composer and a filler together teach to fill in, whichever is named first.
    both = [*arguments, "--set", f'data.teachers=["{tmp_path / "first"}", "{tmp_path / "third"}"]']
    ran = run(*both, "--set", "data.task=infill", "--out", tmp_path / "of-both")
    assert ran.code == 0, ran.err
    ran = run(*both, "--set", "data.task=infill", "--set", "data.composed=1", "--out", tmp_path / "wrong")
    assert ran.code == 2 and "got infill and 1; leave that teacher or data.composed out" in ran.err
    # On from there with another word dropout, and nothing else of the input.
    on = ["train", "music", "--data", chorales, "--from", tmp_path / "first", *SMALL[6:8], *SMALL[10:]]
    ran = run(*on, "--set", "model.input={word_dropout=0.25}", "--out", tmp_path / "fourth")
    assert ran.code == 0, ran.err
    reads = Composer.load(tmp_path / "fourth", device="cpu").config.input
    assert isinstance(reads, Patches) and reads.word_dropout == 0.25
    ran = run(*on, "--set", "model.input={repeat_features=3}", "--out", tmp_path / "fifth")
    assert (
        ran.code == 2
        and "no [model] setting but dropout, pattern, encoder_layers, input.word_dropout, positions.metre with"
        in ran.err
    )
    assert "got input.repeat_features" in ran.err
