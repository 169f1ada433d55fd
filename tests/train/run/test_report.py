"""The log of a run: lines of JSON, cut where a resumed run goes on, and checked."""

import json
from pathlib import Path

import pytest

from triptych.errors import UserError
from triptych.train.run.ownership import LOG
from triptych.train.run.report import Report, check_log


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_events_are_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Report(tmp_path / "run", 0, 9, {}) as report:
        report.line("training [bold] begins")
        report.write("train", 1, nll=2.5, note="first")
        report.advance(1, 2.5, 100.0)
        assert len(lines(tmp_path / "run")) == 1, "each line is written at once"
        report.write("held_out", 2, nll=2.25)
    first, second = lines(tmp_path / "run")
    assert first.items() >= {"event": "train", "update": 1, "nll": 2.5, "note": "first"}.items()
    assert second["event"] == "held_out" and isinstance(second["time"], float)
    assert capsys.readouterr().err == "training [bold] begins\n"


def test_a_resumed_run_drops_what_it_does_again(tmp_path: Path) -> None:
    with Report(tmp_path, 0, 9, {}) as report:
        report.write("train", 1, nll=3.0)
        position = report.position()
        report.write("train", 2, nll=2.0)
    with (tmp_path / LOG).open("ab") as file:
        file.write(b"a person's note\n\0\0\0")
    with Report(tmp_path, 1, 9, position) as report:
        report.write("train", 2, nll=1.0)
        after = report.position()
    text = (tmp_path / LOG).read_text()
    assert [line.get("nll") for line in map(json.loads, (t for t in text.splitlines() if t[0] == "{"))] == [3.0, 1.0]
    assert "a person's note" in text and "\0" not in text
    assert after["bytes"] == len(text.encode())
    check_log(tmp_path / LOG, after)


def test_a_changed_log_is_found(tmp_path: Path) -> None:
    with Report(tmp_path, 0, 9, {}) as report:
        report.write("train", 1, nll=3.0)
        position = report.position()
    check_log(tmp_path / LOG, position)
    check_log(tmp_path / "none", position)
    (tmp_path / LOG).write_text((tmp_path / LOG).read_text().replace("3.0", "2.0"))
    with pytest.raises(UserError, match="as the run wrote it, got it changed or damaged; move it away"):
        check_log(tmp_path / LOG, position)


def test_other_processes_and_the_quiet_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Report(None, 0, 9, {}) as report:
        report.line("hello")
        report.write("train", 1, nll=1.0)
        assert report.position() == {}
    with Report(tmp_path, 0, 9, {}, quiet=True) as report:
        report.line("hello")
    assert capsys.readouterr() == ("", "")
