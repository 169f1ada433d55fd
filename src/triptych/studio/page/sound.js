// A synthesizer of our own (Web Audio): an organ for the voices of a choir, a piano for the rest; play, seek, loop.
import { VOICES } from "./piece.js";

const SOUND_AHEAD = 0.2; // seconds that are scheduled before they are heard
const SOUND_ORGAN = [0, 1, 0.5, 0.32, 0.16, 0.12, 0.07, 0.05, 0.035];

function soundHertz(pitch) { return 440 * 2 ** ((pitch - 69) / 12); }

// The instruments on one audio context: `strike` plays a note at a time of the context and returns how to stop it.
function soundInstruments(context, voices) {
  const master = context.createDynamicsCompressor();
  master.connect(context.destination);
  const wave = (partials) => context.createPeriodicWave(new Float32Array(partials), new Float32Array(partials.length));
  const organ = wave(SOUND_ORGAN);
  const channels = voices.map((_, voice) => {
    const [gain, pan] = [context.createGain(), context.createStereoPanner()];
    pan.pan.value = voices.length > 1 ? 0.5 * (2 * voice / (voices.length - 1) - 1) : 0;
    gain.connect(pan).connect(master);
    return gain;
  });

  // A piano's partials: struck at an eighth of the string; a hard blow is brighter.
  function strings(pitch, force) {
    const base = soundHertz(pitch);
    const brightness = 700 + 3_300 * force ** 1.5; // hertz above the lowest partial that cost 8.7 decibels
    return wave(Array.from({ length: 24 }, (_, order) => (order === 0 || base * order > 16_000 ? 0
      : Math.abs(Math.sin(Math.PI * order / 8)) / order * Math.exp(-base * (order - 1) / brightness))));
  }

  function strike({ pitch, velocity = 80, voice = 0 }, when, seconds) {
    const place = Math.min(voice, channels.length - 1);
    const [choir, force] = [VOICES.includes(voices[place]), velocity / 127];
    const [source, level] = [context.createOscillator(), context.createGain()];
    source.frequency.value = soundHertz(pitch);
    source.setPeriodicWave(choir ? organ : strings(pitch, force));
    source.connect(level).connect(channels[place]);
    source.start(when);
    level.gain.setValueAtTime(0, when);
    const held = Math.max(0.05, choir ? seconds - 0.05 : seconds); // a repeated note of a voice is heard as two
    const [rise, loud, fall] = choir ? [0.03, 0.16, 0.04] : [0.004, 0.75 * force ** 1.7 + 0.02, 0.09];
    level.gain.linearRampToValueAtTime(loud, when + rise);
    if (!choir) level.gain.setTargetAtTime(0, when + rise, 4 / (1 + soundHertz(pitch) / 260));
    level.gain.setTargetAtTime(0, when + held, fall);
    source.stop(when + held + 9 * fall);
    return (after = 0.02) => {
      level.gain.cancelScheduledValues(context.currentTime);
      level.gain.setTargetAtTime(0, context.currentTime, after);
      source.stop(context.currentTime + 6 * after);
    };
  }

  return { strike, channels, close: () => master.disconnect() };
}

// Seconds of so many ticks of a piece.
export function secondsOf(piece, ticks) { return ticks * 60 / (piece.tempo * piece.resolution); }

// A player of pieces. `onstate(playing)` is told when it starts and stops; ask `position()` (ticks) while it plays.
export function createPlayer({ onstate }) {
  let [context, instruments, instrumentsFor, piece, notes] = [null, null, "", null, []];
  let [speed, loop, timer] = [1, null, null]; // loop: {from, until} in ticks
  let place = 0; // ticks, while it does not play
  let ranges = []; // what is left to play, in ticks
  let [segments, next] = [[], 0]; // what was scheduled: {time, from, until} with the time of the context
  const [muted, sounding] = [new Set(), new Set()];

  function ready() {
    context ??= new AudioContext();
    if (context.state === "suspended") context.resume();
    const voices = piece?.voices ?? ["piano"];
    if (instrumentsFor === voices.join()) return;
    instruments?.close();
    instruments = soundInstruments(context, voices);
    instrumentsFor = voices.join();
    for (const voice of muted) mute(voice, true);
  }

  function mute(voice, silent) {
    muted[silent ? "add" : "delete"](voice);
    instruments?.channels[voice]?.gain.setTargetAtTime(silent ? 0 : 1, context.currentTime, 0.01);
  }

  const length = ({ from, until }) => secondsOf(piece, until - from) / speed;

  function begin(range, time) {
    segments = [...segments.slice(-7), { ...range, time }];
    next = notes.filter((note) => note.start < range.from).length;
    for (const note of notes.slice(0, next)) if (note.end > range.from) sound(note, segments.at(-1));
  }

  function sound(note, segment) {
    const from = Math.max(note.start, segment.from);
    const seconds = length({ from, until: Math.min(note.end, segment.until) });
    const stop = instruments.strike(note, segment.time + length({ from: segment.from, until: from }), seconds);
    sounding.add(stop);
    const gone = 1_000 * (segment.time - context.currentTime + length({ from: segment.from, until: note.end }) + 1);
    setTimeout(() => sounding.delete(stop), Math.max(0, gone));
  }

  function schedule() {
    const horizon = context.currentTime + SOUND_AHEAD;
    for (;;) {
      const segment = segments.at(-1);
      while (next < notes.length && notes[next].start < segment.until) {
        if (segment.time + length({ from: segment.from, until: notes[next].start }) > horizon) return;
        next += 1;
        sound(notes[next - 1], segment);
      }
      const end = segment.time + length(segment);
      if (end > horizon) return;
      const following = ranges.shift() ?? loop;
      if (following?.until > following?.from) begin(following, end);
      else if (context.currentTime >= end) return halt(segment.until);
      else return;
    }
  }

  function position() {
    if (timer === null) return place;
    const now = segments.findLast((segment) => segment.time <= context.currentTime) ?? segments[0];
    const seconds = Math.max(0, context.currentTime - now.time) * speed;
    return Math.min(now.until, now.from + seconds / secondsOf(piece, 1));
  }

  function halt(at) {
    clearInterval(timer);
    [timer, segments, place] = [null, [], at];
    for (const stop of sounding) stop();
    sounding.clear();
    onstate(false);
  }

  function play(some = null) {
    if (!piece || !notes.length) return;
    if (timer !== null) halt(position());
    ready();
    const { from, until } = loop ?? { from: 0, until: piece.length };
    ranges = some ? [...some] : [{ from: place < from || place >= until ? from : place, until }];
    begin(ranges.shift(), context.currentTime + 0.06);
    timer = setInterval(schedule, 40);
    schedule();
    onstate(true);
  }

  function again(change) {
    const playing = timer !== null;
    if (playing) halt(position());
    change();
    if (playing) play();
  }

  return {
    play, position, mute,
    pause: () => { if (timer !== null) halt(position()); },
    playing: () => timer !== null,
    seek: (tick) => again(() => { place = Math.max(0, Math.min(tick, piece?.length ?? 0)); }),
    tempo: (factor) => again(() => { speed = factor; }),
    loop: (range) => again(() => { loop = range; }),
    load: (some) => again(() => {
      piece = some;
      notes = [...some.notes].sort((one, other) => one.start - other.start);
      place = Math.min(place, some.length);
    }),
    // A single note, now; without seconds it sounds until the function that is returned is called.
    touch(pitch, { voice = 0, velocity = 80, seconds = 30 } = {}) {
      ready();
      return instruments.strike({ pitch, voice, velocity }, context.currentTime, seconds);
    },
  };
}
