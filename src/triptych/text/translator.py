"""The product of the text panel: load or train a translator, translate, stream, measure."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from triptych.decode.maps import AttentionMaps
from triptych.errors import UserError, expect, whole_number
from triptych.extras import require
from triptych.generation.beam import Hypothesis, LengthPenalty, beam_search
from triptych.generation.ngrams import no_repeat
from triptych.generation.sample import generate
from triptych.generation.sampling import Sampling
from triptych.generation.seeds import derive
from triptych.model.batch import padded
from triptych.model.device import check_device, is_first
from triptych.shape.bounds import encoder_fits
from triptych.shape.config import Config
from triptych.splits import evenly
from triptych.text.alignment import alignment
from triptych.text.codec import TextCodec, text_lines
from triptych.text.data import MAX_TOKENS, PairData, Pairs, split, step
from triptych.text.score import Scores, bleu_metric, scorer
from triptych.text.sources import by_length
from triptych.train.recipe import Recipe
from triptych.train.run.inputs import digest_of
from triptych.trained import Product, Trained, check_recipe

if TYPE_CHECKING:
    from triptych.decode.decoder import Decoder
    from triptych.train.run.folder import RunFolder
    from triptych.train.run.package import Outcome

TOKENIZER = "tokenizer.model"
SMOOTHING = 0.1  # of labels (Vaswani et al. 2017, section 5.4), unless the recipe has another
GIVEN = {"source_vocabulary": None, "classes": 0, "aligned": False}  # of every translator: a joint vocabulary
MAX_SOURCE = 1024  # source tokens; a longer line is refused, because time grows with the square of its length
MAX_CHARACTERS = 16 * MAX_SOURCE  # of a line that is read at all; a piece has at most 16
MAX_BEAM = 1000
MAX_EXPONENT = 700.0  # of which a float holds the exponential
VOCABULARY = 8000  # pieces, where a person names no number
GNMT = LengthPenalty()


@dataclass(frozen=True)
class Translation:
    """One translation: detokenised `text`, its length-normalised log-probability `score`, and the pieces of both sides.

    `ids` are those of the target pieces. `log_probs` are those of the target pieces (END included), in nats.
    `alignment` has, for each target piece, the place of the source piece that the last decoder layers attend to most,
    and its own, both from 0, if asked for.
    """

    text: str
    score: float
    tokens: tuple[str, ...]
    source_tokens: tuple[str, ...]
    log_probs: tuple[float, ...] = ()
    alignment: tuple[tuple[int, int], ...] = ()
    ids: tuple[int, ...] = ()

    @property
    def log_prob(self) -> float:
        """The log-probability of the whole translation: the sum of `log_probs`, of which `score` is a quotient."""
        return sum(self.log_probs)


class Translator(Product):
    """A trained Transformer and its vocabulary.

    >>> translator = Translator.load("captions-en-de")            # doctest: +SKIP
    >>> translator("A dog runs through the snow.")                # doctest: +SKIP
    'Ein Hund rennt durch den Schnee.'
    """

    codec_file, kind = TOKENIZER, "a translator"

    def __init__(self, trained: Trained) -> None:
        """Read the codec of a model. Raises UserError unless both count the same vocabulary."""
        config, codec = trained.config, TextCodec.from_bytes(trained.files[TOKENIZER])
        if config.vocabulary != codec.vocabulary or not config.encoder_layers:
            raise UserError(
                f"expected an encoder-decoder for {codec.vocabulary} pieces, got one for {config.vocabulary} "
                f"with {config.encoder_layers} encoder layers; load a translation model"
            )
        if config.source_vocabulary not in (None, codec.vocabulary):
            raise UserError(f"expected one vocabulary for both sides, got source_vocabulary={config.source_vocabulary}")
        self.trained, self.codec = trained, codec

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
        _expect_pairs(pairs)
        check_device(device, threads, "float32")
        require("torch", "a new model")
        lines = [*pairs.source, *pairs.target]
        codec = TextCodec.train(lines, VOCABULARY if vocabulary is None else vocabulary, exact=vocabulary is not None)
        for name, usual in GIVEN.items():
            if changes.get(name, usual) != usual:
                raise UserError(f"expected no {name}, got {changes[name]!r}; a translator has none, leave it out")
        config = Config.preset(preset, codec.vocabulary, **changes)
        encoder_fits("translate", config.encoder_layers, True)
        return cls(Trained.new(config, {TOKENIZER: codec.to_bytes()}, seed=seed, device=device, threads=threads))

    def fit(
        self,
        pairs: Pairs,
        *,
        held_out: Pairs | None = None,
        recipe: Recipe,
        out: str | Path | RunFolder,
        resume: bool = False,
        subword_sampling: float = 0.0,
        card: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> Outcome:
        """Train on sentence pairs and become the best checkpoint.

        `subword_sampling` is the alpha of subword regularisation (0: none). Without `held_out`, every hundredth pair
        (at most 1,000) of those that are not too long is held out. The best checkpoint is the one with the highest BLEU
        of translations of the held-out pairs (beam 5, as they are used) where the `eval` extra is installed and has
        the language, else the one with the lowest held-out loss. Pairs that are too long are left out and listed on
        standard error unless `quiet`.
        """
        _expect_pairs(pairs)
        check_recipe(recipe)
        shape: dict[str, Any] = {"tokens_per_batch": recipe.tokens_per_batch}
        shape["longest"] = min(MAX_TOKENS, self._longest)
        usable = pairs
        if held_out is None:
            # Neither half may be given a pair that it cannot use: of a few pairs it might be the only one.
            usable, held_out = split(PairData(pairs, self.codec, **shape).pairs)
            _report(f"held out of these: {len(held_out):,}, one in every {step(len(usable) + len(held_out)):,}", quiet)
        _expect_pairs(held_out)
        data = PairData(usable, self.codec, alpha=subword_sampling, seed=recipe.seed, **shape)
        checked = PairData(held_out, self.codec, shuffle=False, what="held-out pairs", **shape)
        if data.pairs.report.skipped > pairs.report.skipped:
            _report(f"by tokens, {data.pairs.report}", quiet)
        if usable is pairs and checked.pairs.report.skipped > held_out.report.skipped:
            _report(f"held out, by tokens, {checked.pairs.report}", quiet)
        facts: dict[str, Any] = {"task": "translation", "pairs": len(data), "held_out_pairs": len(checked)}
        facts["sampling"] = subword_sampling
        try:
            metric = bleu_metric(_language({**self.card, **(card or {})}))
        except UserError as missing:
            metric = None
            _report(f"note: checkpoints are chosen by held-out loss and not by BLEU: {missing}", quiet)
        examples = {"the training pairs": _digest(usable), "the held-out pairs": _digest(held_out)}
        return self.trained.fit(
            data,
            list(checked.epoch(0)),
            recipe.settled(label_smoothing=SMOOTHING),
            out,
            package=self.trained.package(card, facts, examples),
            measure=lambda _: self._measure(checked.pairs, metric),
            resume=resume,
            quiet=quiet,
        )

    @overload
    def __call__(self, text: str, *, beam: int = 5) -> str: ...  # type: ignore[overload-overlap]  # a str is a sequence too
    @overload
    def __call__(self, text: Iterable[str], *, beam: int = 5) -> list[str]: ...
    def __call__(self, text: str | Iterable[str], *, beam: int = 5) -> str | list[str]:
        """The best translation of one sentence, or of each."""
        found = [choices[0].text for choices in self.translate([text] if isinstance(text, str) else text, beam=beam)]
        return found[0] if isinstance(text, str) else found

    def refused(self, lines: Iterable[str]) -> dict[int, str]:
        """Find the lines that `translate` and `sample` refuse: their places from 0, and why each is refused."""
        found = {}
        for place, line in enumerate(text_lines(lines)):
            if len(line) > MAX_CHARACTERS and len(" ".join(line.split())) > MAX_CHARACTERS:
                found[place] = f"over {MAX_CHARACTERS} characters"
            elif len(self.codec.encode(line)) > self._longest:
                found[place] = f"over {self._longest} tokens"
        return found

    def translate(
        self,
        lines: Iterable[str],
        *,
        beam: int = 5,
        nbest: int = 1,
        length_penalty: LengthPenalty = GNMT,
        align: bool = False,
        prefix: str | Sequence[int] = "",
        no_repeat_ngram: int = 0,
    ) -> list[list[Translation]]:
        """The `nbest` best translations of each line, best first, in the order of the lines; no two texts are equal.

        Lines are translated in batches of like length. An empty line gives an empty translation. `prefix` is the text,
        or the ids of the pieces, with which every translation must begin. No sequence of `no_repeat_ngram` pieces comes
        twice in a translation (0: any may). A line that `refused` names is a UserError, before any is translated.
        """
        allow = no_repeat(no_repeat_ngram, self.codec.vocabulary)
        beam = whole_number(beam, "a beam", 1, min(MAX_BEAM, self.codec.vocabulary))
        nbest = whole_number(nbest, f"nbest (with beam {beam})", 1, beam)
        sources = self._sources(lines)
        found: list[list[Translation]] = [[Translation("", 0.0, (), ())] for _ in sources]
        forced = self._forced(prefix)

        def searched(rows: Sequence[int]) -> list[list[Hypothesis]]:
            limits = [self._steps(len(sources[row]) + len(forced)) for row in rows]
            return beam_search(
                *self._start([sources[row] for row in rows], beam, max(limits)),
                end=TextCodec.END,
                max_length=limits,
                beam=beam,
                nbest=nbest,
                penalty=length_penalty,
                prefix=np.array([forced] * len(rows)) if forced else None,
                allow=allow,
                text=tuple if nbest == 1 else self.codec.decode,
            )

        batches = list(by_length(sources, beam, self.trained.workers))
        for rows, hypotheses in zip(batches, self.trained.together(searched, batches), strict=True):
            for row, choices in zip(rows, hypotheses, strict=True):
                found[row] = [self._translation(sources[row], choice, align) for choice in choices]
        return found

    def sample(
        self,
        lines: Iterable[str],
        sampling: Sampling,
        seed: int = 0,
        *,
        first: int = 0,
        align: bool = False,
        prefix: str | Sequence[int] = "",
        no_repeat_ngram: int = 0,
    ) -> list[Translation]:
        """One translation of each line, drawn at random: that of line i, counted from `first`, by `derive(seed, i)`.

        Lines that are given in parts, each with the number of its first one, are translated as they are together.
        prefix: as of `translate`.
        """
        allow = no_repeat(no_repeat_ngram, self.codec.vocabulary)
        seed = whole_number(seed, "a seed", 0)
        sources, forced = self._sources(lines), self._forced(prefix)
        found = [Translation("", 0.0, (), ()) for _ in sources]
        for rows in by_length(sources, 1):
            limits = [self._steps(len(sources[row]) + len(forced)) - 1 for row in rows]  # END comes after them
            columns = generate(
                *self._start([sources[row] for row in rows], 1, max(limits)),
                steps=max(limits),
                end=TextCodec.END,
                sampling=sampling,
                seed=[derive(seed, first + row) for row in rows],
                allow=allow,
                prefix=np.array([forced] * len(rows)) if forced else None,
            )
            for row, limit, drawn in zip(rows, limits, np.stack(list(columns), 1).tolist(), strict=True):
                own = [*drawn[:limit], TextCodec.END]  # what the line would be alone
                kept = tuple(own[: own.index(TextCodec.END) + 1])
                each = self.trained.decoder().log_probs(np.array([kept]), source=np.array([sources[row]]))
                log_probs = tuple(each[0].tolist())
                found[row] = self._translation(sources[row], Hypothesis(kept, sum(log_probs), log_probs), align)
        return found

    def stream(self, text: str, *, sampling: Sampling = Sampling(temperature=0.0), seed: int = 0) -> Iterator[str]:  # noqa: B008
        """The translation as it is written, piece by piece (greedy by default); joined they are what `sample` draws of
        this line alone.
        """
        expect(text, str, "a text", "give one text")
        (source,) = self._sources([text])
        return self._written(source, sampling, whole_number(seed, "a seed", 0))

    def _written(self, source: Sequence[int], sampling: Sampling, seed: int) -> Iterator[str]:
        if len(source) < 2:
            return
        steps, shown, written = self._steps(len(source)) - 1, "", []  # END comes after them
        started = self._start([source], 1, steps)
        for column in generate(*started, steps=steps, end=TextCodec.END, sampling=sampling, seed=seed):
            written.append(int(column[0]))
            # Bytes of one character come one by one: what is not yet a character waits.
            now = self.codec.decode(written)
            if now.startswith(shown) and not now.endswith("\ufffd") and len(now) > len(shown):
                yield now[len(shown) :]
                shown = now
        rest = self.codec.decode(written)
        if len(rest) > len(shown):
            yield rest[len(shown) :]

    def evaluate(
        self,
        pairs: Pairs,
        *,
        beam: int = 5,
        limit: int | None = None,
        tokenised_references: Iterable[str] | None = None,
        language: str | None = None,
    ) -> Scores:
        """BLEU and chrF of the translations, as `score` names them, and the `perplexity` of the references.

        All are of the same pairs, `sentences` many. Pairs that are empty or too long for the model on either side take
        no part: `skipped` counts them and those that were skipped when the file was read, `note` has the reasons and
        lines (None: none was too long). `language` is that of the target; the card's, if not given. What is missing to
        score with is a UserError before anything is translated.
        """
        model = self.trained.measured()
        _expect_pairs(pairs)
        from triptych.train.loop import held_out_loss

        some = pairs.evenly(limit if limit is None else whole_number(limit, "a limit", 1))
        numbered = Pairs(some.source, some.target, some.lines)
        held_out = PairData(numbered, self.codec, shuffle=False, longest=self._longest)
        tokenised = None if tokenised_references is None else text_lines(tokenised_references, "the references")
        if tokenised is not None:
            if len(tokenised) != len(pairs):
                raise UserError(
                    f"expected {len(pairs)} tokenised references, one a pair, got {len(tokenised)}; align them"
                )
            tokenised = [tokenised[place] for place in evenly(len(pairs), limit)[list(held_out.kept)]]
        used, left_out = held_out.pairs, held_out.pairs.report
        scored = scorer(used.target, language or self.language, tokenised_references=tokenised)
        found = self.translate(used.source, beam=beam)
        perplexity = math.exp(min(held_out_loss(model, list(held_out.epoch(0))), MAX_EXPONENT))
        return replace(
            scored([choices[0].text for choices in found]),
            perplexity=perplexity,
            skipped=pairs.report.skipped + left_out.skipped,
            note=f"{left_out}; all figures are of the other {len(used):,}" if left_out.counts else None,
        )

    def weighed(self, text: str, ids: Sequence[int]) -> Iterator[NDArray[np.floating[Any]]]:
        """The log-probabilities [V] of all pieces at each place of a translation of a text, given the ids before it; at
        last those of what follows the ids.
        """
        (source,) = self._sources([text])
        decoder, cache = self._start([source], 1, len(ids) + 1)
        for last in [None, *ids]:
            yield decoder.step(None if last is None else np.array([last]), cache)[0]

    def attention(self, text: str, translation: str | Sequence[int]) -> tuple[list[int], list[int], AttentionMaps]:
        """The ids of both sides and the attention probabilities while `translation`, a text or ids, is written."""
        expect(text, str, "a text", "give one text")
        expect(translation, str | Sequence, "a text as the translation", "give one text")
        (source,) = self._sources([text])
        if len(source) < 2:
            raise UserError("expected a sentence to look at, got an empty one; write one")
        target = self.codec.encode(translation) if isinstance(translation, str) else list(translation)
        return source, target, self.trained.decoder().attention(np.array([target]), source=np.array([source]))

    # -- parts --------------------------------------------------------------------------------------------------------

    @property
    def language(self) -> str | None:
        """The language of the translations ("de"), as the card names it; None where it does not."""
        return _language(self.card)

    def _measure(self, held_out: Pairs, metric: Any) -> dict[str, float]:
        """BLEU on held-out pairs (beam 5), by which the best checkpoint is chosen; nothing without a metric."""
        if metric is None:
            return {}
        bleu = min(100.0, float(metric.corpus_score(self(held_out.source), [held_out.target]).score))
        return {"bleu": bleu, "score": bleu}

    @property
    def _longest(self) -> int:
        """The most tokens of a source: learned positions may end before."""
        positions = self.config.positions
        return MAX_SOURCE if positions.length is None else min(MAX_SOURCE, positions.length)

    def _steps(self, read: int) -> int:
        """The most tokens that a translation of `read` tokens may have."""
        most = 2 * read + 10
        positions = self.config.positions
        return most if positions.length is None else min(most, positions.length)

    def _forced(self, prefix: str | Sequence[int]) -> list[int]:
        """The ids of a prefix."""
        if not isinstance(prefix, str):
            ids: object = prefix
            whole = isinstance(ids, Sequence) and all(isinstance(one, int | np.integer) for one in ids)
            expect(ids if whole else None, Sequence, "a text as the prefix", "give one text, or the ids of pieces")
            return [int(one) for one in prefix]
        return self.codec.encode(prefix)[:-1] if prefix else []

    def _sources(self, lines: Iterable[str]) -> list[list[int]]:
        texts = text_lines(lines)
        for place, reason in self.refused(texts).items():
            line, size = texts[place], reason.removeprefix("over ")
            got = f"{len(line)} characters" if size.endswith("characters") else f"{len(self.codec.encode(line))}"
            raise UserError(
                f"expected lines of at most {size}, got {got} in the line that begins {line[:40]!r} "
                f"(number {place + 1} of {len(texts)}); split it"
            )
        return self.codec.encode_lines(texts)

    def _start(self, sources: Sequence[Sequence[int]], beams: int, length: int) -> tuple[Decoder, Any]:
        """The decoder, and its rows for translations of these sources."""
        decoder, (ids, lengths) = self.trained.decoder(), padded([np.array(ids) for ids in sources])
        return decoder, decoder.start(source=ids, source_lengths=lengths, beams=beams, length=length)

    def _translation(self, source: Sequence[int], found: Hypothesis, align: bool) -> Translation:
        return Translation(
            self.codec.decode(found.ids),
            found.score,
            tuple(self.codec.pieces(found.ids)),
            tuple(self.codec.pieces(source)),
            found.log_probs,
            alignment(self.trained.decoder(), source, found.ids) if align else (),
            tuple(found.ids),
        )


def _language(card: Mapping[str, Any]) -> str | None:
    languages = card.get("languages")
    target = languages.get("target") if isinstance(languages, Mapping) else None
    return target if isinstance(target, str) else None


def _expect_pairs(pairs: object) -> None:
    expect(pairs, Pairs, "Pairs of sentences", "use read_pairs, or Pairs(source, target)")


def _digest(pairs: Pairs) -> str:
    return digest_of(line.encode("utf-8", "surrogatepass") for line in (*pairs.source, *pairs.target))


def _report(text: str, quiet: bool) -> None:
    """Print to standard error unless `quiet`; of several processes only the first prints."""
    if not quiet and is_first():
        print(text, file=sys.stderr)
