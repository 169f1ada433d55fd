"""The page before answers are there: no control can be used before what it needs, however slow or broken they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

PATIENCE = 60_000  # milliseconds that a model may take on a busy machine
PANELS = ("words", "pixels", "notes", "layers")
USABLE = "#main :is(button, input, select, textarea, summary):not(:disabled):visible"
CLICKED = """controls => {
    const usable = controls.filter((one) => !one.disabled && one.checkVisibility() && one.type !== "file");
    for (const one of usable) one.click();
    return usable.length;
}"""


@pytest.fixture
def held_page(studio: Any, browser: Any) -> Iterator[Callable[[str, str], tuple[Any, list[Any]]]]:
    """Open the studio at an address while the answers to the requests that fit a pattern are held back. At the end:
    nothing was thrown.
    """
    pages, thrown = [], []

    def open_(fragment: str, pattern: str) -> tuple[Any, list[Any]]:
        page = browser.new_page()
        held: list[Any] = []

        def hold(route: Any) -> None:
            held.append(route)

        page.on("pageerror", lambda error: thrown.append(f"{fragment}: {error}"))
        page.route(pattern, hold)
        page.goto(f"http://127.0.0.1:{studio.port}/{fragment}")
        pages.append(page)
        return page, held

    yield open_
    for page in pages:
        page.unroute_all(behavior="ignoreErrors")
        page.close()
    assert not thrown


def next_of(page: Any, held: list[Any]) -> Any:
    """The next request that is held back."""
    while not held:
        page.wait_for_timeout(20)
    return held.pop()


@pytest.mark.parametrize("name", PANELS)
def test_nothing_can_be_used_before_the_models_are_known(held_page: Any, name: str) -> None:
    page, held = held_page(f"#{name}", "**/api/models")
    expect(page.get_by_text("Asking the studio for its models")).to_be_visible()
    for other in (*PANELS, name):
        page.get_by_role("tab", name=other).click()
        expect(page.locator(USABLE)).to_have_count(0)
    assert len(held) == 1
    held.pop().continue_()
    expect(page.locator(f"#panel-{name} h2")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("Asking the studio for its models")).not_to_be_visible()


def test_a_task_is_chosen_as_soon_as_it_is_there(held_page: Any) -> None:
    page, held = held_page("#pixels", "**/api/models")
    page.get_by_role("tab", name="Words").click()
    page.get_by_role("tab", name="Pixels").click()
    next_of(page, held).continue_()
    page.get_by_role("radio", name="Complete", exact=True).check(timeout=PATIENCE)
    expect(page.get_by_role("application", name="Picture to complete")).to_be_visible()
    expect(page.get_by_role("button", name="Complete", exact=True)).to_be_enabled()


def test_the_models_are_asked_for_again(held_page: Any) -> None:
    page, held = held_page("#notes", "**/api/models")
    next_of(page, held).fulfill(status=500, json={"error": "out of order"})
    expect(page.locator("#main > .status")).to_have_text("out of order")
    page.get_by_role("tab", name="Words").click()
    expect(page.locator(USABLE)).to_have_count(1)
    page.get_by_role("button", name="Try again").click()
    next_of(page, held).continue_()
    expect(page.get_by_label("Model", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("button", name="Try again")).not_to_be_visible()


@pytest.mark.parametrize("name", PANELS)
@pytest.mark.parametrize("fails", [False, True])
def test_every_control_works_while_no_other_answer_comes(held_page: Any, name: str, fails: bool) -> None:
    page, held = held_page(f"#{name}", "**/api/[!m]*")
    expect(page.locator(f"#panel-{name} h2")).to_be_visible(timeout=PATIENCE)
    for _ in range(2):
        assert page.locator(f"#panel-{name} :is(button, input, summary)").evaluate_all(CLICKED) > 2
        page.wait_for_timeout(300)
        for route in held if fails else ():
            route.fulfill(status=503, json={"error": "busy"})
        held.clear()


def test_pictures_are_drawn_on_when_there_is_one(held_page: Any) -> None:
    page, held = held_page("#pixels", "**/api/example")
    page.get_by_role("radio", name="Complete", exact=True).check(timeout=PATIENCE)
    board, go = page.locator("#panel-pixels .easel"), page.get_by_role("button", name="Complete", exact=True)
    expect(board).to_be_visible()
    page.get_by_text("More settings").click()
    page.get_by_label("Model", exact=True).dispatch_event("change")
    expect(board).not_to_be_visible()
    expect(go).to_be_disabled()
    next_of(page, held).continue_()
    expect(board).to_be_visible(timeout=PATIENCE)
    expect(go).to_be_enabled()
