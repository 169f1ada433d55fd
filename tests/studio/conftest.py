"""A studio that listens on a free port of this machine, and a client of it."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class Client:
    """Requests to the studio, as a page or another program sends them."""

    def __init__(self, port: int, serving: Any) -> None:
        self.port, self.serving = port, serving

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def post(self, path: str, body: Any) -> Any:
        """The answer to JSON, which is 200."""
        status, answer = self.try_post(path, body)
        assert status == 200, answer
        return answer

    def try_post(self, path: str, body: Any) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, answer = self.ask("POST", path, data, Content_Type="application/json")
        return status, json.loads(answer)

    def get(self, path: str) -> Any:
        status, _, answer = self.ask("GET", path)
        assert status == 200, answer
        return json.loads(answer)

    def events(self, path: str, body: Any) -> list[tuple[str, Any]]:
        """The events of a stream."""
        data = json.dumps({**body, "stream": True}).encode()
        status, headers, answer = self.ask("POST", path, data, Content_Type="application/json")
        assert status == 200 and headers["content-type"].startswith("text/event-stream"), answer
        found = []
        for block in answer.decode().strip().split("\n\n"):
            event, line = block.split("\n", 1)
            found.append((event.removeprefix("event: "), json.loads(line.removeprefix("data: "))))
        return found


@pytest.fixture(scope="session")
def studio() -> Iterator[Client]:
    import uvicorn

    from triptych.studio.app import Guard, Studio

    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    made = Studio()
    config = uvicorn.Config(
        Guard(made.app, "127.0.0.1", port), http="h11", loop="asyncio", ws="none", lifespan="off", log_level="warning"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    yield Client(port, made)
    server.should_exit = True
    thread.join(10)


AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")
QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--mute-audio",
)
VIOLATIONS = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`)"""
# An event loop runs in the thread in which playwright is started, as long as it is: it ends with the module.
Page = Any


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found, args=QUIET)
        yield started
        started.close()


@pytest.fixture
def open_page(studio: Client, browser: Any) -> Iterator[Callable[[int, str, str], Page]]:
    """Open the studio at a width, in a theme, at an address. At the end: nothing on the console but what was meant to
    be, no request that left this machine, and no page wider than its window.
    """
    opened: list[Page] = []
    troubles: list[str] = []
    home = f"http://127.0.0.1:{studio.port}/"

    def open_(width: int = 1280, theme: str = "light", fragment: str = "#words") -> Page:
        size = {"width": width, "height": 800}
        context = browser.new_context(viewport=size, color_scheme=theme, has_touch=width < 500, accept_downloads=True)
        page = context.new_page()
        page.on("console", lambda line: troubles.append(_said(line)) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.append(request.url) if not _local(request.url, home) else None)
        page.goto(home + fragment)
        opened.append(page)
        return page

    yield open_
    wide = [page.url for page in opened if page.evaluate("document.documentElement.scrollWidth > window.innerWidth")]
    for page in opened:
        page.context.close()
    assert not troubles
    assert not wide


def _said(line: Any) -> str:
    return f"{line.text} ({line.location['url']})"


def _local(url: str, home: str) -> bool:
    return url.startswith((home, "data:", f"blob:{home}"))


@pytest.fixture
def axe() -> Callable[[Page], list[str]]:
    """What axe-core finds that is serious or critical."""

    def check(page: Page) -> list[str]:
        if not page.evaluate("'axe' in window"):
            page.evaluate(AXE)  # the page's policy does not bind what the browser is given from outside
        found: list[str] = page.evaluate(VIOLATIONS)
        return found

    return check
