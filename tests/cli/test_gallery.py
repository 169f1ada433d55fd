"""The demo's page: complete without a network, for people who see it and who do not, narrow and wide."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from triptych.cli import gallery


class Page(HTMLParser):
    """Collects what the page points at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def made(run: Any, translator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gallery, "CAPTIONS", ("A dog & <two> cats.",))
    monkeypatch.setattr(gallery, "OUTSIDE", ('"News".',))
    ran = run("demo", "--out", tmp_path / "gallery", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["files"] == 5
    return Path(json.loads(ran.out)["page"])


def test_the_page_stands_alone(made: Path) -> None:
    text = made.read_text("utf-8")
    page = Page(text)
    assert page.open == [], "every element is closed"
    assert len(page.images) == 4
    for image in page.images:
        assert (made.parent / (image["src"] or "")).is_file()
        assert len(image["alt"] or "") > 20 and int(image["width"] or 0) > 0
    assert all(re.fullmatch(r"attention/[\w-]+\.png", link) for link in page.links), "relative files and nothing else"
    assert "http" not in text and "@import" not in text and "url(" not in text and "$" not in text
    assert "A dog &amp; &lt;two&gt; cats." in text and "turned words &amp; &lt;more&gt;" in text
    assert text.count('<p class="target" lang="de">') == 2


def test_what_a_map_tells() -> None:
    import torch

    weights = torch.tensor([[[[0.6, 0.1, 0.3], [0.2, 0.7, 0.1], [0.0, 0.0, 1.0]]]])
    told = gallery._told(
        gallery.AttentionMap("cross", weights, ("\u2581Hund", "e", "</s>"), ("\u2581dog", "s", "."), ("l",), ("h",))
    )
    assert "Strongest: e looks at s (0.70); Hund looks at dog (0.60); e looks at dog (0.20);" in told


def test_a_dozen_captions() -> None:
    assert len(set(gallery.CAPTIONS)) == 12


PATIENCE = 120_000  # milliseconds: a busy machine is no failure
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here")
def test_in_a_browser(made: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    told: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS, timeout=PATIENCE)
        for width, scheme in ((360, "light"), (1280, "dark")):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: told.append(message.text))
            page.on("request", lambda request: told.append(request.url))
            page.goto(made.as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            page.evaluate("document.querySelectorAll('img').forEach(one => one.loading = 'eager')")
            page.wait_for_function("[...document.images].every(one => one.complete)")
            assert page.evaluate("[...document.images].filter(one => !one.naturalWidth).length") == 0
            assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page never scrolls sideways"
        browser.close()
    assert all(url.startswith(made.parent.as_uri() + "/") for url in told) and len(told) == 10
