"""Which model a name means, the message about a mistyped one, and what a model from a stranger may do."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from triptych import Composer, Painter, Pianist, Translator
from triptych.errors import UserError
from triptych.model.transformer import Transformer
from triptych.model.weights import save_transformer
from triptych.shape.config import Config
from triptych.shape.files import sealed
from triptych.shape.store import read_model, shipped, write_model

DOG = "A dog."
SMALL = Config(50, width=8, heads=2, feed_forward=8, encoder_layers=1, decoder_layers=1)


def model_folder(folder: Path, **card: Any) -> Path:
    """A model of no panel, which every command refuses by what its card says of itself."""
    torch.manual_seed(0)
    save_transformer(folder, Transformer(SMALL), {}, {"domain": "of nothing", **card})
    return folder


def run_folder(folder: Path, best: object = "checkpoints/update-1") -> Path:
    model_folder(folder / "checkpoints" / "update-1")
    (folder / "run.json").write_bytes(sealed({"best": best, "last": best, "kept": []}))
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("arguments", [[], ["--model", "captions-en-de"]])
def test_a_folder_does_not_hide_a_shipped_model(run: Any, here: Path, arguments: list[str]) -> None:
    model_folder(here / "captions-en-de")
    ran = run("translate", DOG, *arguments)
    assert (ran.code, ran.out) == (0, "Ein Hund.\n")
    assert "captions-en-de is the shipped model" in ran.err and "./captions-en-de" in ran.err
    ran = run("translate", DOG, "--model", "./captions-en-de")
    assert ran.code == 2 and "of nothing" in ran.err and "is the shipped" not in ran.err


def test_nor_does_one_for_the_other_verbs(run: Any, here: Path) -> None:
    model_folder(here / "fashion")
    (here / "piano").mkdir()  # no model: nothing to confuse
    ran = run("compose", "--model", "piano", "--seconds", "1", "--out", "a.mid")
    assert ran.code == 0 and "is the shipped model" not in ran.err
    ran = run("paint", "--count", "1", "--out", "out")
    assert ran.code == 0 and "fashion is the shipped model" in ran.err


def test_the_classes_know_the_same_names(here: Path) -> None:
    for name, kind in (
        ("captions-en-de", Translator),
        ("fashion", Painter),
        ("chorales", Composer),
        ("piano", Pianist),
    ):
        model_folder(here / name)
        kind.load(name)
        for folder in (f"./{name}", f"{name}/", Path(name)):
            with pytest.raises(UserError, match="of nothing"):
                kind.load(folder)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("runs/mien", "runs/mine"),
        ("run/mine", "runs/mine"),
        ("runs", "runs/mine"),
        ("./runs/min", "runs/mine"),
        ("model", "models"),
        ("caption-en-de", "captions-en-de"),
        ("captions-en-de/", "captions-en-de"),
        ("Fashion", "fashion"),
    ],
)
def test_a_miss_names_what_may_have_been_meant(run: Any, here: Path, typed: str, meant: str) -> None:
    run_folder(here / "runs" / "mine")
    model_folder(here / "models")
    ran = run("translate", DOG, "--model", typed)
    assert ran.code == 2 and ran.err.count("\n") == 1
    assert f"got {typed!r}" in ran.err and f"did you mean {meant!r}?" in ran.err


@pytest.mark.parametrize("typed", ["", "nothing", "someone/model", "a\0b", "x" * 5000, "../..", "/", "~/none", "hf:"])
def test_any_other_miss_is_one_line(run: Any, typed: str) -> None:
    for arguments in (["translate", DOG, "--model", typed], ["compose", "--model", typed]):
        ran = run(*arguments)
        assert ran.code == 2 and ran.err.count("\n") == 1 and len(ran.err) < 1100


def test_a_folder_is_a_model_by_its_card_or_its_run(run: Any, here: Path) -> None:
    (here / "empty").mkdir()
    ran = run("translate", DOG, "--model", "empty")
    assert ran.code == 2 and "no card.json or run.json" in ran.err
    (here / "file").write_text("x")
    assert "got the file 'file'" in run("translate", DOG, "--model", "file").err


def test_every_place_that_names_a_model_reports_it(run: Any, here: Path) -> None:
    (here / "s.txt").write_text("a dog\n" * 200)
    run_folder(here / "runs" / "mine")
    words = ["--source", "s.txt", "--target", "s.txt"]
    for arguments in (
        ["train", "text", *words, "--from", "runs/mien", "--set", "epochs=1"],
        ["evaluate", "text", *words, "--model", "runs/mien"],
        ["look", "text", DOG, "--model", "runs/mien", "--out", "a.png"],
        ["paint", "--model", "runs/mien", "--out", "pictures"],
        ["continue", "s.txt", "--model", "runs/mien", "--out", "a.mid"],
    ):
        ran = run(*arguments)
        assert ran.code == 2 and "did you mean 'runs/mine'?" in ran.err, arguments


@pytest.mark.parametrize(
    "best", ["../other", "/tmp", "checkpoints/../../other", "link", "..", 3, ["a"], "a\0b", "x" * 999]
)
def test_a_run_does_not_lead_out_of_its_folder(run: Any, here: Path, best: object) -> None:
    model_folder(here / "other")
    run_folder(here / "mine", best)
    (here / "mine" / "link").symlink_to(here / "other")
    ran = run("translate", DOG, "--model", "mine")
    assert ran.code == 2 and ran.err.count("\n") == 1
    assert "to be a folder in the run" in ran.err


def test_a_run_may_itself_be_a_link(here: Path) -> None:
    run_folder(here / "mine")
    (here / "link").symlink_to(here / "mine")
    assert read_model("./link").card["domain"] == "of nothing"


ESCAPES = "red\x1b[31m\x1b]0;title\x07 \x9b2J\r\nline\u202eback"


def test_a_card_does_not_act_on_the_terminal(
    run: Any, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = read_model("captions-en-de")
    folder = here / "captions-xx"
    card = {**source.card, "notice": ESCAPES, "domain": ESCAPES, "license": ESCAPES, "scores": {ESCAPES: ESCAPES}}
    write_model(folder, source.config, source.weights, source.files, {**card, "languages": {"target": ESCAPES}})
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    monkeypatch.setattr("triptych.shape.store.SHIPPED", here)
    shown = [
        run("translate", DOG, "--model", "captions-xx"),  # its notice
        run("paint", "--model", "captions-xx", "--out", "pictures"),  # an error, which names its domain
        run("models"),
        run("models", "--json"),
        run("translate", DOG, "--model", "captions-xx", "--json"),
    ]
    for ran in shown:
        text = (ran.out + ran.err).replace("\n", "").replace("\t", "")
        assert text.isprintable(), ascii(ran)
    assert "title" in shown[0].err and "title" in shown[1].err and "title" in shown[2].out and "title" in shown[3].out


def test_the_hub_is_asked_for_what_begins_with_hf_alone(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def stand_in(name: str, **_: object) -> str:
        asked.append(name)
        return str(here / "other")

    monkeypatch.setattr(hub, "snapshot_download", stand_in)
    model_folder(here / "other")
    with pytest.raises(UserError, match="write hf:someone/model"):
        read_model("someone/model")
    assert asked == []
    assert read_model("hf:someone/model").card["domain"] == "of nothing"
    assert asked == ["someone/model"]
    for odd in ("hf:model", "hf:a/b/c", "hf:/b", "hf:a/../b"):
        with pytest.raises(UserError, match="expected hf:owner/name"):
            read_model(odd)


@pytest.mark.parametrize("without", ["network", "package"])
def test_without_a_hub_there_is_one_line(run: Any, monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    if without == "package":
        monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    else:
        hub = pytest.importorskip("huggingface_hub")
        monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    ran = run("translate", DOG, "--model", "hf:someone/no-such-model")
    assert ran.code == 2 and ran.err.count("\n") == 1
    assert ("pip install" if without == "package" else "the hub did not give") in ran.err


def test_a_shipped_model_that_is_moved_is_a_folder_like_others(here: Path) -> None:
    name = shipped()[0]["name"]
    shutil.copytree(Path(__import__("triptych").__file__).parent / "weights" / name, here / "copy")
    assert read_model("copy").card["name"] == "copy"
