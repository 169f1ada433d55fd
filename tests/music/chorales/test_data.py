import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.model.batch import Batches
from triptych.music.chorales.augmentation import Augmentation
from triptych.music.chorales.codec import END, HIGHEST, HOLE, LOWEST, RANGES, REST, SILENT, ChoraleCodec, Grid, to_piece
from triptych.music.chorales.data import (
    ChoraleData,
    draw_holes,
    held_out_pieces,
    read_chorales,
    transposed,
    transpositions,
    whole_quarters,
)
from triptych.music.chorales.labels import label_of
from triptych.music.files.midi import midi_bytes
from triptych.music.piece.key import Key, key_of
from triptych.music.piece.piece import Note, Piece

CODEC = ChoraleCodec()
PLAIN = Augmentation(transpose=False, label=False)


def grid_of(seed: int, steps: int, *, rests: bool = True) -> Grid:
    """Random notes within the ranges of the voices, the last step sounding."""
    random = np.random.default_rng(seed)
    grid = np.stack([random.integers(low, high + 1, steps) for low, high in RANGES], 1)
    if rests:
        grid[:-1][random.random((steps - 1, 4)) < 0.1] = SILENT
    return grid


def ids(steps: int) -> int:
    return 4 * steps


# -- files ------------------------------------------------------------------------------------------------------------


def test_json(tmp_path: Path) -> None:
    grids = [grid_of(seed, 5 + seed) for seed in range(3)]
    path = tmp_path / "chorales.json"
    path.write_text(json.dumps({"train": [grid.tolist() for grid in grids], "valid": [grids[0].tolist()]}))
    read, words = read_chorales(str(path))
    assert words == []
    for grid, found in zip(grids, read, strict=True):
        np.testing.assert_array_equal(found, grid)
    assert len(read_chorales(path, "valid")[0]) == 1
    with pytest.raises(UserError, match="got 'test'; its names: 'train', 'valid'"):
        read_chorales(path, "test")


FINE = "[[60, 55, 50, 40]]"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got other things"),
        (b"\xff\xfe{}", "got other things"),
        (b"[" * 100_000, "got other things"),
        (b"[1]", "got other things"),
        (b'"train"', "got other things"),
        (b"{}", "got 'train'; its names:"),
        (b'{"train": 5}', "a list of pieces, got 'train'"),
        (b'{"train": {"a": [[60, 55, 50, 40]]}}', "a list of pieces, got 'train'"),
        (b'{"train": []}', "got none"),
        (f'{{"train": [{FINE}, 7]}}'.encode(), r"piece 2 of .* got int64 \[\]"),
        (f'{{"train": [{FINE}, []]}}'.encode(), r"piece 2 of .* got float64 \[0\]"),
        (f'{{"train": [{FINE}, [[60, 55, 50]]]}}'.encode(), r"piece 2 of .* got int64 \[1, 3\]"),
        (f'{{"train": [{FINE}, [[60, 55, 50, 40], [60]]]}}'.encode(), "piece 2 of .* different lengths"),
        (f'{{"train": [{FINE}, [[60, 55, 50, -5]]]}}'.encode(), "piece 2 of .* got -5"),
        (f'{{"train": [{FINE}, [[60, 55, 50, -2]]]}}'.encode(), "piece 2 of .* got -2"),
        (f'{{"train": [{FINE}, [[60.5, 55, 50, 40]]]}}'.encode(), "piece 2 of .* got float64"),
        (f'{{"train": [{FINE}, [[NaN, 55, 50, 40]]]}}'.encode(), "piece 2 of .* got float64"),
        (f'{{"train": [{FINE}, [[true, 55, 50, 40]]]}}'.encode(), "piece 2 of .* got C#-1"),
        (f'{{"train": [{FINE}, [[true, true, true, true]]]}}'.encode(), "piece 2 of .* got bool"),
        (f'{{"train": [{FINE}, [[null, 55, 50, 40]]]}}'.encode(), "piece 2 of .* got object"),
        (f'{{"train": [{FINE}, [["60", "55", "50", "40"]]]}}'.encode(), "piece 2 of .* got <U2"),
        (f'{{"train": [{FINE}, [[{10**30}, 55, 50, 40]]]}}'.encode(), "piece 2 of .* got object"),
        (f'{{"train": [{FINE}, [[{2**63}, 55, 50, 40]]]}}'.encode(), "piece 2 of .* expected"),
        (f'{{"train": [{FINE}, {"[" * 70}{"]" * 70}]}}'.encode(), "piece 2 of .* expected integers"),
        (f'{{"train": [{FINE}, {{"steps": {FINE}}}]}}'.encode(), "piece 2 of .* got object"),
    ],
)
def test_json_of_other_things(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "chorales.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_chorales(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["none.json", "none.zip", "none"])
def test_a_path_of_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="which is not there"):
        read_chorales(tmp_path / name)


def pieces(count: int) -> dict[str, tuple[Grid, bytes]]:
    """MIDI files by name; some lie in folders, whose order is not that of the strings."""
    found = {}
    for number in range(count):
        grid = grid_of(number, 8)
        found[f"{('', 'deep/', 'deep down/')[number % 3]}{number:02}.mid"] = grid, midi_bytes(to_piece(grid))
    return found


def test_a_folder_and_a_zip_of_midi(tmp_path: Path) -> None:
    files = pieces(21)
    folder = tmp_path / "folder"
    with zipfile.ZipFile(tmp_path / "music.ZIP", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (_, data) in reversed(files.items()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
            archive.writestr(name, data)
        archive.writestr("read.me", "no music")
    (folder / "read.me").write_text("no music")
    for path in (folder, tmp_path / "music.ZIP"):
        train, words = read_chorales(path, "train")
        valid, more = read_chorales(path, "valid")
        assert words == more == []
        grids = [files[name][0] for name in sorted(files, key=lambda name: name.split("/"))]
        np.testing.assert_array_equal(valid, grids[9::10])
        np.testing.assert_array_equal(train, [grid for number, grid in enumerate(grids, 1) if number % 10])
        with pytest.raises(UserError, match="'train' or 'valid' of a folder or zip, got 'test'"):
            read_chorales(path, "test")


def test_a_few_files_hold_out_none(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(midi_bytes(to_piece(grid_of(0, 4))))
    with pytest.raises(UserError, match=r"'valid' of .*, got none; of MIDI files, every 10th"):
        read_chorales(tmp_path, "valid")


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(b"no music")
    (tmp_path / "b.mid").mkdir()
    with pytest.raises(UserError, match=r"got none; first: expected a MIDI file, got '.*a\.mid'"):
        read_chorales(tmp_path)
    (tmp_path / "high.mid").write_bytes(midi_bytes(Piece((Note(0, 1, 100),))))
    (tmp_path / "odd\x1b[1m.mid").write_bytes(midi_bytes(Piece((Note(1, 3, 60),), resolution=8)))
    grids, words = read_chorales(tmp_path)
    assert [grid.tolist() for grid in grids] == [[[SILENT] * 4, [60, SILENT, SILENT, SILENT]]]
    assert len(words) == 4 and all("\n" not in word and "\x1b" not in word for word in words)
    assert words[2].startswith("'high.mid': expected notes from C2 (36) to A5")
    assert words[3] == r"'odd\x1b[1m.mid': 1 of 1 notes moved to the nearest sixteenth"


def test_a_zip_of_bad_members(tmp_path: Path) -> None:
    grid = grid_of(0, 8)
    data = midi_bytes(to_piece(grid))
    path = tmp_path / "inner" / "music.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../out.mid", data)
        archive.writestr("/absolute.mid", data)
        archive.writestr("bomb.mid", b"MThd" + bytes(10_000_000))
        archive.writestr("folder.mid/", b"")
        for name in ("broken.mid", "changed.mid", "locked.mid", "unknown.mid"):
            archive.writestr(name, data)
    raw = bytearray(path.read_bytes())
    for entry in zipfile.ZipFile(path).infolist():
        central = raw.rfind(entry.filename.encode()) - 46
        start = entry.header_offset + 30 + len(entry.filename)
        if entry.filename == "broken.mid":
            raw[start] = 0xFF  # no deflate stream begins so
        elif entry.filename == "changed.mid":
            raw[central + 16] ^= 1  # the sum of its content
        elif entry.filename == "locked.mid":
            raw[entry.header_offset + 6] |= 1
            raw[central + 8] |= 1
        elif entry.filename == "unknown.mid":
            raw[central + 10] = raw[entry.header_offset + 8] = 77
    path.write_bytes(raw)
    before = sorted(tmp_path.rglob("*"))
    grids, words = read_chorales(path)
    np.testing.assert_array_equal(grids, [grid, grid])
    assert sorted(tmp_path.rglob("*")) == before, "nothing is unpacked"
    assert len(words) == 5
    assert "at most 10,000,000 bytes, got 'bomb.mid'" in words[0]
    for name, word in zip(("broken", "changed", "locked", "unknown"), words[1:], strict=True):
        assert word.startswith(f"expected a whole file without a password, got '{name}.mid'") and "\n" not in word


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all"])
def test_what_is_no_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match="expected a folder or a zip of MIDI files") as caught:
        read_chorales(tmp_path / "a.zip")
    assert "\n" not in str(caught.value)


# -- augmentation -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**31), st.integers(0, 6))
def test_transpositions_keep_to_the_vocabulary(seed: int, steps: int) -> None:
    random = np.random.default_rng(seed)
    low, high = sorted(random.integers(LOWEST, HIGHEST + 1, 2).tolist())
    grid = random.integers(low, high + 1, (steps, 4))
    grid[random.random(grid.shape) < 0.2] = SILENT
    found = transpositions(grid)
    pitches = [pitch for pitch in grid.flatten().tolist() if pitch >= 0]
    if not pitches:
        assert found == [0]
        return
    assert found == [shift for shift in range(-5, 7) if all(36 <= pitch + shift <= 81 for pitch in pitches)]
    for shift in found:
        moved = transposed(grid, shift)
        assert (CODEC.encode(moved) < END).all()
        np.testing.assert_array_equal(moved == SILENT, grid == SILENT)
        np.testing.assert_array_equal(transposed(moved, -shift), grid)


def test_labels_are_one_for_each_mode_and_key() -> None:
    keys = [Key(tonic, minor) for minor in (False, True) for tonic in range(12)]
    assert [label_of(key) for key in keys] == list(range(2, 26))
    assert {label_of(key, mode_only=True) for key in keys[:12]} == {0}
    assert {label_of(key, mode_only=True) for key in keys[12:]} == {1}


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 30), st.integers(0, 2**31))
def test_holes_are_voices_or_a_span_or_quarter_notes(steps: int, seed: int) -> None:
    hidden = draw_holes(steps, np.random.default_rng(seed))
    assert hidden.dtype == bool and hidden.shape == (steps, 4)
    rows, voices = hidden.any(1), hidden.any(0)
    span = np.flatnonzero(rows)
    block = bool((hidden == np.outer(rows, voices)).all()) and len(span) in (0, np.ptp(span) + 1 if len(span) else 0)
    quarters = all((hidden[at : at + 4] == hidden[at]).all() for at in range(0, steps, 4))
    assert block or quarters


def test_every_kind_of_hole_is_drawn() -> None:
    drawn = [draw_holes(16, np.random.default_rng(seed)) for seed in range(400)]
    whole = [mask for mask in drawn if (mask.all(0) | ~mask.any(0)).all() and mask.any()]
    assert {int(mask[0].sum()) for mask in whole} == {1, 2, 3, 4}
    assert {tuple(mask[0]) for mask in whole if mask[0].sum() == 1} == {tuple(row) for row in np.eye(4, dtype=bool)}
    assert 100 < len(whole) < 180  # a third, and a few of the others
    assert sum(mask.all() for mask in whole) > 25  # a quarter of them
    starts = {int(mask.any(1).argmax()) for mask in drawn if mask.any() and not mask[0].any()}
    assert len(starts) > 12, "a span begins at any sixteenth"
    shares = [mask.mean() for mask in drawn]
    assert min(shares) == 0 and max(shares) == 1 and 0.3 < np.mean(shares) < 0.6


PIECES = st.builds(
    lambda seed, steps: np.random.default_rng(seed).integers(60, 66, (steps, 4)), st.integers(0, 99), st.integers(1, 80)
)


@settings(deadline=None, max_examples=60)
@given(PIECES, st.integers(0, 2**31), st.sampled_from(["rests", "shift", "thin"]))
def test_a_change_of_one_kind(grid: Grid, seed: int, kind: str) -> None:
    found = Augmentation(**{kind: 1.0}).changed(grid, np.random.default_rng(seed))  # type: ignore[arg-type]
    if kind == "shift" and len(grid) <= 16:
        assert found is None
        return
    assert found is not None
    changed, empty = found
    assert changed.shape == empty.shape and changed.dtype == np.int64
    if kind == "rests":
        rests = len(changed) - len(grid)
        assert rests in range(4, 33, 4) and (changed[:rests] == SILENT).all() and not empty.any()
        np.testing.assert_array_equal(changed[rests:], grid)
    elif kind == "shift":
        assert len(grid) - len(changed) in (4, 8, 12) and not empty.any()
        np.testing.assert_array_equal(changed, grid[len(grid) - len(changed) :])
    else:
        assert 1 <= empty.any(0).sum() <= 3 and (changed[empty] == SILENT).all()
        np.testing.assert_array_equal(changed[~empty], grid[~empty])
        stops = {int(empty[:, voice].sum()) for voice in range(4)} - {0}
        assert len(stops) == 1 and (stops == {len(grid)} or stops.pop() % 16 == 0)


def test_without_a_share_nothing_is_drawn_and_shares_are_shares() -> None:
    random = np.random.default_rng(1)
    assert Augmentation().changed(np.full((32, 4), 60), random) is None
    assert random.random() == np.random.default_rng(1).random()
    half = Augmentation(rests=0.5)
    assert 60 < sum(half.changed(np.full((32, 4), 60), random) is not None for _ in range(160)) < 100
    wrong: list[dict[str, object]] = [{"rests": -0.1}, {"shift": 1.5}, {"thin": True}, {"rests": "x"}, {"label": 1}]
    for settings_ in wrong:
        with pytest.raises(UserError, match=f"expected data.{next(iter(settings_))} "):
            Augmentation(**settings_)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["compose", "infill"])
def test_batches_of_changed_pieces(task: str) -> None:
    grids = [np.random.default_rng(seed).integers(60, 66, (40, 4)) for seed in range(4)]
    still = Augmentation(transpose=False, label=False, rests=1.0, thin=1.0)
    codec = ChoraleCodec(("bass", "soprano", "alto", "tenor"))
    data = ChoraleData(grids, codec, task=task, tokens_per_batch=10_000, augmentation=still)  # type: ignore[arg-type]
    for number in range(4):
        first, again = data.epoch(number)[0], data.epoch(number)[0]
        assert torch.equal(first.target, again.target)
        for row, length in zip(range(len(first)), first.lengths.tolist(), strict=True):
            ids = first.target[row, :length].numpy()
            grid = codec.decode(ids)
            assert (grid[:4] == SILENT).all() and len(grid) > 40
            if first.source is None:
                assert ids[-1] == END
                continue
            source = first.source[row, :length].numpy()
            np.testing.assert_array_equal(source[source != HOLE], ids[source != HOLE])
            sung = grid[int((grid >= 0).any(1).argmax()) :]
            thin = (sung == SILENT).all(0)
            hidden = codec.decode(np.where(source == HOLE, 0, END - 1).tolist()) >= 0
            assert not hidden[-len(sung) :][:, thin].any(), "a voice that rests throughout is known to"


# -- batches ----------------------------------------------------------------------------------------------------------


def rows_of(examples: Batches) -> list[tuple[list[int], list[int], int]]:
    """Target, source and label of every example, without the padding, which must be zeros."""
    found = []
    for batch in examples:
        assert batch.label is not None
        assert int(batch.lengths.max()) == batch.target.size(1)
        for row, length in enumerate(batch.lengths.tolist()):
            assert not batch.target[row, length:].any()
            source: list[int] = []
            if batch.source is not None and batch.source_lengths is not None:
                assert int(batch.source_lengths[row]) == length and not batch.source[row, length:].any()
                source = batch.source[row, :length].tolist()
            found.append((batch.target[row, :length].tolist(), source, int(batch.label[row])))
    return found


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 30), max_size=8), st.integers(0, 2**31), st.sampled_from([1, 200, 5000]))
def test_batches_hold_every_token_once(lengths: list[int], seed: int, tokens: int) -> None:
    grids = [grid_of(seed + number, steps) for number, steps in enumerate(lengths)]
    data = ChoraleData(grids, CODEC, tokens_per_batch=tokens, length=128, augmentation=PLAIN, seed=seed % 1000)
    examples = data.epoch(0)
    expected = Counter(tuple([*CODEC.encode(whole_quarters(grid)).tolist(), END]) for grid in grids)
    assert Counter(tuple(target) for target, _, _ in rows_of(examples)) == expected
    assert {label for _, _, label in rows_of(examples)} <= {-1}
    assert len(data) == len(grids)
    assert all(len(batch) and batch.target.numel() <= max(tokens, 129) for batch in examples)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 150), st.integers(1, 4), st.sampled_from(["compose", "infill"]), st.integers(0, 1000))
def test_crops_of_longer_pieces(steps: int, bars: int, task: str, seed: int) -> None:
    grid, length = grid_of(seed, steps), 64 * bars
    whole = CODEC.encode(whole_quarters(grid)).tolist()
    data = ChoraleData([grid], CODEC, task=task, length=length, augmentation=PLAIN, seed=seed)  # type: ignore[arg-type]
    crops = [target for target, _, _ in rows_of(data.epoch(seed))]
    assert len(crops) == -(-len(whole) // length)
    beginnings, endings = [], []
    for crop in crops:
        ends = crop[-1] == END
        notes = crop[:-1] if ends else crop
        assert 0 < len(notes) <= length and END not in notes
        places = [at for at in range(0, len(whole), 64) if whole[at : at + len(notes)] == notes]
        assert places, "a crop begins after whole bars"
        assert len(notes) == length or places[-1] + len(notes) == len(whole), "only the last one may be shorter"
        assert task == "infill" or ends == (places[-1] + len(notes) == len(whole))
        assert task == "compose" or not ends
        beginnings += places
        endings += [at + len(notes) for at in places]
    assert 0 in beginnings and len(whole) in endings


def test_every_place_is_cropped_sometime() -> None:
    grid = grid_of(0, 100, rests=False)
    whole = CODEC.encode(grid).tolist()
    data = ChoraleData([grid], CODEC, length=64, augmentation=PLAIN)
    crops = [target for epoch in range(60) for target, _, _ in rows_of(data.epoch(epoch))]
    found = {at for at in range(0, 400, 16) if any(crop[:16] == whole[at : at + 16] for crop in crops)}
    assert found == set(range(0, 400, 64))


def equal(one: Batches, other: Batches) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.target, b.target) and torch.equal(a.source, b.source) and torch.equal(a.label, b.label)  # type: ignore[arg-type]
        for a, b in zip(one, other, strict=True)
    )


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    grids = [grid_of(seed, 12 + seed) for seed in range(9)]
    make: Callable[[int], ChoraleData] = lambda seed: ChoraleData(  # noqa: E731
        grids, CODEC, task="infill", tokens_per_batch=150, length=64, seed=seed
    )
    data = make(3)
    second, first = data.epoch(1), data.epoch(0)
    assert equal(first, make(3).epoch(0)) and equal(second, data.epoch(1))
    assert not equal(first, second) and not equal(first, make(4).epoch(0))
    assert len(first[1:3]) == 2 and torch.equal(first[1:3][1].target, first[2].target)
    assert torch.equal(first[-1].target, first[len(first) - 1].target)


def test_a_source_is_its_target_with_holes() -> None:
    data = ChoraleData([grid_of(seed, 16) for seed in range(40)], CODEC, task="infill", length=64)
    holes = tokens = 0
    for target, source, _ in rows_of(data.epoch(0)):
        assert len(target) == len(source) == ids(16)
        assert all(hidden in (HOLE, token) for token, hidden in zip(target, source, strict=True))
        holes, tokens = holes + source.count(HOLE), tokens + len(source)
    assert 0.2 < holes / tokens < 0.8


def test_pieces_are_moved_and_labelled_by_what_they_become() -> None:
    # C major and A minor, a scale and its triad in the range of each voice: the key is beyond doubt.
    major = np.array([[72, 64, 55, 48], [74, 65, 57, 50], [71, 62, 55, 43], [72, 64, 55, 48]])
    minor = np.array([[69, 60, 52, 45], [71, 62, 53, 50], [68, 59, 52, 40], [69, 60, 52, 45]])
    assert (key_of(major), key_of(minor)) == (Key(0, minor=False), Key(9, minor=True))
    data = ChoraleData([major, minor] * 150, CODEC, length=64)
    kinds: Counter[str] = Counter()
    shifts = set()
    for target, _, label in rows_of(data.epoch(0)):
        grid = CODEC.decode(target)
        key = key_of(grid)
        shifts.add(int(grid[0, 0]) - (69 if key.minor else 72))
        kinds["none" if label < 0 else "mode" if label < 2 else "key"] += 1
        assert label in (-1, label_of(key, mode_only=True), label_of(key))
    assert shifts == set(transpositions(major)) | set(transpositions(minor))
    assert len(shifts) > 5
    shares = {kind: count / 300 for kind, count in kinds.items()}
    assert 0.33 < shares["none"] < 0.47 and 0.23 < shares["mode"] < 0.37 and 0.23 < shares["key"] < 0.37
    labels = [label for _, _, label in rows_of(ChoraleData([major] * 50, CODEC, augmentation=PLAIN).epoch(0))]
    assert labels == [-1] * 50


@pytest.mark.parametrize("length", [0, -64, 16, 63, 1000])
def test_crops_are_of_whole_bars(length: int) -> None:
    with pytest.raises(UserError, match=f"data.length in whole bars .*, got {length}"):
        ChoraleData([], CODEC, length=length)


def test_mistakes_in_grids() -> None:
    for wrong in (grid_of(0, 4) + 60, np.full((4, 4), -2), np.empty((0, 4), np.int64)):
        with pytest.raises(UserError, match="expected"):
            ChoraleData([wrong], CODEC)
        with pytest.raises(UserError, match="expected"):
            held_out_pieces([wrong], CODEC)
    assert len(ChoraleData([], CODEC).epoch(0)) == 0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 40), max_size=4))
def test_held_out_pieces_are_whole(lengths: list[int]) -> None:
    grids = [grid_of(number, steps) for number, steps in enumerate(lengths)]
    for task in ("compose", "infill"):
        batches = held_out_pieces(grids, CODEC, task)
        assert sum(int(batch.lengths.sum()) for batch in batches) == sum(map(ids, lengths))
        for grid, batch in zip(grids, batches, strict=True):
            assert batch.target.tolist() == [CODEC.encode(grid).tolist()]
            assert batch.label is not None and batch.label.tolist() == [-1]
            assert (batch.source is None) == (task == "compose")
            if batch.source is not None:
                source = batch.source.view(-1, 4)
                np.testing.assert_array_equal(source[:, 0], np.where(grid[:, 0] < 0, REST, grid[:, 0] - LOWEST))
                assert (source[:, 1:] == HOLE).all()
