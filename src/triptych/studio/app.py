"""The server: routes of the page and of the API, who may ask, errors as JSON, and LibreTranslate's two routes."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from triptych import __version__
from triptych.errors import UserError
from triptych.fields import JsonError, TooLargeError, one_of, read_json
from triptych.music.files.plain import MAX_STEPS
from triptych.studio import requests as asked
from triptych.studio.description import ENDPOINTS, LIBRETRANSLATE, UPLOADS, description, found
from triptych.studio.models import Models
from triptych.studio.work import CONCURRENT, WAITING, Job, RefusedError, Stopped, Workshop

PAGE = Path(__file__).parent / "page"
EXAMPLES, COMPLEXITY = PAGE.parent / "examples.json", PAGE.parent / "complexity.json"  # bodies; a measurement
MEDIA = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
ELSEWHERE = {
    404: f"expected /, /translate or one of /api/{', /api/'.join(ENDPOINTS)}, got another address; see /api",
    405: "expected POST where something is to be made, GET elsewhere, got another method; see /api",
}
BODY_SECONDS = 30.0  # in which a body must have come
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "media-src blob:; font-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Studio:
    """The studio of some models; `app` is what serves it."""

    def __init__(self, given: Sequence[str] = (), *, threads: int = 1) -> None:
        self.models, self.shop = Models(given, threads), Workshop()
        self.app = Starlette(
            routes=[
                Route("/", partial(_file, PAGE / "index.html")),
                Route("/api", partial(_file, PAGE / "api.html")),
                # Each by the name that it has in the folder: nothing of a request becomes a path.
                *(Route(f"/{path.name}", partial(_file, path)) for path in PAGE.iterdir() if path.suffix in MEDIA),
                Route("/api/complexity", partial(_file, COMPLEXITY)),
                Route("/api/models", lambda _: JSONResponse(self.listed())),
                Route("/api/openapi.json", lambda _: JSONResponse(description())),
                Route("/languages", lambda _: JSONResponse(found("words.languages")[0](self.models))),
                *(Route(place, lambda _: JSONResponse({"status": "ok"})) for place in ("/health", "/api/health")),
                *(Route(f"/api/{name}", partial(self._post, name), methods=["POST"]) for name in ENDPOINTS),
                *(Route(f"/api/{name}", partial(self._upload, name), methods=["POST"]) for name in UPLOADS),
                Route("/translate", self._libretranslate, methods=["POST"]),
            ],
            exception_handlers=dict.fromkeys((Exception, HTTPException, UserError, Stopped, ClientDisconnect), _failed),
        )

    def listed(self) -> dict[str, Any]:
        """What `/api/models` answers."""
        limits = {"text": asked.MAX_TEXT, "beam": asked.MAX_BEAM, "count": asked.MAX_COUNT, "steps": MAX_STEPS}
        limits |= {"seconds": int(asked.MAX_SECONDS), "bytes": asked.MAX_BYTES, "json": asked.MAX_JSON}
        return {
            "version": __version__,
            "models": [entry.to_dict() for entry in self.models.entries.values()],
            "limits": {**limits, "concurrent": CONCURRENT, "waiting": WAITING},
            "has": {"score": find_spec("verovio") is not None},
            "examples": json.loads(EXAMPLES.read_bytes()),
        }

    def read(self, name: str, body: Any) -> Callable[[Job], Any]:
        """The work of a request to an endpoint. UserError for one that cannot be."""
        return partial(one_of(found(ENDPOINTS[name]), body), self.models)

    async def _post(self, name: str, request: Request) -> Response:
        body = await _json(request)
        work, gone = self.read(name, body), partial(_leaving, request)
        if not body.get("stream"):
            return JSONResponse(await self.shop.answer(work, gone))
        events = self.shop.stream(work, gone)
        first = await anext(events)  # what fails before has a status of its own
        return StreamingResponse(_sent(first, events), media_type="text/event-stream")

    async def _upload(self, name: str, request: Request) -> Response:
        data = await _body(request, asked.MAX_BYTES)
        parameter, reader, _ = UPLOADS[name]
        read = partial(found(reader)[0], self.models, data, request.query_params.get(parameter, ""))
        return JSONResponse(await self.shop.answer(lambda _: read(), partial(_leaving, request)))

    async def _libretranslate(self, request: Request) -> Response:
        forms = ("application/x-www-form-urlencoded", "multipart/form-data")
        body = await (_form if _media(request) in forms else _json)(request)
        single = isinstance(body, dict) and isinstance(body.get("q"), str)
        if single:
            body = {**body, "q": [body["q"]]}
        work = partial(one_of(found(LIBRETRANSLATE), body), self.models)
        answer = await self.shop.answer(work, partial(_leaving, request))
        return JSONResponse({name: value[0] if single else value for name, value in answer.items()})


async def _form(request: Request) -> dict[str, Any]:
    """The fields of a form, which are text there; one that is given several times is a list."""
    data = await _body(request, asked.MAX_JSON)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    try:
        form = await Request(request.scope, receive).form(max_files=0, max_fields=asked.MAX_LINES + 10)
    except (HTTPException, ValueError, KeyError):
        raise RefusedError("expected a form of text, got a damaged one; send JSON", 400) from None
    texts = {name: [str(value) for value in form.getlist(name)] for name in form}
    fields: dict[str, Any] = {name: several if len(several) > 1 else several[0] for name, several in texts.items()}
    if isinstance(count := fields.get("alternatives"), str) and count.isdecimal():
        fields["alternatives"] = int(count[:9])
    return fields


async def _body(request: Request, most: int) -> bytes:
    """The body. Refused where it is too large, or does not come."""
    too_large = RefusedError(f"expected a body of at most {most:,} bytes, got more; send less", 413)
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > most:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                data += part
                if len(data) > most:
                    raise too_large
    except TimeoutError:
        raise RefusedError(f"expected the body in {BODY_SECONDS:.0f} seconds, got a part; send it anew", 408) from None
    return bytes(data)


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json(request: Request) -> Any:
    if _media(request) != "application/json":  # which pages of other hosts cannot send without asking
        raise RefusedError("expected Content-Type: application/json, got another; send JSON", 415)
    return read_json(await _body(request, asked.MAX_JSON))


async def _leaving(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _sent(first: tuple[str, Any], events: AsyncIterator[tuple[str, Any]]) -> AsyncIterator[bytes]:
    """Server-sent events; a failure is the last one of them."""
    try:
        yield _event(*first)
        async for event in events:
            yield _event(*event)
    except Exception as error:
        status, message = _fault(error)
        yield _event("error", {"error": message, "status": status})
    finally:
        await cast(Any, events).aclose()


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, allow_nan=False)}\n\n".encode()


def _fault(error: Exception) -> tuple[int, str]:
    """The status and the message of an error."""
    if isinstance(error, Stopped | ClientDisconnect):
        return 499, "the client has gone"
    if isinstance(error, HTTPException):
        return error.status_code, ELSEWHERE.get(error.status_code, str(error.detail))
    if isinstance(error, UserError):
        status = {JsonError: 400, TooLargeError: 413}.get(type(error), 422)
        return getattr(error, "status", status), str(error)
    traceback.print_exception(error, file=sys.stderr)
    return 500, "an error of the studio's own; its terminal has more"


async def _failed(_: Request, error: Exception) -> Response:
    status, message = _fault(error)
    headers = {"Retry-After": "1"} if status == 503 else getattr(error, "headers", None)
    return JSONResponse({"error": message}, status, headers)


def _file(path: Path, _: Request) -> Response:
    return Response(path.read_bytes(), media_type=MEDIA.get(path.suffix, "application/json"))


class Guard:
    """Lets requests pass that come for us: by our address, and from our page or from none (DNS rebinding)."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._app, self._port, self._open = app, port, not _is_loopback(host)
        self._names = {"localhost", host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse with 403; every answer has the headers of the policy."""
        headers = Headers(scope=scope)

        async def answered(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        host, origin = headers.get("host", ""), headers.get("origin")
        app = self._app
        if not self._ours(host) or origin not in (None, f"http://{host}"):
            error = "expected a request by the address of the studio and from its page, got another Host or Origin"
            app = JSONResponse({"error": f"{error}; see --host"}, 403)
        await app(scope, receive, answered)

    def _ours(self, host: str) -> bool:
        """Whether a Host header is an address of ours: a name that we know, or a number, behind which is no name."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = (parts.hostname or "").lower(), parts.port or 80
        except ValueError:
            return False
        if port != self._port or parts.path or parts.username is not None:
            return False
        return name in self._names or _is_loopback(name) or (self._open and _address(name) is not None)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return name == "localhost" or (address is not None and address.is_loopback)


def serve(studio: Studio, listening: socket.socket, host: str) -> None:
    """Serve until the person ends it. listening: a socket that is bound to `host`."""
    import uvicorn

    guarded = Guard(studio.app, host, listening.getsockname()[1])
    config = uvicorn.Config(
        guarded, http="h11", loop="asyncio", ws="none", lifespan="off", log_level="warning", server_header=False,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    uvicorn.Server(config).run([listening])
