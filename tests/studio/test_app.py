"""Who may ask, what is refused and how, and work that ends when nobody waits for it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from malformed import malformed

from triptych.errors import UserError
from triptych.studio import work
from triptych.studio.app import Guard, Studio
from triptych.studio.models import Models


def test_health_models_and_the_page(studio: Any) -> None:
    assert studio.get("/api/health") == {"status": "ok"}
    models = studio.get("/api/models")
    names = [one["name"] for one in models["models"]]
    assert names[:2] == ["captions-en-de", "fashion"] and len(names) == 8
    by_name = {one["name"]: one for one in models["models"]}
    assert by_name["piano"]["task"] == "play" and "Chopin" in by_name["piano"]["labels"]
    assert (
        by_name["chorales"]["labels"][:3] == ["major", "minor", "C major"] and len(by_name["chorales"]["labels"]) == 26
    )
    assert (
        by_name["fashion"]["picture"]["positions"] == 196 and by_name["captions-de-en"]["languages"]["target"] == "en"
    )
    assert studio.get("/api/complexity")["table"]["full"]["complexity"] == "n^2 d"
    for path, kind in (
        ("/", "text/html"),
        ("/main.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/api", "text/html"),
    ):
        status, headers, _ = studio.ask("GET", path)
        assert status == 200 and headers["content-type"].startswith(kind)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "kind", ["translate", "paint", "complete", "upscale", "compose", "continue", "harmonize", "infill"]
)
def test_the_examples_are_answered(studio: Any, kind: str) -> None:
    for body in studio.get("/api/models")["examples"][kind]:
        answer = studio.post(f"/api/{kind}", body)
        assert answer["model"] == body["model"] and body.items() <= answer["settings"].items()
        assert answer["address"].startswith(f"#{kind}/")


def test_the_description_has_every_endpoint_and_default(studio: Any) -> None:
    found = studio.get("/api/openapi.json")
    assert found["openapi"] == "3.1.0"
    paths = {f"/api/{name}" for name in ("translate", "attention", "paint", "infill", "picture", "music", "models")}
    assert paths | {"/translate", "/languages", "/health"} <= set(found["paths"])
    beam = found["components"]["schemas"]["Translate"]["properties"]["beam"]
    assert beam == {"type": "integer", "minimum": 1, "maximum": 16, "default": 5}
    assert found["components"]["schemas"]["Infill"]["required"] == ["piece", "open"]


@pytest.mark.parametrize(
    ("host", "headers", "allowed"),
    [
        ("127.0.0.1", {}, True),
        ("127.0.0.1", {"host": "localhost:80"}, True),
        ("127.0.0.1", {"host": "[::1]:80"}, True),
        ("127.0.0.1", {"host": "evil.example:80"}, False),
        ("127.0.0.1", {"host": "localhost:81"}, False),
        ("127.0.0.1", {"host": "192.168.0.5:80"}, False),
        ("127.0.0.1", {"host": "localhost:80", "origin": "http://localhost:80"}, True),
        ("127.0.0.1", {"host": "localhost:80", "origin": "http://evil.example"}, False),
        ("127.0.0.1", {"host": "localhost:80", "origin": "null"}, False),
        ("0.0.0.0", {"host": "192.168.0.5:80"}, True),
        ("0.0.0.0", {"host": "evil.example:80"}, False),
        ("mine.example", {"host": "mine.example:80"}, True),
    ],
)
def test_who_may_ask(host: str, headers: dict[str, str], allowed: bool) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    listed = [(name.encode(), value.encode()) for name, value in {"host": "127.0.0.1:80", **headers}.items()]
    if host == "0.0.0.0" and "host" not in headers:
        return
    asyncio.run(Guard(app, host, 80)({"type": "http", "headers": listed}, None, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == (200 if allowed else 403)


def test_a_foreign_page_cannot_ask(studio: Any) -> None:
    body = b'{"text": "A dog."}'
    status, _, answer = studio.ask(
        "POST", "/api/translate", body, Content_Type="application/json", Origin="http://evil"
    )
    assert status == 403 and b"another Host or Origin" in answer
    status, _, answer = studio.ask("POST", "/api/translate", body, Content_Type="text/plain")
    assert status == 415


def test_malformed_requests_have_an_answer(studio: Any) -> None:
    """200 of them; `benchmarks/soak_studio.py` sends 2,000."""
    folder = set(Path.cwd().iterdir())
    for request in malformed(studio.get("/api/openapi.json"), 200, seed=1):
        connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=30)
        try:
            connection.request(request.method, request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            data = answer.read()
        except (ConnectionError, http.client.HTTPException, ValueError):
            continue  # the server has closed, or the client cannot even send it
        finally:
            connection.close()
        assert answer.status < 500 or answer.status == 503, (request, data)
        if answer.status >= 400 and data and answer.getheader("content-type", "").startswith("application/json"):
            assert set(json.loads(data)) == {"error"}
    assert studio.get("/api/health") == {"status": "ok"} and set(Path.cwd().iterdir()) == folder


def busy(studio: Any) -> int:
    """Requests that work or wait."""
    return int(studio.serving.shop.jobs)


def waited(condition: Any, seconds: float = 5.0) -> float:
    """Seconds until the condition holds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds
        time.sleep(0.01)
    return time.monotonic() - start


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_work(studio: Any, stream: bool) -> None:
    studio.post("/api/paint", {"count": 1, "seed": 1})  # the model is there
    body = json.dumps({"model": "chorales", "steps": 1_024, "seed": 1, "stream": stream, "min_p": 0.01}).encode()
    with socket.create_connection(("127.0.0.1", studio.port)) as connection:
        head = f"POST /api/compose HTTP/1.1\r\nHost: 127.0.0.1:{studio.port}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        if stream:
            answer = b""
            while b"event: start" not in answer:
                answer += connection.recv(100_000)
        waited(lambda: busy(studio) == 1)
    waited(lambda: busy(studio) == 0, 1.0)


def sent(studio: Any, path: str, body: dict[str, Any]) -> socket.socket:
    """A connection on which a stream was asked for."""
    data = json.dumps({**body, "stream": True}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{studio.port}\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection(("127.0.0.1", studio.port), timeout=60)
    connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return connection


def test_streams_that_are_dropped_hold_nobody_up(studio: Any) -> None:
    """Four pianists, two of whom wait for a thread, are left in mid-stream or before it; the next begins at once."""
    notes = [[0.2 * place, 60 + place % 12, 70, 0.2] for place in range(40)]
    body = {"model": "piano", "piece": {"kind": "performance", "notes": notes}, "seconds": 120}
    studio.post("/api/continue", {**body, "seconds": 1})  # the model is there
    seconds = []
    for number in range(6):
        connections = [sent(studio, "/api/continue", {**body, "seed": seed}) for seed in range(4)]
        if number % 2:
            connections[0].recv(1_000)
        time.sleep(0.05 * number)
        for connection in connections:
            connection.close()
        began = time.monotonic()
        with sent(studio, "/api/continue", {**body, "seconds": 1}) as connection:
            answer = b""
            while b"event: start" not in answer:
                answer += connection.recv(100_000)
        seconds.append(time.monotonic() - began)
    assert sorted(seconds)[3] < 1, seconds  # one or two may meet a busy machine
    waited(lambda: busy(studio) == 0)


def test_whoever_does_not_read_or_wait_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work whose events are not read has its thread until it ends; who leaves the queue makes room in it."""
    monkeypatch.setattr(work, "WAITING", 1)

    async def ask() -> Any:
        shop, release, left = work.Workshop(), threading.Event(), asyncio.Event()

        async def stays() -> None:
            await asyncio.sleep(60)

        async def leaves() -> None:
            await left.wait()

        streams = [shop.stream(lambda job: job.send("pixels", {}), stays) for _ in range(work.CONCURRENT)]
        assert [(await anext(one))[0] for one in streams] == ["pixels"] * work.CONCURRENT
        assert await asyncio.wait_for(shop.answer(lambda _: 5, stays), 5) == 5
        working = [asyncio.create_task(shop.answer(lambda _: release.wait(30), stays)) for _ in range(work.CONCURRENT)]
        await asyncio.sleep(0.1)
        queued = asyncio.create_task(shop.answer(lambda _: 6, leaves))
        await asyncio.sleep(0.1)
        with pytest.raises(work.RefusedError):
            await shop.answer(lambda _: 7, stays)
        left.set()
        with pytest.raises(work.Stopped):
            await queued
        last = asyncio.create_task(shop.answer(lambda _: 8, stays))
        await asyncio.sleep(0.1)
        release.set()
        assert await asyncio.gather(*working) == [True] * work.CONCURRENT
        return await last

    assert asyncio.run(ask()) == 8


def test_work_stops_whose_client_left_before_it_had_read() -> None:
    """Though nobody asks for the next event, and nobody closes what gives them."""

    async def ask() -> Any:
        shop, left, stopped = work.Workshop(), asyncio.Event(), list[bool]()

        async def leaves() -> None:
            await left.wait()

        def works(job: work.Job) -> None:
            job.send("pixels", {})
            stopped.append(job.stop.wait(30))

        events = shop.stream(works, leaves)
        assert (await anext(events))[0] == "pixels"
        left.set()
        assert await asyncio.wait_for(shop.answer(lambda _: 5, asyncio.Event().wait), 5) == 5
        while not stopped:
            await asyncio.sleep(0.01)
        return stopped

    assert asyncio.run(asyncio.wait_for(ask(), 10)) == [True]


def test_too_many_requests_are_sent_away(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many work as there are threads, some wait, and the next one is refused."""
    monkeypatch.setattr(work, "WAITING", 1)

    async def ask() -> list[Any]:
        shop, release = work.Workshop(), threading.Event()

        async def stays() -> None:
            await asyncio.sleep(60)

        asked = [
            asyncio.create_task(shop.answer(lambda _: release.wait(30), stays)) for _ in range(work.CONCURRENT + 2)
        ]
        await asyncio.sleep(0.2)
        release.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(ask())
    assert found[:-1] == [True] * (work.CONCURRENT + 1)
    assert isinstance(found[-1], work.RefusedError) and found[-1].status == 503
    monkeypatch.setattr(work, "WAITING", 0)
    status, headers, _ = studio.ask("POST", "/api/positions", b"{}", Content_Type="application/json")
    assert status == 503 and headers["retry-after"] == "1"


def test_work_has_a_limit(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "SECONDS", 0.0)
    status, answer = studio.try_post("/api/compose", {"steps": 64})
    assert status == 504 and "ask for less" in answer["error"]
    monkeypatch.setattr(work, "SECONDS", 0.3)
    events = studio.events("/api/compose", {"steps": 1_024})
    assert events[0][0] == "start" and events[-1][0] == "error" and events[-1][1]["status"] == 504


def test_requests_are_not_mixed(studio: Any) -> None:
    """Each of many at once gets the answer that it gets alone."""
    bodies = [("compose", {"steps": 32, "seed": seed}) for seed in range(2)]
    bodies += [("paint", {"count": 1, "seed": seed, "label": "bag"}) for seed in range(2)]
    bodies += [("translate", {"text": text}) for text in ("A dog.", "Two men.", "A red car.")]
    alone = [studio.post(f"/api/{name}", body) for name, body in bodies]
    together: dict[int, Any] = {}

    def ask(place: int) -> None:
        name, body = bodies[place]
        together[place] = studio.post(f"/api/{name}", body)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[place] for place in range(len(bodies))] == alone


def test_a_persons_own_model_is_first(tmp_path: Path) -> None:
    import shutil

    from triptych.shape.store import SHIPPED

    mine = tmp_path / "mine"
    shutil.copytree(SHIPPED / "captions-de-en", mine)
    shutil.copytree(SHIPPED / "chorales", tmp_path / "chorales")
    models = Models([str(mine), str(tmp_path / "chorales")])
    assert [*models.entries][:2] == ["mine", "chorales"] and "chorales-2" in models.entries
    assert models.find(None, "translate")[0].name == "mine"
    described = Models([str(mine)]).entries["mine"].to_dict()
    assert not described["shipped"] and described["panel"] == "words" and not described["loaded"]
    found = Studio([str(mine)]).read("translate", {"text": "Ein Hund.", "model": "mine"})(work.Job())
    assert found["translations"][0]["text"] and f"--model={mine}" in found["command"]
    with pytest.raises(UserError, match="got 'nothing'"):
        Models(["nothing"])
