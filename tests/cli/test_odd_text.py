"""Text that people really have, through the command: nothing is lost untold, and no mistake comes late."""

import gzip
import io
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from triptych.cli.verbs import translate
from triptych.text.translator import Translator

LONG = "A dog runs. " * 400  # 1,600 tokens
# Each is one line: only line feeds end lines.
ODD = [
    "A dog.",
    "",
    "   ",
    "A cat.\r",
    "\u2028",
    "\u200b",
    "A \u2028dog\u2029 runs.\x85",
    "\ufeffA boy.",
    "A man\0 sits.",
    "\x0bA girl.\x0c\x1b[31m",
    "A\u202e horse.",
    "\xa0",
    "e\u0301\u0302 runs.",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 sits.",
    "\ufdfa" * 2,
    "\x00\x01\x02",
    "<0x41> </s> <unk> ▁A▁dog",
]


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator that ships, without the notice that a first use tells."""
    folder = tmp_path_factory.mktemp("model") / "captions"
    Translator.load("captions-en-de", device="cpu").save(folder, dtype="float16", notice=None)
    return folder


# ---- output


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make standard output one of another encoding; the function that reads it."""

    def encoded(encoding: str) -> io.BytesIO:
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        return raw

    yield encoded


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1", "shift_jis", "utf-8"])
def test_standard_output_takes_any_text(run: Any, translator: Any, stdout: Any, encoding: str) -> None:
    raw, text = stdout(encoding), "Katze: grün 猫 ł \U0001f431"
    ran = run("translate", text, text)
    written = raw.getvalue().decode(encoding)
    turned = " ".join(reversed(text.split()))
    expected = turned.encode(encoding, "backslashreplace").decode(encoding)
    assert ran.code == 0 and written == f"{expected}\n{expected}\n"
    assert ran.err.count("note: standard output is") == (encoding != "utf-8")
    raw = stdout(encoding)
    assert run("translate", text, "--json").code == 0
    bare = raw.getvalue().decode(encoding)
    report = json.loads(bare)
    assert report["translations"][0]["source"] == text and bare.isascii() == (encoding != "utf-8")


@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["translate", "--help"], ["models", "--json"]])
def test_every_verb_can_write_ascii(run: Any, stdout: Any, arguments: list[str]) -> None:
    raw = stdout("ascii")
    assert run(*arguments).code == 0 and raw.getvalue().isascii()


def test_json_takes_the_name_of_a_file_that_is_no_utf8(run: Any, stdout: Any) -> None:
    from triptych.cli.output import answer

    raw = stdout("utf-8")
    answer({"path": "\udcff.mid"}, (), as_json=True)
    sys.stdout.flush()
    assert json.loads(raw.getvalue()) == {"path": "\udcff.mid"}


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the stream")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_error(closed: str) -> None:
    command = f'"{sys.executable}" -m triptych.cli.main --version {closed}'
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and bool(done.stdout) == (closed == "2>&-")


# ---- lines that cannot be used


@pytest.mark.parametrize("bad", [b"\xff\xfeA", b"gr\xfcn", b"\xed\xb3\xbf", b"A " * 60_000, b"x" * 200])
def test_one_bad_line_among_many_is_named_and_costs_itself_alone(
    run: Any, translator: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bad: bytes
) -> None:
    monkeypatch.setattr(translate, "LINES_AT_ONCE", 7)
    lines = [f"{number} a".encode() for number in range(1, 41)]
    lines[16] = bad
    feed(monkeypatch, b"\n".join(lines))
    (tmp_path / "lines").write_bytes(b"\n".join(lines))
    expected = [f"a {number}" if number != 17 else "" for number in range(1, 41)]
    for arguments in ((), ("--file", tmp_path / "lines")):
        ran = run("translate", *arguments)
        assert ran.out.split("\n")[:-1] == expected
        assert ran.code == 2 and ran.err.count("error: ") == 1
        assert "(line 17); each is left empty" in ran.err.splitlines()[-1]
    report = json.loads(run("translate", "--file", tmp_path / "lines", "--json").out)["translations"]
    assert [bool(one["hypotheses"]) for one in report] == [number != 17 for number in range(1, 41)]
    assert "error" in report[16] and "error" not in report[0]


def test_an_argument_that_is_no_utf8_is_named(run: Any, translator: Any) -> None:
    for arguments in ([], ["--json"], ["--top-k", "3"]):
        ran = run("translate", "\udcff\udcfe", *arguments)
        assert ran.code == 2 and ran.out == "" and "1 not UTF-8 (line 1); mend" in ran.err
    # in a locale without UTF-8 good bytes arrive like this
    assert run("translate", "gr\udcc3\udcbcn").out == "grün\n"
    assert "not UTF-8" in run("translate", "\ud83d").err
    assert run("translate", "a b", "\udcff").out == "b a\n\n"


def test_utf16_is_named(run: Any, translator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, "A dog.".encode("utf-16"))
    ran = run("translate")
    assert ran.code == 2 and "expected UTF-8 in standard input, got UTF-16" in ran.err


def test_a_byte_order_mark_is_no_character(run: Any, translator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"\xef\xbb\xbfa b\r\nc d\r\n")
    assert run("translate").out == "b a\nd c\n"


def test_what_was_read_before_a_damage_is_translated(run: Any, translator: Any, tmp_path: Path) -> None:
    packed = gzip.compress("".join(f"{number} a\n" for number in range(3000)).encode())
    (tmp_path / "lines.gz").write_bytes(packed[: len(packed) - 40])
    ran = run("translate", "--file", tmp_path / "lines.gz")
    assert ran.code == 2 and "got a damaged one" in ran.err and ran.out.startswith("a 0\na 1\n")
    assert ran.out.count("\n") > 1000


def test_odd_lines_stay_as_many(run: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [*ODD, LONG, *ODD]
    feed(monkeypatch, "\n".join(lines).encode())
    ran = run("translate", "--model", model, "--beam", 1)
    written = ran.out.split("\n")[:-1]
    assert len(written) == len(lines) and written[: len(ODD)] == written[len(ODD) + 1 :]
    assert written[len(ODD)] == "" and f"1 over 1024 tokens (line {len(ODD) + 1})" in ran.err
    assert all(line.isprintable() for line in written)
    assert written[0] == "Ein Hund." and not any(written[place] for place in (1, 2, 4, 5, 11, 15))
    assert written[8] == "Ein Mann sitzt." and written[10] == "Ein Pferd."
    assert " of 35 lines have characters that" in ran.err


@pytest.mark.parametrize("beam", [9000, 6001, 1001])
def test_a_beam_above_the_vocabulary(run: Any, model: Path, beam: int) -> None:
    ran = run("translate", "A dog.", "--model", model, "--beam", beam)
    assert ran.code == 2 and ran.out == "" and ran.err.count("\n") == 1 and "expected a beam" in ran.err


# ---- evaluate


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "a.en").write_text("A dog runs.\nA man sits.\nTwo cats.\n", "utf-8")
    (tmp_path / "a.de").write_text("Ein Hund rennt.\nEin Mann sitzt.\nZwei Katzen.\n", "utf-8")
    return ["evaluate", "text", "--source", str(tmp_path / "a.en"), "--target", str(tmp_path / "a.de"), "--beam", "1"]


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever translates fails."""

    def translating(*_: Any, **__: Any) -> None:
        raise AssertionError("translated before the mistake was found")

    monkeypatch.setattr(Translator, "translate", translating)


@pytest.mark.parametrize("language", ["ja", "ko", "ja-JP"])
def test_a_language_that_cannot_be_scored(
    run: Any, model: Path, files: list[str], idle: None, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "MeCab", None)
    monkeypatch.setitem(sys.modules, "mecab_ko", None)
    ran = run(*files, "--model", model, "--language", language)
    assert ran.code == 2 and ran.out == "" and f"expected the tokenizer of '{language}'" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("package", ["sacrebleu", "sacremoses"])
def test_a_missing_extra(
    run: Any, model: Path, files: list[str], idle: None, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.corpus", None)
    ran = run(*files, "--model", model)
    assert ran.code == 2 and 'pip install "triptych[eval]"' in ran.err


@pytest.mark.parametrize("count", [2, 4])
def test_references_that_are_not_as_many(
    run: Any, model: Path, files: list[str], idle: None, count: int, tmp_path: Path
) -> None:
    (tmp_path / "r").write_text("ein hund .\n" * count, "utf-8")
    ran = run(*files, "--model", model, "--reference-tokenised", tmp_path / "r")
    assert ran.code == 2 and f"3 lines in {tmp_path / 'r'}, got {count}" in ran.err


@pytest.mark.parametrize(("place", "side"), [(0, "source"), (3, "source"), (1, "target")])
def test_all_figures_are_of_the_same_pairs(
    run: Any, model: Path, files: list[str], tmp_path: Path, place: int, side: str
) -> None:
    whole = json.loads(run(*files, "--model", model, "--json").out)
    assert (whole["sentences"], whole["skipped"], whole["note"]) == (3, 0, None)
    for name, path in (("source", tmp_path / "a.en"), ("target", tmp_path / "a.de")):
        lines = path.read_text("utf-8").splitlines()
        lines.insert(place, "猫" * 500 if name == side else "A")
        path.write_text("\n".join([*lines, ""]), "utf-8")
    ran = run(*files, "--model", model, "--json")
    report = json.loads(ran.out)
    expected = f"skipped 1 pair: 1 {side} over 1024 tokens (line {place + 1}); all figures are of the other 3"
    assert {**whole, "skipped": 1, "note": expected} == report and f"note: {expected}\n" in ran.err
    assert ("1 source sentences have characters" in ran.err) == (side == "source")


# ---- train


def corpus(folder: Path, pairs: list[tuple[str, str]], name: str = "t") -> list[str]:
    (folder / f"{name}.en").write_text("".join(f"{one}\n" for one, _ in pairs), "utf-8")
    (folder / f"{name}.de").write_text("".join(f"{other}\n" for _, other in pairs), "utf-8")
    return [str(folder / f"{name}.en"), str(folder / f"{name}.de")]


def numbered(count: int) -> list[tuple[str, str]]:
    words = ["one", "two", "three", "four", "five", "six"]
    return [(f"we see {words[n % 6]} {words[n % 5]}", f"wir sehen {words[n % 5]} {words[n % 6]}") for n in range(count)]


JUNK = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=900))  # about 800 tokens
SHAPE = ["--set", "model.width=8", "--set", "model.heads=2", "--set", "model.feed_forward=8", "--set", "epochs=0.01"]


@pytest.mark.parametrize("place", [0, 25, -1])
def test_one_long_pair_does_not_refuse_the_corpus(run: Any, tmp_path: Path, place: int) -> None:
    pairs, long = numbered(50), JUNK
    pairs.insert(place if place >= 0 else len(pairs), (long, long))
    source, target = corpus(tmp_path, pairs)
    ran = run("train", "text", "--source", source, "--target", target, "--out", tmp_path / "run", *SHAPE)
    line = place + 1 if place >= 0 else 51
    assert ran.code == 0 and f"1 source over 256 tokens (line {line})" in ran.err
    card = Translator.load(tmp_path / "run").card
    assert (card["pairs"], card["held_out_pairs"]) == (49, 1) and "1, one in every 50" in ran.err


def test_held_out_pairs_that_are_too_long_are_counted(run: Any, tmp_path: Path) -> None:
    source, target = corpus(tmp_path, numbered(30))
    other = numbered(9)
    for place in (0, 4, 8):
        other[place] = (JUNK, "x")
    held = corpus(tmp_path, other, "v")
    arguments = ["train", "text", "--source", source, "--target", target, "--out", str(tmp_path / "run"), *SHAPE]
    ran = run(*arguments, "--held-out-source", held[0], "--held-out-target", held[1])
    assert ran.code == 0 and "held out, by tokens, skipped 3 pairs: 3 source over 256 tokens (lines 1, 5, 9)" in ran.err
    assert Translator.load(tmp_path / "run").card["held_out_pairs"] == 6
    held = corpus(tmp_path, [other[0]], "v")
    arguments[-len(SHAPE) - 1] = str(tmp_path / "other")
    ran = run(*arguments, "--held-out-source", held[0], "--held-out-target", held[1])
    assert ran.code == 2 and "expected held-out pairs of at most 256 tokens, got none" in ran.err


def test_training_for_a_language_that_cannot_be_scored(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "MeCab", None)
    source, target = corpus(tmp_path, numbered(20))
    recipe = tmp_path / "r.toml"
    recipe.write_text('[card]\nlanguages = {target = "ja"}\n', "utf-8-sig")  # with a byte order mark
    arguments = ["--source", source, "--target", target, "--out", tmp_path / "run", "--recipe", recipe]
    ran = run("train", "text", *arguments, *SHAPE)
    assert ran.code == 0 and "note: checkpoints are chosen by held-out loss and not by BLEU" in ran.err
    assert Translator.load(tmp_path / "run").language == "ja"


def test_tuning_on_characters_that_the_vocabulary_lacks_is_reported(run: Any, model: Path, tmp_path: Path) -> None:
    source, target = corpus(tmp_path, [*numbered(3), ("猫", "Katze"), ("犬", "Hund")])
    arguments = ["--source", source, "--target", target, "--out", tmp_path / "run", "--from", model]
    ran = run("train", "text", *arguments, "--set", "epochs=0.01")
    assert ran.code == 0 and "note: 2 sentences have characters that the vocabulary" in ran.err
