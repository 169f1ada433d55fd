"""Triptych's own contestants, built from names that earlier commits have too.

    python ours.py train|generate|translate

As a script it answers on standard output, a JSON object a line: first the folder of the package and the names of its
contestants, which begin with their case and a comma; then, for every name on standard input, the units of work done and
the seconds. `beside.py` runs it on two source trees at once.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import triptych
from triptych import Composer, Config, Painter, Pianist, Recipe, Transformer, Translator, UserError
from triptych.image.files.pictures import Pictures
from triptych.model.batch import Batch
from triptych.train.memory import keep_freed_memory
from triptych.train.optimizer import optimizers
from triptych.train.precision import autocast

Loss = Callable[[Batch], Tensor]
Built = tuple[nn.Module, Loss]
Run = Callable[[], float]

RECIPE = Recipe(epochs=1, optimizer="adam")
SMOOTHING = 0.1  # of the labels, for text
LENGTHS = (10, 13, 16, 22)  # of sentences: those of picture captions, in buckets
TOKENS = 4096  # of the target, an update of text
WINDOW = 256
LOCAL = {"kind": "local_1d", "query": WINDOW, "memory": WINDOW}
DECODER = {"width": 256, "heads": 8, "feed_forward": 1024, "encoder_layers": 0}
TEXT = Config.preset("tiny", 10_000)
RELATIVE = Config.from_dict({"vocabulary": 400, "decoder_layers": 5, **DECODER})
PIXELS = Config.from_dict(
    {
        "vocabulary": 256,
        "decoder_layers": 6,
        **DECODER,
        "pattern": LOCAL,
    }
)
RELATIVE_SIZES = ((8, 512), (1, 2048))  # rows and tokens of a batch
PIXEL_SIZES = ((4, 3072),)
DTYPES = ("float32", "bfloat16")


def related(config: Config, distances: int) -> Config:
    """The same model with relative attention by distance."""
    plain = config.to_dict()
    now, before = {"relations": {"distance": {"size": distances}}}, {"relation": {"distances": distances}}
    return Config.from_dict({**plain, **(now if "relations" in plain else before)})


def build(config: Config, smoothing: float = 0.0) -> Built:
    """Triptych's model, and its loss divided by the tokens as the training loop does it."""
    model = Transformer(config)

    def loss(batch: Batch) -> Tensor:
        total, _ = model.loss(batch, smoothing)
        return total / int(batch.lengths.sum())

    return model, loss


def training(built: Built, batches: Sequence[Batch], dtype: torch.dtype) -> Run:
    """One update a batch, by the calls of `train/loop.py`; returns the target tokens trained on."""
    model, mean = built
    model.train()
    parameters = list(model.parameters())
    rate, betas = RECIPE.learning_rate, (RECIPE.beta_1, RECIPE.beta_2)
    stack = (
        optimizers(model, RECIPE)
        if isinstance(model, Transformer)
        else [torch.optim.Adam(parameters, rate, betas, RECIPE.epsilon, fused=True)]
    )
    tokens = float(sum(int(batch.lengths.sum()) for batch in batches))

    def run() -> float:
        for batch in batches:
            with autocast(batch.target.device, dtype):
                loss = mean(batch)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, RECIPE.clip)
            if not (bool(loss.isfinite()) and bool(norm.isfinite())):
                got = f"{type(model).__name__} to learn, got loss {float(loss.detach())}"
                raise UserError(f"expected {got}; leave peers out with --no-peers")
            for optimizer in stack:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        return tokens

    return run


def random_tokens(vocabulary: int, rows: int, length: int) -> list[Batch]:
    """One batch of full rows."""
    ids = torch.randint(vocabulary, (rows, length), generator=torch.Generator().manual_seed(0))
    return [Batch(ids, torch.full((rows,), length))]


def sentence_pairs(vocabulary: int, tokens: int) -> list[Batch]:
    """One batch a length: sentences within 3 tokens of it, padded to it."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for length in LENGTHS:
        rows = max(1, tokens // length)
        sides = []
        for _ in range(2):
            ids = torch.randint(2, vocabulary, (rows, length), generator=generator)
            lengths = torch.randint(length - 3, length + 1, (rows,), generator=generator)
            lengths[0] = length
            sides.append((ids.masked_fill(torch.arange(length) >= lengths[:, None], 0), lengths))
        batches.append(Batch(*sides[0], *sides[1]))
    return batches


def captions(count: int) -> list[str]:
    """Sentences like those of picture captions, 8 to 17 words."""
    who = ("a man", "two young women", "an old man with a grey beard", "a brown dog", "three children in red coats")
    what = ("is sitting", "is running", "plays with a ball", "is looking at a map", "is riding a green bicycle")
    where = ("in the park", "on the beach near a small boat", "in front of a white house", "beside a busy street")
    draw = random.Random(0)
    return [f"{draw.choice(who)} {draw.choice(what)} {draw.choice(where)}.".capitalize() for _ in range(count)]


def train() -> dict[str, Run]:
    """Whole training steps of every case and dtype, in target tokens."""
    keep_freed_memory()
    cases = {"text": (TEXT, SMOOTHING, sentence_pairs(TEXT.vocabulary, TOKENS))}
    for rows, length in RELATIVE_SIZES:
        batches = random_tokens(RELATIVE.vocabulary, rows, length)
        cases[f"relative, {rows} x {length:,}"] = (related(RELATIVE, length), 0.0, batches)
        cases[f"relative, none, {rows} x {length:,}"] = (RELATIVE, 0.0, batches)
    for rows, length in PIXEL_SIZES:
        cases[f"pixels, {rows} x {length:,}"] = (PIXELS, 0.0, random_tokens(PIXELS.vocabulary, rows, length))
    return {
        f"{name}, {dtype}": training(build(config, smoothing), batches, getattr(torch, dtype))
        for name, (config, smoothing, batches) in cases.items()
        for dtype in DTYPES
    }


def place() -> dict[str, Any]:
    """Where models are loaded: on as many threads as torch has."""
    return {"device": "cpu", "threads": torch.get_num_threads()}


def subpixels(*, mixture: bool) -> Painter:
    """A model of 32 x 32 RGB pictures, stored as those that ship: a position a subpixel, or by a mixture a pixel."""
    blank = Pictures(np.zeros((1, 32, 32, 3), np.uint8), None, ())
    shape: dict[str, Any] = {"width": 256, "heads": 8, "feed_forward": 1024, "decoder_layers": 6}
    cell: dict[str, Any] = (
        {"cell": "pixel", "head": {"kind": "mixture"}} if mixture else {"cell": (1, 1), "head": "tied"}
    )
    with tempfile.TemporaryDirectory() as folder:
        Painter.new(blank, device="cpu", **cell, **shape, pattern=LOCAL).save(f"{folder}/model", dtype="float16")
        return Painter.load(f"{folder}/model", **place())


def generate() -> dict[str, Run]:
    """Composing and painting with models that ship, and pictures by subpixels; in pieces and pictures."""
    composer, painter = Composer.load("chorales", **place()), Painter.load("fashion", **place())
    pianist = Pianist.load("piano", **place())
    plain, mixed = (subpixels(mixture=mixture) for mixture in (False, True))
    return {
        "piano, two minutes": lambda: float(pianist.compose(seconds=120.0).length > 0),
        "subpixels, one picture": lambda: float(len(plain.paint(1))),
        "subpixels, one picture by a mixture": lambda: float(len(mixed.paint(1))),
        "composing, one piece": lambda: float(composer.compose(steps=128).length > 0),
        "composing, 8 pieces": lambda: float(len(composer.compose_many(8, steps=64))),
        "painting, one picture": lambda: float(len(painter.paint(1))),
        "painting, 16 pictures": lambda: float(len(painter.paint(16))),
    }


def translate() -> dict[str, Run]:
    """Translating with a model that ships, in sentences."""
    translator, lines = Translator.load("captions-en-de", **place()), captions(128)

    def run(count: int, beam: int) -> float:
        return float(len(translator.translate(lines[:count], beam=beam)))

    return {
        "128 sentences, beam 5": partial(run, 128, 5),
        "128 sentences, greedy": partial(run, 128, 1),
        "8 sentences, beam 5": partial(run, 8, 5),
    }


VERBS: dict[str, Callable[[], dict[str, Run]]] = {"train": train, "generate": generate, "translate": translate}


def main() -> None:
    """Answer names until standard input ends; what a library prints goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    torch.manual_seed(0)
    contestants = VERBS[sys.argv[1]]()

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    answer(package=str(Path(triptych.__file__).parent), names=list(contestants))
    for line in sys.stdin:
        start = time.perf_counter()
        units = contestants[line.rstrip("\n")]()
        answer(units=units, seconds=time.perf_counter() - start)


if __name__ == "__main__":
    main()
