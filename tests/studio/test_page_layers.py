"""The page's layers in a browser: the measured table, its plots, the crossing of n and d, the figures in steps."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

import triptych

SOURCE = Path(triptych.__file__).parent
SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.mark.parametrize(("width", "theme"), SCREENS)
def test_the_table_and_its_curves(studio: Any, open_page: Any, axe: Any, width: int, theme: str) -> None:
    page = open_page(width, theme, "#layers")
    measured = studio.get("/api/complexity")
    rows = page.locator(".complexity tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("n² d")
    expect(rows.first).to_contain_text(f"{measured['seconds_by_length']['full']['exponent']:.2f} (table: 2)")
    for name, curves in (("Time against d", 4), ("Memory against n", 5), ("Attention against LSTM", 2)):
        page.get_by_role("radio", name=name).check()
        expect(page.locator(".plot polyline")).to_have_count(curves)
    expect(page.locator(".plot")).to_contain_text(f"measured: {round(measured['crossing']['measured']):,}")
    page.get_by_role("radio", name="Time against n").check()
    page.get_by_text("The numbers of this plot").click()
    longest = max(measured["seconds_by_length"]["lstm"]["length"])
    expect(page.get_by_role("rowheader", name=f"{longest:,}", exact=True)).to_be_visible()
    assert axe(page) == []


def test_n_and_d_cross(open_page: Any) -> None:
    page = open_page(1280, "light", "#layers")
    length, width = page.get_by_label("n: positions"), page.get_by_label("d: width")
    says = page.locator(".readout").filter(has_text="They cross")
    length.fill("8")
    width.fill("8")
    expect(says).to_contain_text("as many operations as")
    length.press("ArrowRight")
    expect(says).to_contain_text("1.4 times more operations")
    width.fill("10")
    expect(says).to_contain_text("n = 362, d = 1,024: self-attention needs 2.8 times fewer operations")


def cells(page: Any, place: int) -> list[str]:
    """The texts in a figure, row by row."""
    found: list[str] = page.locator(".figure").nth(place).locator("text").all_text_contents()
    return found


@pytest.mark.parametrize(("width", "theme"), SCREENS)
def test_the_skew_in_steps(open_page: Any, axe: Any, width: int, theme: str) -> None:
    page = open_page(width, theme, "#layers")
    figure = page.locator(".stepper").first
    onward, back = figure.get_by_role("button", name="Next"), figure.get_by_role("button", name="Previous")
    expect(back).to_be_disabled()
    onward.click()
    onward.press("Enter")
    onward.press("Enter")
    expect(figure.get_by_role("heading")).to_have_text("Cut the first row off")
    # Query i and key j meet at the distance i - j, as the relation's definition has it.
    want = [f"q{query}·r{query - key}" for query in range(4) for key in range(query + 1)]
    assert [text for text in cells(page, 0) if text.startswith("q") and "·" in text] == want
    assert page.url.endswith("#figure/%7B%22figure%22%3A%22skew%22%2C%22step%22%3A4%7D")
    for _ in range(2):
        onward.click()
    expect(onward).to_be_disabled()
    expect(back).to_be_focused()
    assert axe(page) == []


def test_the_blocks_are_those_of_the_patterns(open_page: Any) -> None:
    from triptych.shape.pattern import Local1D, Local2D, mask, order

    page = open_page(1280, "light", '#figure/{"figure":"picture","step":4}')
    colours = """figure => [...figure.querySelectorAll("rect[stroke-width='1']")]
        .map(rect => rect.getAttribute("fill"))"""
    expect(page.locator(".stepper").nth(1)).to_contain_text("Step 4 of 4")
    pattern = Local2D(8, 8, 4, 4, 2, 2)
    found = page.locator(".figure").nth(1).evaluate(colours)
    raster = order(pattern)
    assert cells(page, 1) == [str(place) for place in raster.argsort()]
    plain = found[0]  # the first pixel is far from the last block
    assert {place for place, fill in enumerate(found) if fill != plain} == set(
        raster[mask(pattern, 64, 64)[63]].tolist()
    )
    page.get_by_role("radio", name="a sequence").check()
    expect(page.locator(".stepper").nth(1)).to_contain_text("Step 1 of 4")
    found = page.locator(".figure").nth(1).evaluate(colours)
    hidden = [fill.startswith("url") for fill in found]
    seen = [fill not in ("url", found[4 * 16 + 15], found[8 * 16]) and not fill.startswith("url") for fill in found]
    assert hidden == [key > query for query in range(16) for key in range(16)]
    assert seen == mask(Local1D(4, 4), 16, 16).ravel().tolist()


def test_every_function_that_a_figure_names_exists(open_page: Any) -> None:
    page = open_page(1280, "light", "#layers")
    named = set()
    for place, kind in ((0, None), (1, "a sequence"), (1, "a picture")):
        if kind:
            page.get_by_role("radio", name=kind).check()
        figure = page.locator(".stepper").nth(place)
        figure.wait_for()
        onward = figure.get_by_role("button", name="Next")
        while True:
            name, file = figure.locator("code").all_text_contents()
            named.add((re.split(r"\W", name)[0], name, file))
            if onward.is_disabled():
                break
            onward.click()
    assert len(named) >= 8
    for top, name, file in named:
        path = SOURCE / file if (SOURCE / file).exists() else SOURCE.parent.parent / file
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert top in defined and ("." not in name or name.split(".")[1] in defined), (name, file)


def test_the_plot_is_saved(open_page: Any) -> None:
    page = open_page(390, "light", "#layers")
    foot = page.locator("section", has_text="The complexity table").locator(".result-foot").first
    with page.expect_download() as download:
        foot.get_by_role("button", name="Save SVG").click()
    tree = ET.fromstring(Path(download.value.path()).read_bytes())
    assert tree.tag == "{http://www.w3.org/2000/svg}svg" and len(tree.findall("{*}polyline")) == 4
    with page.expect_download() as download:
        foot.get_by_role("button", name="Save PNG").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
