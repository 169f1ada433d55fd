"""Whole training steps: forward, loss, backward, clipping, fused Adam. Ours beside others' on the same batches.

Every contestant trains with the same optimizer, in the number formats that autocast gives, as `train/loop.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from triptych.bench import peers
from triptych.bench.measure import Settings, Table, interleaved, table
from triptych.bench.naive import naive_transformer
from triptych.bench.plain import (
    Built,
    Mix,
    PlainTransformer,
    TorchTransformer,
    block_local,
    causal,
    decoder_only,
    mean_loss,
)
from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.shape.config import Config, Relative
from triptych.shape.pattern import Local1D
from triptych.train.optimizer import optimizers
from triptych.train.precision import autocast
from triptych.train.recipe import Recipe

RECIPE = Recipe(epochs=1, optimizer="adam")
SMOOTHING = 0.1  # of the labels, for text
LENGTHS = (10, 13, 16, 22)  # of sentences: those of picture captions, in buckets

TEXT = Config.preset("tiny", 10_000)
RELATIVE = Config(400, width=256, heads=8, feed_forward=1024, encoder_layers=0, decoder_layers=5)
PIXELS = Config(
    256, width=256, heads=8, feed_forward=1024, encoder_layers=0, decoder_layers=6, pattern=Local1D(256, 256)
)


@dataclass(frozen=True)
class Case:
    """A comparison: the batches that make one round, and how each contestant is built; the first is the reference."""

    title: str
    batches: Sequence[Batch]
    models: Mapping[str, Callable[[], Built]]


def text(packages: Sequence[str], *, config: Config, tokens: int) -> Case:
    """Encoder-decoder models on random sentences, about `tokens` target tokens an update, one update a length."""
    longest = max(LENGTHS)
    models: dict[str, Callable[[], Built]] = {
        "torch.nn.Transformer": partial(_torch_translator, config),
        "triptych": partial(ours, config, SMOOTHING),
    }
    if "x-transformers" in packages:
        models["x-transformers XTransformer"] = partial(peers.x_translator, config, longest, SMOOTHING)
    if "transformers" in packages:
        models["transformers Marian"] = partial(peers.marian_translator, config, SMOOTHING)
    shape = f"{config.encoder_layers} + {config.decoder_layers} layers of {config.width}"
    title = f"text: {shape}, vocabulary {config.vocabulary:,}, about {tokens:,} target tokens an update"
    return Case(title, sentence_pairs(config.vocabulary, tokens), models)


def relative(packages: Sequence[str], *, config: Config, rows: int, length: int) -> Case:
    """Decoder-only models with and without relative attention on `rows` sequences of `length` tokens."""
    related = replace(config, relation=Relative(length))
    models: dict[str, Callable[[], Built]] = {
        "naive skew": lambda: decoder_only(naive_transformer(config, length)),
        "torch causal, no relation": partial(_plain, config, causal),
        "triptych relative": partial(ours, related),
        "triptych, no relation": partial(ours, config),
    }
    if "x-transformers" in packages:
        models["x-transformers rotary, flash"] = partial(
            _x_decoder, config, length, rotary_pos_emb=True, attn_flash=True
        )
        models["x-transformers relative bias"] = partial(_x_decoder, config, length, rel_pos_bias=True)
    if "transformers" in packages:
        models["transformers GPT-2"] = lambda: decoder_only(peers.gpt2(config, length))
    return Case(_title("relative", config, rows, length), random_tokens(config.vocabulary, rows, length), models)


def pixels(packages: Sequence[str], *, config: Config, rows: int, length: int) -> Case:
    """Decoder-only models with local attention on long sequences, and with full attention."""
    pattern = config.pattern
    assert isinstance(pattern, Local1D) and pattern.query == pattern.memory
    window = pattern.query
    models: dict[str, Callable[[], Built]] = {
        "torch, blocks in the batch": partial(_plain, config, partial(block_local, block=window)),
        "triptych local": partial(ours, config),
    }
    if "local-attention" in packages:
        models["local-attention"] = lambda: decoder_only(peers.local_transformer(config, length, window))
    if "x-transformers" in packages:
        models["x-transformers full, flash"] = partial(_x_decoder, config, length, rotary_pos_emb=True, attn_flash=True)
    title = f"{_title('pixels', config, rows, length)}, blocks of {window} and {window} before"
    return Case(title, random_tokens(config.vocabulary, rows, length), models)


CASES: dict[str, tuple[Callable[..., Case], ...]] = {
    "text": (partial(text, config=TEXT, tokens=4096),),
    "relative": (
        partial(relative, config=RELATIVE, rows=8, length=512),
        partial(relative, config=RELATIVE, rows=1, length=2048),
    ),
    "pixels": (partial(pixels, config=PIXELS, rows=4, length=3072),),
}


def tables(names: Iterable[str], settings: Settings, *, length: int | None = None) -> Iterator[Table]:
    """Tokens a second of every case named in CASES. length: positions, where a case has any, instead of its own."""
    for name in names:
        for make in CASES[name]:
            given = {} if length is None or name == "text" else {"length": length}
            yield compare(make(settings.peers, **given), settings)


def compare(case: Case, settings: Settings) -> Table:
    """Measure a case: target tokens a second of each contestant in each dtype, and its number of parameters."""
    contestants, more = {}, {}
    for name, build in case.models.items():
        for dtype in settings.dtypes:
            torch.manual_seed(0)
            built = build()
            contestants[name, dtype] = training(built, case.batches, getattr(torch, dtype))
            more[name, dtype] = {
                "parameters": sum(each.numel() for each in built[0].parameters() if each.requires_grad)
            }
    rates = interleaved(contestants, settings.repeats, title=case.title, watch=settings.watch)
    return table(case.title, "tokens/s", rates, next(iter(case.models)), more)


def training(built: Built, batches: Sequence[Batch], dtype: torch.dtype) -> Callable[[], float]:
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
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(parameters, RECIPE.clip)
            if not (bool(loss.isfinite()) and bool(norm.isfinite())):
                got = f"{type(model).__name__} to learn, got loss {float(loss.detach())}"
                raise UserError(f"expected {got}; leave peers out with --no-peers")
            for optimizer in stack:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        return tokens

    return run


def ours(config: Config, smoothing: float = 0.0) -> Built:
    """Triptych's model, its loss divided by the tokens as the loop does it."""
    model = Transformer(config)

    def loss(batch: Batch) -> Tensor:
        total, _ = model.loss(batch, smoothing)
        return total / int(batch.lengths.sum())

    return model, loss


def _torch_translator(config: Config) -> Built:
    model = TorchTransformer(config)
    return model, lambda batch: mean_loss(model(batch), batch, SMOOTHING)


def _plain(config: Config, mix: Mix) -> Built:
    return decoder_only(PlainTransformer(config, lambda: mix))


def _x_decoder(config: Config, length: int, **attention: bool) -> Built:
    return decoder_only(peers.x_decoder(config, length, **attention))


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


def _title(name: str, config: Config, rows: int, length: int) -> str:
    shape = f"{config.decoder_layers} layers of {config.width}, vocabulary {config.vocabulary:,}"
    return f"{name}: {rows} x {length:,} tokens, {shape}"
