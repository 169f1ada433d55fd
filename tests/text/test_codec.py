import io
import random
from unittest.mock import patch

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.text.codec import MINIMUM_VOCABULARY, TextCodec

SENTENCES = "a dog runs through the snow two men play chess ein Hund rennt durch den Schnee zwei Männer spielen Schach"
WORDS = SENTENCES.split()
FEW = settings(max_examples=25, deadline=None)


def corpus(count: int = 300) -> list[str]:
    draw = random.Random(0)  # made-up words too: a unigram vocabulary finds few pieces in a few words
    made = [
        "".join(draw.choices(["ka", "lo", "mi", "ten", "ru", "sol", "ve", "ä"], k=draw.randint(1, 4)))
        for _ in WORDS * 6
    ]
    return [" ".join(draw.choices(WORDS + made, k=draw.randint(3, 9))) + "." for _ in range(count)]


@pytest.fixture(scope="module")
def codec() -> TextCodec:
    return TextCodec.train(corpus(), 340)


@pytest.fixture(scope="module")
def byte_pairs() -> TextCodec:
    """A vocabulary that was trained elsewhere, by byte-pair encoding."""
    trainer = sentencepiece.SentencePieceTrainer
    train = trainer.train
    with patch.object(trainer, "train", lambda **how: train(**{**how, "model_type": "bpe"})):
        return TextCodec.train(corpus(), 340)


def test_vocabulary_has_the_size_asked_for(codec: TextCodec, byte_pairs: TextCodec) -> None:
    assert codec.vocabulary == byte_pairs.vocabulary == 340


def test_training_is_deterministic(codec: TextCodec) -> None:
    assert TextCodec.train(iter(corpus()), 340).to_bytes() == codec.to_bytes()


def test_the_two_kinds_differ(codec: TextCodec, byte_pairs: TextCodec) -> None:
    assert codec.encode_lines(corpus()) != byte_pairs.encode_lines(corpus())


def test_bytes_give_the_codec_back(codec: TextCodec) -> None:
    again = TextCodec.from_bytes(codec.to_bytes())
    assert again.encode_lines(corpus()) == codec.encode_lines(corpus())
    assert again.vocabulary == codec.vocabulary


def test_an_encoding_ends_with_one_end(codec: TextCodec) -> None:
    for ids in codec.encode_lines([*corpus(20), ""]):
        assert ids[-1] == TextCodec.END
        assert TextCodec.END not in ids[:-1]
        assert TextCodec.UNKNOWN not in ids


def test_one_text_is_encoded_as_among_many(codec: TextCodec) -> None:
    assert [codec.encode(line) for line in corpus(10)] == codec.encode_lines(corpus(10))
    assert codec.encode("") == [TextCodec.END]
    assert codec.encode_lines([]) == []


@pytest.mark.parametrize(
    "text",
    [
        "Two men play chess.",
        "Zwei Männer spielen Schach!",
        "🤖 👨‍👩‍👧 🇩🇪 ❤️",
        "日本語とкириллица, œuvre ß ñ",
        "<unk> </s> <0x41>",
        "“quoted” – ‘text’",
        "",
    ],
)
def test_text_comes_back(codec: TextCodec, byte_pairs: TextCodec, text: str) -> None:
    for each in (codec, byte_pairs):
        assert each.decode(each.encode(text)) == text


def test_text_is_normalised(codec: TextCodec) -> None:
    assert codec.decode(codec.encode("  e\u0301 \u00a0 ﬁ\u2028x\ty\n")) == "é fi x y"


@FEW
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40))
def test_decoding_gives_a_text_that_encodes_to_itself(text: str) -> None:
    codec = _shared()
    once = codec.decode(codec.encode(text))
    assert codec.decode(codec.encode(once)) == once


@FEW
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60))
def test_any_ascii_word_comes_back(text: str) -> None:
    codec = _shared()
    assert codec.decode(codec.encode(text)) == text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(-3, 345), st.integers(-(2**70), 2**70)), max_size=30))
def test_any_ids_decode_to_one_line(ids: list[int]) -> None:
    codec = _shared()
    text = codec.decode(ids)
    assert len(text.splitlines()) <= 1
    assert text == text.strip(" ")
    assert len(codec.pieces(ids)) == len(ids)


def test_decoding_stops_at_end_and_skips_what_means_nothing(codec: TextCodec) -> None:
    dog = codec.encode("dog")[:-1]
    assert codec.decode([*dog, 1, *dog]) == "dog"
    assert codec.decode([0, *dog, codec.vocabulary, -1]) == "dog"
    assert codec.decode([]) == codec.decode([1]) == ""


def test_bytes_that_form_no_character_decode_to_the_replacement(codec: TextCodec) -> None:
    first_byte = codec.encode("🤖")[-5:-4]  # four bytes and END
    assert codec.pieces(first_byte) == ["<0xF0>"]
    assert codec.decode(first_byte) == "\ufffd"


def test_pieces_are_named(codec: TextCodec) -> None:
    ids = codec.encode("dog")
    assert "".join(codec.pieces(ids)) == "▁dog</s>"
    assert codec.pieces([0, 340, -1]) == ["<unk>", "<?>", "<?>"]


def test_lone_surrogates_do_not_stop_encoding(codec: TextCodec) -> None:
    assert codec.decode(codec.encode("a \ud800dog")).endswith("dog")


def test_sampling_is_a_function_of_the_seed(codec: TextCodec) -> None:
    lines = corpus(60)
    best = codec.encode_lines(lines)
    drawn = codec.segmentations(best, 0.2)

    def sampled(seed: int) -> list[list[int]]:
        ids, lengths = drawn.draw([seed])
        return [row.tolist() for row in np.split(ids, lengths.cumsum()[:-1])]

    first = sampled(1)
    assert sampled(1) == first != sampled(2)
    assert first != best
    assert [codec.decode(ids) for ids in first] == lines
    assert all(ids[-1] == TextCodec.END and TextCodec.END not in ids[:-1] for ids in first)


def test_sampling_needs_a_unigram_vocabulary(byte_pairs: TextCodec) -> None:
    with pytest.raises(UserError, match="expected a unigram vocabulary"):
        byte_pairs.segmentations(byte_pairs.encode_lines(["a dog"]), 0.2)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_out_of_range(codec: TextCodec, alpha: float) -> None:
    with pytest.raises(UserError, match="expected alpha from 0 to 1"):
        codec.segmentations(codec.encode_lines(["a dog"]), alpha)


@pytest.mark.parametrize("lines", [[], ["", "  "], ["\u200b"]])
def test_no_lines(lines: list[str]) -> None:
    with pytest.raises(UserError, match="expected lines of text"):
        TextCodec.train(lines, 340)


def test_a_vocabulary_too_large_names_the_largest() -> None:
    with pytest.raises(UserError, match=r"at most (\d+) pieces for these 300 lines, got 50000") as caught:
        TextCodec.train(corpus(), 50_000)
    most = int(str(caught.value).split("at most ")[1].split()[0])
    assert TextCodec.train(corpus(), most).vocabulary == most


def test_a_vocabulary_too_small_for_the_bytes() -> None:
    with pytest.raises(UserError, match=f"at least {MINIMUM_VOCABULARY} pieces .* got 200"):
        TextCodec.train(corpus(), 200)


def test_a_vocabulary_too_small_for_the_characters_names_the_smallest() -> None:
    with pytest.raises(UserError, match=r"at least (\d+) pieces for the characters") as caught:
        TextCodec.train(corpus(), MINIMUM_VOCABULARY)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    assert TextCodec.train(corpus(), least + 3).vocabulary == least + 3


def test_rare_characters_give_way_in_a_small_vocabulary() -> None:
    rare = "".join(map(chr, range(0x4E00, 0x4E00 + 60)))
    codec = TextCodec.train([*corpus(1000), rare], 320)
    assert codec.decode(codec.encode(rare)) == rare
    assert any(piece.startswith("<0x") for piece in codec.pieces(codec.encode(rare)))
    assert not any(piece.startswith("<0x") for line in corpus(50) for piece in codec.pieces(codec.encode(line)))


def test_all_characters_get_pieces_when_there_is_room() -> None:
    codec = TextCodec.train([*corpus(), "日本語"], 340)
    assert not any(piece.startswith("<0x") for piece in codec.pieces(codec.encode("日本語")))


def test_a_very_long_line_does_not_stop_training() -> None:
    assert TextCodec.train([*corpus(), "a dog " * 20_000], 340).vocabulary == 340


@pytest.mark.parametrize("model", [b"", b"no model at all", b"\x00" * 50])
def test_bytes_that_are_no_model(model: bytes) -> None:
    with pytest.raises(UserError, match="expected a SentencePiece model"):
        TextCodec.from_bytes(model)


def test_a_foreign_vocabulary_is_refused() -> None:
    output = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=output, vocab_size=48, num_threads=1, minloglevel=2
    )
    with pytest.raises(UserError, match="unknown id 0 and end id 1, got 0 and 2"):
        TextCodec.from_bytes(output.getvalue())


_SHARED: list[TextCodec] = []


def _shared() -> TextCodec:
    """Hypothesis and function fixtures do not mix."""
    if not _SHARED:
        _SHARED.append(TextCodec.train(corpus(), 340))
    return _SHARED[0]
