"""Hostile lines of text through the command: each is answered, or named in one line, and memory stays bounded.

    python benchmarks/soak_lines.py [--lines 10000] [--seed 1] [--model captions-en-de]

The lines are bytes of every kind that people's files hold: any Unicode, controls, marks of direction, broken UTF-8,
surrogates, other encodings, markup, long words, long lines. They go to `triptych translate` by standard input, as a
file and, packed, as JSON; as arguments under encodings of standard output that lack most of them; as pairs (lines, TSV,
JSONL) to the reader of pairs, to a vocabulary and to `evaluate text`. It fails where an answer has not as many lines as
the question, where a line of an answer cannot be printed, where a traceback is seen, where a message is not one
line, or where the command takes 300 MB more than to translate one line.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

MAX_EXTRA = 300  # MB
WORDS = ["A", "a", "the", "dog", "man", "girls", "runs", "sit", "red", "ball", "on", "street", ".", ",", "'", '"', "3"]
SCRIPTS = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE00), (0x3040, 0x30FF)]
SCRIPTS += [
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0x1F300, 0x1FAFF),
    (0xE000, 0xE100),
    (0x2000, 0x2070),
    (0xFFF0, 0xFFFF),
]
Failures = list[str]


def _word(draw: random.Random) -> str:
    low, high = draw.choice(SCRIPTS)
    return "".join(chr(draw.randrange(low, high)) for _ in range(draw.randint(1, 8)))


def _mixed(draw: random.Random, most: int) -> str:
    return " ".join(draw.choice(WORDS) if draw.random() < 0.6 else _word(draw) for _ in range(draw.randint(1, most)))


KINDS: list[tuple[int, Callable[[random.Random], bytes]]] = [
    (30, lambda draw: _mixed(draw, 8).encode()),
    (10, lambda draw: " ".join(draw.choices(WORDS, k=draw.randint(1, 12))).encode()),
    (8, lambda draw: b"".join(bytes([draw.randrange(256)]) for _ in range(draw.randint(1, 30)))),  # anything
    (6, lambda draw: "".join(chr(draw.randrange(0x20)) for _ in range(draw.randint(1, 12))).encode()),  # controls
    (6, lambda draw: f"A dog{chr(draw.randrange(0x7F, 0xA1))} runs{chr(draw.randrange(0x2000, 0x2070))}.".encode()),
    (5, lambda draw: draw.choice([b"", b" ", b"\t", b"\r", b"\xc2\xa0", "\u2028".encode(), b"\0", b"\xef\xbb\xbf"])),
    (5, lambda draw: _mixed(draw, 6).encode("utf-16-le" if draw.random() < 0.5 else "utf-16")),
    (5, lambda draw: "Größe für Übermut café".encode(draw.choice(["latin-1", "cp1252", "cp437", "utf-7"]))),
    (5, lambda draw: _mixed(draw, 5).encode()[: draw.randint(1, 12)]),  # cut within a character
    (4, lambda draw: f"{chr(draw.randrange(0xD800, 0xE000))}dog".encode("utf-8", "surrogatepass")),
    (4, lambda draw: ("e" + chr(draw.randrange(0x300, 0x36F)) * draw.randint(1, 30)).encode()),  # heaps of accents
    (
        4,
        lambda draw: (
            f'{{"source": {json.dumps(_mixed(draw, 3))}, "target": {draw.choice(["1", "null", "[]"])}}}'.encode()
        ),
    ),
    (4, lambda draw: f"<p onload='x'>{_word(draw)}</p> \x1b[31m {_word(draw)}\x07".encode()),
    (2, lambda draw: (draw.choice("aW9-") * draw.randint(20, 120)).encode()),  # one long word
    (1, lambda draw: _mixed(draw, 40).encode()),
]
RARE: list[Callable[[random.Random], bytes]] = [
    lambda draw: b"A dog runs. " * draw.randint(40, 200),  # some of these are not too long
    lambda draw: b"A dog runs. " * draw.randint(300, 20_000),
    lambda draw: ("猫" * draw.randint(400, 3000)).encode(),
    lambda draw: "\ufdfa".encode() * draw.randint(100, 3000),  # 18 characters each once they are normalised
    lambda draw: b"x" * draw.randint(10_000, 3_000_000),
    lambda draw: b" " * draw.randint(10_000, 90_000) + b"A dog.",
]


def hostile(count: int, seed: int) -> list[bytes]:
    """Draw lines without line feeds; one in 200 is long."""
    draw = random.Random(seed)
    weights, makers = [weight for weight, _ in KINDS], [make for _, make in KINDS]
    lines = []
    for number in range(count):
        make = RARE[number // 200 % len(RARE)] if number % 200 == 100 else draw.choices(makers, weights)[0]
        lines.append(make(draw).replace(b"\n", b" "))
    if lines:
        lines[0] = b"A dog runs."  # the beginning says that a file is UTF-16
    return lines


def translated(arguments: list[str], given: bytes | None, folder: Path) -> tuple[int, bytes, str, float, float]:
    """Run `triptych translate`: its code, answer, messages, seconds, and the most MB that it held."""
    out, err = folder / "out", folder / "err"
    (folder / "in").write_bytes(given or b"")
    command = [sys.executable, "-m", "triptych.cli.main", "translate", "--threads", "1", "--beam", "1", *arguments]
    begun = time.perf_counter()
    with (folder / "in").open("rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    megabytes = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return process.returncode, out.read_bytes(), err.read_text("utf-8"), time.perf_counter() - begun, megabytes


def faults_of(messages: str, where: str) -> Failures:
    """What is wrong with messages: a traceback, or a line that is no note and no error."""
    lines = [line for line in messages.splitlines() if not line.startswith(("note: ", "error: ", "skipped "))]
    return [f"{where}: printed {line[:200]!r}" for line in lines[:3]]


def by_the_command(lines: list[bytes], model: str, folder: Path) -> Failures:
    """The lines by standard input, and packed as a file for JSON."""
    failures: Failures = []
    alone = translated(["--model", model], b"A dog runs.\n", folder)[4]
    code, answer, messages, seconds, megabytes = translated(["--model", model], b"\n".join(lines), folder)
    written = answer.decode().split("\n")[:-1]
    failures += faults_of(messages, "standard input")
    if code not in (0, 2) or len(written) != len(lines):
        failures.append(f"standard input: code {code}, {len(written):,} lines for {len(lines):,}")
    unprintable = [number for number, line in enumerate(written, 1) if not line.isprintable()]
    failures += [f"line {number} of the answer cannot be printed" for number in unprintable[:5]]
    print(
        f"translate, {len(lines):,} lines by standard input: {seconds:.0f} s, {megabytes - alone:+.0f} MB over one line"
    )
    print("  " + "\n  ".join(messages.splitlines()))
    if megabytes - alone > MAX_EXTRA:
        failures.append(f"standard input: {megabytes - alone:.0f} MB more than for one line")
    some = lines[: len(lines) // 10]
    path = folder / "lines.gz"
    path.write_bytes(gzip.compress(b"\n".join(some)))
    code, answer, messages, seconds, megabytes = translated(
        ["--model", model, "--json", "--file", str(path)], None, folder
    )
    failures += faults_of(messages, "json")
    rows = json.loads(answer)["translations"]
    if code not in (0, 2) or len(rows) != len(some):
        failures.append(f"json: code {code}, {len(rows):,} rows for {len(some):,}")
    print(f"translate --json, {len(some):,} lines of a gzip file: {seconds:.0f} s, {megabytes - alone:+.0f} MB")
    if megabytes - alone > MAX_EXTRA:
        failures.append(f"json: {megabytes - alone:.0f} MB more than for one line")
    return failures


def in_process(arguments: list[str], encoding: str) -> tuple[int | str, str, str]:
    """Run the command here, with standard output in an encoding: code or what was raised, answer, messages."""
    from triptych.cli.main import main

    raw, messages = io.BytesIO(), io.StringIO()
    kept, stdout = (sys.stdout, sys.stderr), io.TextIOWrapper(raw, encoding=encoding, newline="")
    sys.stdout, sys.stderr = stdout, messages
    try:
        code: int | str = main(arguments)
        stdout.flush()
    except BaseException as error:  # whatever comes out of the command is a failure
        code = f"{type(error).__name__}: {error}"
    finally:
        sys.stdout, sys.stderr = kept
    return code, raw.getvalue().decode(encoding), messages.getvalue()


def as_arguments(lines: list[bytes], model: str) -> Failures:
    """The lines as arguments, under encodings of standard output, with JSON and without."""
    failures: Failures = []
    usable = [line.replace(b"\0", b" ").decode("utf-8", "surrogateescape") for line in lines if 0 < len(line) < 200]
    encodings = ["ascii", "cp1252", "latin-1", "shift_jis", "utf-8", "utf-16"]
    for number, encoding in enumerate(encodings * 2):
        some = usable[number * 25 : number * 25 + 25]
        as_json = ["--json"] if number < len(encodings) else []
        code, answer, messages = in_process(
            ["translate", "--model", model, "--beam", "1", *as_json, "--", *some], encoding
        )
        failures += faults_of(messages, f"arguments, {encoding}")
        found = len(json.loads(answer)["translations"]) if as_json else answer.count("\n")
        if code not in (0, 2) or found != len(some):
            failures.append(f"arguments, {encoding}: {code}, {found} answers for {len(some)}")
    print(f"translate, {2 * len(encodings) * 25} lines as arguments under {', '.join(encodings)}")
    return failures


def _files(rows: list[tuple[bytes, bytes]], folder: Path) -> Iterator[list[Path]]:
    """Write pairs in each form that files of pairs have."""
    for name, side in (("a.en", 0), ("a.de", 1)):
        (folder / name).write_bytes(b"\n".join(row[side] for row in rows))
    yield [folder / "a.en", folder / "a.de"]
    for name in ("a.tsv", "a.txt"):
        (folder / name).write_bytes(b"\n".join(b"\t".join(row) for row in rows))
        yield [folder / name]
    for name, errors in (("a.jsonl", "surrogateescape"), ("a", "replace")):
        decoded = [[cell.decode("utf-8", errors) for cell in row] for row in rows]
        written = [json.dumps({"source": one, "target": other}) for one, other in decoded]
        (folder / name).write_text("\n".join(written), "utf-8")
        yield [folder / name]


def as_pairs(lines: list[bytes], model: str, folder: Path) -> Failures:
    """The lines as pairs: read in every form, encoded, learned from; some are evaluated by the command."""
    from triptych.errors import UserError
    from triptych.text.codec import TextCodec
    from triptych.text.data import PairData, read_pairs

    failures: Failures = []
    used = skipped = refused = 0
    for first in range(0, len(lines) - 99, 100):
        rows = list(zip(lines[first : first + 50], lines[first + 50 : first + 100], strict=True))
        for files in _files(rows, folder):
            try:
                pairs = read_pairs(*files)
                codec = TextCodec.train([*pairs.source, *pairs.target], 8000, exact=False)
                data = PairData(pairs, codec, shuffle=False)
                used, skipped = used + len(data), skipped + data.pairs.report.skipped
                if len(files) == 2 and len(data) + data.pairs.report.skipped != len(rows):
                    failures.append(f"pairs from line {first}: some of {len(rows)} are not counted")
            except UserError as mistake:
                refused += 1
                if "\n" in str(mistake):
                    failures.append(f"pairs from line {first}: {mistake}")
            except Exception as error:  # a fault, which the others need not hide
                failures.append(f"pairs from line {first}, {files}: {type(error).__name__}: {error}")
    print(f"pairs: {used:,} used, {skipped:,} skipped and counted, {refused:,} files refused in one line")
    source, target = next(_files([(line, b"Ein Hund.") for line in lines[:400]], folder))
    arguments = ["evaluate", "text", "--model", model, "--source", str(source), "--target", str(target), "--beam", "1"]
    code, answer, messages = in_process([*arguments, "--json"], "ascii")
    failures += faults_of(messages, "evaluate")
    if code != 0:
        return [*failures, f"evaluate: {code}"]
    result = json.loads(answer)
    if result["sentences"] + result["skipped"] != min(400, len(lines)):
        failures.append(f"evaluate: {result['sentences']} measured and {result['skipped']} skipped of 400")
    print(f"evaluate: {result['sentences']} pairs measured, {result['skipped']} skipped and counted")
    return failures


def main() -> int:
    """Run all of it; 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="captions-en-de")
    options = parser.parse_args()
    lines = hostile(options.lines, options.seed)
    print(f"{len(lines):,} lines, {sum(map(len, lines)):,} bytes, seed {options.seed}")
    with TemporaryDirectory() as name:
        failures = by_the_command(lines, options.model, Path(name))
        failures += as_arguments(lines, options.model)
        failures += as_pairs(lines, options.model, Path(name))
    print("\n".join(f"FAILED {failure}" for failure in failures) or "all answered, or named in one line")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
