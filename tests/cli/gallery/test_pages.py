"""The demo's page: complete without a network, for people who see it and who do not, narrow and wide."""

import importlib.util
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.cli.gallery import notes, piano, pixels, words
from triptych.cli.gallery.pages import facts
from triptych.cli.output import parts
from triptych.cli.verbs import demo as command
from triptych.image.files.pictures import Pictures
from triptych.image.painter import Painter
from triptych.music.chorales.composer import Composer
from triptych.music.performances.pianist import Pianist
from triptych.shape import store

PAINTERS = (command.PAINTER, command.COMPLETER, command.UPSCALER)


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


def stand_in(monkeypatch: pytest.MonkeyPatch, made: dict[str, Any]) -> None:
    """Put models in the place of those of their names."""
    load = command.load
    monkeypatch.setattr(
        command, "load", lambda kind, name, machine: made[name] if name in made else load(kind, name, machine)
    )


@pytest.fixture
def composers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small untrained composers in the place of those that ship."""
    shape = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1}
    tasks = {"chorales": "compose", "chorales-infill": "infill"}
    made = {name: Composer.new(task=task, preset="tiny", device="cpu", **shape) for name, task in tasks.items()}  # type: ignore[arg-type]
    for name, composer in made.items():
        composer.card.update({"name": name, "domain": "noise & <more>"})
    pianist = Pianist.new(("Bach", "Chopin"), preset="tiny", width=32, device="cpu")
    pianist.card.update({"name": "piano", "domain": "noise & <more>"})
    stand_in(monkeypatch, {**made, "piano": pianist})
    monkeypatch.setattr(piano, "SECONDS", 2.0)
    names = ("captions-en-de", *made, *PAINTERS, "piano")
    monkeypatch.setattr(store, "shipped", lambda: [{"name": name} for name in names])


@pytest.fixture
def painters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of painters: six classes of grey pictures of 8 x 8, and coloured ones of 8 x 8 from 2 x 2."""
    grey = Pictures(np.zeros((1, 8, 8, 1), np.uint8), np.zeros(1, np.int64), tuple(f"<class> {n}" for n in range(6)))
    coloured = Pictures(np.zeros((1, 8, 8, 3), np.uint8), None, ())
    tasks = ("paint", "complete", "upscale")
    data = (grey, grey, coloured)
    made = {
        name: Painter.new(pictures, task=task, preset="tiny", device="cpu")  # type: ignore[arg-type]
        for name, task, pictures in zip(PAINTERS, tasks, data, strict=True)
    }
    for name, painter in made.items():
        painter.card.update({"name": name, "domain": "dots & <more>"})
    stand_in(monkeypatch, made)


@pytest.fixture
def made(
    run: Any, translator: Any, composers: None, painters: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setattr(words, "CAPTIONS", ("A dog & <two> cats.",))
    monkeypatch.setattr(words, "OUTSIDE", ('"News".',))
    monkeypatch.setattr(notes, "ODE", notes.ODE[:15])
    ran = run("demo", "--out", tmp_path / "gallery", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["files"] == 5 + 2 * len(ENDINGS) + 3 + 5 + (2 * 3 + 3)
    return Path(json.loads(ran.out)["page"])


SCORED = importlib.util.find_spec("verovio") is not None
ENDINGS = [".mid", ".wav", ".musicxml", "-roll.png", *([".svg"] if SCORED else [])]


def test_the_page_stands_alone(made: Path) -> None:
    text = made.read_text("utf-8")
    page = Page(text)
    assert page.open == [], "every element is closed"
    assert len(page.images) == 4 + 4 + 2 * SCORED + 4 + 4
    for image in page.images:
        assert (made.parent / (image["src"] or "")).is_file()
        assert len(image["alt"] or "") > 20
        assert int(image.get("width") or 0) > 0 or str(image["src"]).endswith(".svg")
    assert all(
        re.fullmatch(r"(attention|notes|piano|pixels)/[\w-]+\.(png|svg|mid|wav|musicxml)", link) for link in page.links
    )
    assert all((made.parent / link).is_file() for link in page.links)
    assert "http" not in text and "@import" not in text and "url(" not in text and "$" not in text
    assert "A dog &amp; &lt;two&gt; cats." in text and "turned words &amp; &lt;more&gt;" in text
    assert "noise &amp; &lt;more&gt;" in text and "dots &amp; &lt;more&gt;" in text and "&lt;class&gt; 5" in text
    assert text.count('<p class="target" lang="de">') == 2


def test_the_melody_that_ships(made: Path) -> None:
    from triptych.music.chorales.codec import RANGES, from_piece
    from triptych.music.files.reading import read_piece

    whole = notes.melody()
    assert whole.length % 16 == 0, "whole bars"
    assert all(RANGES[0][0] <= note.pitch <= RANGES[0][1] for note in whole.notes)
    harmonized, _ = from_piece(read_piece(made.parent / "notes" / "harmonized.mid")[0])
    given, _ = from_piece(read_piece(made.parent / "notes" / "melody.mid")[0])
    assert harmonized[:, 0].tolist() == given[:, 0].tolist(), "the melody comes back as it was"
    assert (harmonized[:, 1:] >= -1).all()


def test_the_primer_that_ships(made: Path) -> None:
    from triptych.music.files.reading import read_performance
    from triptych.music.performances.codec import on_grid
    from triptych.music.piece.performance import from_piece

    given, longer = (read_performance(made.parent / "piano" / name)[0] for name in ("primer.mid", "continued.mid"))
    assert len(given) == 5 * 16 and given.seconds == pytest.approx(5 * 16 * piano.SIXTEENTH)
    assert given == on_grid(from_piece(piano.primer())[0]), "it is on the grid, to come back as it is"
    assert longer.notes[:64].tolist() == given.notes[:64].tolist() and longer.seconds > given.seconds


def test_a_panel_without_its_models_is_left_out(
    run: Any, composers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "shipped", lambda: [{"name": "chorales"}])
    ran = run("demo", "--out", tmp_path / "gallery")
    assert ran.code == 0 and "without captions-en-de" in ran.err and "without chorales-infill" in ran.err
    assert "without fashion: not" in ran.err and "without piano: not" in ran.err
    assert "<section" not in (tmp_path / "gallery" / "index.html").read_text("utf-8")


def told(err: str) -> list[str]:
    return [line for line in err.splitlines() if " of " in line]


def test_a_line_a_part_without_a_terminal(
    run: Any, translator: Any, composers: None, painters: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "CAPTIONS", ("A dog.",))
    monkeypatch.setattr(notes, "ODE", notes.ODE[:15])
    ran = run("demo", "--out", tmp_path)
    names = [
        *("translating", "drawing attention", "painting", "completing", "enlarging", "composing a chorale"),
        *("harmonizing a melody", "playing the piano", "continuing a prelude"),
    ]
    assert told(ran.err) == [f"{number} of 9: {name}" for number, name in enumerate(names, 1)]
    assert ran.out == f"{tmp_path / 'index.html'}\n"
    assert [call["threads"] for what, call in translator.calls if what == "load"] == [1], (
        "a second thread would wait for the first"
    )


def test_a_bar_over_all_parts_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with parts({"painting": 1, "composing": 3, "playing": 1}) as begin:
        begin("painting")
        begin("playing")
    shown = capsys.readouterr().err
    assert "3 of 3: playing" in shown and "80%" in shown


def test_only_parts_that_are_there_are_counted(
    run: Any, painters: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "shipped", lambda: [{"name": name} for name in PAINTERS[::2]])
    assert told(run("demo", "--out", tmp_path).err) == ["1 of 2: painting", "2 of 2: enlarging"]


def test_pixels_as_far_as_the_models_are_there(
    run: Any, painters: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for names in (PAINTERS[:1], PAINTERS[:2], PAINTERS[::2]):
        monkeypatch.setattr(store, "shipped", lambda names=names: [{"name": name} for name in names])
        ran = run("demo", "--out", tmp_path)
        assert ran.code == 0 and (tmp_path / "index.html").read_text("utf-8").count("<section") == len(names)
        assert all(f"without {name}" in ran.err for name in set(PAINTERS) - set(names))


def test_facts_leave_signatures_to_the_card() -> None:
    card = {"scores": {"test": {"bleu": 41.05, "signature": "BLEU|nrefs:1"}}, "license": "CC0"}
    assert facts(card) == "<dl>\n<dt>Scores</dt><dd>test bleu 41.05</dd>\n<dt>Licence</dt><dd>CC0</dd>\n</dl>"


def test_drawings_that_ship() -> None:
    drawn = pixels.drawings(32)
    assert drawn.shape == (3, 32, 32, 3)
    for picture in drawn:
        assert (picture[0, 0] == 255).all() and 0.3 < (picture != 255).any(2).mean() < 0.9


def test_a_heat_map_in_words() -> None:
    from triptych.look.attention import AttentionMap

    weights = np.array([[[[0.6, 0.1, 0.3], [0.2, 0.7, 0.1], [0.0, 0.0, 1.0]]]], np.float32)
    told = words._described(
        AttentionMap("cross", weights, ("\u2581Hund", "e", "</s>"), ("\u2581dog", "s", "."), ("l",), ("h",))
    )
    assert "Strongest: e looks at s (0.70); Hund looks at dog (0.60); e looks at dog (0.20);" in told


def test_a_dozen_captions() -> None:
    assert len(set(words.CAPTIONS)) == 12


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
    assert all(url.startswith(made.parent.as_uri() + "/") for url in told)
    assert len(told) == 2 * (1 + 16 + 2 * SCORED)


def test_a_folder_with_other_things_is_no_gallery(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery is replaced only as it was made; one that was ended in the middle leaves nothing in the way."""
    monkeypatch.setattr(store, "shipped", list)
    out = tmp_path / "gallery"
    out.mkdir()
    (out / "index.html").write_text("my home page")
    ran = run("demo", "--out", out)
    assert ran.code == 2 and "which holds other things" in ran.err.splitlines()[-1]
    assert (out / "index.html").read_text() == "my home page" and len(list(tmp_path.iterdir())) == 1
    (out / "index.html").unlink()
    (tmp_path / ".gallery.triptych-part").mkdir()
    (tmp_path / ".gallery.triptych-part" / "half.png").touch()
    for _ in range(2):
        assert run("demo", "--out", out).code == 0
        assert sorted(path.name for path in out.iterdir()) == ["contents.json", "index.html"]
        assert len(list(tmp_path.iterdir())) == 1
    page = (out / "index.html").read_bytes()
    for name, content in (("note.txt", b"mine"), ("index.html", page + b"mine")):
        (out / name).write_bytes(content)
        ran = run("demo", "--out", out)
        assert ran.code == 2 and (out / name).read_bytes() == content
        (out / "note.txt").unlink(missing_ok=True)
