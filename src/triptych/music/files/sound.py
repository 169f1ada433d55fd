"""The sound of a piece: an organ for the voices of a choir, a piano for everything else, both sums of sine waves.

A stiff string's partials: Fletcher and Rossing 1998, "The Physics of Musical Instruments", section 2.18; how stiff a
piano's strings are from key to key: Rigaud, David and Daudet 2013. FluidSynth plays instead where a SoundFont is given.
"""

from __future__ import annotations

import io
import math
import shutil
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.music.piece.piece import Piece

CHOIR = frozenset(("soprano", "alto", "tenor", "bass"))
LOWEST, HIGHEST = 20.0, 0.45  # partials in between sound: hertz, and cycles a sample (above 0.5 they would alias)
ROOM = 1.2  # seconds until an echo has died away by 60 decibels
WET = 0.2  # loudness of the room beside the instrument
TAIL = 1.5  # seconds after the piece, for the last release and the room
SILENCE = 1e-4  # FluidSynth's dither is below it
PEAK = 10 ** (-1.5 / 20)  # the loudest sample: 1.5 decibels below full scale
MAX_SECONDS = 3_600.0  # seconds; an hour takes some 5 gigabytes of memory
BLOCK = 512  # samples


@dataclass(frozen=True)
class Tone:
    """What one note sounds like: partials, each with its frequency in hertz, its amplitude and its decay a second.

    attack, release: seconds in which it swells and dies away. early: seconds before the end of the note at which the
    release begins, so that a repeated note is heard as two.
    """

    frequencies: NDArray[np.float64]
    amplitudes: NDArray[np.float64]
    decays: NDArray[np.float64]
    attack: float
    release: float
    early: float = 0.0


def render(piece: Piece, *, rate: int = 44_100) -> NDArray[np.float32]:
    """Sound of a piece, [samples, 2] (left, right) from -1 to 1, at `rate` samples a second.

    The loudest sample is 1.5 decibels below full scale, so velocities are loudness within a piece. The organ ignores
    velocities. Lasts 1.5 s longer than the piece; a piece without notes is silence of at least a second.
    Raises UserError for a piece of more than an hour and for a rate that is not from 8,000 to 192,000.
    """
    if not 8_000 <= rate <= 192_000:
        raise UserError(f"expected a rate of 8,000 to 192,000 samples a second, got {rate}; 44100 is that of a CD")
    _check_length(piece)
    if not piece.notes:
        return np.zeros((math.ceil(max(1.0, piece.seconds) * rate), 2), np.float32)
    mix = np.zeros((2, math.ceil((piece.seconds + TAIL) * rate)), np.float32)
    for note in piece.notes:
        tone = _organ(note.pitch) if piece.voices[note.voice].lower() in CHOIR else _piano(note.pitch, note.velocity)
        begins = piece.seconds_at(note.start)
        sound = _play(tone, piece.seconds_at(note.end) - begins, rate)
        first = round(begins * rate)
        for side, gain in zip(mix, _pan(note.voice, len(piece.voices), note.pitch), strict=True):
            side[first : first + len(sound)] += gain * sound
    for side, echo in zip(mix, _room(rate), strict=True):
        np.add(side, _convolve(side, echo), out=side)
    return np.ascontiguousarray(_normalise(mix).T)


def wav_bytes(piece: Piece, *, soundfont: str | Path | None = None) -> bytes:
    """WAV file of 16-bit stereo at 44,100 samples a second, played by FluidSynth where a `soundfont` is given.

    Raises UserError for a piece of more than an hour, and where FluidSynth or the SoundFont is missing or fails.
    """
    _check_length(piece)
    samples = render(piece) if soundfont is None else _fluidsynth(piece, Path(soundfont))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(np.rint(samples * 32_767).astype("<i2").tobytes())
    return buffer.getvalue()


def _check_length(piece: Piece) -> None:
    if piece.seconds > MAX_SECONDS:
        raise UserError(f"expected a piece of at most an hour, got {piece.seconds / 60:,.0f} minutes; cut it")


@cache
def _organ(pitch: int) -> Tone:
    """Three ranks of pipes: a principal, a flute beside it, an octave above. They beat, being a hair out of tune."""
    base = _hertz(pitch)
    principal = np.array([1, 0.5, 0.32, 0.16, 0.12, 0.07, 0.05, 0.035])
    flute = np.array([0.2, 0.05, 0.03])
    octave = np.array([0.3, 0.12, 0.06, 0.03])
    frequencies = [
        base * np.arange(1, len(principal) + 1),
        base * _cents(-2.1) * np.arange(1, len(flute) + 1),
        base * _cents(1.3) * np.arange(2, 2 * len(octave) + 1, 2),
    ]
    amplitudes = np.concatenate([principal, flute, octave])
    # A low pipe speaks slowly, and sounds softer to the ear.
    slow = float(np.clip(base / 440, 0.25, 2)) ** -0.5
    return Tone(
        np.concatenate(frequencies),
        amplitudes * slow,
        np.zeros(len(amplitudes)),
        attack=0.03 * slow,
        release=0.09 * slow,
        early=0.06,
    )


@cache
def _piano(pitch: int, velocity: int) -> Tone:
    """Two strings a hair out of tune, struck at an eighth of their length: one loud, one that rings on.

    High partials and high keys decay faster; a hard blow is louder and brighter.
    """
    base, force = _hertz(pitch), velocity / 127
    key = min(max(pitch, 21), 108)
    stiffness = math.exp(0.0926 * key - 13.64) + math.exp(-0.0847 * key - 5.82)
    order = np.arange(1, 41)
    frequencies = base * order * np.sqrt((1 + stiffness * order**2) / (1 + stiffness))
    brightness = 700 + 3_300 * force**1.5  # hertz above the lowest partial that cost 8.7 decibels
    spectrum = np.abs(np.sin(np.pi * order / 8)) / order * np.exp((base - frequencies) / brightness)
    spectrum *= frequencies**2 / (frequencies**2 + 90.0**2)  # a soundboard is too small for the lowest
    decays = 0.25 + base / 1_000 + (frequencies / 1_400) ** 2
    heard = spectrum > 3e-4 * spectrum.max()
    loudness = force**1.7
    return Tone(
        np.concatenate([frequencies[heard], frequencies[heard] * _cents(0.7)]),
        loudness * np.concatenate([0.8 * spectrum[heard], 0.2 * spectrum[heard]]),
        np.concatenate([decays[heard], decays[heard] / 4]),
        attack=0.003,
        release=0.25,
    )


def _hertz(pitch: int) -> float:
    return 440.0 * 2 ** ((pitch - 69) / 12)


def _cents(cents: float) -> float:
    return 2 ** (cents / 1_200)


def _play(tone: Tone, seconds: float, rate: int) -> NDArray[np.float32]:
    """Sound of one note held for `seconds`, with its release: [samples], from 0 and back to 0."""
    held = max(seconds - min(tone.early, seconds / 5), tone.attack)
    samples = math.ceil((held + tone.release) * rate)
    audible = (tone.frequencies >= LOWEST) & (tone.frequencies <= HIGHEST * rate)
    motion = (2j * np.pi * tone.frequencies - tone.decays)[audible] / rate
    # Partials that all start at a peak would make one sharp spike; spread like this they do not.
    phases = np.exp(2j * np.pi * 0.618034 * np.arange(len(motion)) ** 2)
    # Sample i*BLOCK + j of partial k is the real part of starts[i, k] * steps[j, k]: a product of two small matrices.
    starts = tone.amplitudes[audible] * phases * np.exp(np.outer(np.arange(0, samples, BLOCK), motion))
    steps = np.exp(np.outer(np.arange(BLOCK), motion))
    left = np.concatenate([starts.real, -starts.imag], axis=1).astype(np.float32)
    right = np.concatenate([steps.real, steps.imag], axis=1).astype(np.float32)
    sound: NDArray[np.float32] = (left @ right.T).reshape(-1)[:samples]
    attack, release = (_rise(part, rate) for part in (tone.attack, tone.release))
    sound[: len(attack)] *= attack
    sound[samples - len(release) :] *= release[::-1]
    return sound


def _rise(seconds: float, rate: int) -> NDArray[np.float32]:
    """From 0 to 1 without a corner."""
    return np.sin(np.linspace(0, np.pi / 2, int(seconds * rate))).astype(np.float32) ** 2


def _pan(voice: int, voices: int, pitch: int) -> tuple[float, float]:
    """Gains of the left and the right: voices of a choir from left to right, or keys of a piano by their pitch."""
    place = 2 * voice / (voices - 1) - 1 if voices > 1 else min(max((pitch - 64) / 44, -1), 1)
    angle = math.pi / 4 * (1 + 0.5 * place)
    return math.cos(angle), math.sin(angle)


@cache
def _room(rate: int) -> NDArray[np.float32]:
    """Echoes of a click, [2, samples]: noise without the lowest and the highest tones that dies away."""
    count = round(ROOM * rate)
    noise = np.random.default_rng(0).standard_normal((2, count))
    hertz = np.fft.rfftfreq(count, 1 / rate)
    noise = np.fft.irfft(np.fft.rfft(noise) * hertz / (hertz + 200) / (1 + (hertz / 3_000) ** 2), count)
    seconds = np.arange(count) / rate
    noise *= 10 ** (-3 * seconds / ROOM) * np.minimum(1, seconds / 0.02)
    noise *= np.minimum(1, (ROOM - seconds) / 0.1)  # the last thousandth
    noise *= WET / np.linalg.norm(noise, axis=1, keepdims=True)
    return noise.astype(np.float32)


def _convolve(sound: NDArray[np.float32], echo: NDArray[np.float32]) -> NDArray[np.float32]:
    """Causal convolution of the length of `sound`, block by block."""
    size = 2 ** math.ceil(math.log2(2 * len(echo)))
    step = size - len(echo) + 1
    spectrum = np.fft.rfft(echo, size)
    wet = np.zeros_like(sound)
    for first in range(0, len(sound), step):
        block = np.fft.irfft(np.fft.rfft(sound[first : first + step], size) * spectrum, size)
        part = wet[first : first + size]
        part += block[: len(part)]
    return wet


def _normalise(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring the loudest sample to `PEAK`, in place; silence stays silence."""
    peak = max(samples.max(initial=0), -samples.min(initial=0))
    if peak > 0:
        samples *= np.float32(PEAK) / peak
    return samples


def _fluidsynth(piece: Piece, soundfont: Path) -> NDArray[np.float32]:
    """Sound of the piece as FluidSynth plays it, [samples, 2], as loud as our own."""
    from triptych.music.files.midi import midi_bytes

    program = _find_fluidsynth(soundfont)
    with tempfile.TemporaryDirectory() as folder:
        score, sound = Path(folder, "piece.mid"), Path(folder, "piece.wav")
        score.write_bytes(midi_bytes(piece))
        # FluidSynth plays softly lest it clip: 32 bits leave room to make it louder without noise.
        command = [program, "-ni", "-O", "s32", "-F", str(sound), "-r", "44100", str(soundfont.resolve()), str(score)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60 + piece.seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise UserError("expected FluidSynth to keep up with real time, got no end; try another font") from None
        if done.returncode or not sound.is_file():
            lines = done.stderr.decode(errors="replace").split("\n")
            reason = next((line.strip() for line in reversed(lines) if line.strip()), f"exit status {done.returncode}")
            raise UserError(f"expected FluidSynth to play the piece, got: {reason}; try another font")
        with wave.open(str(sound)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i4").reshape(-1, 2)
    mix = samples.astype(np.float32) / np.float32(2**31)
    # A font that it cannot load is no failure to FluidSynth.
    if piece.notes and np.abs(mix).max(initial=0) < SILENCE:
        raise UserError(f"expected FluidSynth to play the piece, got silence from {str(soundfont)!r}; try another font")
    return _normalise(mix)


def _find_fluidsynth(soundfont: Path) -> str:
    """Path of the program, once the font is known to be one."""
    try:
        with soundfont.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise UserError(f"expected a SoundFont, got {str(soundfont)!r}: {error.strerror}; check the path") from None
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise UserError(f"expected a SoundFont (.sf2, .sf3), got another kind of file: {str(soundfont)!r}")
    program = shutil.which("fluidsynth")
    if program is None:
        raise UserError("expected FluidSynth to play a SoundFont, got none; install fluidsynth or leave the font out")
    return program
