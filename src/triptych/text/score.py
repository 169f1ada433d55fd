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
    against = plain if tokenised_references is None else text_lines(tokenised_references, "the tokenised references")
    _check(plain, against)
    bleu, chrf = bleu_metric(language), _sacrebleu().metrics.CHRF()
    code, tokenised = _code(language or ""), tokenised_references is not None
    known = code in _moses_languages()
    if tokenised and not known:
        raise _unknown(language or "")

    def scored(hypotheses: Sequence[str]) -> Scores:
        _check(hypotheses, plain)
        lower_cased = bleu_lc_tok(hypotheses, against, code, tokenised=tokenised) if known else None
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


def bleu_lc_tok(
    hypotheses: Iterable[str], references: Iterable[str], language: str, *, tokenised: bool = False
) -> float:
    """BLEU, 0 to 100, of lower-cased, normalised, Moses-tokenised text. `hypotheses` are plain text.

    `references` are plain text too and treated alike, or, with `tokenised`, already lower-cased, normalised and
    tokenised: then only the HTML escapes of the Moses tokenizer are undone.
    """
    hypotheses, references = text_lines(hypotheses), text_lines(references, "the references")
    _check(hypotheses, references)
    sacrebleu = _sacrebleu()
    treat = _treatment(language)
    ours = [treat(line) for line in hypotheses]
    theirs = [html.unescape(line.strip()) if tokenised else treat(line) for line in references]
    # force=True: no warning about text that looks tokenised
    return _bounded(sacrebleu.corpus_bleu(ours, [theirs], tokenize="none", force=True).score)


def _treatment(language: str) -> Callable[[str], str]:
    """The preparation of each line for BLEU of lower-cased tokens."""
    code = _code(language)
    if code not in _moses_languages():  # sacremoses itself would take it for English without a warning
        raise _unknown(language)
    from sacremoses import MosesPunctNormalizer, MosesTokenizer

    normalizer, tokenizer = MosesPunctNormalizer(code), MosesTokenizer(code)

    def treat(line: str) -> str:
        return " ".join(tokenizer.tokenize(normalizer.normalize(line.strip().lower()), escape=False))

    return treat


def _unknown(language: str) -> UserError:
    known = ", ".join(sorted(_moses_languages()))
    return UserError(f"expected a language of {known}, got {language!r}; choose one of them")


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
