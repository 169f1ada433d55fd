"""Hostile model folders, used through the command: each has to give its answer, or one line that says what is wrong.

    python benchmarks/soak_folders.py [--count 3000] [--seed 1] [--json]

Makes a small model of every panel and a run, changes their files (values that no model has, of every type and size,
nested and endless ones, flipped bits, cut and joined files; the digests mostly mended after it, so that the change is
read), and translates, paints, completes, composes and harmonizes with each. Works in processes of its own, so that one
that ends is found. Exits with 1 if anything but an answer or one printable line came out, a use took more than 10 s of
a processor, a configuration was refused later than after 0.05 s of one (median of three), or memory grew by 300 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from triptych.cli.main import main as triptych
from triptych.cli.output import answer
from triptych.errors import UserError
from triptych.model.weights import transformer_of
from triptych.shape.files import sealed
from triptych.shape.store import CARD, CONFIG, RUN, WEIGHTS, read_model
from triptych.shape.weights import read_weights, write_weights

MAX_SECONDS, MAX_MEGABYTES, MAX_REFUSAL = 10, 300, 0.05
BATCH = 500  # folders a process
LIMIT = 6 * 2**30  # bytes of addresses of a process: what asks for more is reported, and does no harm to the machine
SHAPE: dict[str, Any] = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1}
USES: dict[str, list[str]] = {
    "translator": ["translate", "one two three", "--beam", "2"],
    "painter": ["paint", "--count", "1", "--out", "pictures"],
    "completer": ["complete", "given.png", "--count", "1", "--out", "pictures"],
    "composer": ["compose", "--seconds", "2", "--out", "piece.mid"],
    "filler": ["harmonize", "tune.mid", "--out", "piece.mid"],
    "pianist": ["compose", "--seconds", "1", "--out", "piece.mid"],
}


def nested(depth: int) -> Any:
    value: Any = {"kind": "none"}
    for _ in range(depth):
        value = {"kind": "none", "source": value}
    return value


def local_2d(size: int, memory: int) -> dict[str, Any]:
    return {
        "kind": "local_2d", "height": size, "width": size, "query_rows": 1, "query_columns": 1,
        "memory_rows": memory, "memory_columns": memory,
    }  # fmt: skip


VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 255, 2**16, 2**20, 2**24, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 10**4000,
    0.0, 0.5, 1e308, -1e308, float("nan"), float("inf"), "", "x", "\x1b[31mred\x07", "\ud800", "\u202e", "a\0b",
    "x" * 100_000,
    "..", "../..", "/etc", "full", "local_1d", "sinusoidal_2d", "concatenated", [], {}, [[]], [1], [1, 2], [2**16] * 2,
    [1] * 5000, ["x"] * 5000, [0.5, None], nested(1), nested(2), nested(800), {"kind": "full", "causal": False},
    {"kind": "local_1d", "query": 1, "memory": 2**20}, {"kind": "local_1d", "query": 2**20, "memory": 2**20},
    {"kind": "local_1d", "query": 1, "memory": 2**62}, local_2d(4, 2**20), local_2d(2**10, 2), local_2d(2**20, 2**20),
    {"distances": 2**24}, {"distances": 4, "intervals": 2**20, "steps": 2**20}, {"kind": "patches", "size": 64},
    {"kind": "mixture", "components": 1000}, {"kind": "tokens", "keyboard": [88, 100, 32]},
    {"kind": "patch", "layers": 100}, {"grid": [2**10, 2**10]}, {"grid": [1] * 5000},
    {"kind": "sinusoidal_2d", "length": 2**24}, {"kind": "learned", "length": 2**24},
    {f"x{n}": n for n in range(20_000)},
    json.loads("[" * 900 + "]" * 900), json.loads('{"a":' * 900 + "1" + "}" * 900),
]  # fmt: skip


# -- the folders ------------------------------------------------------------------------------------------------------


def make_models(place: Path) -> None:
    """A small model of every panel, whole, and a run of each; a picture and a tune to begin with."""
    from triptych import Composer, Painter, Pianist, Translator, read_pairs
    from triptych.image.files.pictures import Pictures
    from triptych.music.chorales.codec import to_piece
    from triptych.music.files.save import save_music

    picture = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    pictures = Pictures(picture, np.arange(6) % 2, ("cat", "dog"))
    (place / "text").write_text("one two three\nfour five six seven\neight nine ten\n")
    pairs = read_pairs(place / "text", place / "text")
    Translator.new(pairs, encoder_layers=1, **SHAPE).save(place / "translator")
    mixture: dict[str, Any] = {"cell": "pixel", "head": {"kind": "mixture", "components": 2}}
    Painter.new(pictures, preset="tiny", **SHAPE, **mixture).save(place / "painter")
    Painter.new(pictures, preset="tiny", task="complete", cell=[2, 2], **SHAPE).save(place / "completer")
    Composer.new(preset="tiny", **SHAPE).save(place / "composer")
    Composer.new(preset="tiny", task="infill", **SHAPE).save(place / "filler")
    Pianist.new(["Bach", "Chopin"], preset="tiny", **SHAPE).save(place / "pianist")
    Image.fromarray(picture[0]).save(place / "given.png")
    save_music(to_piece(np.full((8, 4), 60)), place / "tune.mid")


def hostile(whole: Path, place: Path, chance: random.Random) -> tuple[Path, str]:
    """A changed copy of a model folder, and what is changed in it."""
    folder = place / "model"
    shutil.copytree(whole, folder)
    files = [CONFIG, CARD, RUN, WEIGHTS, *(file.name for file in whole.iterdir() if file.suffix in (".json", ".model"))]
    file = chance.choice(sorted(set(files)))
    if file == RUN or chance.random() < 0.1:
        run = place / "run"
        (run / "checkpoints").mkdir(parents=True)
        shutil.move(folder, folder := run / "checkpoints" / "update-1")
        state = {"best": "checkpoints/update-1", "last": "checkpoints/update-1", "kept": []}
        data = sealed(state) if file != RUN else changed(sealed(state), chance, mended=True)
        (run / RUN).write_bytes(data)
        if file == RUN:
            return run, file
    else:
        run = folder
    mended = chance.random() < 0.9
    data = (folder / file).read_bytes()
    other = odd_weights(data, chance) if file == WEIGHTS else changed(data, chance, mended=mended and file == CARD)
    (folder / file).write_bytes(other)
    if file != CARD and mended:
        card = json.loads((folder / CARD).read_bytes())
        card["sha256"][file] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        (folder / CARD).write_bytes(sealed(card))
    return run, file


def changed(data: bytes, chance: random.Random, *, mended: bool) -> bytes:
    """Another content of a file; JSON mostly stays JSON. mended: with the digest of a file that ends with one."""
    try:
        value = json.loads(data) if chance.random() < 0.85 else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return damaged(data, chance)
    places = list(tables(value))  # of the file alone, so that the odd values stay what they are
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        place = chance.choice(places)
        name = chance.choice([*place, "unknown", "notice", "name", "languages", "sha256", "domain"])
        if chance.random() < 0.15:
            place.pop(name, None)
        else:
            place[name] = chance.choice(VALUES)
    if mended:
        with contextlib.suppress(ValueError, RecursionError):
            return sealed(value)
    return json.dumps(value).encode()


def odd_weights(data: bytes, chance: random.Random) -> bytes:
    """Other weights: other numbers in some of the tensors, other tensors, another header, other bytes."""
    kind, start = chance.randrange(4), 8 + int.from_bytes(data[:8], "little")
    if kind == 0:
        return damaged(data, chance)
    if kind == 1:
        header = json.loads(data[8:start])
        place = chance.choice(list(tables(header)))
        place[chance.choice([*place])] = chance.choice([*VALUES, "BF16", "F16", "F64", "I32", "BOOL", [0, 2**62], [16]])
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + data[start:]
    weights = {name: array.copy() for name, array in read_weights(data).items()}
    for name in chance.sample(sorted(weights), chance.choice([1, 1, 3, len(weights)])):
        array = weights[name]
        if kind == 2:
            odd = chance.choice([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e20, 1e4, 1e-40, 0.0, -0.0])
            array[np.random.default_rng(chance.randrange(2**32)).random(array.shape) < chance.choice([0.01, 1.0])] = odd
        else:
            shapes = (array.T, array[None], array[:0], array[:1], array.ravel(), np.concatenate([array, array]))
            weights[name] = chance.choice([*shapes, array.astype(np.float16), array.astype(np.float64)])
    if chance.random() < 0.2:
        weights[chance.choice(["", "odd", "\x1b[31m", "decoder.0"])] = weights.pop(chance.choice(sorted(weights)))
    return write_weights(weights)


def tables(value: Any) -> Iterator[dict[str, Any]]:
    """The tables in a value, itself and those inside, a few levels deep."""
    level = [value]
    for _ in range(4):
        found = [item for item in level if isinstance(item, dict)]
        yield from found
        level = [item for table in found for item in table.values()]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with some changed, left out, or put in."""
    found = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        at, kind = chance.randrange(len(found) + 1), chance.randrange(6)
        if kind == 0:
            found[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1 and at < len(found):
            found[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del found[at : at + chance.choice([1, 4, 100])]
        elif kind == 3:
            found[at:at] = chance.randbytes(chance.choice([1, 4, 100]))
        elif kind == 4:
            found[at:at] = found[chance.randrange(len(found) + 1) :][:200]
        else:
            found[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
    return bytes(found) if chance.random() < 0.9 else bytes(found[: chance.randrange(len(found) + 1)])


# -- their use --------------------------------------------------------------------------------------------------------


def use(name: str, folder: Path) -> tuple[str, str]:
    """What came of a model folder ("answer", "refused" or what was wrong), and the words."""
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
            code = triptych([*USES[name], "--model", str(folder), "--device", "cpu"])
    except BaseException:
        return "traceback", traceback.format_exc()[-1500:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    messages = error.getvalue()
    if not "".join((out.getvalue() + messages).split("\n")).replace("\t", "").isprintable():
        return "control characters", ascii(messages)[:500]
    if "Warning" in messages or "expected more memory" in messages:
        return "warning", messages[:1500]
    if code == 0:
        return "answer", out.getvalue()[:100]
    about = ("note: ", "tune.mid: ", "given.png: ")  # what is said about a person's own files
    errors = [line for line in messages.splitlines() if not line.startswith(about)]
    if code == 2 and len(errors) == 1 and errors[0].startswith("error: "):
        return "refused", errors[0]
    return f"code {code}", messages[:1500]


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(models: Path, seeds: range) -> None:
    """Try these folders, and print what came of each."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    place = Path(tempfile.mkdtemp(dir=models))
    with contextlib.chdir(place):
        for file in ("given.png", "tune.mid"):
            shutil.copy(models / file, place / file)
        for name in USES:  # what is imported and kept by whole models does not count
            assert use(name, models / name)[0] == "answer", name
        start = megabytes()
        for seed in seeds:
            chance = random.Random(seed)
            name = chance.choice([*USES])
            trial = Path(tempfile.mkdtemp(dir=place))
            folder, file = hostile(models / name, trial, chance)
            began = time.process_time()
            came, words = use(name, folder)
            row = {"seed": seed, "model": name, "file": file, "came": came, "words": words}
            print(json.dumps({**row, "seconds": time.process_time() - began, "grown": megabytes() - start}), flush=True)
            shutil.rmtree(trial)
            shutil.rmtree(place / "pictures", ignore_errors=True)


def results(models: Path, first: int, count: int) -> Iterator[dict[str, Any]]:
    """What came of the folders of these seeds, in processes of their own; one that ends is started again after it."""
    seed, last = first, first + count
    while seed < last:
        stop = min(last, seed + BATCH)
        command = [sys.executable, __file__, "--work", str(models), str(seed), str(stop)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            for line in process.stdout:
                found = json.loads(line)
                seed = found["seed"] + 1
                yield found
            words = process.stderr.read()[-1500:]
        if process.returncode:
            yield {"seed": seed, "came": "the process ended", "words": words, "seconds": 0.0, "grown": 0.0, "file": "?"}
            seed += 1
        assert process.returncode or seed == stop


def refusals(models: Path) -> dict[str, float]:
    """Seconds of a processor that each odd value of a configuration takes to be refused, the median of three."""
    found = {}
    for number, value in enumerate(VALUES):
        for key in ("positions", "width", "pattern", "relations", "input", "head", "unknown"):
            folder = models / "refused"
            shutil.copytree(models / "composer", folder)
            config = {**json.loads((folder / CONFIG).read_bytes()), key: value}
            (folder / CONFIG).write_text(json.dumps(config))
            card = json.loads((folder / CARD).read_bytes())
            card["sha256"][CONFIG] = hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest()
            (folder / CARD).write_bytes(sealed(card))
            times = []
            for _ in range(3):
                start = time.process_time()
                with contextlib.suppress(UserError):
                    transformer_of(read_model(folder))
                times.append(time.process_time() - start)
            found[f"{key} = {str(value)[:40] if not isinstance(value, int) else f'value {number}'}"] = (
                statistics.median(times)
            )
            shutil.rmtree(folder)
    return found


def main() -> int:
    """Try, and tell."""
    sys.set_int_max_str_digits(0)
    if sys.argv[1:2] == ["--work"]:
        signal.signal(signal.SIGPROF, _late)
        work(Path(sys.argv[2]), range(int(sys.argv[3]), int(sys.argv[4])))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        make_models(Path(place))
        every = list(results(Path(place), options.seed * 1_000_000, options.count))
        times = refusals(Path(place))
    wrong = [one for one in every if one["came"] not in ("answer", "refused") or one["grown"] > MAX_MEGABYTES]
    slowest = max(times, key=times.__getitem__)
    result = {
        "folders": len(every),
        "came": Counter(one["came"] for one in every),
        "files": Counter(one["file"] for one in every),
        "slowest_use_s": max(one["seconds"] for one in every),
        "memory_MB": max(one["grown"] for one in every),
        "slowest_refusal_ms": 1000 * times[slowest],
        "slowest_refused": slowest,
        "wrong": wrong[:20],
    }
    answer(result, [f"{key}: {value}" for key, value in result.items()], as_json=options.json)
    return int(bool(wrong) or times[slowest] > MAX_REFUSAL)


def _late(*_: object) -> None:
    raise TimeoutError(f"no end after {MAX_SECONDS} s of a processor")


if __name__ == "__main__":
    sys.exit(main())
