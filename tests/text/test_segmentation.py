import hashlib
import io
import os
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import sentencepiece

from triptych.errors import UserError
from triptych.text.codec import TextCodec
from triptych.text.segmentation import BEST, Segmentations

LINES = [
    f"{subject} {verb} {thing}."
    for subject in ("the dog", "a little dog", "two dogs", "the doggy", "🤖 日本")
    for verb in ("runs to", "runs through", "walks to", "is walking to")
    for thing in ("the snow", "a snowy street", "the streets", "walls and houses")
]


@pytest.fixture(scope="module")
def codec() -> TextCodec:
    draw = random.Random(0)  # made-up words give a vocabulary that is large enough to choose from
    made = [
        "".join(draw.choices(["wal", "king", "do", "g", "st", "ree", "ts", "ow"], k=draw.randint(1, 4))) for _ in LINES
    ]
    return TextCodec.train([*LINES[:-16], *made], 300)


def lists(drawn: tuple[np.ndarray, np.ndarray]) -> list[list[int]]:
    ids, lengths = drawn
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])] if len(lengths) else []


def test_every_draw_is_a_segmentation_of_the_same_text(codec: TextCodec) -> None:
    best = codec.encode_lines(LINES)
    segmentations = codec.segmentations(best, 0.1)
    for seed in range(5):
        drawn = lists(segmentations.draw([seed]))
        assert drawn != best
        assert [codec.decode(ids) for ids in drawn] == LINES
        assert all(ids.index(TextCodec.END) == len(ids) - 1 for ids in drawn)


def test_the_draw_follows_the_probabilities(codec: TextCodec) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=codec.to_bytes())
    alternatives = processor.nbest_encode("walking", nbest_size=BEST)
    assert len(alternatives) > 3
    alpha, count = 0.4, 20_000
    logits = np.array([alpha * sum(map(processor.get_score, ids)) for ids in alternatives])
    expected = np.exp(logits) / np.exp(logits).sum()
    drawn = codec.segmentations(codec.encode_lines(["walking"] * count), alpha).draw([3])
    seen = Counter(tuple(ids[:-1]) for ids in lists(drawn))
    assert set(seen) <= {tuple(ids) for ids in alternatives}
    for ids, probability in zip(alternatives, expected, strict=True):
        deviation = (probability * (1 - probability) / count) ** 0.5
        assert abs(seen[tuple(ids)] / count - probability) < 5 * deviation


def test_small_alpha_is_wild_and_large_alpha_is_tame(codec: TextCodec) -> None:
    best = codec.encode_lines(LINES)
    wild, tame = (int(codec.segmentations(best, alpha).draw([0])[1].sum()) for alpha in (0.05, 1.0))
    assert wild > tame >= sum(map(len, best))


def test_one_seed_gives_one_draw_in_every_process(codec: TextCodec) -> None:
    program = (
        "import sys, hashlib; from triptych.text.codec import TextCodec\n"
        "codec = TextCodec.from_bytes(sys.stdin.buffer.read())\n"
        "ids, _ = codec.segmentations(codec.encode_lines(sys.argv[1].split('|')), 0.2).draw([7])\n"
        "print(hashlib.sha256(ids.tobytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "5", "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"}
    there = subprocess.run(
        [sys.executable, "-c", program, "|".join(LINES)],
        input=codec.to_bytes(),
        stdout=subprocess.PIPE,
        env=environment,
        check=True,
    )
    ids, _ = codec.segmentations(codec.encode_lines(LINES), 0.2).draw([7])
    assert there.stdout.decode().strip() == hashlib.sha256(ids.tobytes()).hexdigest()


def test_occurrences_of_a_word_are_drawn_apart(codec: TextCodec) -> None:
    drawn = codec.segmentations(codec.encode_lines(["walking walking walking walking walking walking"]), 0.1)
    pieces = codec.pieces(lists(drawn.draw([1]))[0])
    words = "".join(piece if piece != "</s>" else "" for piece in pieces)
    assert words == "▁walking" * 6
    assert pieces[: len(pieces) // 6] * 6 != pieces[:-1]


def test_empty_texts_and_no_texts(codec: TextCodec) -> None:
    assert lists(codec.segmentations(codec.encode_lines(["", "a", ""]), 0.5).draw([0]))[::2] == [[1], [1]]
    ids, lengths = codec.segmentations([], 0.5).draw([0])
    assert len(ids) == len(lengths) == 0


def test_pieces_across_words_cannot_be_drawn() -> None:
    output = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c"] * 50 + ["a b d"] * 50),
        model_writer=output,
        vocab_size=12,
        hard_vocab_limit=False,
        split_by_whitespace=False,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=output.getvalue())
    with pytest.raises(UserError, match="got pieces across them"):
        Segmentations(processor, [processor.encode("a b c", add_eos=True)], 0.3)
