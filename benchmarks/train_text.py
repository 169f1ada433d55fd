"""Target tokens a second of training a small translator: ours beside torch.nn.Transformer, in one run.

    python benchmarks/train_text.py [--json] [--vocabulary 10000] [--tokens 4096]

Width 128, 4 + 4 layers, 4 heads, feed-forward 256, dropout 0.3, three tied embeddings, label smoothing 0.1, Adam, about
4,096 target tokens an update. Every contestant sees the same batches: random ids in sentences as long as picture
captions (mean 14 pieces), in length buckets. A round is four updates of different lengths.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import torch
from measure import interleaved, tell
from torch import Tensor, nn
from torch.nn import functional

from triptych.model.batch import Batch
from triptych.model.config import Config
from triptych.model.transformer import Transformer, sinusoids
from triptych.train.memory import keep_freed_memory
from triptych.train.optimizer import optimizers
from triptych.train.precision import autocast
from triptych.train.recipe import Recipe

LENGTHS = (10, 13, 16, 22)


class TorchTransformer(nn.Module):
    """torch.nn.Transformer with the embeddings, positions and tied output layer that it leaves to its user."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.width = config.width
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = nn.Transformer(
            config.width,
            config.heads,
            config.encoder_layers,
            config.decoder_layers,
            config.feed_forward,
            config.dropout,
            batch_first=True,
            norm_first=True,
        )

    def embed(self, ids: Tensor) -> Tensor:
        hidden = self.embedding(ids) * math.sqrt(self.width)
        embedded: Tensor = self.dropout(hidden + sinusoids(0, ids.size(1), self.width, hidden))
        return embedded

    def loss(self, batch: Batch) -> Tensor:
        assert batch.source is not None and batch.source_lengths is not None
        padding = torch.arange(batch.source.size(1)) >= batch.source_lengths[:, None]
        shifted = functional.pad(batch.target[:, :-1], (1, 0))
        causal = nn.Transformer.generate_square_subsequent_mask(batch.target.size(1))
        hidden = self.transformer(
            self.embed(batch.source),
            self.embed(shifted),
            tgt_mask=causal,
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        logits = functional.linear(hidden, self.embedding.weight)
        beyond = torch.arange(batch.target.size(1)) >= batch.lengths[:, None]
        target = batch.target.masked_fill(beyond, -100)
        return functional.cross_entropy(logits.flatten(0, 1), target.flatten(), label_smoothing=0.1)


def make_batches(vocabulary: int, tokens: int) -> list[Batch]:
    """One batch a length: sentences within 3 tokens of it, padded to it."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for length in LENGTHS:
        rows = tokens // length
        sides = []
        for _ in range(2):
            ids = torch.randint(2, vocabulary, (rows, length), generator=generator)
            lengths = torch.randint(length - 3, length + 1, (rows,), generator=generator)
            lengths[0] = length
            sides.append((ids.masked_fill(torch.arange(length) >= lengths[:, None], 0), lengths))
        batches.append(Batch(*sides[0], *sides[1]))
    return batches


def ours(config: Config, batches: list[Batch], dtype: torch.dtype) -> Callable[[], float]:
    torch.manual_seed(0)
    model = Transformer(config).train()
    stack = optimizers(model, Recipe(epochs=1, optimizer="adam"))

    def run() -> float:
        for batch in batches:
            with autocast(batch.target.device, dtype):
                loss, _ = model.loss(batch, 0.1)
            (loss / int(batch.lengths.sum())).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in stack:
                optimizer.step()
                optimizer.zero_grad()
        assert bool(loss.isfinite())
        return float(sum(int(batch.lengths.sum()) for batch in batches))

    return run


def theirs(config: Config, batches: list[Batch], dtype: torch.dtype) -> Callable[[], float]:
    torch.manual_seed(0)
    model = TorchTransformer(config).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, betas=(0.9, 0.98), fused=True)

    def run() -> float:
        for batch in batches:
            with autocast(batch.target.device, dtype):
                loss = model.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        assert bool(loss.isfinite())
        return float(sum(int(batch.lengths.sum()) for batch in batches))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()  # for all contestants: it is one process
    config = Config.preset("tiny", options.vocabulary)
    batches = make_batches(options.vocabulary, options.tokens)
    contestants = {
        "torch.nn.Transformer float32": theirs(config, batches, torch.float32),
        "torch.nn.Transformer bfloat16": theirs(config, batches, torch.bfloat16),
        "triptych float32": ours(config, batches, torch.float32),
        "triptych bfloat16": ours(config, batches, torch.bfloat16),
    }
    rates = interleaved(contestants)
    tell("training a translator", "target tokens/s", rates, "torch.nn.Transformer float32", options.json)


if __name__ == "__main__":
    main()
