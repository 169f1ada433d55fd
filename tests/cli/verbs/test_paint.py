"""The verbs of pictures on small untrained models: what goes in, what comes out, and a person's mistakes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.image.files.pictures import Pictures, read_picture, write_picture
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
    report = json.loads(ran.out)
    assert ran.code == 0 and report["label"] == "coat" and len(report["out"]) == report["pictures"] == 3
    painted = [read_picture(name)[0] for name in report["out"]]
    reference = Painter.load(folder / "paint", device="cpu").paint(3, label="coat", seed=4)
    assert np.array_equal(np.stack(painted), reference)
    assert read_picture(report["sheet"])[0].shape[2] == 3
    again = json.loads(run(*asked, "--out", tmp_path / "b").out)
    assert [Path(name).read_bytes() for name in again["out"]] == [Path(name).read_bytes() for name in report["out"]]
    for options in (["--temperature", 0], ["--top-k", 1], ["--top-p", 0.01]):
        cold = json.loads(run(*asked, *options, "--out", tmp_path / "c").out)
        assert not np.array_equal(read_picture(cold["out"][0])[0], painted[0])


def test_complete_with_a_mask(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["complete", folder / "picture.png", "--count", 2, *common(folder, "complete")]
    ran = run(*asked, "--mask", folder / "mask.png", "--out", tmp_path / "a")
    report = json.loads(ran.out)
    assert ran.code == 0 and report["hidden"] == 9
    given = read_picture(folder / "picture.png")[0]
    hidden = np.zeros((8, 8), bool)
    hidden[2:5, 3:6] = True
    found = [read_picture(name)[0] for name in report["out"]]
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
    report = json.loads(ran.out)
    given, found = read_picture(folder / "picture.png")[0], read_picture(report["out"][0])[0]
    assert report["hidden"] == 32 and np.array_equal(found[rows, columns], given[rows, columns])
    assert not np.array_equal(found, given)


def test_a_picture_of_another_size_is_resized_with_a_word(run: Any, folder: Path, tmp_path: Path) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[:, 16] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    asked = ["complete", folder / "large.png", "--mask", tmp_path / "mask.png", *common(folder, "complete")]
    ran = run(*asked, "--out", tmp_path / "a")
    assert ran.code == 0 and "resized from 24 x 32 to the 8 x 8 pixels" in ran.err
    assert "its edges are cut off, to the middle 24 x 24 of 24 x 32 pixels" in ran.err
    assert json.loads(ran.out)["hidden"] == 8, "a pixel that is damaged in part is damaged"


def test_upscale(run: Any, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "large.png"
    ran = run("upscale", folder / "small.png", "--out", out, "--seed", 2, *common(folder, "upscale"))
    report = json.loads(ran.out)
    assert (ran.code, report["height"], report["width"]) == (0, 8, 8) and not ran.err
    reference = Painter.load(folder / "upscale", device="cpu").upscale(read_picture(folder / "small.png")[0], seed=2)
    assert np.array_equal(read_picture(out)[0], reference[0])
    given = read_picture(tmp_path / "large-given.png")[0]
    assert np.array_equal(given, read_picture(folder / "small.png")[0].repeat(4, 0).repeat(4, 1))
    assert report["files"] == [str(out)] and report["given"] == str(tmp_path / "large-given.png")
    ran = run("upscale", folder / "picture.png", "--out", out, *common(folder, "upscale"))
    assert ran.code == 0 and "resized from 8 x 8 to the 2 x 2 pixels" in ran.err
    assert not np.array_equal(read_picture(tmp_path / "large-given.png")[0], given), "one of ours is replaced"


def test_upscale_several_of_a_class(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["upscale", folder / "small.png", "--out", tmp_path / "x.png", *common(folder, "upscale"), "--label", "bag"]
    report = json.loads(run(*asked, "--count", 3, "--seed", 5).out)
    assert report["files"] == [str(tmp_path / f"x-{number}.png") for number in (1, 2, 3)] and report["label"] == "bag"
    made = np.stack([read_picture(name)[0] for name in report["files"]])
    small = read_picture(folder / "small.png")[0]
    painter = Painter.load(folder / "upscale", device="cpu")
    assert np.array_equal(made, painter.upscale(small, count=3, label="bag", seed=5))
    assert not np.array_equal(made, painter.upscale(small, count=3, label="coat", seed=5))
    assert (made.reshape(3, 2, 4, 2, 4, 3).mean((2, 4)) == small).all(), "exactly what was given"
    assert "2 of" not in run(*asked, "--count", 2).err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-1.png", "x-2.png", "x-given.png"]


@pytest.mark.parametrize("shade", [0, 255])
def test_black_and_white_come_back_from_upscaling(run: Any, folder: Path, tmp_path: Path, shade: int) -> None:
    write_picture(tmp_path / "small.png", np.full((2, 2, 3), shade, np.uint8))
    ran = run("upscale", tmp_path / "small.png", "--out", tmp_path / "large.png", *common(folder, "upscale"))
    assert ran.code == 0 and (read_picture(tmp_path / "large.png")[0] == shade).all()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_old_pictures_are_not_mixed_with_new_ones(run: Any, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ["paint", *common(folder, "paint"), "--out", out]
    assert run(*asked, "--count", 4).code == 0
    (out / "notes.txt").write_text("mine")
    (out / "10x.png").write_text("mine")
    ran = run(*asked, "--count", 2, "--seed", 3)
    assert ran.code == 0 and f"5 earlier pictures in '{out}' replaced" in ran.err
    assert names_in(out) == ["1.png", "10x.png", "2.png", "all.png", "notes.txt"]
    ran = run("complete", out / "1.png", *common(folder, "complete"), "--out", out)
    assert ran.code == 2 and "--out that replaces it; change --out" in ran.err
    Image.fromarray(255 - read_picture(out / "2.png")[0]).save(out / "2.png")  # drawn upon by someone
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for verb in (asked, ["complete", folder / "picture.png", *common(folder, "complete"), "--out", out]):
        ran = run(*verb, "--count", 1)
        assert ran.code == 2 and "2.png', which is none that was written here; change --out" in ran.err
        assert ran.err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["large.png", "large-given.png", "large-2.png"])
def test_upscale_replaces_nothing_of_a_persons(run: Any, folder: Path, tmp_path: Path, name: str, count: int) -> None:
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / name)
    asked = [
        "upscale",
        folder / "small.png",
        "--count",
        count,
        *common(folder, "upscale"),
        "--out",
        tmp_path / "large.png",
    ]
    ran = run(*asked)
    assert ran.code == 2 and f"{name}', which is none that was written here" in ran.err and names_in(tmp_path) == [name]
    write_picture(tmp_path / "s.png", np.zeros((2, 2, 3), np.uint8))
    ran = run("upscale", tmp_path / "s.png", *common(folder, "upscale"), "--out", tmp_path / "s.png")
    assert ran.code == 2 and "another name than that of the small picture" in ran.err


def test_upscale_does_not_mix_old_and_new(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["upscale", folder / "small.png", *common(folder, "upscale"), "--out", tmp_path / "large.png"]
    assert run(*asked, "--count", 2).code == 0
    ran = run(*asked)
    assert ran.code == 0 and f"3 earlier pictures in '{tmp_path}' replaced" in ran.err
    assert names_in(tmp_path) == ["large-given.png", "large.png"]


def test_complete_what_is_transparent(run: Any, folder: Path, tmp_path: Path) -> None:
    picture = read_picture(folder / "picture.png")[0]
    alpha = np.full((8, 8, 1), 255, np.uint8)
    alpha[2:5, 3:6], alpha[6, 6] = 0, 200
    Image.fromarray(np.concatenate([picture, alpha], 2)).save(tmp_path / "erased.png")
    ran = run("complete", tmp_path / "erased.png", *common(folder, "complete"), "--out", tmp_path / "a")
    report = json.loads(ran.out)
    assert ran.code == 0 and report["hidden"] == 10 and "the transparent part is filled: 10 of 64 pixels" in ran.err
    known = (alpha == 255)[..., 0]
    for name in report["out"]:
        assert np.array_equal(read_picture(name)[0][known], picture[known])
    report = json.loads(
        run(
            "complete", tmp_path / "erased.png", "--keep", "left", *common(folder, "complete"), "--out", tmp_path / "b"
        ).out
    )
    assert report["hidden"] == 32


def test_masks_that_hide_nothing_are_refused(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["complete", folder / "large.png", *common(folder, "complete"), "--out", tmp_path / "new"]
    masks = {"red": (255, 0, 0), "grey": (127, 127, 127), "black": (0, 0, 0)}
    for name, colour in masks.items():
        mask = np.zeros((24, 32, 3), np.uint8)
        mask[4:9, 10:20] = colour
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
        ran = run(*asked, "--mask", tmp_path / f"{name}.png")
        assert ran.code == 2 and "something white in it" in ran.err and ran.err.count("\n") == 1
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :4] = 255
    Image.fromarray(mask).save(tmp_path / "edge.png")
    ran = run(*asked, "--mask", tmp_path / "edge.png")
    assert ran.code == 2 and "in the edges that are cut off; cut the picture" in ran.err
    assert not (tmp_path / "new").exists()
    mask[:, 10] = 255
    Image.fromarray(mask).save(tmp_path / "edge.png")
    ran = run(*asked, "--mask", tmp_path / "edge.png")
    assert ran.code == 0 and "96 of the 120 pixels to be found are in the edges that are cut off" in ran.err
    Image.fromarray(np.full((24, 32), 255, np.uint8)).save(tmp_path / "white.png")
    ran = run(*asked, "--mask", tmp_path / "white.png")
    assert ran.code == 0 and "nothing of the picture is kept" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_mistakes(run: Any, folder: Path, arguments: list[str], message: str) -> None:
    ran = run(*(argument.replace("{}", str(folder)) for argument in arguments))
    assert ran.code == 2 and not ran.out
    assert message in ran.err and ran.err.startswith("error: ") and ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paint", "--label", "coot", "--model", "{}/paint"], "expected a label of coat, bag"),
        (["complete", "{}/broken.png", "--model", "{}/complete"], "none of these"),
        (["complete", "{}/picture.png", "--label", "coot", "--model", "{}/complete"], "expected a label of coat, bag"),
    ],
)
def test_a_mistake_leaves_no_folder(run: Any, folder: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    ran = run(*(argument.replace("{}", str(folder)) for argument in arguments), "--out", tmp_path / "new")
    assert ran.code == 2 and message in ran.err and not (tmp_path / "new").exists()


def test_train_and_evaluate(run: Any, folder: Path, tmp_path: Path) -> None:
    settings = ["--set=epochs=1", "--set=model.preset=tiny", "--set=data.mirror=true", "--set=data.held_out=1"]
    asked = ["train", "image", "--data", folder / "set.npz", "--threads", 1, "--json", *settings]
    ran = run(*asked, "--data", folder / "set.npz", "--out", tmp_path / "paint")
    assert ran.code == 0 and "training on 18 pictures, 1 held out" in ran.err
    model = ["--model", tmp_path / "paint", "--threads", 1, "--json", "--data", folder / "set.npz"]
    report = json.loads(run("evaluate", "image", *model, "--split", "train", "--heat", tmp_path / "heat.png").out)
    assert (report["pictures"], report["subpixels"], report["split"]) == (9, 9 * 192, "train")
    assert report["bits_per_dim"] == pytest.approx(report["nats"] / 192 / np.log(2)) and len(report["per_channel"]) == 3
    assert read_picture(tmp_path / "heat.png")[0].size
    report = json.loads(run("evaluate", "image", *model, "--split", "train", "--hide", "top", "--limit", 4).out)
    assert (report["pictures"], report["subpixels"], report["hidden"]) == (4, 4 * 96, "top")
    assert json.loads(run("evaluate", "image", *model, "--hide", "random").out)["subpixels"] in range(70, 160)

    ran = run(
        *asked, "--set=data.task=upscale", "--set=data.size=[4, 4]", "--set=data.factor=2", "--out", tmp_path / "up"
    )
    assert ran.code == 0 and "resized" in ran.err
    model[1] = tmp_path / "up"
    report = json.loads(run("evaluate", "image", *model, "--split", "train", "--samples", 2).out)
    figures = {"bits_per_dim", "nats", "psnr", "ssim", "mean_psnr", "mean_ssim", "bicubic_psnr", "consistency"}
    assert figures <= set(report)

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


def drawn(folder: Path, names: list[str], size: int = 8) -> None:
    for seed, name in enumerate(names):
        write_picture(folder / name, np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8))


QUICK = ["--set=epochs=1", "--set=model.width=16", "--set=model.heads=2", "--set=model.feed_forward=16", "--threads", 1]
QUICK += ["--set=model.decoder_layers=1", "--set=dtype=float32", "--device", "cpu", "--json"]


def test_classes_and_their_counts_are_printed_before_training(run: Any, tmp_path: Path) -> None:
    drawn(
        tmp_path / "set",
        [f"{top}/{name}/images/{n}.png" for top in ("Train", "Val") for name in "ab" for n in range(4)],
    )
    (tmp_path / "set" / "Train" / "list.txt").write_text("a 1")
    ran = run("train", "image", "--data", tmp_path / "set", *QUICK, "--out", tmp_path / "run")
    assert ran.code == 0 and "2 classes: a 4 (4 held out), b 4 (4 held out)" in ran.err, ran.err
    assert ran.err.count("no picture by its suffix: 1 file (.txt 1)") == 1, "once, not with each split"
    painter = Painter.load(tmp_path / "run", device="cpu")
    assert painter.codec.labels == ("a", "b") and painter.codec.cell == (1, 3), "of colours, a position is a pixel"
    plain = tmp_path / "plain"
    drawn(plain, [f"{n}.png" for n in range(10)])
    ran = run("train", "image", "--data", plain, *QUICK, "--out", tmp_path / "other")
    assert ran.code == 0 and "without classes: " in ran.err
    drawn(tmp_path / "two", [f"data/{name}/{n}.png" for name in "ab" for n in range(10)])
    ran = run("train", "image", "--data", tmp_path / "two", *QUICK, "--out", tmp_path / "none")
    assert ran.code == 2 and "if these are the classes" in ran.err and not (tmp_path / "none").exists()


def test_pictures_of_one_set_that_another_holds_out_are_not_trained_on(run: Any, tmp_path: Path) -> None:
    drawn(tmp_path / "a", [f"{n:02}.png" for n in range(20)])
    drawn(tmp_path / "b", [f"train/{n:02}.png" for n in range(20)] + ["valid/x.png"])
    ran = run("train", "image", "--data", tmp_path / "a", "--data", tmp_path / "b", *QUICK, "--out", tmp_path / "run")
    assert ran.code == 0 and "2 pictures are left out: in this size they are like some that are held out" in ran.err
    assert "training on 36 pictures, 3 held out" in ran.err


def test_training_on_with_new_classes(run: Any, folder: Path, tmp_path: Path) -> None:
    drawn(tmp_path / "set", [f"{name}/{n}.png" for name in ("bag", "hat") for n in range(10)], size=9)
    asked = ["--set=epochs=1", "--from", folder / "paint", "--threads", 1, "--device", "cpu", "--json"]
    ran = run("train", "image", "--data", tmp_path / "set", *asked, "--out", tmp_path / "run")
    assert ran.code == 0 and "1 new classes beside the 2 of the model: hat" in ran.err, ran.err
    assert "resized to 8 x 8 pixels: 18 pictures" in ran.err
    painter = Painter.load(tmp_path / "run", device="cpu")
    assert painter.codec.labels == ("coat", "bag", "hat")
    assert painter.paint(1, label="hat").shape == (1, 8, 8, 3)
    before = Painter.load(folder / "paint", device="cpu")
    same = before.with_classes(["hat"])
    assert np.array_equal(same.paint(2, label="coat", seed=1), before.paint(2, label="coat", seed=1))


def test_evaluating_without_labels_or_with_others(run: Any, folder: Path, tmp_path: Path) -> None:
    drawn(tmp_path / "plain", [f"{n}.png" for n in range(10)])
    drawn(tmp_path / "other", [f"{name}/{n}.png" for name in ("bag", "hat") for n in range(10)])
    drawn(tmp_path / "numbers", [f"{name}/{n}.png" for name in ("0", "1") for n in range(10)])
    asked = ["evaluate", "image", "--split", "train", *common(folder, "paint")]
    ran = run(*asked, "--data", tmp_path / "plain")
    assert ran.code == 0 and "no labels: all are measured without a class" in ran.err
    assert json.loads(ran.out)["labelled"] == 0
    ran = run(*asked, "--data", tmp_path / "other")
    assert ran.code == 0 and "9 of 18 pictures are measured without a class: the model has no hat" in ran.err
    assert json.loads(ran.out)["labelled"] == 9
    ran = run(*asked, "--data", tmp_path / "numbers")
    assert ran.code == 0 and "taken for the model's in order, 0 for coat" in ran.err
    assert json.loads(ran.out)["labelled"] == 18


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.size=7"], "data.size to be [height, width]"),
        (["data.mirror=1"], "data.mirror to be true or false"),
        (["data.shift=0.5"], "data.shift to be a whole number"),
        (["data.hue=wide"], "data.hue to be a number"),
        (["data.held_out=0"], "data.held_out"),
        (["data.task=draw"], "data.task to be one of paint, complete, upscale, got 'draw'"),
        (["data.miror=true"], "did you mean 'mirror'"),
        (["data.channels=2"], "expected 1 channel"),
        (["model.cell=[9]"], "cell of rows and columns"),
        (["data.task=upscale", "data.factor=3"], "factor=3 divides"),
    ],
)
def test_mistakes_in_training(run: Any, folder: Path, tmp_path: Path, settings: list[str], message: str) -> None:
    options = [f"--set={setting}" for setting in [*settings, "epochs=1", "model.preset=tiny"]]
    ran = run("train", "image", "--data", folder / "set.npz", "--out", tmp_path, *options)
    assert ran.code == 2 and message in ran.err and ran.err.count("\n") == 1


def test_look_at_a_pixel(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["look", "picture", folder / "picture.png", "--out", tmp_path / "a.png"]
    for model in ("paint", "complete"):
        ran = run(*asked, *common(folder, model), "--pixel", "3,5", "--layer", 1, "--label", "bag")
        report = json.loads(ran.out)
        assert ran.code == 0 and report["pixel"] == [3, 5] and len(report["heads"]) == 2
        weights = np.array(report["weights"])
        assert weights.shape == (2, 8, 8)
        assert weights.sum((1, 2)) + report["start"] == pytest.approx(np.ones(2), abs=1e-3)
        assert not weights[:, 4:].any(), "later cells are not seen"
        assert read_picture(tmp_path / "a.png")[0].size
    report = json.loads(run(*asked, *common(folder, "paint"), "--head", 2).out)
    assert report["pixel"] == [4, 4] and report["heads"] == ["head 2"]
    for options, word in (
        (["--pixel", "8,0"], "expected --pixel from 0,0 to 7,7"),
        (["--pixel", "3"], "expected --pixel ROW,COLUMN"),
        (["--layer", 9], "expected a layer from 1 to 1, got 9"),
        (["--head", 9], "expected a head from 1 to 2, got 9"),
    ):
        assert word in run(*asked, *common(folder, "paint"), *options).err


def test_look_at_what_is_alike(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["look", "picture", "--similarity", folder / "picture.png", "--out", tmp_path / "a.png", "--json"]
    report = json.loads(run(*asked, "--pixel", "2,3").out)
    assert (
        np.array(report["similarity"]).shape == (8, 8) and report["similarity"][2][3] == 1 and report["repetition"] == 0
    )
    assert "from 0,0 to 7,7" in run(*asked, "--pixel", "2,8").err
    for option, value in (("--label", "bag"), ("--layer", 1), ("--head", 1)):
        assert f"expected no {option} for --similarity" in run(*asked, option, value).err


def test_one_picture_is_written_as_the_file_that_is_named(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["paint", *common(folder, "paint"), "--out", out := tmp_path / "new" / "pic.png", "--count"]
    refused = run(*asked, 2)
    assert refused.code == 2 and "expected --out DIR for 2 pictures, got the file" in refused.err
    assert not out.parent.exists()
    assert json.loads(run(*asked, 1).out)["out"] == [str(out)] and read_picture(out)[0].shape == (8, 8, 3)
    assert run(*asked, 1).code == 0 and [file.name for file in out.parent.iterdir()] == ["pic.png"]
    out.write_bytes((folder / "broken.png").read_bytes())
    refused = run(*asked, 1)
    assert refused.code == 2 and "none that was written here" in refused.err and out.read_bytes() == b"no picture"


def test_an_interrupted_work_leaves_no_empty_folder(
    run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        assert (tmp_path / "new" / "deep").is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr(Painter, "stream", interrupted)
    assert run("paint", *common(folder, "paint"), "--out", tmp_path / "new" / "deep").code == 130
    assert not (tmp_path / "new").exists()


def test_what_is_filled_without_a_mask_is_noted(run: Any, folder: Path, tmp_path: Path) -> None:
    asked = ["complete", folder / "picture.png", "--count", 1, *common(folder, "complete"), "--out", tmp_path]
    assert "has no transparent part, so its bottom half is filled" in run(*asked).err
    assert "bottom half" not in run(*asked, "--keep", "top").err
