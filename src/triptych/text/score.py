"""Is the translation good? Corpus BLEU and chrF as sacreBLEU defines them, and the BLEU of lower-cased Moses tokens.

Papineni et al. 2002 (BLEU), Popović 2015 (chrF), Post 2018 (sacreBLEU and its signatures). The third measure is the
one of the published Multi30k results: BLEU of lower-cased, normalised, Moses-tokenised text. It is a few points
apart from the first, so neither may be compared with the other.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.errors import UserError
from triptych.extras import require
from triptych.text.codec import text_lines


@dataclass(frozen=True)
class Scores:
    """Quality of translations: `bleu` and `chrf` (cased, untokenised) and `bleu_lc_tok`, all from 0 to 100.

    bleu_lc_tok is None where Moses has no rules for the language, or no language is named. signature: how sacreBLEU
    computed the first two. sentences: how many count; `skipped` are not among them, for reasons in `note`. perplexity:
    of the references, where a model was evaluated.
    """

    bleu: float
    bleu_lc_tok: float | None
    chrf: float
    signature: str
    sentences: int
    perplexity: float | None = None
    skipped: int = 0
    note: str | None = None


Score = Callable[[Sequence[str]], Scores]


def score(
    hypotheses: Iterable[str],
    references: Iterable[str],
    language: str | None = None,
    *,
    tokenised_references: Iterable[str] | None = None,
) -> Scores:
    """Score translations into `language` ("de", "en", "fr", ...), one reference each, all plain text.

    `tokenised_references` are the lines of a lower-cased, normalised,
    Moses-tokenised file, if there is one: `bleu_lc_tok` is then measured against them. Unequal numbers of lines,
    none at all and a missing package are UserErrors.
    """
    return scorer(references, language, tokenised_references=tokenised_references)(text_lines(hypotheses))


def scorer(
    references: Iterable[str], language: str | None = None, *, tokenised_references: Iterable[str] | None = None
) -> Score:
    """Return the function of translations that `score` is, everything else checked.

    Translating takes long: what is missing to score is found before.
    """
    plain = [line.strip() for line in text_lines(references, "the references")]
    tokenised = plain if tokenised_references is None else text_lines(tokenised_references, "the tokenised references")
    _check(plain, tokenised)
    bleu, chrf, language = bleu_metric(language), _sacrebleu().metrics.CHRF(), language or ""
    treat = None
    if tokenised_references is not None:  # of which the HTML escapes of the Moses tokenizer alone are undone
        treat, against = _treatment(language), [html.unescape(line.strip()) for line in tokenised]
    elif _code(language) in _moses_languages():
        treat = _treatment(language)
        against = [treat(line) for line in plain]

    def scored(hypotheses: Sequence[str]) -> Scores:
        _check(hypotheses, plain)
        lower_cased = None
        if treat is not None:
            ours = [treat(line) for line in hypotheses]
            # force=True: no warning about text that looks tokenised
            lower_cased = _bounded(_sacrebleu().corpus_bleu(ours, [against], tokenize="none", force=True).score)
        stripped = [line.strip() for line in hypotheses]
        return Scores(
            bleu=_bounded(bleu.corpus_score(stripped, [plain]).score),
            bleu_lc_tok=lower_cased,
            chrf=_bounded(chrf.corpus_score(stripped, [plain]).score),
            signature=f"BLEU|{bleu.get_signature()} chrF2|{chrf.get_signature()}",
            sentences=len(hypotheses),
        )

    return scored


def bleu_metric(language: str | None) -> Any:
    """Return sacreBLEU's metric for translations into `language`. A missing package is a UserError."""
    metrics = _sacrebleu().metrics
    try:
        return metrics.BLEU(trg_lang=_code(language or ""))
    except (ImportError, RuntimeError) as error:  # Japanese and Korean need a dictionary
        reason = " ".join(str(error).split())
        raise UserError(f"expected the tokenizer of {language!r}, got none; sacreBLEU: {reason}") from None


def _treatment(language: str) -> Callable[[str], str]:
    """The preparation of each line for BLEU of lower-cased tokens."""
    code, known = _code(language), _moses_languages()
    if code not in known:  # sacremoses itself would take it for English without a warning
        raise UserError(f"expected a language of {', '.join(sorted(known))}, got {language!r}; choose one of them")
    from sacremoses import MosesPunctNormalizer, MosesTokenizer

    normalizer, tokenizer = MosesPunctNormalizer(code), MosesTokenizer(code)

    def treat(line: str) -> str:
        return " ".join(tokenizer.tokenize(normalizer.normalize(line.strip().lower()), escape=False))

    return treat


def _moses_languages() -> set[str]:
    """Codes of the languages with abbreviations in the Moses tokenizer."""
    require("sacremoses", "BLEU of lower-cased tokens")
    from sacremoses.corpus import NonbreakingPrefixes

    return set(NonbreakingPrefixes().available_langs.values())


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if not hypotheses:
        raise UserError("expected translations to score, got none; give at least one line")
    if len(hypotheses) != len(references):
        raise UserError(
            f"expected one reference a translation, got {len(hypotheses)} translations and {len(references)} "
            "references; give files of as many lines"
        )


def _bounded(value: float) -> float:
    """A perfect score comes out as 100.00000000000004."""
    return min(100.0, float(value))


def _sacrebleu() -> Any:
    require("sacrebleu", "BLEU and chrF")
    import sacrebleu

    return sacrebleu


def _code(language: str) -> str:
    """The language of a code such as de, de-AT or de_AT.UTF-8."""
    return language.replace("_", "-").split("-")[0].lower()
