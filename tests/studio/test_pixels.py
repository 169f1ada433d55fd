from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.generation.sampling import Sampling
from triptych.image.files.plain import PlainPicture
from triptych.image.painter import Painter
from triptych.look.pixels import pixel_of


def pixels(picture: dict[str, Any]) -> Any:
    shape = picture["height"], picture["width"], picture["channels"]
    return np.frombuffer(base64.b64decode(picture["data"]), np.uint8).reshape(shape)


def mask(hidden: Any) -> str:
    return base64.b64encode(np.asarray(hidden, np.uint8).tobytes()).decode()


def of_map(found: dict[str, Any]) -> Any:
    return np.frombuffer(base64.b64decode(found["data"]), np.uint8).reshape(found["shape"]) * found["scale"]


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter.load("fashion", threads=1)


@pytest.fixture(scope="module")
def coats(studio: Any) -> Any:
    return studio.post("/api/paint", {"label": "coat", "count": 2, "seed": 3})


def test_pictures_are_those_of_the_product(coats: Any, painter: Painter) -> None:
    want = painter.paint(2, label="coat", seed=3)
    assert [pixels(one).tolist() for one in coats["pictures"]] == want.tolist()
    assert coats["command"] == "triptych paint --label coat --count 2 --seed 3 --out painted --model=fashion"


def test_pixels_come_in_the_order_in_which_they_are_made(studio: Any, coats: Any) -> None:
    events = studio.events("/api/paint", {"label": "coat", "count": 2, "seed": 3})
    assert [name for name, _ in events[:1]] == ["start"] and events[-1] == ("done", coats)
    order = np.frombuffer(base64.b64decode(events[0][1]["order"]), "<u4")
    assert sorted(order.tolist()) == list(range(28 * 28)), "this model has no padding"
    shown, last = np.zeros((2, 28 * 28), np.uint8), 0
    for name, data in events[1:-1]:
        values = np.frombuffer(base64.b64decode(data["values"]), np.uint8).reshape(2, -1)
        assert name == "pixels" and data["first"] == last
        shown[:, order[last : last + values.shape[1]]] = values
        last += values.shape[1]
    assert len(events) > 4
    whole = np.stack([pixels(one).reshape(-1) for one in coats["pictures"]])
    assert (shown[:, order[:last]] == whole[:, order[:last]]).all()


def test_a_hole_is_filled_and_all_else_stays(studio: Any, coats: Any) -> None:
    hidden = np.zeros((28, 28), bool)
    hidden[10:20, 5:25] = True
    body = {"picture": coats["pictures"][0], "hidden": mask(hidden), "count": 2, "seed": 1}
    found = studio.post("/api/complete", body)
    want = Painter.load("fashion-complete", threads=1).complete(pixels(coats["pictures"][0]), hidden, count=2, seed=1)
    assert [pixels(one).tolist() for one in found["pictures"]] == want.tolist()
    assert found["files"] == ["picture.png", "mask.png"] and "--mask mask.png" in found["command"]
    for one in found["pictures"]:
        assert (pixels(one)[~hidden] == pixels(coats["pictures"][0])[~hidden]).all()


def test_a_small_picture_is_enlarged(studio: Any) -> None:
    small = studio.post("/api/example", {"model": "emoji-upscale"})["picture"]
    found = studio.post("/api/upscale", {"picture": small, "count": 1, "seed": 2})
    upscaler = Painter.load("emoji-upscale", threads=1)
    want = upscaler.upscale(pixels(small), seed=2)
    assert [pixels(one).tolist() for one in found["pictures"]] == want.tolist()
    assert found["settings"]["temperature"] == upscaler.trained.usual.temperature
    assert "--temperature" not in found["command"]
    warm = studio.post("/api/upscale", {"picture": small, "count": 1, "seed": 2, "temperature": 1})
    assert (
        pixels(warm["pictures"][0]).tolist()
        == upscaler.upscale(pixels(small), sampling=Sampling(1.0), seed=2)[0].tolist()
        and "--temperature 1" in warm["command"]
    )


@pytest.mark.parametrize("pixel", [[0, 0], [13, 14], [27, 27]])
def test_what_a_pixel_looked_at(studio: Any, coats: Any, painter: Painter, pixel: list[int]) -> None:
    body = {"kind": "picture", "picture": coats["pictures"][0], "label": "coat", "pixel": pixel}
    found = studio.post("/api/attention", body)
    row, column = pixel
    want = pixel_of(painter, pixels(coats["pictures"][0]), (row, column), label="coat")
    places = np.frombuffer(base64.b64decode(found["places"]), "<u4").reshape(28, 28, 1)
    last = of_map(found["weights"])[0, -1]
    assert np.abs(last[:, places[..., 0]] / 4 - want.weights).max() < 1 / 255, "four pixels share a position"
    for name, block in (("query", want.query), ("memory", want.memory)):
        assert np.frombuffer(base64.b64decode(found[name]), np.uint8).tolist() == block.reshape(-1).tolist()
    first, end, seen, seen_end = np.frombuffer(base64.b64decode(found["window"]), "<u4").tolist()
    assert (want.memory == ((places[..., 0] >= seen) & (places[..., 0] < seen_end))).all()
    assert (want.query == ((places[..., 0] >= first) & (places[..., 0] < end))).all()


def test_all_pixels_at_once_are_each_by_itself(studio: Any, coats: Any) -> None:
    body = {"kind": "picture", "picture": coats["pictures"][0], "label": "coat"}
    whole = studio.post("/api/attention", body)
    one = studio.post("/api/attention", {**body, "pixel": [13, 14]})
    place = whole["pixels"].index([12, 14])
    assert np.abs(of_map(whole["weights"])[place] - of_map(one["weights"])[0]).max() < 2 / 255
    assert len(whole["pixels"]) == whole["positions"] == 196
    status, answer = studio.try_post(
        "/api/attention", {**body, "model": "emoji-upscale", "label": None, "pixel": [0, 0]}
    )
    assert status == 422 and "a picture of 32 x 32 x 3" in answer["error"]


def test_an_uploaded_picture_is_brought_to_the_model(studio: Any) -> None:
    data = io.BytesIO()
    Image.new("RGB", (200, 100), (255, 0, 0)).save(data, "png")
    status, _, answer = studio.ask("POST", "/api/picture?model=emoji-upscale", data.getvalue())
    assert status == 200 and b"edges are cut off" in answer
    status, _, answer = studio.ask("POST", "/api/picture?model=fashion-complete", data.getvalue())
    assert status == 200 and b'"channels":1' in answer
    for wrong, path in (
        (b"", "model=fashion"),
        (b"GIF89a", "model=fashion"),
        (b"no picture", "model=fashion"),
        (data.getvalue(), "model=piano"),
        (data.getvalue(), "kind=chorale"),
    ):
        status, _, answer = studio.ask("POST", f"/api/picture?{path}", wrong)
        assert status == 422 and b"error" in answer


@pytest.mark.parametrize(
    ("path", "change", "status", "words"),
    [
        ("paint", {"label": "hat"}, 422, "a label of t-shirt"),
        ("paint", {"count": 17}, 413, "count of 1 to 16"),
        ("paint", {"model": "fashion-complete"}, 422, "a model to paint"),
        ("complete", {"hidden": mask(np.zeros(784))}, 422, "hides a pixel"),
        ("complete", {"hidden": "AAAA"}, 422, "784 bytes (28 x 28)"),
        ("complete", {"hidden": "A*A="}, 422, "in base64"),
        ("complete", {"hidden": mask(np.ones(784)), "picture": {"height": 8}}, 422, "the field 'width'"),
        ("upscale", {}, 422, "8 x 8 x 3"),
    ],
)
def test_mistakes(studio: Any, coats: Any, path: str, change: dict[str, Any], status: int, words: str) -> None:
    body = {} if path == "paint" else {"picture": coats["pictures"][0]}
    got, answer = studio.try_post(f"/api/{path}", {**body, **change})
    assert got == status and words in answer["error"]


def test_plain_pictures_come_back() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert (PlainPicture.of(picture).pixels((2, 3, 3)) == picture).all()
