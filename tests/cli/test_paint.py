"""The verbs of pictures on small untrained models: what goes in, what comes out, and a person's mistakes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.image.files import Pictures, read_picture, write_picture
from triptych.image.painter import Painter

NAMES = ("coat", "bag")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models `paint`, `complete` and `upscale` of 8 x 8 pixels, pictures and masks, and sets of pictures."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    pictures = Pictures(random.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8), random.integers(0, 2, 10), NAMES)
    for task in ("paint", "complete", "upscale"):
        Painter.new(pictures, task=task, preset="tiny", device="cpu").save(folder / task)  # type: ignore[arg-type]
    write_picture(folder / "picture.png", pictures.pictures[0])
    write_picture(folder / "large.png", pictures.pictures[1].repeat(3, 0).repeat(4, 1))
    write_picture(folder / "small.png", pictures.pictures[0, :2, :2])
    mask = np.zeros((8, 8, 1), np.uint8)
    mask[2:5, 3:6] = 255
    write_picture(folder / "mask.png", mask)
    (folder / "broken.png").write_bytes(b"no picture")
    parts = {"x_train": pictures.pictures, "y_train": pictures.labels, "class_names": np.array(NAMES)}
    np.savez(folder / "set.npz", **parts)  # type: ignore[arg-type]
    return folder


def common(folder: Path, model: str) -> list[Any]:
    return ["--model", folder / model, "--device", "cpu", "--threads", 1, "--json"]


def test_paint(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["paint", "--label", "coat", "--count", 3, "--seed", 4, *common(folder, "paint")]
    ran = run(*asked, "--out", tmp_path / "new" / "a")
    told = json.loads(ran.out)
    assert ran.code == 0 and told["label"] == "coat" and len(told["out"]) == told["pictures"] == 3
    painted = [read_picture(name)[0] for name in told["out"]]
    wanted = Painter.load(folder / "paint", device="cpu").paint(3, label="coat", seed=4)
    assert np.array_equal(np.stack(painted), wanted)
    assert read_picture(told["sheet"])[0].shape[2] == 3
    again = json.loads(run(*asked, "--out", tmp_path / "b").out)
    assert [Path(name).read_bytes() for name in again["out"]] == [Path(name).read_bytes() for name in told["out"]]
    for options in (["--temperature", 0], ["--top-k", 1], ["--top-p", 0.01]):
        cold = json.loads(run(*asked, *options, "--out", tmp_path / "c").out)
        assert not np.array_equal(read_picture(cold["out"][0])[0], painted[0])


def test_complete_with_a_mask(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["complete", folder / "picture.png", "--count", 2, *common(folder, "complete")]
    ran = run(*asked, "--mask", folder / "mask.png", "--out", tmp_path / "a")
    told = json.loads(ran.out)
    assert ran.code == 0 and told["hidden"] == 9
    given = read_picture(folder / "picture.png")[0]
    hidden = np.zeros((8, 8), bool)
    hidden[2:5, 3:6] = True
    found = [read_picture(name)[0] for name in told["out"]]
    assert all(np.array_equal(picture[~hidden], given[~hidden]) for picture in found)
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("keep", "rows", "columns"),
    [
        (None, slice(4), slice(None)),
        ("top", slice(4), slice(None)),
        ("bottom", slice(4, 8), slice(None)),
        ("left", slice(None), slice(4)),
        ("right", slice(None), slice(4, 8)),
    ],
)
def test_complete_with_half(
    run: Any, folder: Path, tmp_path: Path, keep: str | None, rows: slice, columns: slice
) -> None:
    asked = [] if keep is None else ["--keep", keep]
    ran = run("complete", folder / "picture.png", *asked, *common(folder, "complete"), "--out", tmp_path, "--count", 1)
    told = json.loads(ran.out)
    given, found = read_picture(folder / "picture.png")[0], read_picture(told["out"][0])[0]
    assert told["hidden"] == 32 and np.array_equal(found[rows, columns], given[rows, columns])
    assert not np.array_equal(found, given)


def test_a_picture_of_another_size_is_resized_with_a_word(run: Any, folder: Path, tmp_path: Path) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[:, 16] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    asked = ["complete", folder / "large.png", "--mask", tmp_path / "mask.png", *common(folder, "complete")]
    ran = run(*asked, "--out", tmp_path / "a")
    assert ran.code == 0 and "resized from 24 x 32 to the 8 x 8 pixels" in ran.err
    assert json.loads(ran.out)["hidden"] == 8, "a pixel that is damaged in part is damaged"


def test_upscale(run: Any, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "large.png"
    ran = run("upscale", folder / "small.png", "--out", out, "--seed", 2, *common(folder, "upscale"))
    told = json.loads(ran.out)
    assert (ran.code, told["height"], told["width"]) == (0, 8, 8) and not ran.err
    wanted = Painter.load(folder / "upscale", device="cpu").upscale(read_picture(folder / "small.png")[0], seed=2)
    assert np.array_equal(read_picture(out)[0], wanted[0])
    ran = run("upscale", folder / "picture.png", "--out", out, *common(folder, "upscale"))
    assert ran.code == 0 and "resized from 8 x 8 to the 2 x 2 pixels" in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["paint", "--label", "shoe", "--model", "{}/paint", "--out", "{}/x"], "expected a label of coat, bag"),
        (["paint", "--model", "{}/complete", "--out", "{}/x"], "--model fashion"),
        (["paint", "--count", "0", "--out", "{}/x"], "--count"),
        (["complete", "{}/broken.png", "--model", "{}/complete", "--out", "{}/x"], "broken.png"),
        (["complete", "{}/none.png", "--model", "{}/complete", "--out", "{}/x"], "which is no file"),
        (["complete", "{}/picture.png", "--model", "{}/paint", "--out", "{}/x"], "--model fashion-complete"),
        (
            ["complete", "{}/picture.png", "--mask", "{}/small.png", "--model", "{}/complete", "--out", "{}/x"],
            "a mask of",
        ),
        (["complete", "{}/picture.png", "--mask", "{}/mask.png", "--keep", "top", "--out", "{}/x"], "got both"),
        (["upscale", "{}/small.png", "--model", "{}/upscale", "--out", "{}/x.jpg"], "named *.png"),
        (["upscale", "{}/small.png", "--model", "{}/paint", "--out", "{}/x.png"], "--model emoji-upscale"),
    ],
)
def test_mistakes(run: Any, folder: Path, arguments: list[str], told: str) -> None:
    ran = run(*(argument.replace("{}", str(folder)) for argument in arguments))
    assert ran.code == 2 and not ran.out
    assert told in ran.err and ran.err.startswith("error: ") and ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["paint", "--label", "coot", "--model", "{}/paint"], "expected a label of coat, bag"),
        (["complete", "{}/broken.png", "--model", "{}/complete"], "none of these"),
        (["complete", "{}/picture.png", "--label", "coot", "--model", "{}/complete"], "expected a label of coat, bag"),
    ],
)
def test_a_mistake_leaves_no_folder(run: Any, folder: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    ran = run(*(argument.replace("{}", str(folder)) for argument in arguments), "--out", tmp_path / "new")
    assert ran.code == 2 and told in ran.err and not (tmp_path / "new").exists()


def test_train_and_evaluate(run: Any, folder: Path, tmp_path: Path) -> None:
    settings = ["--set=epochs=1", "--set=model.preset=tiny", "--set=data.mirror=true", "--set=data.held_out=1"]
    asked = ["train", "image", "--data", folder / "set.npz", "--threads", 1, "--json", *settings]
    ran = run(*asked, "--data", folder / "set.npz", "--out", tmp_path / "paint")
    assert ran.code == 0 and "training on 18 pictures, 1 held out" in ran.err
    model = ["--model", tmp_path / "paint", "--threads", 1, "--json", "--data", folder / "set.npz"]
    told = json.loads(run("evaluate", "image", *model, "--split", "train", "--heat", tmp_path / "heat.png").out)
    assert (told["pictures"], told["subpixels"], told["split"]) == (9, 9 * 192, "train")
    assert told["bits_per_dim"] == pytest.approx(told["nats"] / 192 / np.log(2)) and len(told["per_channel"]) == 3
    assert read_picture(tmp_path / "heat.png")[0].size
    told = json.loads(run("evaluate", "image", *model, "--split", "train", "--hide", "top", "--limit", 4).out)
    assert (told["pictures"], told["subpixels"], told["hidden"]) == (4, 4 * 96, "top")
    assert json.loads(run("evaluate", "image", *model, "--hide", "random").out)["subpixels"] in range(70, 160)

    ran = run(
        *asked, "--set=data.task=upscale", "--set=data.size=[4, 4]", "--set=data.factor=2", "--out", tmp_path / "up"
    )
    assert ran.code == 0 and "resized" in ran.err
    model[1] = tmp_path / "up"
    told = json.loads(run("evaluate", "image", *model, "--split", "train", "--samples", 2).out)
    figures = {"bits_per_dim", "nats", "psnr", "ssim", "mean_psnr", "mean_ssim", "bicubic_psnr", "consistency"}
    assert figures <= set(told)

    ran = run(
        *asked[:6],
        "--set=epochs=1",
        "--from",
        tmp_path / "paint",
        "--out",
        tmp_path / "more",
        "--set=model.dropout=0.1",
    )
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["data.size=7"], "data.size to be [height, width]"),
        (["data.mirror=1"], "data.mirror to be true or false"),
        (["data.held_out=0"], "data.held_out"),
        (["data.task=draw"], "expected a task"),
        (["data.miror=true"], "did you mean 'mirror'"),
        (["data.channels=2"], "expected 1 channel"),
        (["model.cell=[9]"], "cell of rows and columns"),
        (["data.task=upscale", "data.factor=3"], "factor=3 divides"),
    ],
)
def test_mistakes_in_training(run: Any, folder: Path, tmp_path: Path, settings: list[str], told: str) -> None:
    options = [f"--set={setting}" for setting in [*settings, "epochs=1", "model.preset=tiny"]]
    ran = run("train", "image", "--data", folder / "set.npz", "--out", tmp_path, *options)
    assert ran.code == 2 and told in ran.err and ran.err.count("\n") == 1


def test_look_at_a_pixel(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["look", "attention", folder / "picture.png", "--out", tmp_path / "a.png"]
    for model in ("paint", "complete"):
        ran = run(*asked, *common(folder, model), "--pixel", "3,5", "--layer", 1, "--label", "bag")
        told = json.loads(ran.out)
        assert ran.code == 0 and told["pixel"] == [3, 5] and len(told["heads"]) == 2
        weights = np.array(told["weights"])
        assert weights.shape == (2, 8, 8)
        assert weights.sum((1, 2)) + told["start"] == pytest.approx(np.ones(2), abs=1e-3)
        assert not weights[:, 4:].any(), "later cells are not seen"
        assert read_picture(tmp_path / "a.png")[0].size
    told = json.loads(run(*asked, *common(folder, "paint"), "--head", 2).out)
    assert told["pixel"] == [4, 4] and told["heads"] == ["head 2"]
    for options, word in (
        (["--pixel", "8,0"], "expected --pixel from 0,0 to 7,7"),
        (["--pixel", "3"], "expected --pixel ROW,COLUMN"),
        (["--layer", 9], "expected --layer from 1 to 1"),
        (["--head", 9], "expected --head from 1 to 2"),
        (["--voice", "alto"], "expected no --voice for a picture"),
        (["--beam", 3], "expected no --beam for a picture"),
    ):
        assert word in run(*asked, *common(folder, "paint"), *options).err


def test_look_at_what_is_alike(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["look", "similarity", folder / "picture.png", "--out", tmp_path / "a.png", "--json"]
    told = json.loads(run(*asked, "--pixel", "2,3").out)
    assert np.array(told["similarity"]).shape == (8, 8) and told["similarity"][2][3] == 1 and told["repetition"] == 0
    assert "from 0,0 to 7,7" in run(*asked, "--pixel", "2,8").err
