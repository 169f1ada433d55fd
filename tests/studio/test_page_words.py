"""The page's words in a browser: translate, look, force, open maps, switch tabs by keyboard; save and reproduce."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
PATIENCE = 60_000  # milliseconds that a model may take on a busy machine
TEXT = "A dog runs through the snow."
ASKED = {"model": "captions-en-de", "text": TEXT, "beam": 5, "nbest": 5}


def words(page: Any) -> str:
    """The translation as its words are shown."""
    text: str = page.locator(".target-words").text_content()
    return text.removesuffix(" end").strip()


def typed(page: Any, text: str) -> Any:
    """Type into the page; returns where the translation appears."""
    expect(page.locator(".target-word.end")).to_be_visible(timeout=PATIENCE)  # the example that it begins with
    page.locator("#words-source").fill("")
    expect(page.locator(".target-word")).to_have_count(0)
    page.locator("#words-source").press_sequentially(text)
    expect(page.locator(".source-words")).to_have_text(text, timeout=PATIENCE)  # not of what was typed till then
    expect(page.locator(".target-word.end")).to_be_visible(timeout=PATIENCE)
    return page.locator(".target-words")


@pytest.mark.parametrize(("width", "theme"), SCREENS)
def test_typing_translates_and_an_alternative_is_forced(
    studio: Any, open_page: Any, axe: Any, width: int, theme: str
) -> None:
    page = open_page(width, theme)
    typed(page, TEXT)
    answer = studio.post("/api/translate", ASKED)
    best = answer["translations"][0]
    assert words(page) == best["text"]
    assert page.locator(".nbest-text").all_text_contents() == [one["text"] for one in answer["translations"]]
    assert page.locator(".command").first.text_content() == answer["command"]
    place = best["pieces"].index("▁Hund")
    button = page.get_by_role("button", name=re.compile("^Hund, probability"))
    button.focus()
    button.press("Enter")
    weighed = studio.post("/api/alternatives", {"model": ASKED["model"], "text": TEXT, "ids": best["ids"]})
    shown = weighed["positions"][place]["alternatives"]
    choices = page.locator(".alternative")
    expect(choices).to_have_count(len(shown))
    expect(choices.nth(0)).to_contain_text(f"{100 * shown[0]['probability']:.0f} %")
    assert choices.nth(0).get_attribute("aria-pressed") == "true"
    assert axe(page) == []
    choices.nth(1).click()
    forced = [*best["ids"][:place], shown[1]["id"]]
    other = studio.post("/api/translate", {**ASKED, "forced": forced})["translations"][0]
    expect(page.locator(".target-word.forced")).to_have_count(2, timeout=PATIENCE)
    assert words(page) == other["text"] != best["text"]
    assert json.loads(unquote(page.url.split("#translate/")[1])) == {**ASKED, "forced": forced}
    again = open_page(width, theme, "#" + page.url.split("#")[1])
    expect(again.locator(".target-word.forced")).to_have_count(2, timeout=PATIENCE)
    assert words(again) == other["text"]
    page.go_back()
    expect(page.locator(".target-word.forced")).to_have_count(0, timeout=PATIENCE)
    assert axe(page) == []


def test_it_appears_as_it_is_decoded(open_page: Any) -> None:
    page = open_page()
    expect(page.locator(".target-word.end")).to_be_visible(timeout=PATIENCE)
    page.evaluate("""() => {
        window.seen = [];
        const note = (changes) => changes.forEach((one) => one.addedNodes.forEach((node) => {
            if (node.className === "partial") window.seen.push(node.textContent);
        }));
        new MutationObserver(note).observe(document.querySelector(".target-words"), {childList: true});
    }""")
    # Long enough for several parts of it to come on a fast machine.
    text = "A woman with a red umbrella crosses the street while two men are reading a newspaper in the park."
    page.locator("#words-source").fill(text)
    page.get_by_role("button", name="Translate", exact=True).click()
    expect(page.locator(".command").first).to_contain_text(text, timeout=PATIENCE)
    seen = page.evaluate("window.seen")
    assert len(set(seen)) >= 2 and len(seen[0]) < len(seen[-1])


@pytest.mark.parametrize(("width", "theme"), SCREENS)
def test_a_word_lights_up_what_it_was_read_from(open_page: Any, width: int, theme: str) -> None:
    page = open_page(width, theme)
    typed(page, TEXT)
    page.get_by_role("button", name=re.compile("^Schnee, .*read from snow")).hover()
    lit = page.locator(".source-word.lit")
    expect(lit).to_have_text("snow")
    page.get_by_role("button", name=re.compile("^Hund, ")).focus()
    page.mouse.move(0, 0)
    expect(lit).to_have_text("dog")
    page.locator(".source-word", has_text="through").hover()
    expect(page.locator(".target-word.lit", has_text="durch")).to_be_visible()


def test_another_of_the_best_is_looked_into(studio: Any, open_page: Any) -> None:
    page = open_page()
    typed(page, TEXT)
    second = studio.post("/api/translate", ASKED)["translations"][1]
    page.locator(".nbest button").nth(1).click()
    assert words(page) == second["text"]
    rows = page.locator(".large-map text", has_text="läuft")
    expect(rows.first).to_be_attached(timeout=PATIENCE)


@pytest.mark.parametrize(("width", "theme"), SCREENS)
def test_every_attention_opens_large(studio: Any, open_page: Any, axe: Any, width: int, theme: str) -> None:
    page = open_page(width, theme)
    typed(page, TEXT)
    ids = studio.post("/api/translate", ASKED)["translations"][0]["ids"]
    of = {"kind": "text", "model": ASKED["model"], "text": TEXT, "ids": ids}
    expect(page.locator(".large-map")).to_be_visible(timeout=PATIENCE)
    found = studio.post("/api/attention", of)
    layers, heads, queries, keys = found["decoder"]["shape"]
    for name in ("Encoder self-attention", "Masked decoder self-attention", "Encoder-decoder"):
        page.get_by_role("radio", name=name, exact=True).check()
        expect(page.locator(".small-map")).to_have_count(layers * (heads + 1))
    page.get_by_role("radio", name="Masked decoder self-attention").check()
    first = page.get_by_role("button", name="Layer 1, head 1", exact=True)
    first.click()
    first.press("ArrowRight")
    first.press("ArrowLeft")
    page.get_by_role("button", name="Layer 1, head 2", exact=True).click()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("button", name="Layer 2, head 2", exact=True)).to_be_focused()
    expect(page.locator(".large-map")).to_contain_text("Masked decoder self-attention, layer 2, head 2")
    hatched = page.locator(".large-map rect[fill^=url]")
    expect(hatched).to_have_count(queries * (keys - 1) // 2)  # the look-ahead mask
    expect(page.get_by_text("hidden by the look-ahead mask")).to_be_visible()
    large = page.locator(".large-map-frame")
    large.focus()
    large.press("ArrowRight")
    expect(page.locator(".large .readout")).to_contain_text("Ein looks at (start)")
    large.press("ArrowRight")
    expect(page.locator(".large .readout")).to_contain_text("must not look at")
    assert axe(page) == []


def test_maps_are_saved(open_page: Any) -> None:
    page = open_page()
    typed(page, TEXT)
    expect(page.locator(".large-map")).to_be_visible(timeout=PATIENCE)
    for kind in ("SVG", "PNG"):
        with page.expect_download() as download:
            page.locator(".large").get_by_role("button", name=f"Save {kind}").click()
        data = Path(download.value.path()).read_bytes()
        if kind == "SVG":
            tree = ET.fromstring(data)
            assert len(tree.findall("{*}rect")) > 64 and "Schnee" in data.decode()
        else:
            assert data.startswith(b"\x89PNG")


def test_positions_are_sinusoids(studio: Any, open_page: Any) -> None:
    page = open_page()
    frame = page.locator(".positions-frame")
    expect(frame.locator("canvas")).to_be_visible(timeout=PATIENCE)
    answer = studio.post("/api/positions", {"length": 64, "width": 128})
    assert frame.locator("canvas").evaluate("canvas => [canvas.height, canvas.width]") == [64, 128]
    frame.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowDown"):
        frame.press(key)
    readout = page.locator("section.card", has_text="How it knows").locator(".readout")
    expect(readout).to_contain_text("Position 1, dimension 1: cos(1 / 10000^(0/128)) = 0.54")
    assert answer["width"] == 128


def test_settings_change_the_request_and_a_draw_has_a_seed(studio: Any, open_page: Any) -> None:
    page = open_page()
    typed(page, TEXT)
    page.get_by_text("Settings", exact=True).click()
    page.get_by_label("Draw at random").check()
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Seed").press("Tab")
    drawn = {"model": ASKED["model"], "text": TEXT, "sample": True, "seed": 7, "temperature": 1}
    want = studio.post("/api/translate", drawn)["translations"][0]["text"]
    expect(page.locator(".facts").first).to_contain_text("seed7", timeout=PATIENCE)
    assert words(page) == want
    assert json.loads(unquote(page.url.split("#translate/")[1])) == drawn


def test_models_change_direction_and_translate_back(open_page: Any) -> None:
    page = open_page()
    typed(page, TEXT)
    page.get_by_role("button", name="Translate it back").click()
    expect(page.get_by_role("button", name=re.compile("^dog, "))).to_be_visible(timeout=PATIENCE)
    assert page.get_by_label("Model").input_value() == "captions-de-en"
    assert "Hund" in page.locator("#words-source").input_value()


def test_errors_are_plain(open_page: Any) -> None:
    page = open_page(1280, "light", "#translate/" + json.dumps({"model": "captions-en-de", "text": "é" * 1900}))
    expect(page.locator(".status[data-kind=error]")).to_contain_text("expected")


@pytest.mark.parametrize(("width", "theme"), SCREENS)
def test_tabs_are_switched_by_keyboard(open_page: Any, width: int, theme: str) -> None:
    page = open_page(width, theme)
    expect(page.locator(".target-word.end")).to_be_visible(timeout=PATIENCE)
    address = page.url
    page.get_by_role("tab", name="Words").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="Layers")).to_be_focused()
    expect(page.get_by_role("tab", name="Layers")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel", name="Layers")).to_be_visible()
    expect(page.get_by_role("tabpanel", name="Words")).to_be_hidden()
    page.keyboard.press("Home")
    expect(page.get_by_role("tabpanel", name="Words")).to_be_visible()
    assert page.url == address, "its result is still there, and so is its address"
    for name in ("Pixels", "Notes"):
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("heading", level=2, name=name)).to_be_visible()


def test_the_theme_is_kept(open_page: Any) -> None:
    page = open_page(390, "dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_role("button", name="Light theme").click()
    light = page.evaluate(ground)
    assert light != before
    page.reload()
    assert page.evaluate(ground) == light
    expect(page.get_by_role("button", name="Dark theme")).to_be_visible()
