"""Translating by random weights: ours in the kernel, in numpy and in torch, beside Marian and CTranslate2.

All have the same shape (width 128, 4 + 4 layers, 4 heads, feed-forward 256, tied embeddings, vocabulary 10,000) and
float32 weights, CTranslate2 the very weights of ours; "int8" is what it makes of them, for comparison. All are made to
write the same number of tokens: sentence lengths are those of picture captions, sorted, and every hypothesis is as long
as the longest source of its batch (the least and the greatest length are equal). Each uses as many threads as asked
for; "a worker a core" translates whole batches side by side with a thread each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from speed import ours, peers
from speed.plans import engines, seconds_at_least
from speed.tables import Contestants, More, Settings, Table, table
from triptych.decode.decoder import Decoder
from triptych.decode.interpreter import PlanDecoder
from triptych.generation.beam import LengthPenalty, beam_search
from triptych.model.decoder import TorchDecoder
from triptych.model.transformer import Transformer
from triptych.shape.config import Config

BEAM, BATCH, END = 5, 32, 1
SENTENCES = 1000
WORKERS = "{}, a worker a core"
ALONE, LENGTH = 20, 20  # sentences that come one at a time, and their tokens

Batches = list[tuple[Tensor, Tensor]]
Run = Callable[[], float]


def make_sources(sentences: int, vocabulary: int) -> Batches:
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


def make_single(sentences: int, vocabulary: int) -> Batches:
    """Batches of one sentence of 20 tokens."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(2, vocabulary, (sentences, 1, LENGTH), generator=generator)
    return [(ids, torch.tensor([LENGTH])) for ids in drawn]


def tokens_of(batches: Batches) -> float:
    """Tokens that are written."""
    return float(sum(ids.numel() for ids, _ in batches))


def triptych(decoder: Decoder, batches: Batches, beam: int, workers: int = 1) -> Run:
    """Beam search with a decoder; `workers` threads take a batch each, with a PlanDecoder."""

    def search(batch: tuple[Tensor, Tensor]) -> None:
        ids, lengths = batch
        steps = ids.size(1)
        found = beam_search(
            decoder,
            decoder.start(source=ids.numpy(), source_lengths=lengths.numpy(), beams=beam, length=steps),
            end=END,
            beam=beam,
            max_length=steps,
            min_length=steps,
            penalty=LengthPenalty("power", 1.0),
        )
        assert all(len(choices[0].ids) == steps for choices in found)

    def run() -> float:
        if workers == 1:
            for batch in batches:
                search(batch)
        else:
            assert isinstance(decoder, PlanDecoder)
            with decoder.one_thread_each(), ThreadPoolExecutor(workers) as pool:
                list(pool.map(search, batches))
        return tokens_of(batches)

    return run


def marian(config: Config, batches: Batches, beam: int) -> Run:
    torch.manual_seed(0)
    model = peers.marian(config, end=END)
    model.train(False)

    @torch.no_grad()
    def run() -> float:
        for ids, lengths in batches:
            mask = torch.arange(ids.size(1)) < lengths[:, None]
            found = model.generate(
                input_ids=ids,
                attention_mask=mask.long(),
                num_beams=beam,
                min_new_tokens=ids.size(1),
                max_new_tokens=ids.size(1),
                do_sample=False,
            )
            assert isinstance(found, Tensor) and found.size(1) - 1 == ids.size(1)
        return tokens_of(batches)

    return run


def ctranslate2(translator: Any, batches: Batches, beam: int) -> Run:
    """`translator`: a ctranslate2.Translator of `peers.ctranslate2`; as many batches at once as it has workers."""
    made = [
        [[str(number) for number in row[:length]] for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)]
        for ids, lengths in batches
    ]

    def run() -> float:
        waiting = []
        for (ids, _), sentences in zip(batches, made, strict=True):
            found = translator.translate_batch(
                sentences,
                beam_size=beam,
                length_penalty=1,
                min_decoding_length=ids.size(1),
                max_decoding_length=ids.size(1),
                return_end_token=True,  # so that every length is counted
                asynchronous=translator.num_translators > 1,
            )
            waiting.append((found, ids.size(1)))
        for found, steps in waiting:
            done = (each.result() if hasattr(each, "result") else each for each in found)
            assert all(len(each.hypotheses[0]) == steps for each in done)
        return tokens_of(batches)

    return run


def floor(model: Transformer, batches: Batches, beam: int) -> float:
    """Seconds in which weights and caches of all batches can be read."""
    shapes = Counter((len(ids), ids.size(1)) for ids, _ in batches)  # many batches have the same
    return sum(
        count * seconds_at_least(model, rows=rows * beam, steps=steps, sources=rows, length=steps)
        for (rows, steps), count in shapes.items()
    )


class Contest:
    """The contestants of all tables: one model of ours, and peers of its shape."""

    def __init__(self, config: Config, settings: Settings, folder: Path) -> None:
        torch.manual_seed(0)
        self.config, self.settings, self.model = config, settings, Transformer(config).eval()
        self.engines, self.threads = engines(self.model), torch.get_num_threads()
        self.translators: dict[str, Any] = {}
        if "ctranslate2" in settings.peers:
            from ctranslate2 import Translator

            peers.ctranslate2(self.model, folder / "model", end=END)
            make = partial(Translator, str(folder / "model"), device="cpu", compute_type="float32")
            self.translators["ctranslate2"] = make(inter_threads=1, intra_threads=self.threads)
            self.translators["ctranslate2, int8"] = make(intra_threads=self.threads, compute_type="int8")
            if self.threads > 1:
                self.translators[WORKERS.format("ctranslate2")] = make(inter_threads=self.threads, intra_threads=1)

    def contestants(self, batches: Batches, beam: int) -> Contestants:
        """Each by its name, the reference first."""
        found: dict[str, Run] = {}
        if "transformers" in self.settings.peers:
            found["transformers Marian"] = marian(self.config, batches, beam)
        bulk = len(batches[0][1]) > 1
        for name, translator in self.translators.items():
            if bulk or translator.num_translators == 1:
                found[name] = ctranslate2(translator, batches, beam)
        for name, decoder in self.engines.items():
            found[f"triptych, {name}"] = triptych(decoder, batches, beam)
            if bulk and self.threads > 1:
                found[WORKERS.format(f"triptych, {name}")] = triptych(decoder, batches, beam, self.threads)
        found["triptych, torch"] = triptych(TorchDecoder(self.model), batches, beam)
        return {(name, "float32"): run for name, run in found.items()}

    def table(self, title: str, unit: str, batches: Batches, beam: int) -> Table:
        """Measure them: tokens a second, or milliseconds a sentence."""
        contestants = self.contestants(batches, beam)
        rates = self.settings.rates(title, contestants)
        tokens, seconds = tokens_of(batches), floor(self.model, batches, beam)
        limit = tokens / seconds
        if unit == "ms":
            rates = {name: [rate * len(batches) / tokens for rate in values] for name, values in rates.items()}
            limit = 1000 * seconds / len(batches)
        ours = [name for name in contestants if name[0].startswith("triptych")]
        more: More = {name: {"limit": limit} for name in ours}
        return table(title, unit, rates, next(iter(contestants))[0], more)


def tables(settings: Settings, *, sentences: int = SENTENCES, config: Config = ours.TEXT) -> Iterator[Table]:
    """Three tables: one sentence by beam search, and so many random sentences by beam search and greedily."""
    batches = make_sources(sentences, config.vocabulary)
    with TemporaryDirectory() as folder:
        contest = Contest(config, settings, Path(folder))
        single = make_single(min(ALONE, sentences), config.vocabulary)
        yield contest.table(f"one sentence of {LENGTH} tokens, beam {BEAM}: milliseconds", "ms", single, BEAM)
        title = f"{sentences:,} sentences in batches of {BATCH}"
        yield contest.table(f"beam-{BEAM} decoding of {title}", "tokens/s", batches, BEAM)
        yield contest.table(f"greedy decoding of {title}", "tokens/s", batches, 1)
