import json
from pathlib import Path
from typing import Any


def test_text(run: Any, translator: Any, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a\n\nc\n", "utf-8")
    (tmp_path / "t").write_text("x\ny\nz\n", "utf-8")
    arguments = ["evaluate", "text", "--source", tmp_path / "s", "--target", tmp_path / "t", "--limit", 1, "--beam", 3]
    ran = run(*arguments, "--json")
    assert json.loads(ran.out) == {
        "model": "captions-en-de",
        "bleu": 41.0,
        "perplexity": None,
        "sentences": 2,
        "signature": "s",
    }
    assert "skipped 1 pair" in ran.err
    asked = {"beam": 3, "limit": 1, "tokenised_references": None, "language": None}
    assert translator.calls[-1] == ("evaluate", asked)
    assert "bleu        41.00\n" in run(*arguments).out
    (tmp_path / "r").write_text("x .\ny .\nz .\n", "utf-8")
    assert run(*arguments, "--reference-tokenised", tmp_path / "r", "--language", "de").code == 0
    assert translator.calls[-1][1]["tokenised_references"] == ["x .", "z ."], "the skipped line is skipped here too"
    (tmp_path / "r").write_text("x .\n", "utf-8")
    assert "at least 3 lines" in run(*arguments, "--reference-tokenised", tmp_path / "r").err


def test_a_missing_file(run: Any, translator: Any, tmp_path: Path) -> None:
    ran = run("evaluate", "text", "--source", tmp_path / "none", "--target", tmp_path / "none")
    assert ran.code == 2 and "no file" in ran.err
