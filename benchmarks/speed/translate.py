"""Target tokens a second of beam-5 decoding in batches of 32: ours beside Hugging Face transformers' Marian.

Both models have the same shape (width 128, 4 + 4 layers, 4 heads, feed-forward 256, tied embeddings) and random
weights, so both are made to write the same number of tokens: sentence lengths are those of picture captions, sorted,
and every hypothesis is as long as the longest source of its batch (`min_length` = `max_length`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from speed import ours, peers
from speed.plans import planned
from speed.tables import Contestants, Settings, Table, table
from triptych.decode.decoder import Decoder
from triptych.generation.beam import LengthPenalty, beam_search
from triptych.model.decoder import TorchDecoder
from triptych.model.transformer import Transformer
from triptych.shape.config import Config

BEAM, BATCH, END = 5, 32, 1
SENTENCES = 1000


def make_sources(sentences: int, vocabulary: int) -> list[tuple[Tensor, Tensor]]:
    """Batches of ids [32, S] and lengths [32], longest first, as a translator sorts them."""
    generator = torch.Generator().manual_seed(0)
    lengths = (
        (14 + 4 * torch.randn(sentences, generator=generator)).round().clamp(5, 35).long().sort(descending=True)[0]
    )
    batches = []
    for at in range(0, sentences, BATCH):
        part = lengths[at : at + BATCH]
        ids = torch.randint(2, vocabulary, (len(part), int(part.max())), generator=generator)
        batches.append((ids.masked_fill(torch.arange(ids.size(1)) >= part[:, None], 0), part))
    return batches


def triptych(config: Config, batches: list[tuple[Tensor, Tensor]], *, plan: bool) -> Callable[[], float]:
    torch.manual_seed(0)
    model = Transformer(config)
    decoder: Decoder = planned(model) if plan else TorchDecoder(model)

    def run() -> float:
        tokens = 0
        for ids, lengths in batches:
            steps = ids.size(1)
            found = beam_search(
                decoder,
                decoder.start(source=ids.numpy(), source_lengths=lengths.numpy(), beams=BEAM, length=steps),
                end=END,
                beam=BEAM,
                max_length=steps,
                min_length=steps,
                penalty=LengthPenalty("power", 1.0),
            )
            tokens += sum(len(choices[0].ids) for choices in found)
            assert all(len(choices[0].ids) == steps for choices in found)
        return tokens

    return run


def marian(config: Config, batches: list[tuple[Tensor, Tensor]]) -> Callable[[], float]:
    torch.manual_seed(0)
    model = peers.marian(config, end=END)
    model.train(False)

    @torch.no_grad()
    def run() -> float:
        tokens = 0
        for ids, lengths in batches:
            mask = torch.arange(ids.size(1)) < lengths[:, None]
            found = model.generate(
                input_ids=ids,
                attention_mask=mask.long(),
                num_beams=BEAM,
                min_new_tokens=ids.size(1),
                max_new_tokens=ids.size(1),
                do_sample=False,
            )
            assert isinstance(found, Tensor) and found.size(1) - 1 == ids.size(1)
            tokens += found.size(0) * (found.size(1) - 1)
        return tokens

    return run


def tables(settings: Settings, *, sentences: int = SENTENCES, config: Config = ours.TEXT) -> Iterator[Table]:
    """One table: beam search over so many random sentences."""
    batches = make_sources(sentences, config.vocabulary)
    contestants: Contestants = {
        ("triptych in numpy", "float32"): triptych(config, batches, plan=True),
        ("triptych in torch", "float32"): triptych(config, batches, plan=False),
    }
    if "transformers" in settings.peers:
        contestants = {("transformers Marian", "float32"): marian(config, batches), **contestants}
    title = f"beam-{BEAM} decoding of {sentences:,} sentences in batches of {BATCH}"
    yield table(title, "tokens/s", settings.rates(title, contestants), next(iter(contestants))[0])
