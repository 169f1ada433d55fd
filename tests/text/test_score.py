import sys

import pytest

pytest.importorskip("sacrebleu")
pytest.importorskip("sacremoses")

from triptych.errors import UserError
from triptych.text.score import score

REFERENCES = [
    "Ein Hund rennt durch den Schnee.",
    "Zwei Männer spielen „Schach“, z.B. im Park & am See.",
    "Ein Mädchen in einem roten Kleid steht vor einem Haus.",
]
# the second of them as the Moses scripts leave it in a file: lower-cased, normalised, tokenised, escaped
TOKENISED = [
    "ein hund rennt durch den schnee .",
    "zwei männer spielen &quot; schach &quot; , z.b. im park &amp; am see .",
    "ein mädchen in einem roten kleid steht vor einem haus .",
]


def test_a_reference_against_itself_is_perfect() -> None:
    scores = score(REFERENCES, REFERENCES, "de")
    assert scores.bleu == scores.chrf == scores.bleu_lc_tok == 100.0
    assert scores.sentences == 3
    assert (scores.perplexity, scores.skipped, scores.note) == (None, 0, None)


def test_the_signature_names_both_measures() -> None:
    signature = score(REFERENCES, REFERENCES, "de").signature
    assert signature.startswith("BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert " chrF2|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:" in signature


def test_a_known_small_value() -> None:
    # precisions 4/5, 3/4, 2/3, 1/2 and no brevity penalty: (0.2) ** (1/4)
    assert score(["a b c d x"], ["a b c d e"], "en").bleu_lc_tok == pytest.approx(100 * 0.2**0.25)
    assert score(["a b c d x"], ["a b c d e"], "en").bleu == pytest.approx(100 * 0.2**0.25)


def test_the_brevity_penalty() -> None:
    # all n-grams right, 4 tokens for 5
    scores = score(["a b c d"], ["a b c d e"], "en")
    assert scores.bleu_lc_tok == pytest.approx(100 * 2.718281828459045 ** (1 - 5 / 4))


def test_chrf_of_disjoint_texts_is_nothing() -> None:
    scores = score(["aaaa bbbb"], ["cccc dddd"], "en")
    assert scores.chrf == 0.0


def test_case_counts_for_bleu_alone() -> None:
    scores = score([line.lower() for line in REFERENCES], REFERENCES, "de")
    assert scores.bleu_lc_tok == 100.0
    assert isinstance(scores.bleu, float) and scores.bleu < 90.0


def test_plain_text_equals_its_tokenised_file() -> None:
    assert score(REFERENCES, REFERENCES, "de", tokenised_references=TOKENISED).bleu_lc_tok == 100.0
    other = score(REFERENCES, REFERENCES, "de", tokenised_references=TOKENISED[:1] * 3)
    assert other.bleu_lc_tok is not None and other.bleu_lc_tok < 60.0


def test_the_tokenised_file_is_the_reference_if_it_is_given() -> None:
    scores = score(REFERENCES, REFERENCES, "de", tokenised_references=["etwas ganz anderes"] * 3)
    assert scores.bleu == 100.0
    assert isinstance(scores.bleu_lc_tok, float) and scores.bleu_lc_tok < 5.0


def test_the_language_matters() -> None:
    # "d'un" is two tokens in French, "l'" and "d'" are elided articles
    french = score(["l' homme d' un village ."], ["L'homme d'un village."], "fr")
    german = score(["l' homme d' un village ."], ["L'homme d'un village."], "de")
    assert french.bleu_lc_tok != german.bleu_lc_tok


@pytest.mark.parametrize("language", ["de", "de-AT", "de_AT.UTF-8", "DE"])
def test_forms_of_a_language_code(language: str) -> None:
    assert score(REFERENCES, REFERENCES, language, tokenised_references=TOKENISED).bleu_lc_tok == 100.0


@pytest.mark.parametrize("language", [None, "tr"])
def test_without_moses_rules_the_third_measure_is_none(language: str | None) -> None:
    scores = score(REFERENCES, REFERENCES, language)
    assert scores.bleu_lc_tok is None
    assert scores.bleu == 100.0


def test_an_unknown_language_is_refused_where_it_is_needed() -> None:
    with pytest.raises(UserError, match=r"expected a language of .*\bde\b.*, got 'klingon'"):
        score(REFERENCES, REFERENCES, "klingon", tokenised_references=TOKENISED)
    with pytest.raises(UserError, match="expected a language"):
        score(REFERENCES, REFERENCES, tokenised_references=TOKENISED)


def test_chinese_has_its_own_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.text.score._moses_languages", set)  # Moses takes seconds to start for Chinese
    assert "tok:zh" in str(score(["我们在公园下棋。"], ["我们在公园下棋。"], "zh").signature)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(UserError, match="got 2 translations and 3 references"):
        score(REFERENCES[:2], REFERENCES, "de")
    with pytest.raises(UserError, match="got 3 translations and 2 references"):
        score(REFERENCES, REFERENCES, "de", tokenised_references=TOKENISED[:2])


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(UserError, match="got none"):
        score([], [], "de")


def test_one_text_instead_of_lines_is_refused() -> None:
    with pytest.raises(UserError, match="expected lists of lines"):
        score("Hund", ["Hund"], "de")


@pytest.mark.parametrize("package", ["sacrebleu", "sacremoses"])
def test_a_missing_package_has_a_remedy(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.corpus", None)
    with pytest.raises(UserError, match=rf'expected {package} for .* pip install "triptych\[eval\]"'):
        score(REFERENCES, REFERENCES, "de")
