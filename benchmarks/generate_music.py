"""Tokens a second of composing 1,024 tokens, one piece at a time: ours beside transformers' GPT-2 and x-transformers.

    python benchmarks/generate_music.py [--model chorales] [--json] [--tokens 1024] [--repeats 5]

The peers are decoders with the width, layers, heads and feed-forward network of the model, the vocabulary of chorales
and random weights; all draw from their whole distribution. Ours is timed as `compose` of the composer does it (matrices
in float16, with its grammar), in its own number format by the cached steps of `Transformer`, and without a cache, which
runs the whole prefix again for each token (timed once in the middle of every 64 positions). It puts the four notes of a
sixteenth at one position; so the same shape with a position a note, as the paper and the peers have it, stands beside
it with random weights, cached and uncached. Needs: the `bench` extra.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from triptych.bench import peers
from triptych.bench.measure import circumstances, interleaved, lines, table
from triptych.cli.output import answer
from triptych.generation.sample import generate
from triptych.model.decoder import Rows, TorchDecoder
from triptych.model.transformer import Transformer
from triptych.music.chorales.composer import Composer
from triptych.shape.config import Config
from triptych.shape.parts import Tied, Tokens
from triptych.shape.pattern import Full
from triptych.train.memory import keep_freed_memory

EVERY = 64  # position at which a pass over the whole prefix is timed


def cached(model: Transformer, tokens: int) -> Callable[[], float]:
    def run() -> float:
        rows = Rows(model, model.start(length=tokens, rows=1))
        return float(len(list(generate(TorchDecoder(model), rows, steps=tokens))))

    return run


def composing(composer: Composer, tokens: int) -> Callable[[], float]:
    def run() -> float:
        piece = composer.compose(steps=tokens // 4)
        assert 4 * piece.length == tokens
        return float(tokens)

    return run


def uncached(model: Transformer, tokens: int) -> float:
    """Tokens a second when every token costs a pass over all before it."""
    ids = torch.randint(model.config.vocabulary, (1, tokens))
    seconds = 0.0
    with torch.no_grad():
        model(ids)
        for length in range(EVERY // 2, tokens, EVERY):
            model(ids[:, :length])  # the first of its shape sets things up
            start = time.perf_counter()
            model(ids[:, :length])
            seconds += EVERY * (time.perf_counter() - start)
    return tokens / seconds


def gpt2(config: Config, tokens: int) -> Callable[[], float]:
    torch.manual_seed(0)
    model: Any = peers.gpt2(config, tokens + 1).train(False)
    start = torch.zeros(1, 1, dtype=torch.int64)

    @torch.no_grad()
    def run() -> float:
        found = model.generate(
            start, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=True, top_k=0, use_cache=True, pad_token_id=0
        )
        assert found.size(1) == tokens + 1
        return float(tokens)

    return run


def x_transformers(config: Config, tokens: int) -> Callable[[], float]:
    from x_transformers import AutoregressiveWrapper

    torch.manual_seed(0)
    inner = peers.x_decoder(config, tokens + 1, rotary_pos_emb=True, attn_flash=True)
    model: Any = AutoregressiveWrapper(inner).train(False)
    start = torch.zeros(1, 1, dtype=torch.int64)

    @torch.no_grad()
    def run() -> float:
        found = model.generate(start, tokens, cache_kv=True, filter_logits_fn=lambda logits: logits)
        assert found.size(1) == tokens
        return float(tokens)

    return run


def note_by_note(config: Config) -> Transformer:
    """The same shape with a position a note and random weights."""
    torch.manual_seed(0)
    relation = None if config.relation is None else replace(config.relation, distances=4 * config.relation.distances)
    positions = replace(config.positions, grid=(4, *config.positions.grid))
    whole = Full(causal=True)
    return Transformer(
        replace(config, input=Tokens(), head=Tied(), relation=relation, positions=positions, pattern=whole)
    ).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="chorales", help="a model that composes")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()  # for all: it is one process
    composer = Composer.load(options.model, device="cpu")
    model = composer.model.eval()
    config, found = model.config, circumstances()
    notes = note_by_note(config)
    contestants = {
        (f"{Path(options.model).name}, composing", "float32"): composing(composer, options.tokens),
        (f"{Path(options.model).name}, cached steps", "float32"): cached(model, options.tokens),
        ("a position a note, composing", "float32"): composing(Composer(notes, composer.codec), options.tokens),
    }
    if "transformers" in peers.installed():
        contestants["transformers GPT-2", "float32"] = gpt2(config, options.tokens)
    if "x-transformers" in peers.installed():
        contestants["x-transformers rotary", "float32"] = x_transformers(config, options.tokens)
    rates = interleaved(contestants, options.repeats)
    for name, one in ((f"{Path(options.model).name}, no cache", model), ("a position a note, no cache", notes)):
        rates[name, "float32"] = [uncached(one, options.tokens)] * options.repeats
    title = f"composing {options.tokens:,} tokens, one piece at a time"
    reference = next((name for name, _ in contestants if name.startswith("transformers")), next(iter(contestants))[0])
    report = {**found, "parameters": sum(each.numel() for each in model.parameters())}
    report["tables"] = [table(title, "tokens/s", rates, reference)]
    answer(report, lines(report), as_json=options.json)


if __name__ == "__main__":
    main()
