import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.look import complexity
from triptych.music.chorales.codec import RANGES, to_piece
from triptych.music.chorales.composer import Composer
from triptych.music.files.midi import midi_bytes
from triptych.music.files.save import save_music
from triptych.music.performances import pianist
from triptych.music.performances.pianist import Pianist
from triptych.music.piece.performance import Performance
from triptych.music.piece.piece import Note, Piece


def test_attention_numbers_and_picture(run: Any, translator: Any, tmp_path: Path) -> None:
    picture = tmp_path / "new" / "a.png"
    ran = run("look", "text", "a dog", "--out", picture, "--layer", 2, "--head", 1, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["translation"] == "dog a" and [each["kind"] for each in report["maps"]] == [
        "encoder",
        "decoder",
        "cross",
    ]
    for each in report["maps"]:
        assert each["layers"] == ["layer 2"] and each["heads"] == ["head 1"]
        assert sum(each["weights"][0][0][0]) == pytest.approx(1, abs=1e-4)
        assert len(each["weights"][0][0]) == len(each["queries"])
    encoder, decoder, cross = report["maps"]
    assert encoder["queries"] == encoder["keys"] == cross["keys"] and cross["queries"] == decoder["queries"]
    assert all(weight == 0 for row, weights in enumerate(decoder["weights"][0][0]) for weight in weights[row + 1 :])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_translation_of_ones_own(run: Any, translator: Any, tmp_path: Path) -> None:
    ran = run("look", "text", "a dog", "--out", tmp_path / "a.svg", "--translation", "Hund", "--kind", "decoder",
              "--mean", "--json")  # fmt: skip
    report = json.loads(ran.out)
    (shown,) = report["maps"]
    assert report["translation"] == "Hund" and shown["keys"][0] == "(start)" and shown["heads"] == ["mean of 2 heads"]


def test_mistakes(run: Any, translator: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    assert "expected a layer from 1 to 2, got 3" in run("look", "text", "a", "--out", out, "--layer", 3).err
    assert "got both" in run("look", "text", "a", "--out", out, "--head", 1, "--mean").err
    translator.calls.clear()
    assert "expected a picture named *.png" in run("look", "text", "a", "--out", tmp_path / "a.gif").err
    assert translator.calls == [], "a wrong suffix is refused before the model is loaded"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The measurement with a clock that only adds up; says which lengths and widths it was asked for."""
    asked = []

    def clock(kinds: Sequence[str], length: int, width: int, repeats: int) -> dict[str, float]:
        asked.append((length, width))
        return {kind: 1e-9 * (length**2 * width if kind == "full" else 2 * length * width**2) for kind in kinds}

    def scale(kind: str, length: int, width: int) -> float:
        return 1e-3 * length

    monkeypatch.setattr(complexity, "measure", partial(complexity.measure, clock=clock, scale=scale))
    return asked


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_complexity_numbers_and_picture(run: Any, quick: Any, tmp_path: Path, suffix: str) -> None:
    picture = tmp_path / "new" / f"table{suffix}"
    ran = run("look", "complexity", "--out", picture, "--width", 32, "--longest", 4096, "--repeats", 6, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["out"] == str(picture) and report["repeats"] == 6 and report["layer"]["width"] == 32
    assert report["seconds_by_length"]["full"]["exponent"] == pytest.approx(2)
    assert report["crossing"]["measured"] == pytest.approx(64)
    assert {(256, 32), (4096, 32), (64, 8), (64, 128)} <= set(quick)
    assert picture.stat().st_size > 10_000


def test_complexity_names_where_the_picture_is(run: Any, quick: Any, tmp_path: Path) -> None:
    ran = run("look", "complexity", "--out", tmp_path / "a.png")
    assert ran.code == 0 and ran.out == f"{tmp_path / 'a.png'}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--width", 0], "expected a width that is a power of two from 16 to 4,096, got 0"),
        (["--longest", 512], "at least 2,048 at width 256, got 512"),
        (["--repeats", 1], "expected at least 5 repeats"),
        (["--threads", 10**6], "threads"),
        (["--out", "a.gif"], "expected a picture named *.png"),
    ],
)
def test_mistakes_of_complexity(run: Any, quick: Any, tmp_path: Path, options: list[Any], message: str) -> None:
    ran = run("look", "complexity", "--out", tmp_path / "a.png", *options)
    assert ran.code == 2 and message in ran.err and ran.err.count("\n") == 1
    assert quick == [] and not list(tmp_path.iterdir()), "before anything is measured"


def test_complexity_needs_a_place_for_the_picture(run: Any, quick: Any) -> None:
    ran = run("look", "complexity")
    assert ran.code == 2 and "--out" in ran.err and quick == []


@pytest.fixture
def piece(tmp_path: Path) -> Path:
    """Twice the same four bars, and a model that composes."""
    random = np.random.default_rng(0)
    bars = np.repeat(np.stack([random.integers(low, high + 1, 16) for low, high in RANGES], 1), 4, 0)
    save_music(to_piece(np.concatenate((bars, bars))), tmp_path / "piece.mid")
    shape = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 2}
    Composer.new(preset="tiny", device="cpu", **shape).save(tmp_path / "model")
    return tmp_path / "piece.mid"


def test_attention_of_a_note(run: Any, piece: Path, tmp_path: Path) -> None:
    options = ["--model", tmp_path / "model", "--out", tmp_path / "a.png", "--json"]
    ran = run("look", "piece", piece, *options, "--step", 5, "--voice", "tenor", "--layer", 1)
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["layer"] == "layer 1" and report["heads"] == ["head 1", "head 2"] and report["chosen"] == 4 * 4 + 2
    assert sum(report["weights"][1]) + report["start"][1] == pytest.approx(1, abs=1e-4)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    # A position is a sixteenth of all voices: the arcs end at the same voice, a sixteenth or more before.
    assert [at for at, weight in enumerate(report["weights"][0]) if weight] == [2, 6, 10, 14]
    last = json.loads(run("look", "piece", piece, *options, "--head", 2).out)
    assert last["chosen"] == 4 * 127 and last["layer"] == "layer 2" and last["heads"] == ["head 2"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--step", 129], "--step from 1 to 128, got 129"),
        (["--layer", 3], "expected a layer from 1 to 2, got 3"),
        (["--head", 3], "expected a head from 1 to 2, got 3"),
    ],
)
def test_attention_of_no_note(run: Any, piece: Path, tmp_path: Path, options: list[Any], said: str) -> None:
    ran = run("look", "piece", piece, "--model", tmp_path / "model", "--out", tmp_path / "a.png", *options)
    assert ran.code == 2 and said in ran.err and not (tmp_path / "a.png").exists()


def test_options_of_attention_have_no_effect_on_similarity(run: Any, piece: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    for option, value in (
        ("--step", 1),
        ("--voice", "alto"),
        ("--note", 1),
        ("--label", "Bach"),
        ("--layer", 1),
        ("--head", 1),
    ):
        ran = run("look", "piece", piece, "--similarity", "--out", out, option, value)
        assert ran.code == 2 and f"expected no {option} for --similarity" in ran.err and not out.exists()


def test_complexity_is_measured_on_the_processor(run: Any, quick: Any, tmp_path: Path) -> None:
    for option, value in (("--device", "cuda"), ("--dtype", "bfloat16")):
        ran = run("look", "complexity", "--out", tmp_path / "a.png", option, value)
        assert ran.code == 2 and "expected --device cpu and --dtype float32" in ran.err and quick == []


def test_attention_of_a_note_of_a_performance(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([(at / 4, at / 4 + 0.5, 40 + 3 * at, 60 + at) for at in range(12)])
    piece = Performance.of(*rows.T).to_piece()
    save_music(piece, tmp_path / "played.mid")
    Pianist.new((), preset="tiny", width=32, device="cpu").save(tmp_path / "model")
    options = ["--model", tmp_path / "model", "--out", tmp_path / "a.png", "--json"]
    ran = run("look", "piece", tmp_path / "played.mid", *options, "--note", 5, "--head", 2)
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["pitches"][report["chosen"]] == 40 + 3 * 4 and report["ticks"][report["chosen"]] == 1000, (
        "milliseconds"
    )
    assert report["chosen"] == len(report["ticks"]) - 1 == len(report["weights"][0]), "what follows is not read"
    assert {40, -1} <= set(report["pitches"]), "time shifts and velocities have none"
    assert sum(report["weights"][0]) + report["start"][0] == pytest.approx(1, abs=1e-4)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(run("look", "piece", tmp_path / "played.mid", *options).out)["ticks"][-1] == 11 * 250
    # Of a piece of more events than are read, the end, at the times of the whole.
    monkeypatch.setattr(pianist, "LENGTH", 8)
    cut = json.loads(run("look", "piece", tmp_path / "played.mid", *options).out)
    assert len(cut["ticks"]) == 8 and cut["ticks"][0] > 1_000 and cut["ticks"][-1] == 11 * 250
    for more, said in (
        (["--note", 13], "--note from 1 to 12, got 13"),
        (["--step", 2], "expected no --step for piano music"),
    ):
        ran = run("look", "piece", tmp_path / "played.mid", *options, *more)
        assert ran.code == 2 and said in ran.err


def test_a_note_by_its_number_is_for_piano_music(run: Any, piece: Path, tmp_path: Path) -> None:
    options = ["--model", tmp_path / "model", "--out", tmp_path / "a.png", "--note", 2]
    ran = run("look", "piece", piece, *options)
    assert ran.code == 2 and "expected no --note for a chorale" in ran.err


def test_more_heads_than_colours_are_reported(run: Any, piece: Path, tmp_path: Path) -> None:
    shape = {"width": 36, "heads": 9, "feed_forward": 16, "decoder_layers": 1}
    Composer.new(preset="tiny", device="cpu", **shape).save(tmp_path / "many")
    ran = run("look", "piece", piece, "--model", tmp_path / "many", "--out", tmp_path / "a.png", "--json")
    assert "of 9 heads the first 8 are drawn" in ran.err and len(json.loads(ran.out)["heads"]) == 8


def test_similarity(run: Any, piece: Path, tmp_path: Path) -> None:
    ran = run("look", "piece", "--similarity", piece, "--out", tmp_path / "s.png", "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["repetition"] == 1.0 and len(report["similarity"]) == 32
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    save_music(to_piece(np.full((8, 4), 60)), short := tmp_path / "short.mid")
    assert (
        json.loads(run("look", "piece", "--similarity", short, "--out", tmp_path / "s.png", "--json").out)["repetition"]
        is None
    )
    assert "expected a picture named" in run("look", "piece", "--similarity", piece, "--out", tmp_path / "s.mid").err


def test_pieces_are_midi_or_musicxml_and_what_was_changed_is_reported(run: Any, tmp_path: Path) -> None:
    piece = Piece(tuple(Note(4 * beat, 4 * beat + 4, 60 + beat % 5) for beat in range(40)), voices=("melody",))
    outs = []
    for suffix in (".mid", ".musicxml"):
        save_music(piece, tmp_path / f"a{suffix}")
        ran = run("look", "piece", "--similarity", tmp_path / f"a{suffix}", "--out", tmp_path / "a.png", "--json")
        assert (ran.code, ran.err) == (0, "")
        outs.append(json.loads(ran.out)["similarity"])
    assert outs[0] == outs[1]
    data = midi_bytes(piece)
    (tmp_path / "open.kar").write_bytes(data.replace(bytes([0x80, 64, 0]), bytes([0x80, 99, 0])))
    ran = run("look", "piece", "--similarity", tmp_path / "open.kar", "--out", tmp_path / "a.png")
    assert ran.code == 0 and "open.kar: 1 note without an end, which ends with its part" in ran.err
    (tmp_path / "no.mid").write_bytes(data[:90])
    ran = run("look", "piece", "--similarity", tmp_path / "no.mid", "--out", tmp_path / "a.png")
    assert ran.code == 2 and "its track 1 ends in the middle; export it again" in ran.err


@pytest.mark.parametrize("name", ["a.avif", "notes.txt", "plain", "a.pngx"])
def test_a_file_is_no_sentence(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("A dog.")
    ran = run("look", "text", name, "--out", "a.png")
    assert (
        ran.code == 2
        and f"got the file '{name}'; for files there are look picture and look piece" in ran.err
        and ran.err.count("\n") == 1
    )
    assert not Path("a.png").exists()
    ran = run("look", "text", ".", "--out", "a.png")
    assert ran.code == 2 and "got the folder '.'" in ran.err
    ran = run("look", "text", ".", "--out", "a.png")
    assert ran.code == 2 and "got the folder '.'" in ran.err
