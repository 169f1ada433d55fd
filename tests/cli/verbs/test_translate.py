import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from triptych.cli.verbs import translate


class StandardInput(io.TextIOWrapper):
    def __init__(self, data: bytes, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(data))
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes, *, terminal: bool = False) -> None:
    monkeypatch.setattr(sys, "stdin", StandardInput(data, terminal=terminal))


def test_arguments(run: Any, translator: Any) -> None:
    assert run("translate", "a b c", "d e").out == "c b a\ne d\n"


def test_standard_input_keeps_every_line(run: Any, translator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "LINES_AT_ONCE", 2)
    # A carriage return ends no line of its own, and neither does U+2028; an empty line stays one.
    standard_input(monkeypatch, "a b\r\n\nc\u2028d e\nf ü".encode())
    assert run("translate").out == "b a\n\ne d c\nü f\n"
    assert [call[1]["lines"] for call in translator.calls if call[0] == "translate"] == [2, 1, 1], "whole lines first"


def test_a_file(run: Any, translator: Any, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a b\nc d\n", "utf-8")
    assert run("translate", "--file", tmp_path / "lines").out == "b a\nd c\n"


def test_json(run: Any, translator: Any) -> None:
    ran = run("translate", "--json", "--nbest", "2", "a b")
    assert ran.err == ""
    report = json.loads(ran.out)
    assert report["model"] == "captions-en-de"
    assert report["translations"][0]["source"] == "a b"
    assert [choice["score"] for choice in report["translations"][0]["hypotheses"]] == [-0.5, -1.5]
    keys = {"text", "score", "log_prob", "tokens", "log_probs", "source_tokens", "alignment", "ids"}
    assert report["translations"][0]["hypotheses"][0].keys() == keys
    assert translator.calls[-1][1]["align"] is True


def test_what_was_never_learned_is_counted_and_reported_once(run: Any, translator: Any) -> None:
    ran = run("translate", "A dog.", "A 🤖.", "日本")
    assert ran.out.count("\n") == 3
    assert ran.err == (
        "note: 2 of 3 lines have characters that captions-en-de never learned (lines 2, 3); such lines come out badly\n"
    )
    assert run("translate", "A brown dog sees two small cats.").err == ""


def test_nbest_lines_are_numbered(run: Any, translator: Any) -> None:
    assert (
        run("translate", "--nbest", 2, "a b", "c").out
        == "1\t-0.5000\tb a\n1\t-1.5000\tb a\n2\t-0.5000\tc\n2\t-1.5000\tc\n"
    )


def test_options_arrive(run: Any, translator: Any) -> None:
    search = ["--beam", 7, "--length-penalty", 1, "--length-convention", "power"]
    machine = ["--dtype", "float32", "--threads", 2, "--device", "cpu", "--model", "m"]
    assert run("translate", "a", *search, *machine).code == 0
    (_, loaded), (_, asked) = translator.calls
    assert loaded == {"name": "m", "device": "cpu", "threads": 2, "dtype": "float32", "engine": "auto"}
    assert asked["beam"] == 7
    assert (asked["length_penalty"].convention, asked["length_penalty"].alpha) == ("power", 1.0)


def test_sampling_options_sample(run: Any, translator: Any) -> None:
    assert run("translate", "a b", "--top-k", 3, "--seed", 5).out == "A B\n"
    sampling, seed, _ = translator.calls[-1][1]
    assert (sampling.temperature, sampling.top_k, sampling.top_p, seed) == (1.0, 3, 1.0, 5)
    assert run("translate", "a b", "--min-p", 0.25, "--no-repeat-ngram", 3).out == "A B\n"
    sampling, _, options = translator.calls[-1][1]
    assert sampling.min_p == 0.25 and options["no_repeat_ngram"] == 3


def test_lines_in_parts_are_numbered_on(run: Any, translator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "LINES_AT_ONCE", 2)
    standard_input(monkeypatch, b"a\nb\nc\nd\ne\n")
    assert run("translate", "--temperature", 1, "--seed", 2**64 - 1).code == 0
    asked = [call[1] for call in translator.calls if call[0] == "sample"]
    assert [(seed, options["first"]) for _, seed, options in asked] == [(2**64 - 1, 0), (2**64 - 1, 2), (2**64 - 1, 4)]


@pytest.mark.parametrize("seed", [-1, 2**64, "one"])
def test_a_seed_that_is_none_is_refused_in_one_line(run: Any, translator: Any, seed: Any) -> None:
    ran = run("translate", "a", "--temperature", 1, "--seed", seed)
    assert ran.code == 2 and "expected --seed " in ran.err and ran.err.count("\n") == 1


def test_a_pipe_is_answered_as_its_lines_come(run: Any, translator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe(io.BytesIO):
        """Gives so many bytes at once; before more, what is answered so far is noted."""

        def read1(self, size: int = -1, /) -> bytes:
            asked.append(len([call for call in translator.calls if call[0] == "translate"]))
            return super().read1(sizes.pop(0))

    asked: list[int] = []
    sizes = [4, 6, 3, 100, 100]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(b"a b\n" + b"c d\ne " + b"f\ng" + b" h\n\n")))
    assert run("translate").out == "b a\nd c\nf e\nh g\n\n"
    assert asked == [0, 1, 2, 3, 4] and [call[1]["lines"] for call in translator.calls if call[0] == "translate"] == [
        1,
        1,
        1,
        2,
    ]


def test_mistakes(run: Any, translator: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    standard_input(monkeypatch, b"", terminal=True)
    assert "expected TEXT, --file or lines on standard input" in run("translate").err
    assert "got both" in run("translate", "a", "--file", tmp_path / "x").err
    assert "expected --nbest 1 when sampling" in run("translate", "a", "--nbest", 2, "--top-p", 0.5).err
    standard_input(monkeypatch, b"fine\n\xff\xfe\n")
    ran = run("translate")
    assert ran.code == 2 and "line 2" in ran.err


@pytest.mark.parametrize("option", [("--beam", 5), ("--length-penalty", 1.0), ("--length-convention", "power")])
def test_options_of_the_search_are_refused_when_sampling(run: Any, translator: Any, option: tuple[str, Any]) -> None:
    ran = run("translate", "a", "--temperature", 1, *option)
    assert ran.code == 2 and f"expected no {option[0]} when sampling, got {option[1]}; leave it out" in ran.err
    assert run("translate", "a", *option).code == 0
