from pathlib import Path

import pytest

from triptych.cli.loading import say_terms


def test_terms_are_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    card = {"name": "model", "notice": "for research only"}
    say_terms(card)
    assert capsys.readouterr().err == "note: for research only\n"
    say_terms(card)
    assert capsys.readouterr().err == ""
    say_terms({**card, "notice": "new terms"})
    assert "new terms" in capsys.readouterr().err


def test_a_model_without_a_notice_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    say_terms({"name": "free"})
    assert capsys.readouterr().err == ""


def test_where_nothing_can_be_written_it_is_reported_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        say_terms({"name": "model", "notice": "research"})
    assert capsys.readouterr().err.count("research") == 2
