import json
import subprocess
import sys
import wave
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.files.save import save_music
from triptych.music.files.sound import PEAK, TAIL, render
from triptych.music.piece.piece import Note, Piece

CHOIR = ("soprano", "alto", "tenor", "bass")
INSTRUMENTS = pytest.mark.parametrize("voices", [CHOIR, ("piano",)], ids=["organ", "piano"])


def piece(*notes: Note, voices: tuple[str, ...] = ("piano",), **fields: int) -> Piece:
    """Sixteen ticks are a second."""
    return Piece(notes, resolution=16, tempo=60, voices=voices, **fields)


def spectrum(sound: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in hertz, and amplitudes, 1 for the strongest."""
    mono = sound.mean(1) * np.hanning(len(sound))
    found = np.abs(np.fft.rfft(mono, 4 * len(mono)))
    return np.fft.rfftfreq(4 * len(mono), 1 / rate), found / found.max()


def brightness(sound: np.ndarray) -> float:
    frequencies, amplitudes = spectrum(sound, 44_100)
    return float((frequencies * amplitudes**2).sum() / (amplitudes**2).sum())


def steepest(sound: np.ndarray) -> float:
    return float(np.abs(np.diff(sound, axis=0)).max())


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    voices = draw(st.sampled_from([CHOIR, ("piano",), ("Soprano", "flute")]))
    note = st.builds(
        lambda start, ticks, pitch, velocity, voice: Note(start, start + ticks, pitch, velocity, voice),
        st.integers(0, 16),
        st.integers(1, 16),
        st.integers(0, 127),
        st.integers(1, 127),
        st.integers(0, len(voices) - 1),
    )
    notes = draw(st.lists(note, max_size=12))
    return Piece(
        tuple(notes), resolution=16, tempo=draw(st.floats(30, 900)), voices=voices, length=draw(st.integers(0, 40))
    )


@settings(max_examples=40, deadline=None)
@given(pieces(), st.sampled_from([8_000, 11_025]))
def test_any_piece_sounds(piece: Piece, rate: int) -> None:
    sound = render(piece, rate=rate)
    seconds = piece.seconds + TAIL if piece.notes else max(1, piece.seconds)
    assert sound.dtype == np.float32 and sound.shape == (np.ceil(seconds * rate), 2)
    # Some notes are too high for so few samples a second.
    assert np.isclose(np.abs(sound).max(), PEAK) or not sound.any()
    assert np.abs(sound.mean(0)).max() < 2e-3
    assert sound.tobytes() == render(piece, rate=rate).tobytes()


@pytest.mark.parametrize(("length", "seconds"), [(0, 1), (8, 1), (40, 2.5)])
def test_a_piece_without_notes_is_silence(length: int, seconds: float) -> None:
    sound = render(piece(length=length))
    assert sound.shape == (seconds * 44_100, 2) and not sound.any()


@INSTRUMENTS
def test_an_a_is_440_hertz_and_its_harmonics(voices: tuple[str, ...]) -> None:
    frequencies, amplitudes = spectrum(render(piece(Note(0, 32, 69), voices=voices))[:88_200], 44_100)
    assert abs(frequencies[amplitudes.argmax()] - 440) < 0.5
    for harmonic in (2, 3, 4):
        near = np.abs(frequencies - 440 * harmonic) < 100
        stretch = 1 + 0.0004 * (harmonic**2 - 1) if voices == ("piano",) else 1
        assert abs(frequencies[near][amplitudes[near].argmax()] - 440 * harmonic * stretch) < 3
        assert amplitudes[near].max() > 0.05
    between = (np.abs(frequencies - 440 * np.round(frequencies / 440)) > 100) & (frequencies < 1_800)
    assert amplitudes[between].max() < 0.003


def test_nothing_is_reflected_at_half_the_rate() -> None:
    frequencies, amplitudes = spectrum(render(piece(Note(0, 32, 100), voices=CHOIR), rate=8_000)[:16_000], 8_000)
    assert amplitudes[np.abs(frequencies - 2_637) > 60].max() < 0.003
    assert not render(piece(Note(0, 16, 127)), rate=8_000).any()


@INSTRUMENTS
@pytest.mark.parametrize("pitch", [0, 127])
def test_the_ends_of_the_scale_sound(pitch: int, voices: tuple[str, ...]) -> None:
    sound = render(piece(Note(0, 16, pitch), voices=voices))
    assert np.isclose(np.abs(sound).max(), PEAK) and np.abs(sound.mean(0)).max() < 2e-3
    frequencies, amplitudes = spectrum(sound, 44_100)
    assert amplitudes[frequencies < 15].max() < 0.03


def test_organ_notes_begin_and_end_without_a_click() -> None:
    repeated = [Note(start, start + ticks, 69) for start, ticks in ((0, 16), (16, 1), (17, 7), (24, 8), (40, 2))]
    sound = render(piece(*repeated, voices=CHOIR))
    steady = steepest(render(piece(Note(0, 48, 69), voices=CHOIR))[22_050:110_250])
    assert steepest(np.pad(sound, ((1, 1), (0, 0)))) < 1.3 * steady
    clicks = sound.copy()
    clicks[22_050 + int(np.abs(sound[22_050:22_250]).max(1).argmax()) :] = 0
    assert steepest(clicks) > 2 * steady


def test_a_repeated_organ_note_is_heard_as_two() -> None:
    sound = render(piece(Note(0, 16, 69), Note(16, 32, 69), voices=CHOIR))
    before, between, after = (sound[first : first + 441].std() for first in (39_690, 43_880, 50_000))
    assert between < 0.7 * min(before, after)


def test_a_room_rings_on() -> None:
    sound = render(piece(Note(0, 16, 60), voices=CHOIR))
    levels = [sound[int(second * 44_100) :][:4_410].std() for second in (0.5, 1.15, 1.4, 1.9)]
    assert all(later < 0.6 * sooner for sooner, later in pairwise(levels))
    assert levels[0] > 3 * levels[1] and levels[-1] > 1e-4


@pytest.mark.parametrize("pitch", [33, 57, 81])
def test_piano_notes_begin_and_end_without_a_click(pitch: int) -> None:
    sound = render(piece(Note(0, 8, pitch)))
    assert np.abs(sound[:10]).max() < 0.02
    # Partials begin out of step, so that the steepest place is somewhat later than the blow.
    assert steepest(sound[:132]) < 1.2 * steepest(sound[132:8_820])
    assert steepest(sound[22_050:]) < 1.1 * steepest(sound[17_640:22_050])
    assert np.abs(sound[-100:]).max() < 1e-4


def test_silence_where_nothing_sounds() -> None:
    sound = render(piece(Note(16, 20, 60), Note(80, 84, 64), voices=CHOIR), rate=22_050)
    assert np.abs(sound[:22_000]).max() < 1e-6
    after = 20 / 16 + TAIL
    assert np.abs(sound[int(after * 22_050) : 5 * 22_050]).max() < 1e-6
    assert np.abs(sound[-50:]).max() < 1e-6
    assert np.abs(sound[27_600:]).max() > 0.3  # it rings on after the first note


def test_the_sides_differ_and_voices_stand_where_they_should() -> None:
    def balance(note: Note, voices: tuple[str, ...]) -> float:
        left, right = np.square(render(piece(note, voices=voices), rate=8_000)).sum(0)
        return float(left / right)

    places = [balance(Note(0, 16, 60, voice=voice), CHOIR) for voice in range(4)]
    assert places == sorted(places, reverse=True) and places[0] > 2 and places[3] < 0.5
    assert balance(Note(0, 16, 30), ("piano",)) > 1.2
    assert balance(Note(0, 16, 98), ("piano",)) < 0.8


def test_velocity_is_loudness_and_brightness_of_the_piano_alone() -> None:
    def halves(voices: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        sound = render(piece(Note(0, 8, 60, 30), Note(48, 56, 60, 120), voices=voices))
        return sound[:22_050], sound[132_300:154_350]

    soft, hard = halves(("piano",))
    assert hard.std() > 4 * soft.std() and brightness(hard) > 1.1 * brightness(soft)
    one, other = halves(CHOIR)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_high_strings_die_away_first() -> None:
    def remaining(pitch: int) -> float:
        sound = render(piece(Note(0, 48, pitch)), rate=22_050)
        return float(sound[44_100:55_125].std() / sound[:11_025].std())

    low, middle, high = (remaining(pitch) for pitch in (40, 64, 88))
    assert low > 1.1 * middle > 2 * high > 0


def test_high_partials_die_away_first() -> None:
    def high(sound: np.ndarray) -> float:
        frequencies, amplitudes = spectrum(sound, 44_100)
        return float((amplitudes[frequencies > 1_500] ** 2).sum() / (amplitudes**2).sum())

    sound = render(piece(Note(0, 48, 57, 120)))
    assert high(sound[:22_050]) > 4 * high(sound[88_200:110_250]) > 0


@INSTRUMENTS
def test_many_notes_at_once_do_not_clip(voices: tuple[str, ...]) -> None:
    cluster = [Note(0, 8, pitch, 127, pitch % len(voices)) for pitch in range(128)]
    sound = render(piece(*cluster, voices=voices))
    assert np.isclose(np.abs(sound).max(), PEAK) and (np.abs(sound) > 0.99 * PEAK).mean() < 0.001


@pytest.mark.parametrize("rate", [0, -1, 7_999, 192_001])
def test_a_senseless_rate(rate: int) -> None:
    with pytest.raises(UserError, match="expected a rate of"):
        render(piece(Note(0, 1, 60)), rate=rate)


def test_a_piece_that_fills_no_memory(tmp_path: Path) -> None:
    endless = piece(Note(0, 2**31, 60))
    with pytest.raises(UserError, match="at most an hour"):
        render(endless)
    with pytest.raises(UserError, match="at most an hour"):
        save_music(endless, tmp_path / "a.wav", soundfont=tmp_path / "none.sf2")
    assert not list(tmp_path.iterdir())


def test_the_file(tmp_path: Path) -> None:
    chord = piece(*(Note(0, 8, pitch, 80, voice) for voice, pitch in enumerate((72, 67, 64, 48))), voices=CHOIR)
    save_music(chord, tmp_path / "a.wav")
    save_music(chord, tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "b.wav"}
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 44_100)
        written = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / 32_767
    np.testing.assert_allclose(written, render(chord), atol=0.51 / 32_767)


def test_one_piece_gives_one_file_in_every_process(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from triptych.music.piece.piece import Note, Piece\n"
        "from triptych.music.files.save import save_music\n"
        "save_music(Piece((Note(0, 3, 60), Note(2, 4, 67))), pathlib.Path(sys.argv[1]))"
    )
    for name in ("a.wav", "b.wav"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / name)], check=True)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.fixture
def font(tmp_path: Path) -> Path:
    path = tmp_path / "a font.sf2"
    path.write_bytes(b"RIFF\x04\x00\x00\x00sfbk")
    return path


@pytest.fixture
def fluidsynth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a program of this name in front of the path; its text sees `arguments`."""

    def install(text: str) -> None:
        program = tmp_path / "bin" / "fluidsynth"
        program.parent.mkdir()
        program.write_text(f"#!{sys.executable} -IS\nimport sys\narguments = sys.argv[1:]\n{text}")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return install


NOTE = piece(Note(0, 16, 60))


def playing(samples: str) -> str:
    """Program that writes these 32-bit samples, an expression."""
    return (
        "import array, wave\n"
        "file = wave.open(arguments[arguments.index('-F') + 1], 'wb')\n"
        "file.setparams((2, 4, 44100, 0, 'NONE', ''))\n"
        f"file.writeframes(array.array('i', {samples}).tobytes())\n"
        "file.close()\n"
    )


def test_fluidsynth_plays(tmp_path: Path, font: Path, fluidsynth: Callable[[str], None]) -> None:
    fluidsynth(
        playing("[2**27, 2**25, -2**26, 0]") + "import json, pathlib\n"
        "arguments.append(pathlib.Path(arguments[-1]).read_bytes()[:4].decode())\n"
        f"pathlib.Path({str(tmp_path / 'seen')!r}).write_text(json.dumps(arguments))\n"
    )
    save_music(NOTE, tmp_path / "a.wav", soundfont=font)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 44_100)
        written = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32_767
    np.testing.assert_allclose(written, [PEAK, PEAK / 4, -PEAK / 2, 0], atol=1e-4)
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen[-3] == str(font) and seen[-1] == "MThd"
    assert not Path(seen[-2]).parent.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sys.exit('no such thing')", "got: no such thing"),
        ("sys.exit(3)", "got: exit status 3"),
        ("print('no such thing\\n', file=sys.stderr)", "got: no such thing"),
        (playing("[]"), "got silence"),
        (playing("[60_000, 0]"), "got silence"),
    ],
)
def test_fluidsynth_fails(
    text: str, reason: str, tmp_path: Path, font: Path, fluidsynth: Callable[[str], None]
) -> None:
    fluidsynth(text)
    with pytest.raises(UserError, match=f"{reason}.*; try another font"):
        save_music(NOTE, tmp_path / "a.wav", soundfont=font)
    assert not (tmp_path / "a.wav").exists()


def test_fluidsynth_never_ends(
    tmp_path: Path, font: Path, fluidsynth: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fluidsynth("import time; time.sleep(60)")
    run = subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda *given, timeout, **named: run(*given, timeout=timeout / 1_000, **named)
    )
    with pytest.raises(UserError, match="got no end"):
        save_music(NOTE, tmp_path / "a.wav", soundfont=font)


def test_fluidsynth_is_not_there(tmp_path: Path, font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="install fluidsynth"):
        save_music(NOTE, tmp_path / "a.wav", soundfont=font)


def test_a_font_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.sf2': No such file"):
        save_music(NOTE, tmp_path / "a.wav", soundfont=tmp_path / "none.sf2")
    with pytest.raises(UserError, match="Is a directory"):
        save_music(NOTE, tmp_path / "a.wav", soundfont=tmp_path)
    (tmp_path / "a.sf2").write_text("RIFF, but no font")
    with pytest.raises(UserError, match="another kind of file"):
        save_music(NOTE, tmp_path / "a.wav", soundfont=str(tmp_path / "a.sf2"))
