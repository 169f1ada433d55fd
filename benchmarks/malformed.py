"""Malformed requests for the studio: by the description of its API, and by hand what people do to break a server."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

HUGE = "9" * 5_000
WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 2**53, 2**70, -(2**70), 1e300, "", "x", "\u0000", "\ud800", "../../../etc/passwd",
    "a" * 5_000, "%00", "<script>", [], [[]], {}, {"kind": "text"}, {"": None}, [None] * 50, [[0, 1, 2]] * 3,
)  # fmt: skip
PATHS = (
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page/../app.py", "/app.py", "/index.html/", "//etc/passwd",
    "/.git/config", "/api/../models", "/api/%00", "/api/" + "a" * 3_000, "/?" + "q" * 3_000, "/main.js%00.html",
    "/weights/piano/card.json",
)  # fmt: skip
TEXTS = (
    b"", b"{", b"[]", b"null", b"5", b'"text"', b"NaN", b'{"text": NaN}', b'{"text": Infinity}', b'{"seed": 1e999}',
    b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b'{"seed": ' + HUGE.encode() + b"}",
    b'{"seed": 1' + HUGE.encode() + b".5}", b'{"text": "a", "text": 5}', b"\x00" * 10,
)  # fmt: skip


@dataclass(frozen=True)
class Malformed:
    """A request: method, path, body and headers."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def malformed(description: Mapping[str, Any], count: int, seed: int) -> Iterator[Malformed]:
    """Yield `count` requests of which the studio can answer none but by chance: those by hand first, then by the
    description, with a field or more of a wrong type or range.
    """
    numbers, made = random.Random(seed), 0
    for request in by_hand(description):
        if made == count // 2:
            break
        made += 1
        yield request
    schemas = description["components"]["schemas"]
    posts = [(path, methods["post"]) for path, methods in description["paths"].items() if "post" in methods]
    bodied = [(path, body) for path, post in posts if (body := _body_of(post))]
    while made < count:
        path, options = numbers.choice(bodied)
        body = _valid(numbers.choice(options), schemas, numbers)
        for _ in range(numbers.choice((1, 1, 1, 2, 5))):
            body = _spoilt(body, numbers)
        made += 1
        yield Malformed("POST", path, json.dumps(body).encode("utf-8", "surrogatepass"))


def by_hand(description: Mapping[str, Any]) -> Iterator[Malformed]:
    """Bodies that are no JSON, numbers without an end, traversal, foreign Host and Origin, bombs, hostile files."""
    for text in TEXTS:
        yield Malformed("POST", "/api/translate", text)
    for path in PATHS:
        yield Malformed("GET", path, headers={})
        yield Malformed("POST", path, b"{}")
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1:1",
        "",
        "localhost@evil.example",
        "[::1",
        "a" * 300,
    ):
        yield Malformed("GET", "/api/models", headers={"Host": host})
    for origin in ("http://evil.example", "null", "https://127.0.0.1", "file://"):
        yield Malformed(
            "POST", "/api/translate", b'{"text": "a"}', {"Content-Type": "application/json", "Origin": origin}
        )
    for kind in ("text/plain", "", "multipart/form-data", "application/json; charset=utf-16", "application/xml"):
        yield Malformed("POST", "/api/translate", b'{"text": "a"}', {"Content-Type": kind})
    for kind in ("multipart/form-data; boundary=b", "application/x-www-form-urlencoded", "multipart/form-data"):
        for body in (
            b"",
            b"--b",
            b"q=%FF&source=en",
            b'--b\r\nContent-Disposition: form-data; name="q"; filename="a"\r\n\r\nx\r\n--b--\r\n',
        ):
            yield Malformed("POST", "/translate", body, {"Content-Type": kind})
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        yield Malformed(method, "/api/translate", b"{}")
    for path in ("/api/picture?model=fashion", "/api/music?kind=chorale", "/api/music?kind=performance"):
        for data in hostile_files():
            yield Malformed("POST", path, data, {"Content-Type": "application/octet-stream"})
    yield Malformed("POST", "/api/picture?model=../../x", png(8, 8), {})
    yield Malformed("POST", "/api/music?kind=../../x", b"MThd", {})
    yield Malformed("POST", "/api/translate", b"x" * 5_000_000)
    yield Malformed(
        "POST", "/api/translate", b"{}", {"Content-Type": "application/json", "Content-Length": "99999999999"}
    )
    yield Malformed("POST", "/api/translate", b"{}", {"Content-Type": "application/json", "Content-Length": "-5"})


def hostile_files() -> Iterator[bytes]:
    """Files that are no picture and no music, or more of it than they seem."""
    yield from (
        b"",
        b"MThd",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a" + bytes(20),
        b"PK\x03\x04" + bytes(100),
        b"RIFF" + bytes(50),
    )
    yield png(60_000, 60_000)
    yield b"MThd" + struct.pack(">IHHH", 6, 1, 0xFFFF, 1) + b"MTrk" + struct.pack(">I", 2**31)
    yield (
        b"MThd"
        + struct.pack(">IHHH", 6, 0, 1, 96)
        + b"MTrk"
        + struct.pack(">I", 400_000)
        + b"\x00\x90\x40\x40" * 100_000
    )
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    yield f'<?xml version="1.0"?><!DOCTYPE score-partwise [{entities}]><score-partwise>&a9;</score-partwise>'.encode()
    yield b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><score-partwise>&x;</score-partwise>'
    archive = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("META-INF/container.xml", b"0" * 30_000_000)
    yield archive.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with few pixels in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _body_of(post: Mapping[str, Any]) -> list[Any]:
    found = post.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return list(found.get("anyOf", [found])) if found else []


def _valid(schema: Mapping[str, Any], schemas: Mapping[str, Any], numbers: random.Random, depth: int = 0) -> Any:
    """A value that the schema allows, or nearly."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return _valid(numbers.choice(schema["anyOf"]), schemas, numbers, depth)
    if "enum" in schema:
        return numbers.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        names = [name for name in schema["properties"] if name in schema["required"] or numbers.random() < 0.3]
        return {name: _valid(schema["properties"][name], schemas, numbers, depth + 1) for name in names}
    if kind == "array":
        length = max(schema.get("minItems", 0), min(schema.get("maxItems", 3), numbers.randrange(4)))
        return [_valid(schema["items"], schemas, numbers, depth + 1) for _ in range(length)]
    low, high = schema.get("minimum", 0), schema.get("maximum", 10)
    if kind == "integer":
        return numbers.randint(int(low), int(min(high, low + 20)))
    if kind == "number":
        return numbers.uniform(low, min(high, low + 20))
    return {"string": "AAAA", "boolean": False, "null": None}[kind or "null"]


def _spoilt(value: Any, numbers: random.Random) -> Any:
    """The value with something wrong in it, somewhere."""
    if isinstance(value, dict) and value and numbers.random() < 0.85:
        name = numbers.choice(sorted(value))
        if numbers.random() < 0.15:
            return {key: item for key, item in value.items() if key != name}
        if numbers.random() < 0.1:
            return {**value, numbers.choice(("seeed", "__class__", "\u0000")): 1}
        return {**value, name: _spoilt(value[name], numbers)}
    if isinstance(value, list) and value and numbers.random() < 0.6:
        place = numbers.randrange(len(value))
        return [*value[:place], _spoilt(value[place], numbers), *value[place + 1 :]]
    return numbers.choice(WRONG)
