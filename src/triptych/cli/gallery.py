"""The gallery: the studio's page in one file, with answers recorded for it; it needs no server and no network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.errors import UserError
from triptych.shape.files import MARK, holds, read_sealed, sealed, temporary_of, write_file

if TYPE_CHECKING:
    from triptych.studio.app import Studio

PAGE, CONTENTS = "index.html", "contents.json"  # the page, and its digest
FORCED = 3  # pieces at each place of a translation, of which one can be forced
IMPORT = re.compile(r'^import [^;]* from "\./([\w.]+)";\n', re.MULTILINE)
LINKED = re.compile(r'<link rel="stylesheet" href="([\w.]+)">\n')
ICON = re.compile(r'<link rel="icon" href="([\w.]+)" type="image/svg\+xml">')
SCRIPT = '<script type="module" src="main.js"></script>\n'
# The answers are packed, and unpacked before the page begins.
BEGIN = """window.TRIPTYCH_RECORDED = await (async () => {
  const packed = document.getElementById("recorded").textContent;
  const bytes = Uint8Array.from(atob(packed), (one) => one.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
})();
"""


class Recorder:
    """Answers of a studio, each under the key by which the page asks for it."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.answers = studio, dict[str, Any]()

    def get(self, path: str, answer: Any) -> Any:
        """Record what a GET answers."""
        self.answers[f"GET {path} "] = answer
        return answer

    def post(self, name: str, **body: Any) -> Any:
        """Ask an endpoint, and record its answer."""
        from triptych.studio.requests import canonical
        from triptych.studio.work import Job

        answer = self.studio.read(name, {key: value for key, value in body.items() if value is not None})(Job())
        self.answers[f"POST /api/{name} {canonical(body)}"] = answer
        return answer


def recorded(recorder: Recorder) -> Iterator[str]:
    """Record the answers of all views; yields the name of each panel before it is asked."""
    from triptych.studio.app import COMPLEXITY

    models = recorder.get("/api/models", recorder.studio.listed())
    recorder.get("/api/health", {"status": "ok"})
    recorder.get("/api/complexity", json.loads(COMPLEXITY.read_bytes()))
    there = {one["name"] for one in models["models"]}
    examples = models["examples"]
    for name, bodies in examples.items():  # a build may ship without some of the models
        examples[name] = [body for body in bodies if body["model"] in there]
    yield "words"
    for number, body in enumerate(examples["translate"]):
        _words(recorder, body, forced=number == 0)
    yield "pixels"
    for name in ("paint", "complete", "upscale"):
        for body in examples[name]:
            _pixels(recorder, name, body)
    for model in {body["model"]: None for name in ("complete", "upscale") for body in examples[name]}:
        recorder.post("example", model=model)
    yield "notes"
    for name in ("compose", "continue", "harmonize", "infill"):
        for body in examples[name]:
            _notes(recorder, name, body)
    yield "layers"
    recorder.post("positions", length=64, width=128)


def _words(recorder: Recorder, body: Mapping[str, Any], *, forced: bool) -> None:
    """A translation, what was weighed and looked at, and maybe the translations with another piece at each place."""
    answer = recorder.post("translate", **body)
    of = {"model": body["model"], "text": body["text"]}
    for one in answer["translations"]:
        recorder.post("alternatives", **of, ids=one["ids"])
        recorder.post("attention", kind="text", **of, ids=one["ids"])
    best = answer["translations"][0]["ids"]
    for place, weighed in enumerate(recorder.post("alternatives", **of, ids=best)["positions"] if forced else ()):
        for other in weighed["alternatives"][:FORCED]:
            found = recorder.post("translate", **body, forced=[*best[:place], other["id"]])
            ids = found["translations"][0]["ids"]
            recorder.post("alternatives", **of, ids=ids)
            recorder.post("attention", kind="text", **of, ids=ids)


def _pixels(recorder: Recorder, name: str, body: Mapping[str, Any]) -> None:
    """Pictures, and what the pixels of them looked at, where all that fits into an answer."""
    from triptych.studio.requests import MAX_MAPPED

    answer = recorder.post(name, **body)
    entry = recorder.studio.models.entries[body["model"]]
    if entry.to_dict()["picture"]["positions"] <= MAX_MAPPED:
        of = {"model": answer["model"], "label": answer["label"], "hidden": answer.get("hidden")}
        for picture in answer["pictures"]:
            recorder.post("attention", kind="picture", **of, picture=picture, pixel=None)


def _notes(recorder: Recorder, name: str, body: Mapping[str, Any]) -> None:
    """A piece, what was given for it, and what each of its notes looked at."""
    answer = recorder.post(name, **body)
    for piece in (answer["piece"], *([body["piece"]] if "piece" in body else ())):
        _shown(recorder, piece)
    of = {"model": answer["model"], "piece": answer["piece"]}
    if answer["piece"]["kind"] == "chorale":
        recorder.post("attention", kind="chorale", **of, step=None)
    else:
        for note in range(len(answer["piece"]["notes"])):
            recorder.post("attention", kind="performance", **of, note=note)


def _shown(recorder: Recorder, piece: Mapping[str, Any]) -> None:
    """What is shown of any piece, and the files that it is saved as."""
    for format_ in ("mid", "musicxml", *(["svg"] if recorder.studio.listed()["has"]["score"] else [])):
        recorder.post("export", piece=piece, format=format_)
    recorder.post("similarity", piece=piece)
    if piece["kind"] == "chorale":
        recorder.post("voice_leading", piece=piece)


def page_of(answers: Mapping[str, Any]) -> str:
    """The page with its modules, its style and the answers in it; its policy allows these alone."""
    from triptych.studio.app import PAGE as FOLDER

    html, style = (FOLDER / PAGE).read_text("utf-8"), ""
    for name in LINKED.findall(html):
        style += (FOLDER / name).read_text("utf-8")
    script = BEGIN + "".join(_joined(FOLDER))
    icon = base64.b64encode((FOLDER / ICON.search(html)[1]).read_bytes()).decode()  # type: ignore[index]
    data = json.dumps(answers, ensure_ascii=False, separators=(",", ":")).encode()
    packed = gzip.compress(data, 6, mtime=0)  # the best would take five times as long for 4 %
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style>\n'
    body = f'<script type="application/json" id="recorded">{base64.b64encode(packed).decode()}</script>\n'
    html = ICON.sub(f'<link rel="icon" href="data:image/svg+xml;base64,{icon}">', LINKED.sub("", html), count=1)
    before, _, after = html.replace(SCRIPT, "").partition("</head>")
    end, _, rest = after.partition("</body>")
    return f'{before}{head}</head>{end}{body}<script type="module">{script}</script>\n</body>{rest}'


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _joined(folder: Path) -> Iterator[str]:
    """The modules of the page, each after those that it imports: no two have a name in common."""
    done: set[str] = set()

    def visit(name: str) -> Iterator[str]:
        if name not in done:
            done.add(name)
            text = (folder / name).read_text("utf-8")
            for other in IMPORT.findall(text):
                yield from visit(other)
            yield re.sub(r"^export ", "", IMPORT.sub("", text), flags=re.MULTILINE)

    yield from visit("main.js")


def begun(out: Path) -> None:
    """Make the folder of a gallery. Raises UserError where it is neither new nor empty nor a gallery as it was made."""
    if os.path.lexists(out) and (out.is_symlink() or not out.is_dir() or (any(out.iterdir()) and not _is_gallery(out))):
        raise UserError(f"expected a new folder or a gallery as it was made, got {out}, which holds other things")
    out.mkdir(parents=True, exist_ok=True)


def finished(out: Path, page: str) -> Path:
    """Put the page in its place; returns its path. Ended at any moment, it leaves what `begun` takes for a gallery."""
    (out / PAGE).unlink(missing_ok=True)
    write_file(out / CONTENTS, sealed({"sha256": {PAGE: hashlib.sha256(page.encode()).hexdigest()}}), MARK)
    write_file(out / PAGE, page.encode(), MARK)
    return out / PAGE


def _is_gallery(out: Path) -> bool:
    """Whether nothing is in a folder but a gallery as it was made, or a part of one."""
    names = {path.name for path in out.iterdir()} - {temporary_of(out / name, MARK).name for name in (CONTENTS, PAGE)}
    try:
        digests = dict(read_sealed(out / CONTENTS)["sha256"]) if names else {}
    except (UserError, OSError, LookupError, TypeError):
        return False
    return names <= {CONTENTS} or (names == {CONTENTS, *digests} and holds(out, digests, exactly=False))
