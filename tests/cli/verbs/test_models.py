import json
from typing import Any

import pytest

from triptych.decode.kernel import engine
from triptych.shape import store

CARD = {
    "name": "captions-en-de",
    "domain": "captions of photographs",
    "parameters": 2_900_000,
    "scores": {"bleu": 41.23456, "test": ["2016", 2017]},
    "license": "research only",
    "sha256": {"x": "y"},
}


def test_a_paragraph_a_model(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "shipped", lambda: [CARD, {"name": "other"}])
    out = run("models").out
    assert out.splitlines()[0] == "captions-en-de"
    assert (
        "parameters  2,900,000\n" in out
        and "  scores      bleu: 41.23\n              test: 2016, 2,017\n" in out
        and "research only" in out
    )
    assert "sha256: " not in out and "\nother\n\ngeneration: " in out
    assert json.loads(run("models", "--json").out)["models"][0] == CARD


def test_nothing_ships(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "shipped", list)
    assert "no models ship" in run("models").out
    assert json.loads(run("models", "--json").out) == {"models": [], "engine": engine()}
