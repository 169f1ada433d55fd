// A piece in the page: the API's form and ours, its bars and names, and edits that return a new piece.

export const VOICES = ["soprano", "alto", "tenor", "bass"];
const PIECE_NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
const PIECE_MILLI = 1_000; // ticks of a second of a performance

// Ours: notes {start, end, pitch, velocity, voice} in ticks: sixteenths of a chorale, milliseconds of a performance.
export function pieceOf(given) {
  if (given.kind === "performance") {
    const notes = given.notes.map(([onset, pitch, velocity, duration]) => {
      const start = Math.round(onset * PIECE_MILLI);
      return { start, end: start + Math.max(1, Math.round(duration * PIECE_MILLI)), pitch, velocity, voice: 0 };
    });
    const length = Math.max(Math.round((given.seconds ?? 0) * PIECE_MILLI), ...notes.map((note) => note.end));
    return { kind: "performance", notes, length, voices: ["piano"], tempo: 60, resolution: PIECE_MILLI, pickup: 0 };
  }
  const notes = given.notes.map(([start, end, pitch, voice]) => ({ start, end, pitch, velocity: 80, voice }));
  const { steps, tempo = 84, pickup = 0, metre = [4, 4], key = null } = given;
  return { kind: "chorale", notes, length: steps, voices: VOICES, tempo, resolution: 4, pickup, metre, key };
}

// The API's form, notes in its order.
export function writtenPiece(piece) {
  const { kind, length, tempo, pickup, metre, key, notes } = piece;
  if (kind === "performance") {
    return { kind, seconds: length / PIECE_MILLI, notes: notes.map(({ start, end, pitch, velocity }) =>
      [start / PIECE_MILLI, pitch, velocity, (end - start) / PIECE_MILLI]) };
  }
  const plain = notes.map((note) => [note.start, note.end, note.pitch, note.voice]);
  plain.sort((one, other) => one.map((value, place) => value - other[place]).find(Boolean) ?? 0);
  return { kind, steps: length, tempo, pickup, metre, key, notes: plain };
}

export function barTicks(piece) {
  return piece.kind === "performance" ? PIECE_MILLI : 16 * piece.metre[0] / piece.metre[1];
}

// Where each bar (second) of a piece begins, and its number; a pickup is bar 0.
export function barsOf(piece) {
  const bars = piece.pickup ? [{ start: 0, number: 0 }] : [];
  for (let start = piece.pickup; start < piece.length; start += barTicks(piece)) {
    const number = bars.length + (piece.pickup ? 0 : 1);
    bars.push({ start, number: piece.kind === "performance" ? start / PIECE_MILLI : number });
  }
  return bars;
}

// "bar 2, beat 3.5", or "3.2 s".
export function placeName(piece, tick) {
  if (piece.kind === "performance") return `${(tick / PIECE_MILLI).toFixed(1)} s`;
  const bar = Math.floor((tick - piece.pickup) / barTicks(piece));
  const within = bar < 0 ? tick : tick - piece.pickup - bar * barTicks(piece);
  return `${bar < 0 ? "upbeat" : `bar ${bar + 1}`}, beat ${+(within * piece.metre[1] / 16 + 1).toFixed(2)}`;
}

export function isBlack(pitch) { return [1, 3, 6, 8, 10].includes(pitch % 12); }
export function pitchName(pitch) { return `${PIECE_NAMES[pitch % 12]}${Math.floor(pitch / 12) - 1}`; }
export function noteName(piece, note) {
  const length = piece.kind === "performance" ? `${((note.end - note.start) / PIECE_MILLI).toFixed(2)} s`
    : `${note.end - note.start} sixteenth${note.end - note.start > 1 ? "s" : ""}`;
  return `${piece.voices[note.voice]} ${pitchName(note.pitch)}, ${placeName(piece, note.start)}, ${length}`;
}

// The piece without what sounds in a voice from one tick to another: notes that reach in are cut.
export function cleared(piece, voice, from, until) {
  const notes = piece.notes.flatMap((note) => {
    if (note.voice !== voice || note.end <= from || note.start >= until) return [note];
    const before = note.start < from ? [{ ...note, end: from }] : [];
    return note.end > until ? [...before, { ...note, start: until }] : before;
  });
  return { ...piece, notes };
}

// The piece with one more note; a voice of a chorale sings one note at a time.
export function withNote(piece, note) {
  const rest = piece.kind === "chorale" ? cleared(piece, note.voice, note.start, note.end) : piece;
  return { ...rest, notes: [...rest.notes, note], length: Math.max(piece.length, note.end) };
}

// Cells of a chorale that the model may write, a row a voice: open[voice][step] is 1. Empty voices are open.
export function openCells(piece) {
  if (piece.kind !== "chorale") return [];
  return VOICES.map((_, voice) => new Uint8Array(piece.length).fill(
    piece.notes.length > 0 && piece.notes.every((note) => note.voice !== voice) ? 1 : 0));
}
export function lockedCells(piece) { return openCells(piece).map((row) => row.fill(0)); }

// The same with a span opened (1) or locked (0), as long as the piece: what is added at the end is open.
export function withCells(open, length, voices, from, until, value) {
  return open.map((row, voice) => {
    const copy = new Uint8Array(length).fill(1);
    copy.set(row.subarray(0, length));
    if (voices.includes(voice)) copy.fill(value, from, until);
    return copy;
  });
}

// Runs of open cells, [voice, start, end] each, as the API has them.
export function openSpans(open) {
  return open.flatMap((row, voice) => {
    const edges = [...row.keys(), row.length].filter((step) => (row[step - 1] ?? 0) !== (row[step] ?? 0));
    return edges.filter((_, place) => place % 2 === 0).map((start, place) => [voice, start, edges[2 * place + 1]]);
  });
}
