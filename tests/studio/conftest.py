"""A studio that listens on a free port of this machine, and a client of it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
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
