"""Mistakes of a person who calls `Translator`, `read_pairs` and the codec: one clear error, or what was meant."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.generation.sample import Sampling
from triptych.text.codec import TextCodec
from triptych.text.data import Pairs, read_pairs
from triptych.text.translator import Translator

SHAPE: dict[str, Any] = {
    "width": 8,
    "heads": 2,
    "feed_forward": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
}
LINES = ["the dog sees the bird", "the bird sees the dog", "a dog", "", "a bird sees a dog and a bird"]


@pytest.fixture(scope="module")
def translator() -> Translator:
    """Untrained: its translations are arbitrary."""
    return Translator.new(Pairs(LINES[:3], LINES[:3]), **SHAPE, positions={"kind": "learned", "length": 40})


@pytest.mark.parametrize("many", [tuple, iter, lambda lines: (line for line in lines), lambda lines: map(str, lines)])
def test_any_iterable_of_texts_is_a_list_of_lines(translator: Translator, many: Callable[[list[str]], Any]) -> None:
    assert translator.translate(many(LINES), beam=2) == translator.translate(LINES, beam=2)
    assert translator(many(LINES), beam=1) == translator(LINES, beam=1)
    assert translator.sample(many(LINES), Sampling()) == translator.sample(LINES, Sampling())
    assert translator.codec.encode_lines(many(LINES)) == translator.codec.encode_lines(LINES)
    assert Pairs(many(LINES), many(LINES)) == Pairs(LINES, LINES)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("A dog.", "got one text as the lines, 'A dog.'; put it in a list"),
        (b"A dog.", "put it in a list"),
        (None, "got NoneType"),
        (3, "got int"),
        ({"A dog."}, "got set"),
        ({"A dog.": 1}, "got dict"),
        (["a", None], "got None as number 2"),
        (["a", b"A dog."], r"got b'A dog.' \(bytes\) as number 2"),
        ([["A dog."]], r"got \['A dog.'\] \(list\) as number 1"),
        (["a", 3], r"got 3 \(int\) as number 2"),
    ],
)
def test_what_is_no_list_of_texts(translator: Translator, lines: Any, message: str) -> None:
    uses: list[Callable[[], Any]] = [
        lambda: translator.translate(lines),
        lambda: translator.sample(lines, Sampling()),
        lambda: translator.refused(lines),
        lambda: translator.codec.encode_lines(lines),
        lambda: TextCodec.train(lines, 300),
        lambda: Pairs(lines, lines),
        lambda: translator.evaluate(Pairs(LINES[:3], LINES[:3]), tokenised_references=lines),
    ]
    if lines is None:
        uses.pop()  # no tokenised references
    if not isinstance(lines, str):
        uses.append(lambda: translator(lines))
    for use in uses:
        with pytest.raises(UserError, match=message.replace("the lines", "the [a-z ]+")) as caught:
            use()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_very_long_argument_is_shown_by_its_beginning(translator: Translator) -> None:
    with pytest.raises(UserError) as caught:
        translator.translate("A dog. " * 1_000_000)
    assert len(str(caught.value)) < 200


PAIRS = Pairs(LINES[:3], LINES[:3])


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda t: t.translate(LINES, beam=0), "expected a beam to be a whole number from 1 to .*, got 0"),
        (lambda t: t(LINES, beam=-1), "expected a beam .* got -1"),
        (lambda t: t.translate(LINES, beam=2.5), r"expected a beam .* got 2.5 \(float\)"),
        (lambda t: t.translate(LINES, beam="5"), "expected a beam .* got '5'"),
        (lambda t: t.translate(LINES, beam=True), r"expected a beam .* got True \(bool\)"),
        (lambda t: t.translate(LINES, beam=None), "expected a beam .* got None"),
        (lambda t: t.translate(LINES, beam=t.codec.vocabulary + 1), "expected a beam"),
        (lambda t: t.translate(LINES, beam=2, nbest=3), r"expected nbest \(with beam 2\) .* from 1 to 2, got 3"),
        (lambda t: t.translate(LINES, nbest=0), "expected nbest"),
        (lambda t: t.translate(LINES, length_penalty=0.6), r"expected a LengthPenalty, got 0.6 \(float\)"),
        (lambda t: t.translate(LINES, prefix=["der"]), "expected a text as the prefix, got"),
        (lambda t: t.sample(LINES, None), "expected a Sampling, got None"),
        (lambda t: t.sample(LINES, 0.8), "expected a Sampling, got 0.8"),
        (lambda t: t.sample(LINES, Sampling(), -1), "expected a seed .* got -1"),
        (lambda t: t.sample(LINES, Sampling(), 1.5), "expected a seed"),
        (lambda t: t.stream(LINES), "expected a text, got"),
        (lambda t: t.stream(None), "expected a text, got None"),
        (lambda t: t.stream("a", seed=-1), "expected a seed"),
        (lambda t: t.attention(LINES, "a"), "expected a text"),
        (lambda t: t.attention("a", None), "expected a text as the translation, got None"),
        (lambda t: t.evaluate((LINES, LINES)), "expected Pairs of sentences"),
        (lambda t: t.evaluate("test.tsv"), "expected Pairs of sentences, got 'test.tsv'; use read_pairs"),
        (lambda t: t.evaluate(PAIRS, limit=0), "expected a limit .* got 0"),
        (lambda t: t.evaluate(PAIRS, limit=-1), "expected a limit .* got -1"),
        (lambda t: t.evaluate(PAIRS, beam=0), "expected a beam"),
        (lambda t: t.evaluate(PAIRS, tokenised_references=["a"]), "expected 3 tokenised references, one a pair, got 1"),
        (lambda t: t.evaluate(PAIRS, tokenised_references=["a"] * 3, language="xx"), "expected a language of"),
        (lambda t: t.fit(LINES, recipe=None, out="x"), "expected Pairs of sentences"),
        (lambda t: t.new(LINES), "expected Pairs of sentences"),
        (lambda t: Translator.new(PAIRS, vocabulary=0), "expected a vocabulary of at least"),
        (lambda t: Sampling(**{"temperature": "hot"}), "expected temperature to be a number, got 'hot'"),
        (lambda t: Sampling(**{"top_k": None}), "expected top_k to be a number, got None"),
    ],
)
def test_arguments_that_mean_nothing(translator: Translator, use: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        use(translator)


def test_every_beam_up_to_the_vocabulary_works(translator: Translator) -> None:
    vocabulary = translator.codec.vocabulary
    for beam in (vocabulary // 2 + 1, vocabulary):
        (found,) = translator.translate(["a dog"], beam=beam, nbest=3)
        assert len(found) == 3 and all(-1e4 < one.score < 0 for one in found)


def test_lines_are_refused_before_any_is_translated(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["a dog", "a dog " * 30, "a " * 20_000, "a dog" + " " * 20_000]
    assert translator.refused(lines) == {1: "over 40 tokens", 2: "over 16384 characters"}
    monkeypatch.setattr(translator.module(), "step", None)
    with pytest.raises(UserError, match=r"at most 40 tokens, got \d+ in the line that begins 'a dog .*number 2 of 4"):
        translator.translate(lines)
    with pytest.raises(UserError, match=r"at most 40 tokens, got \d+ in the line"):
        translator.stream(lines[1])


def test_learned_positions_bound_what_is_trained_and_measured(translator: Translator, tmp_path: Path) -> None:
    from triptych.train.recipe import Recipe

    long = "a dog " * 30
    pairs = Pairs([*LINES[:3], long], [*LINES[:3], "a"])
    found = translator.evaluate(pairs, beam=1)
    assert (found.sentences, found.skipped) == (3, 1) and "(line 4)" in found.note
    recipe = Recipe(epochs=1, label_smoothing=0.0)
    translator.fit(pairs, held_out=pairs, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert (translator.card["pairs"], translator.card["held_out_pairs"]) == (3, 3)


# ---- one file of pairs

cells = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), min_size=1, max_size=12)
sentences = st.one_of(
    cells,
    st.sampled_from(["{name} is here", "{", "{}", '{"a": 1}', '"quoted', "[1]", "null", "{'a': 'b'}"]),
).filter(lambda text: text.strip() and not text.startswith("\ufeff"))
many = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(many, st.sampled_from(["a", "a.txt", "a.tsv"]))
def test_columns_are_columns_whatever_they_begin_with(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], name: str
) -> None:
    path = tmp_path_factory.mktemp("rows") / name
    path.write_bytes("".join(f"{one}\t{other}\n" for one, other in rows).encode())
    pairs = read_pairs(path)
    assert list(zip(pairs.source, pairs.target, strict=True)) == [(one.strip(), other.strip()) for one, other in rows]


@settings(max_examples=30, deadline=None)
@given(many, st.sampled_from(["", "\t", " "]))
def test_objects_are_objects(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], space: str) -> None:
    path = tmp_path_factory.mktemp("rows") / "a"
    written = [{"source": one, "target": other} for one, other in rows]
    path.write_text("".join(json.dumps(row, separators=("," + space, ":" + space)) + "\n" for row in written))
    pairs = read_pairs(path)
    assert list(zip(pairs.source, pairs.target, strict=True)) == [(one.strip(), other.strip()) for one, other in rows]


@pytest.mark.parametrize(
    ("content", "source", "skipped"),
    [
        ('{"source": "one", \n{"source": "two", "target": "zwei"}\n', ["two"], 1),
        ("A heading\none\teins\ntwo\tzwei\n", ["one", "two"], 1),
        ("\n\n{one}\t{eins}\n", ["{one}"], 2),
        ('{"source": "one", "target": "eins"}\none\teins\n{"source": "two", "target": "zwei"}\n', ["one", "two"], 1),
    ],
)
def test_most_rows_decide(tmp_path: Path, content: str, source: list[str], skipped: int) -> None:
    (tmp_path / "rows").write_text(content, "utf-8")
    pairs = read_pairs(tmp_path / "rows")
    assert (pairs.source, pairs.report.skipped) == (source, skipped)


@pytest.mark.parametrize("content", ["one\ntwo\nthree\tdrei\nfour\nfive\n", "[1, 2]\n", "\n\n", "one\n"])
def test_plain_lines_alone_are_no_pairs(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows").write_text(content, "utf-8")
    with pytest.raises(UserError, match="expected TSV or JSONL"):
        read_pairs(tmp_path / "rows")


def test_a_line_without_an_end_is_not_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_bytes(b"one\teins\n" + b"x" * 30_000_000 + b"\ntwo\tzwei\n" + b"y" * 300_000)
    pairs = read_pairs(tmp_path / "rows.tsv")
    assert pairs.source == ["one", "two"]
    assert pairs.report.first == {"row over 100,000 bytes": [2, 4]}
