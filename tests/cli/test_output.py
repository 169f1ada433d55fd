import json
import math
from pathlib import Path

import pytest

from triptych.cli.output import answer, progress, say


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    say("loading")
    answer({"text": "größer", "nan": math.nan, "list": (1, math.inf), "path": Path("a")}, ["unseen"], as_json=True)
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1 and "größer" in captured.out
    assert json.loads(captured.out) == {"text": "größer", "nan": None, "list": [1, None], "path": "a"}
    assert captured.err == "loading\n"


def test_lines_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    answer({"unseen": 1}, ["one", "two"], as_json=False)
    assert capsys.readouterr() == ("one\ntwo\n", "")


def test_no_bar_when_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as bar:
        bar.advance(bar.add_task("working", total=2))
    assert capsys.readouterr() == ("", "")
