import gzip
import json
import os
import random
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.text.codec import TextCodec
from triptych.text.data import PairData, Pairs, Report, read_pairs
from triptych.text.files import read_lines

WORDS = [first + last for first in ("ka", "lo", "mi", "ten", "ru", "sol") for last in ("da", "gen", "st", "ber", "")]


def make_pairs(count: int, longest: int = 12, seed: int = 0) -> Pairs:
    draw = random.Random(seed)
    source = [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(count)]
    return Pairs(source, [line.upper() if len(line) % 3 else line[: len(line) // 2 + 1].strip() for line in source])


def make_codec() -> TextCodec:
    pairs = make_pairs(300)
    return TextCodec.train([*pairs.source, *pairs.target], 330)


CODEC: list[TextCodec] = []


@pytest.fixture
def codec() -> TextCodec:
    return shared_codec()


def shared_codec() -> TextCodec:
    if not CODEC:
        CODEC.append(make_codec())
    return CODEC[0]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ---- reading


def test_two_files_of_lines(tmp_path: Path) -> None:
    source, target = write(tmp_path / "a.en", "one\n two \nthree\n"), write(tmp_path / "a.de", "eins\nzwei\ndrei")
    pairs = read_pairs(source, str(target))
    assert pairs.source == ["one", "two", "three"]
    assert pairs.target == ["eins", "zwei", "drei"]
    assert pairs.lines == [1, 2, 3]
    assert str(pairs.report) == "skipped no pairs"


@pytest.mark.parametrize("name", ["rows.tsv", "rows.TSV", "rows.txt", "rows.jsonl", "rows.ndjson", "rows"])
@pytest.mark.parametrize("packed", [False, True])
def test_one_file_of_rows(tmp_path: Path, name: str, packed: bool) -> None:
    expected = [("one", "eins"), ("two “2”", "zwei")]
    if name.lower().endswith(("tsv", "txt")):
        content = "".join(f"{source}\t{target}\n" for source, target in expected)
    else:
        content = "".join(json.dumps({"source": source, "target": target}) + "\n" for source, target in expected)
    data = gzip.compress(content.encode()) if packed else content.encode()
    pairs = read_pairs(write(tmp_path / (name + ".gz" * packed), data))
    assert list(zip(pairs.source, pairs.target, strict=True)) == expected


def test_gzip_is_found_by_the_content(tmp_path: Path) -> None:
    source = write(tmp_path / "a.en", gzip.compress(b"one\n"))  # packed without the suffix
    target = write(tmp_path / "a.de.gz", "eins\n")  # the suffix without being packed
    assert read_pairs(source, target).source == ["one"]
    assert read_pairs(source, target).target == ["eins"]


def test_only_line_feeds_end_lines(tmp_path: Path) -> None:
    odd = "one\u2028still one\x0b\x0c\x1c\x85 one\rone"
    source, target = write(tmp_path / "a", f"\ufeff{odd}\r\ntwo\r\n"), write(tmp_path / "b", "eins\nzwei\n")
    pairs = read_pairs(source, target)
    assert pairs.source == [odd, "two"]
    assert pairs.target == ["eins", "zwei"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"one\teins\ntwo\tzwei\n",), daemon=True)
    writer.start()
    pairs = read_pairs(path)
    writer.join()
    assert pairs.source == ["one", "two"]


def test_unusable_lines_are_reported_with_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.text.data.MAX_CHARACTERS", 10)
    source = write(tmp_path / "a", b"one\n\n  \nfour\nf\xffve\nsix\n" + b"7" * 11 + b"\neight\n")
    target = write(tmp_path / "b", b"eins\nzwei\ndrei\n\nvier\n\xe4\nsieben\n" + "ä".encode() * 10 + b"\n")
    pairs = read_pairs(source, target)
    assert pairs.source == ["one", "eight"]
    assert pairs.target == ["eins", "ä" * 10]
    assert pairs.lines == [1, 8]
    assert pairs.report.counts == {
        "empty source": 2,
        "empty target": 1,
        "source not UTF-8": 1,
        "target not UTF-8": 1,
        "source over 10 characters": 1,
    }
    assert pairs.report.first["empty source"] == [2, 3]
    assert str(pairs.report).startswith("skipped 6 pairs: 2 empty source (lines 2, 3); 1 empty target (line 4); ")


def test_a_report_shows_the_first_lines_only() -> None:
    report = Report()
    for line in range(10, 20):
        report.add("empty source", line)
    assert report.skipped == 10
    assert str(report) == "skipped 10 pairs: 10 empty source (lines 10, 11, 12, 13, 14, ...)"


def test_malformed_rows_of_tsv(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", b"one\teins\nno tab\ntwo\tzwei\tmore\n\n\tdrei\n\xff\tx\n")
    pairs = read_pairs(path)
    assert pairs.source == ["one"]
    assert pairs.report.first == {
        "row without exactly two columns": [2, 3],
        "empty row": [4],
        "empty source": [5],
        "row not UTF-8": [6],
    }


def test_malformed_rows_of_jsonl(tmp_path: Path) -> None:
    rows = [
        '{"source": "one", "target": "eins"}',
        '{"source": "two"}',
        '{"source": "two", "target": 2}',
        '["two", "zwei"]',
        "null",
        '{"source": "two", ',
        "[" * 100_000,
        '{"source": ["two"], "target": ["zwei"]}',
    ]
    surrogate = '{"source": "\\ud800", "target": "zwei"}'
    pairs = read_pairs(write(tmp_path / "a.jsonl", "\n".join([*rows, "", surrogate])))
    assert pairs.source == ["one"]
    assert pairs.report.first == {
        'row that is no {"source": "...", "target": "..."}': [2, 3, 4, 5, 6],
        "empty row": [9],
        "row not UTF-8": [10],
    }
    assert pairs.report.skipped == 9


@pytest.mark.parametrize(("left", "right"), [(3, 5), (5, 3), (0, 1)])
def test_unequal_files_are_refused(tmp_path: Path, left: int, right: int) -> None:
    source, target = write(tmp_path / "a", "x\n" * left), write(tmp_path / "b", "x\n" * right)
    with pytest.raises(UserError, match=f"got {right} and {left}; align"):
        read_pairs(source, target)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"\n\n", "2 empty row"),
        (b"\xff\xfeo\x00n\x00e\x00", "UTF-16"),
        (b"one\n", "without exactly two columns"),
    ],
)
def test_nothing_left_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        read_pairs(write(tmp_path / "a.tsv", content))
    assert "\n" not in str(caught.value)


def test_a_file_of_plain_lines_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected TSV or JSONL .* give a second file"):
        read_pairs(write(tmp_path / "train.de", "eins\nzwei\n"))


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "train.de", "eins\n")
    with pytest.raises(UserError, match=r"did you mean .*train\.de\?"):
        read_pairs(tmp_path / "trian.de")
    with pytest.raises(UserError, match="check the path"):
        read_pairs(tmp_path / "quite another")
    with pytest.raises(UserError, match="there is no folder"):
        read_pairs(tmp_path / "none" / "train.de")
    with pytest.raises(UserError, match="got the folder"):
        read_pairs(tmp_path)


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(os.urandom(1000).hex().encode())
    for damaged in (packed[:200], packed[:100] + b"\x00" * 20 + packed[120:], b"\x1f\x8bno gzip"):
        with pytest.raises(UserError, match="got a damaged one"):
            read_pairs(write(tmp_path / "a.tsv.gz", damaged))


def test_read_lines(tmp_path: Path) -> None:
    assert read_lines(write(tmp_path / "a", "one \n\ntwo")) == ["one", "", "two"]
    with pytest.raises(UserError, match="line 2"):
        read_lines(write(tmp_path / "b", b"one\n\xff\n"))


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(UserError, match="got 1 and 2"):
        Pairs(["a", "b"], ["c"])
    pairs = Pairs(["a", "b"], ["c", "d"], [4, 7])
    assert (pairs.line(1), pairs.only(range(1)).source, pairs.only(range(1)).line(0)) == (7, ["a"], 4)
    assert Pairs(["a", "b"], ["c", "d"]).line(1) == 2


# ---- batches


def equal(one: Batch, other: Batch) -> bool:
    assert one.source is not None and one.source_lengths is not None
    assert other.source is not None and other.source_lengths is not None
    return (
        torch.equal(one.target, other.target)
        and torch.equal(one.lengths, other.lengths)
        and torch.equal(one.source, other.source)
        and torch.equal(one.source_lengths, other.source_lengths)
    )


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 80),
    tokens=st.integers(8, 200),
    multiple=st.integers(1, 8),
    alpha=st.sampled_from([0.0, 0.2]),
    number=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_an_epoch_holds_each_pair_once_within_the_budget(
    count: int, tokens: int, multiple: int, alpha: float, number: int, shuffle: bool
) -> None:
    codec = shared_codec()
    pairs = Pairs(["ka", *make_pairs(count).source], ["KA", *make_pairs(count).target])
    data = PairData(pairs, codec, tokens_per_batch=tokens, multiple=multiple, alpha=alpha, seed=3, shuffle=shuffle)
    assert len(data) + data.pairs.report.skipped == len(pairs)
    epoch = data.epoch(number)
    assert sorted(row for rows in epoch.parts for row in rows) == list(range(len(data)))
    assert len(list(epoch)) == len(epoch)
    for batch, rows in zip(epoch, epoch.parts, strict=True):
        assert batch.source is not None and batch.source_lengths is not None and batch.label is None
        assert 0 < batch.target.numel() <= tokens
        assert batch.source.numel() <= 2 * tokens
        for ids, lengths, lines in (
            (batch.target, batch.lengths, data.pairs.target),
            (batch.source, batch.source_lengths, data.pairs.source),
        ):
            assert ids.dtype == lengths.dtype == torch.int64
            assert ids.shape[1] % multiple == 0
            assert ids.shape[1] - int(lengths.max()) < multiple
            for row, line, length in zip(ids.tolist(), rows, lengths.tolist(), strict=True):
                assert row[length - 1] == TextCodec.END
                assert TextCodec.END not in row[: length - 1]
                assert row[length:] == [0] * (len(row) - length)
                assert codec.decode(row[:length]) == lines[line]


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_an_epoch_is_a_function_of_seed_and_number(codec: TextCodec, alpha: float) -> None:
    def data(seed: int) -> PairData:
        return PairData(make_pairs(200), codec, tokens_per_batch=200, alpha=alpha, seed=seed)

    def same(one: PairData, number: int, other: PairData, other_number: int) -> bool:
        first, second = one.epoch(number), other.epoch(other_number)
        return len(first) == len(second) and all(map(equal, first, second))

    worn = data(1)
    worn.epoch(0)
    assert same(worn, 5, data(1), 5)
    assert not same(data(1), 5, data(1), 6)
    assert not same(data(1), 5, data(2), 5)


def test_an_epoch_resumes_in_the_middle(codec: TextCodec) -> None:
    data = PairData(make_pairs(200), codec, tokens_per_batch=200, alpha=0.3)
    epoch = data.epoch(2)
    rest = data.epoch(2)[3:]
    assert len(rest) == len(epoch) - 3
    assert equal(rest[0], epoch[3])
    assert equal(rest[-1], epoch[-1])


def test_neighbours_and_order_change_every_epoch(codec: TextCodec) -> None:
    data = PairData(make_pairs(300), codec, tokens_per_batch=200)
    first, second = ([frozenset(rows.tolist()) for rows in data.epoch(number).parts] for number in (0, 1))
    assert len(set(first) & set(second)) < len(first) / 2
    widths = [batch.target.shape[1] for batch in data.epoch(0)]
    assert widths != sorted(widths)


def test_sampling_changes_the_ids_but_not_the_text(codec: TextCodec) -> None:
    pairs = make_pairs(100)
    best = [ids for line in pairs.target for ids in codec.encode(line)]
    data = PairData(pairs, codec, tokens_per_batch=200, alpha=0.2)
    drawn = [sum(int(batch.lengths.sum()) for batch in data.epoch(number)) for number in range(2)]
    assert min(drawn) > len(best)
    assert drawn[0] != drawn[1]


def test_held_out_data_is_in_a_stable_order(codec: TextCodec) -> None:
    data = PairData(make_pairs(100), codec, tokens_per_batch=100, shuffle=False)
    assert all(map(equal, data.epoch(0), data.epoch(7)))
    widths = [batch.target.shape[1] for batch in data.epoch(0)]
    assert widths == sorted(widths)


def test_buckets_save_padding(codec: TextCodec) -> None:
    pairs = make_pairs(500, longest=30)
    bucketed = PairData(pairs, codec, tokens_per_batch=300, multiple=1).epoch(0)
    batches = list(bucketed)
    filled = sum(int(batch.source_lengths.sum()) for batch in batches), sum(batch.tokens for batch in batches)
    space = sum(batch.source.numel() for batch in batches), sum(batch.target.numel() for batch in batches)
    source, target = (1 - one / other for one, other in zip(filled, space, strict=True))
    assert 0 <= target < 0.1
    assert 0 <= source < 0.25


def test_pairs_of_too_many_tokens_are_left_out_and_reported(codec: TextCodec) -> None:
    long = " ".join(WORDS)
    pairs = Pairs(["ka", long, "lo", "mi"], ["ka", "lo", long, "mi"], [3, 5, 8, 9], Report({"old": 1}, {"old": [4]}))
    data = PairData(pairs, codec, longest=20)
    assert data.pairs.source == ["ka", "mi"]
    assert data.pairs.lines == [3, 9]
    assert data.pairs.report.first == {"old": [4], "source over 20 tokens": [5], "target over 20 tokens": [8]}
    assert pairs.report.counts == {"old": 1}, "the report of the file is its own"


def test_pairs_larger_than_a_batch_are_left_out(codec: TextCodec) -> None:
    pairs = Pairs(["ka", " ".join(WORDS)], ["ka", "lo"])
    data = PairData(pairs, codec, tokens_per_batch=19, multiple=4)
    assert data.pairs.report.first == {"source over 16 tokens": [2]}


def test_a_text_that_normalises_to_nothing_is_empty(codec: TextCodec) -> None:
    data = PairData(Pairs(["ka", "\u200b\x01"], ["ka", "lo"]), codec)
    assert data.pairs.report.first == {"empty source": [2]}


def test_a_drawn_segmentation_never_exceeds_the_limit(codec: TextCodec) -> None:
    pairs = make_pairs(60)
    longest = max(len(codec.encode(line)) for line in [*pairs.source, *pairs.target])
    data = PairData(pairs, codec, alpha=0.05, longest=longest, multiple=1)
    assert len(data) == 60
    widths = {batch.target.shape[1] for number in range(4) for batch in data.epoch(number)}
    assert max(widths) <= longest


def test_no_usable_pair_is_refused(codec: TextCodec) -> None:
    with pytest.raises(UserError, match=r"at most 3 tokens, got none .*1 source over 3 tokens \(line 1\)"):
        PairData(Pairs([" ".join(WORDS)], ["ka"]), codec, longest=3)
    with pytest.raises(UserError, match="got none"):
        PairData(Pairs([], []), codec)


@pytest.mark.parametrize("options", [{"tokens_per_batch": 1}, {"tokens_per_batch": 4, "multiple": 8}, {"multiple": 0}])
def test_impossible_batches_are_refused(codec: TextCodec, options: dict[str, int]) -> None:
    with pytest.raises(UserError, match="expected batches"):
        PairData(make_pairs(2), codec, **options)  # type: ignore[arg-type]


def test_a_negative_seed_is_refused(codec: TextCodec) -> None:
    with pytest.raises(UserError, match="expected a seed"):
        PairData(make_pairs(2), codec, seed=-1)
