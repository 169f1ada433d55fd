"""Tokens a second of composing 1,024 tokens, one piece at a time: ours beside transformers' GPT-2 and x-transformers.

    python benchmarks/generate_music.py [--json] [--tokens 1024] [--repeats 5]

All models are decoders of one shape (width 256, 6 layers, 8 heads, feed-forward 1,024, vocabulary 48) with random
weights, and draw from their whole distribution. Ours relates by distance and is timed three times: as `compose` of the
composer does it (matrices in float16, with its grammar), in float32 with the cache of the model, and without a cache,
which runs the whole prefix again for each token (timed once in the middle of every 64 positions). Needs: the `bench`
extra.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from triptych.bench import peers
from triptych.bench.measure import circumstances, interleaved, lines, table
from triptych.cli.output import answer
from triptych.generation.sample import generate
from triptych.model.config import Config
from triptych.model.transformer import Transformer
from triptych.music.codec import ChoraleCodec
from triptych.music.composer import PRESETS, Composer
from triptych.train.memory import keep_freed_memory

EVERY = 64  # position at which a pass over the whole prefix is timed


def cached(config: Config, tokens: int) -> Callable[[], float]:
    torch.manual_seed(0)
    model = Transformer(config).eval()

    def run() -> float:
        cache = model.start(length=tokens, rows=1)
        return float(len(list(generate(model, cache, steps=tokens))))

    return run


def composing(config: Config, tokens: int) -> Callable[[], float]:
    torch.manual_seed(0)
    composer = Composer(Transformer(config).eval(), ChoraleCodec())

    def run() -> float:
        piece = composer.compose(steps=tokens // 4)
        assert 4 * piece.length == tokens
        return float(tokens)

    return run


def uncached(config: Config, tokens: int) -> float:
    """Tokens a second when every token costs a pass over all before it."""
    torch.manual_seed(0)
    model = Transformer(config).eval()
    ids = torch.randint(config.vocabulary, (1, tokens))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()  # for all: it is one process
    config = Config.from_dict({**PRESETS["small"], "vocabulary": ChoraleCodec.vocabulary})
    found = circumstances()
    contestants = {
        ("triptych, matrices in float16", "float32"): composing(config, options.tokens),
        ("triptych", "float32"): cached(config, options.tokens),
    }
    if "transformers" in peers.installed():
        contestants["transformers GPT-2", "float32"] = gpt2(config, options.tokens)
    if "x-transformers" in peers.installed():
        contestants["x-transformers rotary", "float32"] = x_transformers(config, options.tokens)
    rates = interleaved(contestants, options.repeats)
    without = uncached(config, options.tokens)
    rates["triptych without a cache", "float32"] = [without] * options.repeats
    title = f"composing {options.tokens:,} tokens, one piece at a time"
    reference = next((name for name, _ in contestants if name.startswith("transformers")), "triptych")
    report = {**found, "tables": [table(title, "tokens/s", rates, reference)]}
    answer(report, lines(report), as_json=options.json)


if __name__ == "__main__":
    main()
