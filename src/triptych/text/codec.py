"""Text <-> token ids: one SentencePiece vocabulary for both languages, trained on the data itself.

Kudo and Richardson 2018 (SentencePiece), Kudo 2018 (the unigram model).
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set

import sentencepiece

from triptych.errors import UserError, shown
from triptych.text.segmentation import Segmentations

BYTES = 256  # byte fallback: one piece for each byte, so that nothing is unknown
MINIMUM_VOCABULARY = BYTES + 2 + 6  # the bytes, UNKNOWN and END, and a few pieces to begin with
MAX_LINE = 16_000  # characters of a line that the vocabulary is learned from
LOWEST_COVERAGE = 0.98  # SentencePiece takes no less
NO_TEXT = "expected lines of text to learn a vocabulary from, got none; give files that hold text"
MAX_VOCABULARY_LINES = 2_000_000  # lines that the vocabulary is learned from: SentencePiece holds them all in memory

# A decoded text is one line: what breaks lines or rings bells becomes a space.
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")
# Characters that nobody sees and no piece holds: NUL, soft hyphens, marks of joining and of the direction of writing.
_UNSEEN = dict.fromkeys([0, 0xAD, 0x2060, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_UNSEEN |= dict.fromkeys(range(0x80, 0xA0), " ")  # controls that normalisation leaves


class TextCodec:
    """A joint vocabulary of subword pieces. Ids: 0 is unknown, 1 is END, there is no padding id and no start id.

    With byte fallback every text has an encoding without unknowns. Unicode is normalised (NFKC), runs of
    white space become one space and characters that nobody sees are left out, so decoding gives back the normalised
    text.
    """

    UNKNOWN = 0
    END = 1

    def __init__(self, model: bytes) -> None:
        """Read a SentencePiece model proto; a foreign or damaged one is a UserError."""
        self._model = model
        self._processor = _load(model)
        self.vocabulary: int = self._processor.get_piece_size()

    @classmethod
    def train(cls, lines: Iterable[str], vocabulary: int, *, exact: bool = True) -> TextCodec:
        """Learn a vocabulary of exactly `vocabulary` pieces (at most, if not `exact`) from lines of all languages.

        Deterministic: the same lines give the same bytes. Every character gets a piece of its own, unless they would
        fill more than three quarters of the vocabulary: then the rarest, at most 2 % of the running text, are left to
        byte fallback. A vocabulary too small or too large for the lines is a UserError that names the bound.
        """
        if vocabulary < MINIMUM_VOCABULARY:
            raise UserError(
                f"expected a vocabulary of at least {MINIMUM_VOCABULARY} pieces ({BYTES} of them are the bytes), "
                f"got {vocabulary}; raise it"
            )
        kept = [line[:MAX_LINE] for line in map(_valid, text_lines(lines)) if line.strip()]
        if not kept:
            raise UserError(NO_TEXT)
        kept = kept[:: -(-len(kept) // MAX_VOCABULARY_LINES)]
        output = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(kept),
                model_writer=output,
                vocab_size=vocabulary,
                model_type="unigram",
                normalization_rule_name="nmt_nfkc",
                character_coverage=_coverage(kept, vocabulary),
                byte_fallback=True,
                unk_id=cls.UNKNOWN,
                eos_id=cls.END,
                bos_id=-1,
                pad_id=-1,
                num_threads=1,
                max_sentence_length=4 * MAX_LINE,  # in bytes
                hard_vocab_limit=exact,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise _explained(error, vocabulary, len(kept)) from None
        return cls(output.getvalue())

    @classmethod
    def from_bytes(cls, model: bytes) -> TextCodec:
        """Read what `to_bytes` gave."""
        return cls(model)

    def to_bytes(self) -> bytes:
        """Return the SentencePiece model proto: the whole codec."""
        return self._model

    def encode(self, text: str) -> list[int]:
        """Encode one text into the ids of its best segmentation, ending with END."""
        return self.encode_lines([text])[0]

    def encode_lines(self, lines: Iterable[str]) -> list[list[int]]:
        """Encode many texts, each as `encode` does."""
        texts = [_valid(line) for line in text_lines(lines)]
        # One by one: for a list SentencePiece starts threads, which costs more than a sentence.
        return [self._processor.encode(text, add_eos=True) for text in texts]

    def unfamiliar(self, lines: Iterable[str]) -> list[int]:
        """Return the places of the lines that have characters without a piece: the model never learned them."""
        known = self._processor
        foreign = {self.UNKNOWN, *(token for token in range(self.vocabulary) if known.is_byte(token))}
        return [place for place, line in enumerate(text_lines(lines)) if not foreign.isdisjoint(self.encode(line))]

    def segmentations(self, encoded: Sequence[Sequence[int]], alpha: float) -> Segmentations:
        """Analyse encoded texts once, to draw segmentations of them again and again: subword regularisation.

        One is drawn with probability proportional to p ** alpha (Kudo 2018, section 3.3): the smaller alpha, the wilder
        and the longer (0.2 gives about a third more tokens, 0.3 an eighth, 0.5 a thirtieth).
        """
        if not 0.0 < alpha <= 1.0:
            raise UserError(f"expected alpha from 0 to 1, got {alpha}; 0 switches sampling off, 0.3 is usual")
        return Segmentations(self._processor, encoded, alpha)

    def decode(self, ids: Iterable[int]) -> str:
        """Decode ids up to the first END into one line of text; ids that mean nothing are skipped. Never raises.

        Bytes that form no character become U+FFFD, control characters and line breaks become spaces.
        """
        kept: list[int] = []
        for item in ids:
            token = int(item)
            if token == self.END:
                break
            if token != self.UNKNOWN and 0 <= token < self.vocabulary:
                kept.append(token)
        text: str = self._processor.decode(kept)
        return re.sub(" +", " ", text.translate(_CONTROLS)).strip(" ")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Name every id, END included: "▁" marks the beginning of a word, <0x41> a byte, <?> an id out of range."""
        return [
            self._processor.id_to_piece(token) if 0 <= token < self.vocabulary else "<?>" for token in map(int, ids)
        ]


def _load(model: bytes) -> sentencepiece.SentencePieceProcessor:
    """Load a model proto and check that it keeps our convention of ids."""
    processor = sentencepiece.SentencePieceProcessor()
    remedy = "give the codec file of a model trained here"
    try:
        processor.load_from_serialized_proto(model)
    except (RuntimeError, OSError, TypeError, ValueError):
        raise UserError(f"expected a SentencePiece model, got {len(model)} bytes that are none; {remedy}") from None
    ids = processor.unk_id(), processor.eos_id()
    if ids != (TextCodec.UNKNOWN, TextCodec.END):
        raise UserError(f"expected a vocabulary with unknown id 0 and end id 1, got {ids[0]} and {ids[1]}; {remedy}")
    return processor


def text_lines(lines: Iterable[str], what: str = "the lines") -> list[str]:
    """Return a list of texts of any iterable of them. Raises UserError for one text alone, and for what is no text."""
    if isinstance(lines, str | bytes):
        raise UserError(f"expected lists of lines, got one text as {what}, {shown(lines)}; put it in a list")
    if isinstance(lines, Mapping | Set) or not isinstance(lines, Iterable):
        raise UserError(f"expected {what} as a list of texts, got {type(lines).__name__}; give a list")
    found = list(lines)
    for number, line in enumerate(found, 1):
        if not isinstance(line, str):
            raise UserError(f"expected {what} to be texts, got {shown(line)} as number {number}; convert it to str")
    return found


def _valid(text: str) -> str:
    """Leave out what nobody sees, and replace lone surrogates, which no UTF-8 can hold (JSON escapes make them)."""
    if text.isprintable():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.translate(_UNSEEN)


def _coverage(lines: Sequence[str], vocabulary: int) -> float:
    """Share of the running characters that may have a piece of their own."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line)
    room = (vocabulary - BYTES - 2) * 3 // 4
    if len(counts) <= room:
        return 1.0
    kept = sum(count for _, count in counts.most_common(room))
    return max(LOWEST_COVERAGE, kept / counts.total())


def _explained(error: RuntimeError, vocabulary: int, lines: int) -> UserError:
    """Turn SentencePiece's message into ours."""
    message = str(error)
    if most := re.search(r"set it to a value <= (\d+)", message):
        return UserError(
            f"expected a vocabulary of at most {most[1]} pieces for these {lines} lines, got {vocabulary}; "
            "lower it or give more text"
        )
    if least := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"expected a vocabulary of at least {least[1]} pieces for the characters of these {lines} lines, "
            f"got {vocabulary}; raise it"
        )
    if "!sentences_.empty()" in message or "all_chars_count" in message:  # nothing but what normalisation drops
        return UserError(NO_TEXT)
    return UserError(f"expected text that a vocabulary can be learned from; SentencePiece: {message.strip()}")
