"""The gallery: the studio's page in one file, with answers recorded by the very functions that answer live."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from triptych.cli import gallery
from triptych.studio import app
from triptych.studio.requests import canonical

SMALL = Path(__file__).parent / "small_examples.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from triptych.cli.main import main

    patch = pytest.MonkeyPatch()
    patch.setattr(app, "EXAMPLES", SMALL)
    folder = tmp_path_factory.mktemp("gallery")
    assert main(["demo", "--out", str(folder), "--json"]) == 0
    patch.undo()
    return folder / "index.html"


def answers(page: Path) -> Any:
    (packed,) = re.findall(r'id="recorded">([^<]*)<', page.read_text("utf-8"))
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_one_file_stands_alone(made: Path) -> None:
    text = made.read_text("utf-8")
    assert sorted(path.name for path in made.parent.iterdir()) == ["contents.json", "index.html"]
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    for tag, directive in (("style", "style-src"), ('script type="module"', "script-src")):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag.split()[0]}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*\.(?:js|css|svg)"', text)
    assert "\nimport " not in text and "\nexport " not in text and 'from "./' not in text


def test_no_two_modules_have_a_name_in_common() -> None:
    """Their texts are joined."""
    names = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)|^(?:export )?const [{\[]", re.M)
    joined = "".join(gallery._joined(app.PAGE))
    found = [name for name in names.findall(joined) if name]
    assert len(found) > 50 and sorted(set(found)) == sorted(found)


def test_answers_are_those_of_the_studio(made: Path) -> None:
    recorded = answers(made)
    examples = json.loads(SMALL.read_bytes())
    models = recorded["GET /api/models "]
    assert models["examples"] == examples and len(models["models"]) == 8
    live = gallery.Recorder(app.Studio())
    for name, bodies in examples.items():
        for body in bodies:
            answer = live.post(name, **body)
            assert recorded[f"POST /api/{name} {canonical(body)}"] == json.loads(json.dumps(answer))
    paths = {key.split()[1] for key in recorded}
    wanted = {"alternatives", "attention", "translate", "paint", "compose", "similarity", "voice_leading", "export"}
    assert {f"/api/{name}" for name in wanted} <= paths


def test_pieces_can_be_forced_and_every_note_looked_at(made: Path) -> None:
    recorded = answers(made)
    body = json.loads(SMALL.read_bytes())["translate"][0]
    best = recorded[f"POST /api/translate {canonical(body)}"]["translations"][0]["ids"]
    of = {"model": body["model"], "text": body["text"], "ids": best}
    weighed = recorded[f"POST /api/alternatives {canonical(of)}"]["positions"]
    for place, each in enumerate(weighed):
        other = each["alternatives"][1]["id"]
        assert f"POST /api/translate {canonical({**body, 'forced': [*best[:place], other]})}" in recorded
    kinds = [json.loads(key.split(" ", 2)[2])["kind"] for key in recorded if key.startswith("POST /api/attention")]
    played = next(answer for key, answer in recorded.items() if "/api/compose" in key and "piano" in key)
    assert kinds.count("performance") == len(played["piece"]["notes"])
    assert kinds.count("chorale") == 1 and kinds.count("picture") == 1


def test_a_folder_with_other_things_is_no_gallery(run: Any, made: Path, tmp_path: Path) -> None:
    """A gallery is replaced only as it was made; one that was ended in the middle leaves nothing in the way."""
    out = tmp_path / "gallery"
    out.mkdir()
    (out / "index.html").write_text("my home page")
    ran = run("demo", "--out", out)
    assert ran.code == 2 and "which holds other things" in ran.err.splitlines()[-1]
    assert (out / "index.html").read_text() == "my home page" and len(list(tmp_path.iterdir())) == 1
    (out / "index.html").unlink()
    (out / ".index.html.triptych-part").touch()
    for page in ("first", "second"):
        gallery.begun(out)
        gallery.finished(out, page)
        assert sorted(path.name for path in out.iterdir()) == ["contents.json", "index.html"]
        assert len(list(tmp_path.iterdir())) == 1 and (out / "index.html").read_text() == page
    for name, content in (("note.txt", b"mine"), ("index.html", b"second, changed")):
        (out / name).write_bytes(content)
        ran = run("demo", "--out", out)
        assert ran.code == 2 and (out / name).read_bytes() == content
        (out / "note.txt").unlink(missing_ok=True)
    (out / "index.html").unlink()
    gallery.begun(out)


def test_a_build_without_models_has_a_gallery_of_those_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from triptych.studio import models

    monkeypatch.setattr(models, "ships", lambda: ["chorales"])
    monkeypatch.setattr(app, "EXAMPLES", SMALL)
    recorder = gallery.Recorder(app.Studio())
    assert list(gallery.recorded(recorder)) == ["words", "pixels", "notes", "layers"]
    assert {key.split()[1] for key in recorder.answers} >= {"/api/compose", "/api/positions"}
    assert not any("/api/translate" in key or "/api/paint" in key for key in recorder.answers)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here")
def test_it_opens_from_disk(made: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    said: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"], timeout=120_000
        )
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))
        page.goto(made.as_uri())
        page.get_by_role("tab", name="Layers").click()
        page.get_by_role("tab", name="Words").click()
        page.locator("#panel-words > *").first.wait_for()
        page.get_by_role("tab", name="Pixels").click()
        ready, gaze = page.locator(".pixels-one:not([disabled])"), page.locator(".gaze")
        for verb, looked in (("Enlarge", False), ("Paint", True)):  # of an enlargement no attention is recorded
            page.get_by_role("radio", name=verb, exact=True).check()
            page.get_by_role("button", name=verb, exact=True).click()
            ready.wait_for()
            assert gaze.is_visible() == looked and page.locator(".status[data-kind=error]:visible").count() == 0
        gaze.locator("figure").first.wait_for()
        browser.close()
    urls = [one for one in said if one.startswith(("http", "file"))]
    assert urls == [made.as_uri()] and [one for one in said if not one.startswith(("file", "blob:", "data:"))] == []
