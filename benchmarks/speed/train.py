"""Whole training steps: forward, loss, backward, clipping, fused Adam. Ours beside others' on the same batches.

Every contestant trains with the same optimizer, in the number formats of autocast, as `train/loop.py` does.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from speed import ours, peers
from speed.naive import naive_transformer
from speed.ours import Built, random_tokens, sentence_pairs, training
from speed.plain import Mix, PlainTransformer, TorchTransformer, block_local, causal, decoder_only, mean_loss
from speed.tables import Contestants, More, Settings, Table, table
from triptych.errors import UserError
from triptych.look.measure import can_weigh, extra_memory
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.shape.pattern import Local1D
from triptych.train.precision import autocast

SEQUENCES = (1024, 2048, 3072, 6144, 12_288)  # positions of the case `lengths`


@dataclass(frozen=True)
class Case:
    """A comparison: the batches that make one round, and how each contestant is built; the first is the reference."""

    title: str
    batches: Sequence[Batch]
    models: Mapping[str, Callable[[], Built]]


def text(packages: Sequence[str], *, config: Config, tokens: int) -> Case:
    """Encoder-decoder models on random sentences, about `tokens` target tokens an update, one update a length."""
    longest = max(ours.LENGTHS)
    models: dict[str, Callable[[], Built]] = {
        "torch.nn.Transformer": partial(_torch_translator, config),
        "triptych": partial(ours.build, config, ours.SMOOTHING),
    }
    if "x-transformers" in packages:
        models["x-transformers XTransformer"] = partial(peers.x_translator, config, longest, ours.SMOOTHING)
    if "transformers" in packages:
        models["transformers Marian"] = partial(peers.marian_translator, config, ours.SMOOTHING)
    shape = f"{config.encoder_layers} + {config.decoder_layers} layers of {config.width}"
    title = f"text: {shape}, vocabulary {config.vocabulary:,}, about {tokens:,} target tokens an update"
    return Case(title, sentence_pairs(config.vocabulary, tokens), models)


def relative(packages: Sequence[str], *, config: Config, rows: int, length: int) -> Case:
    """Decoder-only models with and without relative attention on `rows` sequences of `length` tokens."""
    models: dict[str, Callable[[], Built]] = {
        "naive skew": lambda: decoder_only(naive_transformer(config, length)),
        "torch causal, no relation": partial(_plain, config, causal),
        "triptych relative": partial(ours.build, ours.related(config, length)),
        "triptych, no relation": partial(ours.build, config),
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
        "triptych local": partial(ours.build, config),
    }
    if "local-attention" in packages:
        models["local-attention"] = lambda: decoder_only(peers.local_transformer(config, length, window))
    if "x-transformers" in packages:
        models["x-transformers full, flash"] = partial(_x_decoder, config, length, rotary_pos_emb=True, attn_flash=True)
    title = f"{_title('pixels', config, rows, length)}, blocks of {window} and {window} before"
    return Case(title, random_tokens(config.vocabulary, rows, length), models)


CASES: dict[str, tuple[Callable[..., Case], ...]] = {
    "text": (partial(text, config=ours.TEXT, tokens=ours.TOKENS),),
    "relative": tuple(
        partial(relative, config=ours.RELATIVE, rows=rows, length=length) for rows, length in ours.RELATIVE_SIZES
    ),
    "pixels": tuple(partial(pixels, config=ours.PIXELS, rows=rows, length=length) for rows, length in ours.PIXEL_SIZES),
}


def tables(names: Iterable[str], settings: Settings, *, length: int | None = None) -> Iterator[Table]:
    """Tokens a second of every case named in CASES, and `lengths`.

    length: positions, where a case has any, instead of its own; of `lengths` the longest.
    """
    for name in names:
        for make in CASES.get(name, ()):
            given = {} if length is None or name == "text" else {"length": length}
            yield compare(make(settings.peers, **given), settings)
        if name == "lengths":
            yield lengths([each for each in SEQUENCES if length is None or each <= length], settings)


def compare(case: Case, settings: Settings) -> Table:
    """Measure a case: target tokens a second of each contestant in each dtype, and its number of parameters."""
    contestants: Contestants = {}
    more: More = {}
    for name, build in case.models.items():
        for dtype in settings.dtypes:
            torch.manual_seed(0)
            built = build()
            contestants[name, dtype] = training(built, case.batches, getattr(torch, dtype))
            more[name, dtype] = {
                "parameters": sum(each.numel() for each in built[0].parameters() if each.requires_grad)
            }
    rates = settings.rates(case.title, contestants)
    return table(case.title, "tokens/s", rates, next(iter(case.models)), more)


def lengths(sizes: Sequence[int], settings: Settings) -> Table:
    """Time and, on Linux, memory of one sequence forward and backward by its length, with local attention.

    slopes: by dtype those of straight lines through the logarithms of length and time, or memory; 1 is linear.
    """
    if len(sizes) < 2:
        raise UserError(f"expected --length of at least {SEQUENCES[1]:,} with the case lengths, which compares several")
    names = {size: f"{size:,} positions" for size in sizes}
    more: More = {}
    weights: dict[str, list[float]] = {}
    for dtype in settings.dtypes if can_weigh() else ():
        for size in sizes:
            weights.setdefault(dtype, []).append(extra_memory(partial(sequence, dtype), size))
            more[names[size], dtype] = {"MB": weights[dtype][-1]}
    title = "one sequence forward and backward, local attention"
    rates = settings.rates(
        title, {(names[size], dtype): sequence(dtype, size) for dtype in settings.dtypes for size in sizes}
    )
    slopes: dict[str, dict[str, float]] = {}
    for dtype in settings.dtypes:
        slopes[dtype] = {"time": slope(sizes, [1 / statistics.median(rates[names[size], dtype]) for size in sizes])}
        if dtype in weights:
            slopes[dtype]["memory"] = slope(sizes, weights[dtype])
    return {**table(title, "ms", rates, names[sizes[0]], more), "slopes": slopes}


def sequence(dtype: str, length: int) -> Callable[[], float]:
    """One sequence forward and backward, its gradients added to those of before; one unit of work."""
    torch.manual_seed(0)
    model = Transformer(ours.PIXELS)
    (batch,) = random_tokens(ours.PIXELS.vocabulary, 1, length)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter).fill_(0)  # filled, so that it is there before memory is weighed

    def run() -> float:
        with autocast(batch.target.device, getattr(torch, dtype)):
            loss, _ = model.loss(batch)
        (loss / length).backward()
        return 1.0

    return run


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of the straight line through the logarithms, by least squares."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(value) for value in values]).slope


def _torch_translator(config: Config) -> Built:
    model = TorchTransformer(config)
    return model, lambda batch: mean_loss(model(batch), batch, ours.SMOOTHING)


def _plain(config: Config, mix: Mix) -> Built:
    return decoder_only(PlainTransformer(config, lambda: mix))


def _x_decoder(config: Config, length: int, **attention: bool) -> Built:
    return decoder_only(peers.x_decoder(config, length, **attention))


def _title(name: str, config: Config, rows: int, length: int) -> str:
    shape = f"{config.decoder_layers} layers of {config.width}, vocabulary {config.vocabulary:,}"
    return f"{name}: {rows} x {length:,} tokens, {shape}"
