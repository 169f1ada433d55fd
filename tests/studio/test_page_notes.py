"""The page's notes in a browser: compose, harmonize, edit, lock, fill in, play, look; save and open again."""

from __future__ import annotations

import io
import wave
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

from triptych.music.files.midi import midi_bytes
from triptych.music.files.reading import read_performance, read_piece
from triptych.music.piece.piece import Note, Piece

SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
PATIENCE = 60_000  # milliseconds that a model may take on a busy machine
STEP = 14  # dots of a sixteenth
Notes = set[tuple[int, int, int, int]]


def saved(page: Any, kind: str, tmp_path: Path) -> Path:
    """The file behind one of the buttons under the roll."""
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save .{kind}", exact=True).click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def notes(page: Any, tmp_path: Path) -> Notes:
    """The notes in the roll, (start, end, pitch, voice) in sixteenths, from its MIDI file."""
    piece, _ = read_piece(saved(page, "mid", tmp_path))
    unit = piece.resolution // 4
    names = ["soprano", "alto", "tenor", "bass"]
    at = [names.index(name.lower()) if name.lower() in names else 0 for name in piece.voices]
    return {(round(one.start / unit), round(one.end / unit), one.pitch, at[one.voice]) for one in piece.notes}


def spot(page: Any, step: float, pitch: float | None = None) -> tuple[float, float]:
    """Where a sixteenth and a pitch are on the screen; without a pitch, in the ruler."""
    roll = page.locator(".roll-picture")
    page.locator(".roll-scroll").evaluate(f"node => {{ node.scrollLeft = {max(0, STEP * step - 120)}; }}")
    roll.evaluate("node => node.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(50)
    box = roll.bounding_box()
    across = box["x"] + STEP * step + STEP / 2
    if pitch is None:
        return across, box["y"] + 10
    return across, box["y"] + box["height"] - 9 * (pitch - 36) - 4.5


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=6)
    page.mouse.up()


def written(page: Any, verb: str, takes: int) -> None:
    """Ask for takes, and wait until they are there."""
    page.get_by_role("spinbutton", name="Takes").fill(str(takes))
    page.get_by_role("button", name=verb).click()
    expect(page.locator(".take:not([disabled])")).to_have_count(takes, timeout=PATIENCE)
    expect(page.get_by_role("button", name=verb)).not_to_have_text("Stop")


def opened(open_page: Any, width: int = 1280, theme: str = "light") -> Any:
    page = open_page(width, theme, "#notes")
    expect(page.locator(".roll-note").first).to_be_attached(timeout=PATIENCE)
    return page


@pytest.mark.parametrize(("width", "theme"), SCREENS)
def test_a_melody_is_harmonized_in_takes_and_undone(
    open_page: Any, axe: Any, tmp_path: Path, width: int, theme: str
) -> None:
    page = opened(open_page, width, theme)
    melody = notes(page, tmp_path)
    assert {voice for *_, voice in melody} == {0}
    written(page, "Harmonize", 2)
    first = notes(page, tmp_path)
    assert melody <= first and {voice for *_, voice in first} == {0, 1, 2, 3}
    page.locator(".take").nth(1).click()
    second = notes(page, tmp_path)
    assert melody <= second and second != first
    assert page.locator("code.command").inner_text().startswith("triptych harmonize piece.mid")
    expect(page.locator("img.score")).to_have_attribute("alt", f"Score of {len(second)} notes, engraved by verovio")
    expect(page.locator(".alike canvas")).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(page) == []
    page.get_by_role("button", name="Undo").click()
    assert notes(page, tmp_path) == melody
    page.get_by_role("button", name="Redo").click()
    assert notes(page, tmp_path) == second


def test_notes_are_drawn_moved_lengthened_and_erased_by_pointer(open_page: Any, tmp_path: Path) -> None:
    page = opened(open_page)
    before = notes(page, tmp_path)
    page.get_by_role("radio", name="Bass", exact=True).check()
    drag(page, spot(page, 2, 45), spot(page, 7, 45))
    assert notes(page, tmp_path) == before | {(2, 8, 45, 3)}
    drag(page, spot(page, 4, 45), spot(page, 6, 48))
    assert notes(page, tmp_path) == before | {(4, 10, 48, 3)}
    x, y = spot(page, 9, 48)
    drag(page, (x + 4, y), (x + 4 + 2 * STEP, y))
    assert notes(page, tmp_path) == before | {(4, 12, 48, 3)}
    page.get_by_role("button", name="Undo").click()
    assert notes(page, tmp_path) == before | {(4, 10, 48, 3)}
    page.get_by_role("radio", name="Erase").check()
    page.mouse.click(*spot(page, 5, 48))
    assert notes(page, tmp_path) == before


def test_notes_are_edited_by_keys_and_spoken(open_page: Any, tmp_path: Path) -> None:
    page = opened(open_page)
    before = notes(page, tmp_path)
    roll = page.get_by_role("application", name="Piano roll")
    roll.focus()
    page.keyboard.press("4")
    expect(page.get_by_role("radio", name="Bass", exact=True)).to_be_checked()
    page.keyboard.press("Home")
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_have_text("bass B2, bar 1, beat 1, 4 sixteenths")
    for keys in ("Shift+ArrowRight", "Alt+ArrowRight", "Alt+ArrowUp"):
        page.keyboard.press(keys)
    assert notes(page, tmp_path) == before | {(1, 6, 48, 3)}
    roll.focus()
    page.keyboard.press("Delete")
    page.keyboard.press("Control+z")
    assert notes(page, tmp_path) == before | {(1, 6, 48, 3)}
    roll.focus()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    assert notes(page, tmp_path) == before | {(1, 6, 48, 3)}


@pytest.mark.parametrize(("width", "theme"), SCREENS[1:3])
def test_what_is_open_is_filled_in_and_all_else_stays(open_page: Any, tmp_path: Path, width: int, theme: str) -> None:
    page = opened(open_page, width, theme)
    written(page, "Harmonize", 1)
    before = notes(page, tmp_path)
    fill = page.get_by_role("button", name="Fill in what's open")
    expect(fill).to_be_disabled()
    page.get_by_role("radio", name="Alto", exact=True).check()
    start = spot(page, 4)
    drag(page, start, (start[0] + 11 * STEP, start[1]))
    expect(page.locator(".where")).to_have_text("alto, bar 1, beat 2 to bar 2, beat 1:")
    page.get_by_role("button", name="Clear").click()
    cleared = notes(page, tmp_path)
    assert not any(voice == 1 and start < 16 and end > 4 for start, end, _, voice in cleared)
    assert {one for one in before if one[3] != 1} == {one for one in cleared if one[3] != 1}
    page.get_by_role("button", name="Lock").click()
    expect(fill).to_be_disabled()
    page.get_by_role("button", name="Open for the model").click()
    expect(page.locator(".roll-open")).to_have_count(1)
    written(page, "Fill in what's open", 2)
    after = notes(page, tmp_path)
    assert {one for one in after if one[3] != 1} == {one for one in before if one[3] != 1}
    outside = {one for one in before if one[3] == 1 and (one[1] <= 4 or one[0] >= 16)}
    sounding = [max(0, min(end, 16) - max(start, 4)) for start, end, _, voice in after if voice == 1]
    assert sum(sounding) >= 8  # of 12 sixteenths
    reached = {(start, end, pitch) for start, end, pitch, voice in after if voice == 1}
    assert all(any(s <= start and end <= e and p == pitch for s, e, p in reached) for start, end, pitch, _ in outside)


def test_a_piece_is_composed_and_continued(open_page: Any, tmp_path: Path) -> None:
    page = opened(open_page)
    page.get_by_label("Bars").fill("4")
    page.get_by_label("Key", exact=True).select_option("minor")
    written(page, "Compose", 1)
    beginning = notes(page, tmp_path)
    assert max(end for _, end, _, _ in beginning) == 64 and len({voice for *_, voice in beginning}) == 4
    page.get_by_label("Bars").fill("2")
    written(page, "Continue", 1)
    whole = notes(page, tmp_path)
    assert {one for one in beginning if one[1] < 64} <= whole and max(end for _, end, _, _ in whole) == 96
    again = open_page(1280, "dark", "#" + page.url.split("#")[1])
    expect(again.locator(".take:not([disabled])")).to_have_count(1, timeout=PATIENCE)
    assert notes(again, tmp_path) == whole


@pytest.mark.parametrize(("width", "theme"), SCREENS[::3])
def test_it_plays_pauses_seeks_loops_and_changes_its_tempo(open_page: Any, width: int, theme: str) -> None:
    page = opened(open_page, width, theme)
    place = page.get_by_label("Position")
    play = page.locator(".play")
    play.click()
    expect(play).to_have_text("Pause")
    expect(place).not_to_have_value("0", timeout=5_000)
    now = float(place.input_value())
    page.wait_for_timeout(500)
    later = float(place.input_value())
    assert now < later
    play.click()
    held = place.input_value()
    page.wait_for_timeout(200)
    assert place.input_value() == held
    tempo = float(page.get_by_label("Tempo").input_value())
    place.fill("40")
    seconds = int(10 * 60 / tempo)
    assert page.locator(".clock").inner_text().startswith(f"00:{seconds:02}")
    page.mouse.click(*spot(page, 20))
    assert 19 <= float(place.input_value()) <= 21
    page.get_by_label("Tempo").fill("300")
    page.get_by_label("Tempo").press("Tab")
    assert page.locator(".clock").inner_text().startswith("00:01")
    start = spot(page, 0)
    drag(page, start, (start[0] + 3 * STEP, start[1]))
    page.get_by_label("Loop").check()
    page.get_by_role("checkbox", name="alto").uncheck()
    page.get_by_role("application", name="Piano roll").press(" ")
    seen = []
    for _ in range(25):
        page.wait_for_timeout(60)
        seen.append(float(place.input_value()))
    assert max(seen) <= 4 and any(one > other for one, other in pairwise(seen))  # it came round
    page.get_by_role("tab", name="Words").click()
    page.get_by_role("tab", name="Notes").click()
    expect(play).to_have_text("Play")


def test_arcs_lead_from_a_note_to_what_was_read(open_page: Any, axe: Any) -> None:
    page = opened(open_page, 1280, "dark")
    written(page, "Harmonize", 1)
    page.get_by_role("radio", name="Look").check()
    page.locator(".roll-note").last.hover(position={"x": 3, "y": 4}, force=True)  # notes may be drawn anew meanwhile
    expect(page.locator(".roll-arc").first).to_be_attached(timeout=PATIENCE)
    said = page.get_by_text("looks most at")
    last = said.inner_text()
    page.get_by_label("Layer", exact=True).select_option("layer 1")
    expect(said).not_to_have_text(last)
    for head in range(1, 5):
        page.get_by_label(f"head {head}").uncheck()
    expect(page.locator(".roll-arc")).to_have_count(0)
    assert axe(page) == []


def test_two_passages_that_resemble_each_other_are_played(open_page: Any) -> None:
    page = opened(open_page)
    written(page, "Harmonize", 1)
    page.wait_for_timeout(600)  # the views follow the piece after half a second
    page.wait_for_load_state("networkidle")
    matrix = page.locator(".alike canvas")
    expect(matrix).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("beats")).to_be_visible()
    frame = page.locator(".alike")  # which stays where the canvas is drawn anew
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.1 * box["height"])
    expect(page.get_by_text("% alike")).to_be_visible()
    expect(page.locator(".play")).to_have_text("Pause")
    expect(page.locator("#live")).to_contain_text("Playing bar")
    assert page.locator(".roll-picture text", has_text="B").count() >= 1
    page.locator(".play").click()


@pytest.mark.parametrize(("width", "theme"), SCREENS[::3])
def test_files_are_saved_and_open_again(open_page: Any, tmp_path: Path, width: int, theme: str) -> None:
    page = opened(open_page, width, theme)
    written(page, "Harmonize", 1)
    found = notes(page, tmp_path)
    from_xml, _ = read_piece(saved(page, "musicxml", tmp_path))
    assert len(from_xml.notes) == len(found)
    with wave.open(io.BytesIO(saved(page, "wav", tmp_path).read_bytes())) as sound:
        assert sound.getnchannels() == 2 and sound.getnframes() > 44_100 * 5
    score = ET.fromstring(saved(page, "svg", tmp_path).read_bytes())
    assert score.tag == "{http://www.w3.org/2000/svg}svg" and len(score)
    with page.expect_download() as download:
        page.locator(".saves", has_text="Roll:").get_by_role("button", name="Save SVG").click()
    roll = ET.fromstring(Path(download.value.path()).read_bytes())
    assert len([one for one in roll.iter() if one.attrib.get("class") == "roll-note"]) == len(found)
    other = Piece((Note(0, 480, 60), Note(480, 960, 64)), 480, 100.0, ("soprano",))
    (tmp_path / "own.mid").write_bytes(midi_bytes(other))
    page.locator("#panel-notes input[type=file]").set_input_files(tmp_path / "own.mid")
    expect(page.get_by_text("own.mid: 2 notes.")).to_be_visible(timeout=PATIENCE)
    assert {(start, end, pitch) for start, end, pitch, _ in notes(page, tmp_path)} == {(0, 4, 60), (4, 8, 64)}


@pytest.mark.parametrize(("width", "theme"), SCREENS[1:3])
def test_the_piano_continues_what_is_played_on_the_keys(
    open_page: Any, axe: Any, tmp_path: Path, width: int, theme: str
) -> None:
    page = opened(open_page, width, theme)
    page.get_by_role("radio", name="Piano", exact=True).check()
    page.get_by_role("button", name="Play on the computer's keys").click()
    for key in "adgk":
        page.keyboard.down(key)
        page.wait_for_timeout(80)
        page.keyboard.up(key)
    expect(page.locator(".roll-note")).to_have_count(4)
    assert axe(page) == []
    played, _ = read_performance(saved(page, "mid", tmp_path))
    assert [int(one["pitch"]) for one in played.notes] == [60, 64, 67, 72]
    page.get_by_label("Seconds").fill("4")
    written(page, "Continue", 1)
    whole, _ = read_performance(saved(page, "mid", tmp_path))
    assert [int(one["pitch"]) for one in whole.notes[:4]] == [60, 64, 67, 72] and len(whole) > 6
    page.get_by_role("radio", name="Look").check()
    note = page.locator(".roll-note").nth(5)
    note.scroll_into_view_if_needed()
    box = note.bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 3)
    expect(page.get_by_text("looks most at")).to_be_visible(timeout=PATIENCE)
