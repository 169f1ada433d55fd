"""The product of the text panel: load or train a translator, translate, stream, measure."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor

from triptych.errors import UserError
from triptych.generation.beam import Hypothesis, LengthPenalty, beam_search
from triptych.generation.sample import Sampling, generate
from triptych.model.config import Config
from triptych.model.device import use_device
from triptych.model.layers import AttentionMaps
from triptych.model.store import load_for, save_pretrained
from triptych.model.transformer import Transformer
from triptych.text.codec import TextCodec
from triptych.text.data import Limits, PairData, Pairs
from triptych.text.score import score
from triptych.train.loop import Outcome, Package, fit, held_out_loss, inherited, take_best
from triptych.train.recipe import Recipe

TOKENIZER = "tokenizer.model"
LONGEST = 1024  # source tokens; a longer line is refused, because time grows with the square of its length
SENTENCES = 32  # translated at once
LARGEST_EXPONENT = 700.0  # of which a float holds the exponential
VOCABULARY = 8000  # pieces, where a person names no number
GNMT = LengthPenalty()


@dataclass(frozen=True)
class Translation:
    """One translation: detokenised `text`, its length-normalised log-probability `score`, and the pieces of both sides.

    `log_probs` are those of the target pieces (END included), in nats. `alignment` has, for each target piece, the
    source piece that the last decoder layers attend to most; it is empty unless asked for.
    """

    text: str
    score: float
    tokens: tuple[str, ...]
    source_tokens: tuple[str, ...]
    log_probs: tuple[float, ...] = ()
    alignment: tuple[tuple[int, int], ...] = ()


class Translator:
    """A Transformer, its vocabulary and its card.

    >>> translator = Translator.load("captions-en-de")            # doctest: +SKIP
    >>> translator("A dog runs through the snow.")                # doctest: +SKIP
    'Ein Hund rennt durch den Schnee.'
    """

    def __init__(self, model: Transformer, codec: TextCodec, card: Mapping[str, Any] | None = None) -> None:
        """Join a model to its codec; both count the same vocabulary."""
        if model.config.vocabulary != codec.vocabulary or not model.config.encoder_layers:
            raise UserError(
                f"expected an encoder-decoder for {codec.vocabulary} pieces, got one for {model.config.vocabulary} "
                f"with {model.config.encoder_layers} encoder layers; load a translation model"
            )
        if model.config.source_vocabulary not in (None, codec.vocabulary):
            raise UserError(
                f"expected one vocabulary for both sides, got source_vocabulary={model.config.source_vocabulary}"
            )
        self.model, self.codec, self.card = model, codec, dict(card or {})

    @classmethod
    def load(
        cls, name: str | Path, *, device: str = "auto", threads: int | None = None, dtype: str = "auto"
    ) -> Translator:
        """Load a shipped name, a model folder, a run's best checkpoint, or `hf:owner/name`."""
        stored = load_for(name, TOKENIZER, "a translator", device=device, threads=threads, dtype=dtype)
        return cls(stored.model, TextCodec.from_bytes(stored.files[TOKENIZER]), stored.card)

    @classmethod
    def new(
        cls,
        pairs: Pairs,
        *,
        preset: str = "tiny",
        vocabulary: int | None = None,
        seed: int = 1,
        device: str = "auto",
        threads: int | None = None,
        **changes: Any,
    ) -> Translator:
        """An untrained translator of a preset's shape, with a joint vocabulary learned from the pairs.

        The vocabulary has exactly `vocabulary` pieces; without, 8,000, or as many as the pairs give. `changes` are
        fields of `Config`, by name.
        """
        where, _ = use_device(device, threads, "float32")
        lines = [*pairs.source, *pairs.target]
        codec = TextCodec.train(lines, vocabulary or VOCABULARY, exact=vocabulary is not None)
        config = Config.preset(preset, codec.vocabulary, **changes)
        torch.manual_seed(seed)
        return cls(Transformer(config).to(where), codec)

    def with_dropout(self, probability: float) -> Translator:
        """The same translator with another dropout for further training."""
        return Translator(self.model.with_dropout(probability), self.codec, self.card)

    def save(self, folder: str | Path, *, dtype: str = "float32", **card: Any) -> None:
        """Write the model folder; `card` entries are added to the card. float16 halves the file."""
        _, number = use_device("cpu", None, dtype)
        save_pretrained(folder, self.model, self._files(), {**self.card, **card}, number)

    def fit(
        self,
        pairs: Pairs,
        *,
        held_out: Pairs | None = None,
        recipe: Recipe,
        out: str | Path,
        resume: bool = False,
        sampling: float = 0.0,
        card: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> Outcome:
        """Train on sentence pairs and become the best checkpoint.

        `sampling` is the alpha of subword regularisation (0: none). Without `held_out`, every hundredth pair (at most
        1,000) is held out. The best checkpoint is the one with the highest BLEU of translations of the held-out pairs
        (beam 5, as they are used) where the `eval` extra is installed, else the one with the lowest held-out loss.
        """
        if held_out is None:
            pairs, held_out = _split(pairs)
        data = PairData(pairs, self.codec, tokens_per_batch=recipe.tokens_per_batch, alpha=sampling, seed=recipe.seed)
        checked = PairData(held_out, self.codec, tokens_per_batch=recipe.tokens_per_batch, shuffle=False)
        if not quiet and data.pairs.report.skipped > pairs.report.skipped:
            print(f"by tokens, {data.pairs.report}", file=sys.stderr)
        described = {
            **inherited(self.card),
            **(card or {}),
            "task": "translation",
            "pairs": len(data),
            "sampling": sampling,
        }
        outcome = fit(
            self.model,
            data,
            list(checked.epoch(0)),
            recipe,
            out,
            package=Package(self._files(), described),
            measure=lambda _: self._measure(checked.pairs),
            resume=resume,
            quiet=quiet,
        )
        self.card = take_best(self.model, out)
        return outcome

    @overload
    def __call__(self, text: str, *, beam: int = 5) -> str: ...  # type: ignore[overload-overlap]  # a str is a sequence too
    @overload
    def __call__(self, text: Sequence[str], *, beam: int = 5) -> list[str]: ...
    def __call__(self, text: str | Sequence[str], *, beam: int = 5) -> str | list[str]:
        """The best translation of one sentence, or of each."""
        found = [choices[0].text for choices in self.translate([text] if isinstance(text, str) else text, beam=beam)]
        return found[0] if isinstance(text, str) else found

    def translate(
        self,
        lines: Sequence[str],
        *,
        beam: int = 5,
        nbest: int = 1,
        length_penalty: LengthPenalty = GNMT,
        align: bool = False,
        prefix: str = "",
    ) -> list[list[Translation]]:
        """The `nbest` best translations of each line, best first, in the order of the lines.

        Lines are translated in batches of like length. An empty line gives an empty translation. `prefix` is text with
        which every translation must begin.
        """
        sources = self._sources(lines)
        found: list[list[Translation]] = [[Translation("", 0.0, (), ())] for _ in lines]
        forced = self.codec.encode(prefix)[:-1] if prefix else []
        for rows in _by_length(sources):
            ids, lengths = _padded([sources[row] for row in rows], self._device)
            limits = [self._steps(len(sources[row]) + len(forced)) for row in rows]
            cache = self._start(ids, lengths, beam, max(limits))
            hypotheses = beam_search(
                self.model,
                cache,
                end=TextCodec.END,
                max_length=limits,
                beam=beam,
                nbest=nbest,
                penalty=length_penalty,
                prefix=torch.tensor([forced] * len(rows), dtype=torch.int64) if forced else None,
            )
            for row, choices in zip(rows, hypotheses, strict=True):
                found[row] = [self._translation(sources[row], choice, align) for choice in choices]
        return found

    def sample(
        self, lines: Sequence[str], sampling: Sampling, seed: int = 0, *, align: bool = False
    ) -> list[Translation]:
        """One translation of each line, drawn at random; line i draws from (seed, i) alone."""
        sources = self._sources(lines)
        found = [Translation("", 0.0, (), ()) for _ in lines]
        for rows in _by_length(sources):
            ids, lengths = _padded([sources[row] for row in rows], self._device)
            steps = self._steps(ids.size(1))
            seeds = [seed * 1_000_003 + row for row in rows]
            cache = self._start(ids, lengths, 1, steps)
            columns = list(generate(self.model, cache, steps=steps, end=TextCodec.END, sampling=sampling, seed=seeds))
            for row, drawn in zip(rows, torch.stack(columns, 1).tolist(), strict=True):
                kept = (*drawn[: drawn.index(TextCodec.END) if TextCodec.END in drawn else len(drawn)], TextCodec.END)
                log_probs = self._score(sources[row], kept)
                found[row] = self._translation(sources[row], Hypothesis(kept, sum(log_probs), log_probs), align)
        return found

    def stream(self, text: str, *, sampling: Sampling = Sampling(temperature=0.0), seed: int = 0) -> Iterator[str]:  # noqa: B008
        """The translation as it is written, piece by piece; the pieces joined are the whole (greedy by default)."""
        (source,) = self._sources([text])
        if len(source) < 2:
            return
        ids, lengths = _padded([source], self._device)
        steps, told, written = self._steps(len(source)), "", []
        cache = self._start(ids, lengths, 1, steps)
        for column in generate(self.model, cache, steps=steps, end=TextCodec.END, sampling=sampling, seed=seed):
            written.append(int(column[0]))
            # Bytes of one character come one by one: what is not yet a character waits.
            now = self.codec.decode(written)
            if now.startswith(told) and not now.endswith("\ufffd") and len(now) > len(told):
                yield now[len(told) :]
                told = now
        rest = self.codec.decode(written)
        if len(rest) > len(told):
            yield rest[len(told) :]

    def evaluate(
        self,
        pairs: Pairs,
        *,
        beam: int = 5,
        limit: int | None = None,
        tokenised_references: Sequence[str] | None = None,
        language: str | None = None,
        length_penalty: LengthPenalty = GNMT,
    ) -> dict[str, Any]:
        """BLEU and chrF of the translations, and the perplexity of the references, as `score` and the design name them.

        `language` is that of the target; the card's, if not given.
        """
        sources, targets = list(pairs.source[:limit]), list(pairs.target[:limit])
        tokenised = None if tokenised_references is None else list(tokenised_references)[:limit]
        held_out = PairData(Pairs(sources, targets), self.codec, shuffle=False, limits=Limits(tokens=LONGEST))
        perplexity = math.exp(min(held_out_loss(self.model, list(held_out.epoch(0))), LARGEST_EXPONENT))
        told = [choices[0].text for choices in self.translate(sources, beam=beam, length_penalty=length_penalty)]
        figures = score(told, targets, language or self.language, tokenised_references=tokenised)
        return {**figures, "perplexity": perplexity}

    def attention(self, text: str, translation: str) -> tuple[list[int], list[int], AttentionMaps]:
        """The ids of both sides and the attention probabilities while `translation` is written."""
        (source,) = self._sources([text])
        if len(source) < 2:
            raise UserError("expected a sentence to look at, got an empty one; write one")
        target = self.codec.encode(translation)
        return source, target, self._maps(source, target)

    # -- parts --------------------------------------------------------------------------------------------------------

    @property
    def language(self) -> str | None:
        """The language of the translations ("de"), as the card names it; None where it does not."""
        languages = self.card.get("languages")
        target = languages.get("target") if isinstance(languages, Mapping) else None
        return target if isinstance(target, str) else None

    @property
    def _device(self) -> torch.device:
        return self.model.embedding.weight.device

    def _files(self) -> dict[str, bytes]:
        return {TOKENIZER: self.codec.to_bytes()}

    def _measure(self, held_out: Pairs) -> dict[str, float]:
        """BLEU on held-out pairs (beam 5), by which the best checkpoint is chosen; nothing without the `eval` extra."""
        try:
            import sacrebleu  # noqa: F401
        except ImportError:
            return {}
        told = self(held_out.source)
        bleu = score(told, held_out.target, self.language)["bleu"]
        assert isinstance(bleu, float)
        return {"bleu": bleu, "score": bleu}

    def _steps(self, read: int) -> int:
        """The most tokens that a translation of `read` tokens may have."""
        most = 2 * read + 10
        positions = self.model.config.positions
        return min(most, positions.length) if positions.kind == "learned" else most

    def _sources(self, lines: Sequence[str]) -> list[list[int]]:
        sources = self.codec.encode_lines(lines)
        for line, ids in zip(lines, sources, strict=True):
            if len(ids) > LONGEST:
                raise UserError(
                    f"expected lines of at most {LONGEST} tokens, got {len(ids)} in the line that begins "
                    f"{line[:40]!r}; split it"
                )
        return sources

    @torch.no_grad()
    def _start(self, ids: Tensor, lengths: Tensor, beams: int, length: int) -> Any:
        self.model.eval()
        return self.model.start(source=ids, source_lengths=lengths, beams=beams, length=length)

    def _translation(self, source: Sequence[int], found: Hypothesis, align: bool) -> Translation:
        return Translation(
            self.codec.decode(found.ids),
            found.score,
            tuple(self.codec.pieces(found.ids)),
            tuple(self.codec.pieces(source)),
            found.log_probs,
            self._alignment(source, found.ids) if align else (),
        )

    def _alignment(self, source: Sequence[int], target: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """For each target piece the source piece with the most attention, over the heads of the upper layers."""
        cross = self._maps(source, target).cross
        upper = torch.stack(cross[len(cross) // 2 :]).mean((0, 1, 2))  # [L, S]
        return tuple((at, int(best)) for at, best in enumerate(upper[:-1, :-1].argmax(-1))) if upper.size(1) > 1 else ()

    @torch.no_grad()
    def _maps(self, source: Sequence[int], target: Sequence[int]) -> AttentionMaps:
        maps = AttentionMaps()
        self.model.eval()
        ids = (torch.tensor([list(one)], device=self._device) for one in (target, source))
        self.model(next(ids), source=next(ids), maps=maps)
        return maps

    @torch.no_grad()
    def _score(self, source: Sequence[int], target: Sequence[int]) -> tuple[float, ...]:
        """Log-probability of each target id, given the source."""
        ids = torch.tensor([list(target)], device=self._device)
        logits = self.model(ids, source=torch.tensor([list(source)], device=self._device))
        chosen = torch.log_softmax(logits.double(), -1).gather(2, ids[..., None])
        return tuple(chosen[0, :, 0].tolist())


def _by_length(sources: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Batches of row numbers, long sentences first, so that memory is at its largest at once; empty lines stay out."""
    order = sorted((row for row, ids in enumerate(sources) if len(ids) > 1), key=lambda row: -len(sources[row]))
    for at in range(0, len(order), SENTENCES):
        yield order[at : at + SENTENCES]


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
    return ids.to(device), lengths.to(device)


def _split(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """Every hundredth pair, at least one and at most 1,000, is held out."""
    if len(pairs) < 2:
        raise UserError(f"expected at least 2 sentence pairs, one to train on and one to hold out, got {len(pairs)}")
    step = max(2, min(100, len(pairs)), len(pairs) // 1000)
    kept = [row for row in range(len(pairs)) if row % step]
    held = [row for row in range(len(pairs)) if not row % step]
    return _rows(pairs, kept), _rows(pairs, held)


def _rows(pairs: Pairs, rows: Sequence[int]) -> Pairs:
    chosen = [pairs.source[row] for row in rows], [pairs.target[row] for row in rows]
    return Pairs(*chosen, [pairs.line(row) for row in rows], pairs.report)
