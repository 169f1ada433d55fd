"""Tokens a second of composing 1,024 tokens, one piece at a time: ours beside transformers' GPT-2 and x-transformers.

The peers are decoders with the width, layers, heads and feed-forward network of the model, the vocabulary of chorales
and random weights; all draw from their whole distribution. Ours is timed as `compose` of the composer does it (with its
grammar, in the kernel where there is one), by the cached steps of the kernel, of numpy and of torch, and without a
cache, which runs the whole prefix again for each token (timed once in the middle of every 64 positions). The kernel
reads weights in float16, as a model folder has them; all compute in float32. It puts the four notes of a sixteenth at
one position; so the same shape with a position a note, as the paper and the peers have it, is measured with random
weights too, cached and uncached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from speed import peers
from speed.plans import cached, engines, seconds_at_least
from speed.tables import Contestants, More, Settings, Table, table
from triptych.errors import UserError
from triptych.model.decoder import TorchDecoder
from triptych.model.transformer import Transformer
from triptych.music.chorales.composer import Composer
from triptych.shape.config import Config
from triptych.shape.parts import Tied, Tokens
from triptych.shape.pattern import Full

TOKENS = 1024
STORED = "float16"  # the weights of models that ship
EVERY = 64  # position at which a pass over the whole prefix is timed


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
    relations = tuple(replace(relation, size=4 * relation.size) for relation in config.relations)
    positions = replace(config.positions, grid=(4, *config.positions.grid))
    whole = Full(causal=True)
    return Transformer(
        replace(config, input=Tokens(), head=Tied(), relations=relations, positions=positions, pattern=whole)
    ).eval()


def tables(settings: Settings, *, model: str = "chorales", tokens: int = TOKENS) -> Iterator[Table]:
    """One table. model: a name or folder of one that composes. tokens: of a piece, a multiple of 64."""
    if tokens % EVERY:
        raise UserError(f"expected --length in multiples of {EVERY} with the case composing, got {tokens}")
    composer, name = Composer.load(model, device="cpu", threads=torch.get_num_threads()), Path(model).name
    trained = composer.module().eval()
    config, notes = trained.config, note_by_note(trained.config)
    ours: Contestants = {(f"{name}, composing", "float32"): composing(composer, tokens)}
    for who, one in ((name, trained), ("a position a note", notes)):
        for engine, decoder in engines(one, STORED).items():
            ours[f"{who}, steps in {engine}", "float32"] = cached(decoder, 1, tokens)
    ours[f"{name}, steps in torch", "float32"] = cached(TorchDecoder(trained), 1, tokens)
    more: More = {}
    for who, _ in ours:
        one = notes if who.startswith("a position") else trained
        dtype = STORED if who.endswith(("composing", "kernel")) else "float32"
        more[who, "float32"] = {"limit": tokens / seconds_at_least(one, dtype, rows=1, steps=tokens)}
    contestants = dict(ours)
    if "transformers" in settings.peers:
        contestants["transformers GPT-2", "float32"] = gpt2(config, tokens)
    if "x-transformers" in settings.peers:
        contestants["x-transformers rotary", "float32"] = x_transformers(config, tokens)
    title = f"composing {tokens:,} tokens, one piece at a time"
    rates = settings.rates(title, contestants)
    for whole, one in ((f"{name}, no cache", trained), ("a position a note, no cache", notes)):
        rates[whole, "float32"] = [uncached(one, tokens)] * settings.repeats
    reference = next((who for who, _ in contestants if who.startswith("transformers")), next(iter(contestants))[0])
    yield table(title, "tokens/s", rates, reference, more)
