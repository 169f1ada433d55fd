"""The page's pixels in a browser: paint, complete, enlarge, look; save and open again."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("playwright")
from PIL import Image
from playwright.sync_api import expect

SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
PATIENCE = 60_000  # milliseconds that a model may take on a busy machine
READ = """canvas => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0);
    return Array.from(copy.getImageData(0, 0, canvas.width, canvas.height).data);
}"""
Pixels = NDArray[np.uint8]


def shown(canvas: Any, channels: int) -> Pixels:
    """The dots of a canvas, [height, width, channels]."""
    values = np.array(canvas.evaluate(READ), np.uint8)
    width = canvas.evaluate("canvas => canvas.width")
    found: Pixels = values.reshape(-1, width, 4)[..., :channels]
    return found


def pixels(picture: Any) -> Pixels:
    """A picture of the API."""
    size = (picture["height"], picture["width"], picture["channels"])
    return np.frombuffer(base64.b64decode(picture["data"]), np.uint8).reshape(size)


def results(page: Any, count: int, channels: int = 1) -> list[Pixels]:
    """The finished pictures on the page."""
    ready = page.locator(".pixels-one:not([disabled]) canvas")
    expect(ready).to_have_count(count, timeout=PATIENCE)
    return [shown(one, channels) for one in ready.all()]


def saved(page: Any, button: Any) -> bytes:
    with page.expect_download() as download:
        button.click()
    return Path(download.value.path()).read_bytes()


def settle(page: Any, path: str, seed: int, count: int) -> Any:
    """Choose a task, the seed and how many."""
    page.get_by_role("radio", name=path, exact=True).check()
    page.get_by_text("More settings").click()
    page.get_by_label("Seed").fill(str(seed))
    page.get_by_label("How many").fill(str(count))
    return page.get_by_role("button", name=path, exact=True)


def drag(page: Any, board: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw on a board from one place to another, as shares of its height and width."""
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for y, x in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=8)
    page.mouse.up()


@pytest.mark.parametrize(("width", "theme"), SCREENS)
def test_pictures_are_painted_as_the_api_paints_them_and_saved(
    studio: Any, open_page: Any, axe: Any, width: int, theme: str
) -> None:
    page = open_page(width, theme, "#pixels")
    page.get_by_label("Picture of").select_option("sneaker")
    settle(page, "Paint", 11, 3).click()
    found = results(page, 3)
    body = {"model": "fashion", "label": "sneaker", "count": 3, "seed": 11}
    want = [pixels(one) for one in studio.post("/api/paint", body)["pictures"]]
    assert all((one == other).all() for one, other in zip(found, want, strict=True))
    page.get_by_role("button", name="picture 2: look").click()
    png = Image.open(io.BytesIO(saved(page, page.locator(".one").get_by_role("button", name="Save PNG"))))
    assert (np.array(png.convert("L")) == want[1][..., 0]).all()
    drawn = ET.fromstring(saved(page, page.locator(".one").get_by_role("button", name="Save SVG")))
    assert drawn.attrib["viewBox"] == "0 0 28 28"
    painted = np.zeros((28, 28), int)
    for rect in drawn:
        painted[int(rect.attrib["y"]), int(rect.attrib["x"])] = int(re.findall(r"\d+", rect.attrib["fill"])[0])
    assert (painted == want[1][..., 0]).all()
    expect(page.locator(".gaze-heads figure")).to_have_count(5, timeout=PATIENCE)
    assert page.locator("code.command").inner_text().startswith("triptych paint")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(page) == []


def test_painting_pauses_goes_on_and_stops(open_page: Any) -> None:
    page = open_page(1280, "light", "#pixels")
    settle(page, "Paint", 1, 16).click()
    first = page.locator(".pixels-one canvas").first
    expect(first).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Pause").click()
    page.wait_for_timeout(100)
    held = shown(first, 3)
    page.wait_for_timeout(300)
    assert (shown(first, 3) == held).all() and page.locator(".pixels-one:not([disabled])").count() == 0
    page.get_by_role("button", name="Go on").click()
    assert (results(page, 16, 3)[0] != held).any()
    page.get_by_role("button", name="Paint", exact=True).click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    expect(page.get_by_role("button", name="Paint", exact=True)).to_be_enabled()


@pytest.mark.parametrize(("width", "theme"), SCREENS[::3])
def test_a_mask_is_drawn_and_what_it_hides_is_found(open_page: Any, axe: Any, width: int, theme: str) -> None:
    page = open_page(width, theme, "#pixels")
    go = settle(page, "Complete", 5, 3)
    board = page.get_by_role("application", name="Picture to complete")
    given = shown(board.locator("canvas"), 3)
    page.get_by_role("button", name="Nothing").click()
    expect(go).to_be_disabled()
    whole = shown(board.locator("canvas"), 1)
    drag(page, board, (0.3, 0.3), (0.3, 0.6))
    page.get_by_role("radio", name="Rectangle").check()
    drag(page, board, (0.72, 0.1), (0.9, 0.5))
    page.get_by_role("radio", name="Rubber").check()
    drag(page, board, (0.9, 0.5), (0.9, 0.5))
    page.get_by_role("radio", name="Brush").check()
    page.get_by_label("Brush", exact=True).last.fill("1")
    board.focus()
    page.keyboard.press("Home")
    for key in ("ArrowDown", " "):
        page.keyboard.press(key)
    masked = shown(board.locator("canvas"), 3)
    hidden = (masked != whole).any(2)
    assert 30 < hidden.sum() < 300 and hidden[8, 10] and hidden[22, 8] and not hidden[25, 14]
    go.click()
    found = results(page, 3)
    assert all((one[~hidden] == whole[~hidden]).all() for one in found)
    assert any((found[0][hidden] != other[hidden]).any() for other in found[1:])
    assert given.shape == (28, 28, 3) and "--mask mask.png" in page.locator("code.command").inner_text()
    mask = page.locator(".saves", has_text="mask").get_by_role("button", name="Save PNG")
    assert ((np.array(Image.open(io.BytesIO(saved(page, mask))).convert("L")) > 127) == hidden).all()
    expect(page.locator(".gaze-heads figure")).to_have_count(5, timeout=PATIENCE)
    assert axe(page) == []


def test_a_painted_picture_goes_on_to_be_completed_and_a_file_is_opened(open_page: Any, tmp_path: Path) -> None:
    page = open_page(1280, "dark", "#pixels")
    settle(page, "Paint", 3, 2).click()
    painted = results(page, 2)[0]
    page.get_by_role("button", name="Complete it").click()
    page.get_by_role("button", name="Nothing").click()
    board = page.get_by_role("application", name="Picture to complete").locator("canvas")
    assert (shown(board, 1) == painted).all()
    picture = np.zeros((28, 28), np.uint8)
    picture[5:20, 8:12] = 200
    Image.fromarray(picture).save(tmp_path / "own.png")
    page.locator("#panel-pixels input[type=file]").set_input_files(tmp_path / "own.png")
    expect(page.get_by_text("own.png is open.")).to_be_visible(timeout=PATIENCE)
    assert (shown(board, 1)[..., 0] == picture).all()
    (tmp_path / "no.png").write_bytes(b"no picture")
    page.locator("#panel-pixels input[type=file]").set_input_files(tmp_path / "own.png")


@pytest.mark.parametrize(("width", "theme"), SCREENS[1:3])
def test_a_drawing_is_enlarged_and_becomes_itself_again(open_page: Any, axe: Any, width: int, theme: str) -> None:
    page = open_page(width, theme, "#pixels")
    go = settle(page, "Enlarge", 2, 2)
    board = page.get_by_role("application", name="Small picture")
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("radio", name="blue", exact=True).check()
    drag(page, board, (0.9, 0.3), (0.9, 0.7))
    blue = (31, 111, 181)
    small = shown(board.locator("canvas"), 3)
    assert (small[7, 3] == blue).all() and (small[0] == 255).all()
    page.get_by_role("radio", name="Fill").check()
    page.get_by_role("radio", name="yellow", exact=True).check()
    board.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert (shown(board.locator("canvas"), 3)[0, 0] == (255, 210, 63)).all()
    page.get_by_role("button", name="Undo").click()
    assert (shown(board.locator("canvas"), 3) == small).all()
    go.click()
    for large in results(page, 2, 3):
        mean = large.reshape(8, 4, 8, 4, 3).mean((1, 3))
        assert large.shape == (32, 32, 3) and np.abs(mean - small).max() <= 1
    expect(page.locator(".gaze-heads figure")).to_have_count(4, timeout=PATIENCE)
    assert axe(page) == []


def test_a_pixel_says_what_it_saw_by_pointer_and_by_keys(studio: Any, open_page: Any) -> None:
    page = open_page(1280, "light", "#pixels")
    settle(page, "Paint", 4, 1).click()
    results(page, 1)
    picture = studio.post("/api/paint", {"model": "fashion", "label": "coat", "count": 1, "seed": 4})["pictures"][0]
    board = page.locator(".gaze .board")
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    page.mouse.move(box["x"] + 20.5 / 28 * box["width"], box["y"] + 9.5 / 28 * box["height"])
    saw = page.locator(".gaze .readout")
    expect(saw).to_contain_text("Row 10, column 21:", timeout=PATIENCE)
    body = {"kind": "picture", "model": "fashion", "label": "coat", "picture": picture, "pixel": [9, 20]}
    want = studio.post("/api/attention", body)
    sees, block = (sum(base64.b64decode(want[name])) for name in ("memory", "query"))
    expect(saw).to_contain_text(f"it sees {sees} pixels; its block has {block}.")
    assert page.locator(".gaze .gaze-query").count() == 1
    heads = [shown(one, 3) for one in page.locator(".gaze-map canvas").all()]
    page.get_by_label("Layer", exact=True).select_option("layer 1")
    expect(saw).to_contain_text("Row 10, column 21:")
    assert any(
        (one != shown(other, 3)).any() for one, other in zip(heads, page.locator(".gaze-map canvas").all(), strict=True)
    )
    board.focus()
    page.keyboard.press("ArrowDown")
    expect(saw).to_contain_text("Row 11, column 21:")
    svg = ET.fromstring(saved(page, page.locator(".gaze").get_by_role("button", name="Save SVG")))
    assert len(svg.findall("{http://www.w3.org/2000/svg}image")) == 5


def test_an_address_brings_the_same_pictures(open_page: Any) -> None:
    page = open_page(1280, "light", "#pixels")
    settle(page, "Paint", 9, 2).click()
    first = results(page, 2)
    again = open_page(390, "dark", "#" + page.url.split("#")[1])
    assert all((one == other).all() for one, other in zip(first, results(again, 2), strict=True))
    assert again.get_by_label("Seed").input_value() == "9"


def test_a_request_that_is_refused_is_said_in_plain_words(studio: Any, browser: Any) -> None:
    page = browser.new_page()  # its console tells of the refusal, as it should
    page.goto(f"http://127.0.0.1:{studio.port}/#paint/%7B%22model%22%3A%22nobody%22%7D")
    expect(page.locator("#panel-pixels .status[data-kind=error]")).to_contain_text("expected a model", timeout=PATIENCE)
    expect(page.get_by_role("button", name="Paint", exact=True)).to_be_enabled()
    page.close()
