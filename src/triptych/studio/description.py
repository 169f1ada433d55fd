"""The endpoints of the API, and their description, OpenAPI 3.1, made of the classes of requests."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from triptych import __version__
from triptych.fields import schema
from triptych.studio.requests import Drawn

ABOUT = """JSON in, JSON out. Errors are {error} with their status: 400 no JSON, 403 a foreign Host or Origin, 413 too
large, 415 another type, 422 a wrong field, 503 busy (Retry-After), 504 too long. With stream true, answers are
server-sent events: start, what the request makes, done with the whole answer."""
GOT = {
    "/api/models": "The models, limits and examples.",
    "/api/health": "Whether the server lives.",
    "/api/complexity": "The complexity table, measured.",
    "/languages": "Languages, as LibreTranslate has them.",
    "/health": "Whether the server lives, as LibreTranslate has it.",
}
UPLOADS = {  # of a file's bytes: the parameter in the address, what answers, and what that is
    "picture": ("model", "pixels.read_picture", "A picture file in the size that a model reads."),
    "music": ("kind", "notes.read_music", "The notes of a MIDI or MusicXML file: kind chorale or performance."),
}

# The kinds of requests of each endpoint: classes in the modules of the studio, imported at the first request.
ENDPOINTS = {
    "translate": "words.Translate",
    "alternatives": "words.Alternatives",
    "attention": "words.TextAttention pixels.PictureAttention notes.ChoraleAttention notes.PlayedAttention",
    "paint": "pixels.Paint",
    "complete": "pixels.Complete",
    "upscale": "pixels.Upscale",
    "example": "pixels.Example",
    "compose": "notes.Compose",
    "continue": "notes.Continue",
    "harmonize": "notes.Harmonize",
    "infill": "notes.Infill",
    "similarity": "notes.Similarity",
    "voice_leading": "notes.VoiceLeading",
    "positions": "words.Positions",
    "export": "notes.Export",
}
LIBRETRANSLATE = "words.LibreTranslate"


def found(names: str) -> list[Any]:
    """The classes or functions of these names in the modules of the studio."""
    places = (name.split(".") for name in names.split())
    return [getattr(import_module(f"triptych.studio.{module}"), name) for module, name in places]


def description() -> dict[str, Any]:
    """The API as OpenAPI."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {path: {"get": _operation(about)} for path, about in GOT.items()}
    for upload, (name, _, about) in UPLOADS.items():
        body = {"required": True, "content": {"application/octet-stream": {"schema": {}}}}
        parameter = {"name": name, "in": "query", "required": True, "schema": {"type": "string"}}
        paths[f"/api/{upload}"] = {"post": {**_operation(about), "requestBody": body, "parameters": [parameter]}}
    requests = {f"/api/{name}": kinds for name, kinds in ENDPOINTS.items()} | {"/translate": LIBRETRANSLATE}
    for path, kinds in ((path, found(names)) for path, names in requests.items()):
        several = [schema(kind, schemas) for kind in kinds]
        one = several[0] if len(kinds) == 1 else {"anyOf": several}
        body = {"required": True, "content": {"application/json": {"schema": one}}}
        about = " ".join(" ".join((kind.__doc__ or "").split()) for kind in kinds)
        streams = any(issubclass(kind, Drawn) for kind in kinds)
        paths[path] = {"post": {**_operation(about, streams=streams), "requestBody": body}}
    info = {"title": "Triptych studio", "version": __version__, "description": ABOUT}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _operation(about: str, *, streams: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": {}}}
    if streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    failed = {"description": "{error}", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "summary": about,
        "responses": {"200": {"description": "The answer.", "content": content}, "default": failed},
    }
