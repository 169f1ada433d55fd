"""Random models through the kernel in C and through numpy, with the address and undefined-behaviour sanitizers.

    python benchmarks/soak_kernel.py [--count 10000] [--seed 1] [--plain]

Compiles `decode/kernel.c` of every level into a temporary folder, with the sanitizers unless `--plain`, and starts
itself again with their runtime loaded first (LD_PRELOAD): malloc is then the sanitizer's, numpy's arrays and the
structs of ctypes too, each between zones that nobody may touch. That this is so is tried first: an array that is one
number too short has to be found. Then so many models of random configurations and weights (float32, float16, bfloat16
and float64; in some of them numbers that overflow, infinity and NaN) take steps, with and without prefill, beams that
change places and sources that go, and draw under random restrictions and masks, one or many steps at a time.

Prints the largest difference of a log-probability (of more than 1e-6) from numpy's. Exits with 1 where it is above
the bar, an id is not the one that numpy draws of the same log-probabilities, or the process ends.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.decode.flat import flat_model
from triptych.decode.interpreter import PlanDecoder, limit_threads
from triptych.decode.kernel import LEVELS, KernelCache, KernelDecoder, _features
from triptych.decode.plan import Plan, plan_of
from triptych.decode.shapes import shapes
from triptych.errors import UserError
from triptych.generation.sampling import Sampling, draw, masked
from triptych.shape.config import Config
from triptych.shape.parts import LEVELS as INTENSITIES
from triptych.shape.parts import Mixture
from triptych.shape.pattern import Local2D

BUILD = Path(__file__).parent.parent / "hatch_build.py"
SANITIZERS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
    "-fno-omit-frame-pointer",
    "-g1",
    "-O1",
)
LIKELY = np.log(1e-6)
BAR = 1e-3  # of a log-probability; of a mixture, whose distributions are steeper, ten times that
Random = np.random.Generator
Array = NDArray[Any]


# ---- models ----------------------------------------------------------------------------------------------------------


def one_of(random: Random, *choices: Any) -> Any:
    return choices[random.integers(len(choices))]


def some_config(random: Random) -> Config:
    """Any configuration that is one."""
    while True:
        try:
            config = Config.from_dict(_settings(random))
            shapes(config)
            return config
        except UserError:  # of parts that do not go together
            continue


def _settings(random: Random) -> dict[str, Any]:
    heads = int(random.integers(1, 6))
    width = heads * int(one_of(random, 1, 2, 3, 5, 7, 8, 10, 15, 16, 17, 20, 28, 31, 32, 33, 48))
    if random.random() < 0.1:
        width, heads = one_of(random, (20, 2), (56, 4), (160, 8), (224, 4), (96, 1))
    found: dict[str, Any] = {
        "vocabulary": int(one_of(random, 1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 48, 100, 257)),
        "width": width,
        "heads": heads,
        "feed_forward": int(one_of(random, 1, 3, 16, 24, 31, 33, 64, 100, 257, 300)),
        "decoder_layers": int(random.integers(1, 4)),
        "encoder_layers": int(one_of(random, 0, 0, 1, 2)),
        "dropout": 0.0,
        "norm": one_of(random, "pre", "post"),
        "activation": one_of(random, "relu", "gelu", "swiglu"),
        "classes": int(one_of(random, 0, 0, 3)),
        "aligned": bool(random.random() < 0.3),
        "pattern": _pattern(random),
        "positions": _positions(random),
        "relations": _relations(random),
    }
    if not found["encoder_layers"]:
        found["aligned"] = False
    elif random.random() < 0.5:
        found["source_vocabulary"] = int(one_of(random, 2, 11, 257))
    return found | _parts(random)


def _parts(random: Random) -> dict[str, Any]:
    """An input and its head."""
    kind = one_of(random, "tokens", "tokens", "keyboard", "patches", "pixels")
    if kind == "tokens":
        return {}
    if kind == "keyboard":
        return {
            "input": {"kind": "tokens", "keyboard": [int(random.integers(1, 9)) for _ in range(3)]},
            "vocabulary": 40,
        }
    if kind == "patches":
        layers, feed_forward = int(random.integers(1, 3)), int(one_of(random, 1, 17, 40, 330))
        read = {
            "kind": "patches",
            "size": int(random.integers(1, 6)),
            "repeat_features": int(one_of(random, 0, 1, 2, 5)),
        }
        return {"input": read, "head": {"kind": "patch", "layers": layers, "feed_forward": feed_forward}}
    mixture = {"kind": "mixture", "components": int(one_of(random, 1, 2, 3, 5, 10, 17))}
    return {
        "input": {"kind": "pixels", "channels": int(random.integers(1, 5))},
        "head": mixture,
        "vocabulary": INTENSITIES,
    }


def _pattern(random: Random) -> Any:
    kind = one_of(random, "full", "local_1d", "local_2d")
    if kind == "local_1d":
        return {
            "kind": kind,
            "query": int(random.integers(1, 12)),
            "memory": int(one_of(random, 0, 1, 3, 7, 15, 16, 20, 90)),
        }
    if kind == "local_2d":
        rows, columns = int(random.integers(1, 4)), int(random.integers(1, 5))
        size = {"height": rows * int(random.integers(1, 4)), "width": columns * int(random.integers(1, 4))}
        memory = {"memory_rows": int(random.integers(0, 4)), "memory_columns": int(random.integers(0, 4))}
        return {"kind": kind, **size, "query_rows": rows, "query_columns": columns, **memory}
    return kind


def _positions(random: Random) -> dict[str, Any]:
    kind = one_of(random, "sinusoidal", "concatenated", "learned", "sinusoidal_2d", "none")
    found: dict[str, Any] = {"kind": kind, "metre": int(one_of(random, 0, 0, 0, 6))}
    if kind in ("learned", "sinusoidal_2d"):
        found["length"] = 200 if kind == "learned" else int(random.integers(1, 9))
    if random.random() < 0.2:
        found["grid"] = [int(size) for size in random.integers(1, 6, random.integers(1, 4))]
    return found


def _relations(random: Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if random.random() < 0.4:
        found["distance"] = {"size": int(one_of(random, 1, 2, 7, 30, 100)), "far": one_of(random, "zero", "clip")}
    if random.random() < 0.2:
        found["pitch"] = {"size": int(one_of(random, 1, 5, 20, 300))}
    if random.random() < 0.2:
        unit = int(random.integers(1, 5))
        found["time"] = {"size": int(one_of(random, 1, 3, 9)), "far": one_of(random, "zero", "clip"), "unit": unit}
    return dict(random.permutation(list(found.items()))) if found else {}


def stored_weights(random: Random, config: Config, broken: bool) -> dict[str, Array]:
    """Weights in one number format, or each in its own. broken: some overflow, or are no numbers."""
    kinds, found = ["float32", "float16", "bfloat16", "float64"], {}
    kind = one_of(random, *kinds, None)
    for name, shape in shapes(config).items():
        spread = shape[-1] ** -0.5 if len(shape) > 1 else 0.2
        array = random.normal(size=shape) * spread + (name.endswith("norm.weight") and len(shape) == 1)
        if broken and random.random() < 0.3:
            array.flat[random.integers(array.size)] = one_of(random, 3e38, -3e38, 6e4, np.inf, -np.inf, np.nan)
        found[name] = _as_format(array, kind or one_of(random, *kinds))
    return found


def _as_format(array: Array, kind: str) -> Array:
    with np.errstate(all="ignore"):
        if kind == "bfloat16":
            return (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return array.astype(kind)


def asked(random: Random, config: Config) -> dict[str, Any]:
    """Arguments of `start`."""
    beams, size = int(one_of(random, 1, 1, 2, 3, 5)), config.input.size
    groups = int(one_of(random, 1, 1, 1, 2, 3, 4, 7, 8, 9, 17, 64)) // beams or 1
    length = int(one_of(random, 1, 2, 5, 9, 16, 17, 20, 34, 60)) + int(random.integers(size))
    if isinstance(config.pattern, Local2D):
        length = min(length, config.pattern.height * config.pattern.width * size)
    found: dict[str, Any] = {"length": length, "rows": groups * beams, "beams": beams}
    if config.encoder_layers:
        source = length if config.aligned else size * int(random.integers(1, 20))
        if isinstance(config.pattern, Local2D) and config.positions.source is None:
            source = min(source, config.pattern.height * config.pattern.width * size)
        found["source"] = random.integers(0, config.source_vocabulary or config.vocabulary, (groups, source))
        if not config.aligned and random.random() < 0.7:
            found["source_lengths"] = random.integers(1, source + 1, groups)
    if config.classes:
        found["label"] = random.integers(-1, config.classes, groups)
    if config.positions.metre and random.random() < 0.8:
        positions = -(-length // size) + int(random.integers(-2, 3))
        found["metre"] = random.integers(0, config.positions.metre + 1, (1, max(0, positions), 2))
    return found


# ---- what is compared ------------------------------------------------------------------------------------------------


class Trial:
    """One model and what it is asked."""

    def __init__(self, seed: int, number: int, libraries: list[ctypes.CDLL]) -> None:
        random = self.random = np.random.default_rng((seed, number))
        self.config = some_config(random)
        self.broken = bool(random.random() < 0.04)
        weights = stored_weights(random, self.config, self.broken)
        with np.errstate(all="ignore"):
            plan: Plan = plan_of(self.config, weights)
        flat = flat_model(plan, weights)
        assert flat is not None
        self.threads, self.asked = int(one_of(random, 1, 1, 1, 1, 2, 3)), asked(random, self.config)
        self.numpy = PlanDecoder(plan)
        self.kernels = [KernelDecoder(plan, flat, each, self.threads) for each in libraries]
        self.bar = BAR * (10 if isinstance(self.config.head, Mixture) else 1)

    def __str__(self) -> str:
        given = {name: getattr(each, "shape", each) for name, each in self.asked.items()}
        return f"{self.config} asked {given}, threads {self.threads}"

    def steps(self) -> float:
        """Steps with ids that are given; the largest difference of a log-probability from numpy's."""
        random, beams = self.random, self.asked["beams"]
        decoders: list[PlanDecoder] = [self.numpy, *self.kernels]
        caches = [each.start(**self.asked) for each in decoders]
        rows, length, taken, largest = caches[0].rows, self.asked["length"], 0, 0.0
        ids = random.integers(0, self.config.vocabulary, (rows, length))
        ids[:, 1:] = np.where(random.random((rows, length - 1)) < 0.3, ids[:, :-1], ids[:, 1:])  # some repeat
        if random.random() < 0.4:
            given = ids[:, : random.integers(length + 1)]
            taken = max([each.prefill(given, cache).shape[1] for each, cache in zip(decoders, caches, strict=True)])
        for at in range(taken, min(length, taken + 18)):
            last = ids[:, at - 1] if at else None
            found = [each.step(last, cache).copy() for each, cache in zip(decoders, caches, strict=True)]
            likely = found[0] > LIKELY
            if not self.broken:
                assert all(np.isfinite(each).all() for each in found), f"not finite at {at}"
                largest = max(largest, *(float(np.abs(each - found[0])[likely].max()) for each in found[1:]))
            if random.random() < 0.3:
                order = np.arange(rows) // beams * beams + random.integers(0, beams, rows)
                if random.random() < 0.3 and rows > beams:
                    order = order.reshape(-1, beams)[random.random(rows // beams) < 0.7].reshape(-1)
                    order = order if len(order) else np.arange(beams)
                for cache in caches:
                    cache.select(order)
                ids, rows = ids[order], len(order)
        return largest

    def draws(self) -> None:
        """Draws of the kernel beside those that numpy makes of the same kernel's log-probabilities."""
        random, vocabulary = self.random, self.config.vocabulary
        sampling: dict[str, Any] = {
            "temperature": float(one_of(random, 1, 1, 0, 1e-3, 0.7, 3)),
            "top_k": int(one_of(random, 0, 0, 1, 3, vocabulary, vocabulary + 1)),
            "top_p": float(one_of(random, 1, 1, 0.9, 0.3)),
            "min_p": float(one_of(random, 0, 0, 0.05, 1)),
        }
        masks = random.random() < 0.4
        if isinstance(self.config.head, Mixture):
            sampling, masks = {}, False
        for kernel in [self.kernels[random.integers(len(self.kernels))]]:
            drawing, stepping = kernel.start(**self.asked), kernel.start(**self.asked)
            rows, at, last = drawing.rows, 0, None
            while at < self.asked["length"]:
                many = 1 if masks else min(int(random.integers(1, 33)), self.asked["length"] - at)
                uniforms = random.random((many, rows))
                allowed = random.random((rows, vocabulary)) < random.random() if masks else None
                if allowed is not None:
                    allowed[np.arange(rows), random.integers(0, vocabulary, rows)] |= random.random() < 0.95
                try:
                    found = kernel.draw(last, drawing, uniforms, allowed, **sampling)
                except (FloatingPointError, LookupError) as error:
                    self._refused(kernel, last, stepping, allowed, error)
                    break
                assert found is not None
                assert ((found >= 0) & (found < vocabulary)).all(), f"drew {found.min()} to {found.max()}"
                found = found.copy()
                if not self._agrees(kernel, last, stepping, found, uniforms, allowed, Sampling(**sampling)):
                    break
                last, at = found[-1], at + len(found)

    def _agrees(
        self, kernel: Any, last: Any, cache: Any, found: Array, uniforms: Array, allowed: Any, by: Sampling
    ) -> bool:
        """Whether every id is that of numpy; not where a mixture's number lies within rounding of a boundary."""
        for ids, numbers in zip(found, uniforms, strict=True):
            log_probs = kernel.step(last, cache).copy()
            last = ids
            if self.broken:
                continue
            expected = draw(masked(log_probs, allowed), by, numbers)
            if (expected == ids).all():
                continue
            cumulative = np.exp(log_probs.astype(np.float64)).cumsum(1)
            cumulative /= cumulative[:, -1:]
            apart = np.abs(cumulative - numbers[:, None]).min(1)[expected != ids].max()
            assert isinstance(self.config.head, Mixture) and apart < 1e-4, (
                f"drew {ids}, not {expected} ({apart:.1e} apart)"
            )
            return False
        return True

    def _refused(self, kernel: Any, last: Any, cache: Any, allowed: Any, error: Exception) -> None:
        if isinstance(error, FloatingPointError):
            assert self.broken, "not finite"
            return
        try:
            masked(kernel.step(last, cache), allowed)
        except UserError:
            return
        assert self.broken, "nothing allowed, where numpy finds something"


# ---- the process with the sanitizers ---------------------------------------------------------------------------------


def run(folder: Path, numbers: range, seed: int) -> int:
    """All trials of these numbers, with the libraries in a folder."""
    limit_threads(1)
    libraries = [ctypes.CDLL(str(folder / f"kernel_{level}.so")) for level in usable()]
    largest, failures = 0.0, 0
    kinds = np.zeros(2)
    for number in numbers:
        (folder / f"at_{numbers.start}").write_text(str(number))
        trial = Trial(seed, number, libraries)
        try:
            with np.errstate(all="ignore"):
                error = trial.steps() / trial.bar
                trial.draws()
            kinds[int(trial.broken)] += 1
            largest = max(largest, error)
            assert error < 1, f"log-probabilities differ by {error * trial.bar:.1e}"
        except Exception as fault:  # others need not hide behind it
            failures += 1
            print(f"FAILED {number}: {type(fault).__name__}: {fault}; {trial}", flush=True)
    print(f"{len(numbers)} trials, {kinds[1]:.0f} of broken weights; at most {largest:.2f} of the bar", flush=True)
    return int(failures > 0)


def plant(folder: Path) -> int:
    """Let the kernel write past an array's end."""
    trial = Trial(1, 1, [ctypes.CDLL(str(folder / f"kernel_{level}.so")) for level in usable()[-1:]])
    cache = trial.kernels[0].start(**trial.asked)
    assert isinstance(cache, KernelCache)
    cache.hidden = np.zeros(cache.hidden.size - 1, np.float32)
    trial.kernels[0].step(None, cache)
    return 0


def usable() -> list[str]:
    """The levels of this processor."""
    return [level for level, needed in LEVELS.items() if all(_features().get(each) for each in needed)]


def build(folder: Path, sanitized: bool) -> dict[str, str]:
    """Compile into a folder; the environment in which to use it. Exits where there is no compiler."""
    spec = importlib.util.spec_from_file_location("hatch_build", BUILD)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built = {
        each.stem.removeprefix("kernel_") for each in module.compile_kernel(SANITIZERS if sanitized else (), folder)
    }
    if not set(usable()) <= built:
        sys.exit("expected a C compiler with its sanitizers, got none; install gcc, or give --plain")
    found = os.environ | {"PYTHONMALLOC": "malloc", "OMP_NUM_THREADS": "1"}
    if sanitized:
        compiler = os.environ.get("CC", "cc").split()
        asked_for = [*compiler, "-print-file-name=libasan.so"]
        found["LD_PRELOAD"] = str(Path(subprocess.check_output(asked_for, text=True).strip()).resolve())
        # Of Python's own memory much is never freed; of shadow memory little can be had under a limit.
        found["ASAN_OPTIONS"] = "detect_leaks=0:allocator_may_return_null=1"
        found["UBSAN_OPTIONS"] = "print_stacktrace=1"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without the sanitizers")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)  # the folder with what was compiled
    parser.add_argument("--plant", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.count)
    if options.inside:
        return plant(options.inside) if options.plant else run(options.inside, numbers, options.seed)
    with TemporaryDirectory() as name:
        environment = build(Path(name), not options.plain)
        command = [sys.executable, __file__, *sys.argv[1:], "--inside", name]
        print(f"levels {', '.join(usable())}, {'without' if options.plain else 'with'} sanitizers", flush=True)
        if not options.plain:
            planted = subprocess.run(
                [*command, "--plant"], env=environment, capture_output=True, text=True, check=False
            )
            if "heap-buffer-overflow" not in planted.stderr:
                print(f"FAILED: a write past the end of an array was not found; {planted.stderr[-2000:]}")
                return 1
        code = subprocess.run(command, env=environment, check=False).returncode
        if code not in (0, 1):
            print(f"FAILED {Path(name, f'at_{options.first}').read_text()}: the process ended with {code}")
    return int(code != 0)


if __name__ == "__main__":
    sys.exit(main())
