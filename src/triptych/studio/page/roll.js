// The piano roll that is an editor: draw, move, lengthen and erase notes by pointer or keys, choose a span, see arcs.
import { barsOf, barTicks, isBlack, noteName, openSpans, pitchName, placeName, withCells, withNote } from "./piece.js";
import { arrowStep, element, freshId, hatched, svg, upTo } from "./widgets.js";

const ROLL_RULER = 24; // dots
const ROLL_LANE = 11; // a row a voice: what is locked and what is open
const ROLL_KEYS = 46; // width of the keys at the left
const ROLL_EDGE = 8; // dots at the end of a note by which it is made longer
const ROLL_MOST = 1_024; // sixteenths of a chorale
const ROLL_SIGNS = { "parallel fifths": "5", "parallel octaves": "8", crossing: "×" };
const ROLL_DASHES = ["", "7 4", "2 4", "9 3 2 3"]; // of the arcs of each head
const ROLL_HELP = "Arrow keys move the cursor, Page Up and Page Down by a bar. Enter draws a note. Alt with arrow " +
  "keys moves the note under the cursor, Shift with left and right changes its length, Delete erases it. N and P go " +
  "to the next and previous note, 1 to 4 choose a voice, square brackets begin and end a span, Space plays.";

export function createRoll({ announce, onedit, onseek, onpoint, onhear, onplay, onvoice, onspan }) {
  let [piece, open, marks, arcs, passages, tool, voice] = [null, [], [], [], [], "draw", 0];
  let [span, zoom, head] = [null, 1, 0]; // span: {from, until}; head: ticks of the playhead
  let cell = { tick: 0, pitch: 67 };
  let held = null; // a note in the hand: {note, base}, base being the piece without it
  let pressed = null; // what the pointer does
  let [lowest, highest, row, scale] = [36, 81, 9, 14];

  const help = element("p", { class: "hidden-text", id: freshId("help"), text: ROLL_HELP });
  const picture = svg("svg", { class: "roll-picture", tabindex: 0, role: "application", "aria-label": "Piano roll",
    "aria-roledescription": "piano roll editor", "aria-describedby": help.id, onkeydown: typed, onpointerdown: press,
    onpointermove: drag, onpointerup: release, onpointercancel: () => { held = pressed = null; render(); },
    onpointerleave: () => { if (!pressed && tool === "look") onpoint(null); },
    oncontextmenu: (event) => { if (tool === "draw") event.preventDefault(); } });
  const keys = svg("svg", { class: "roll-keys", "aria-hidden": "true" });
  const playhead = svg("line", { stroke: "--warn", "stroke-width": 2 });
  const scroller = element("div", { class: "roll-scroll" }, picture);
  const node = element("div", { class: "roll" }, keys, scroller, help);

  const plays = () => piece.kind === "performance";
  const [grid, beat] = [() => (plays() ? 50 : 1), () => (plays() ? 500 : 16 / piece.metre[1])];
  const top = () => ROLL_RULER + (open.length ? open.length * ROLL_LANE + 4 : 0);
  const x = (tick) => tick * scale;
  const y = (pitch) => top() + (highest - pitch) * row;
  const within = (pitch) => Math.min(highest, Math.max(lowest, pitch));
  const snapped = (tick, unit = grid()) => Math.max(0, Math.floor(tick / unit) * unit);
  const noteAt = (tick, pitch) => piece.notes.findLastIndex((note) => note.start <= tick && tick < note.end &&
    note.pitch === pitch);
  const initial = (own) => piece.voices[own][0].toUpperCase();

  const box = (left, up, width, height, fill, more) => svg("rect", { x: left, y: up, width, height, fill, ...more });
  const path = (d, stroke, more) => svg("path", { d, stroke, fill: "none", ...more });
  const words = (left, up, text, more) => svg("text", { x: left, y: up, text, fill: "--faint", "font-size": 11,
    "font-family": "system-ui, sans-serif", ...more });

  function render() {
    if (!piece) return;
    const pitches = piece.notes.map((note) => note.pitch);
    [lowest, highest, row] = plays() ? [Math.min(48, ...pitches) - 2, Math.max(79, ...pitches) + 2, 7]
      : [Math.min(36, ...pitches), Math.max(81, ...pitches), 9];
    scale = zoom * (plays() ? 0.07 : 14);
    const room = piece.length + (plays() ? 2_000 : barTicks(piece));
    const width = Math.max(x(room), scroller.clientWidth);
    const height = y(lowest) + row;
    for (const [one, wide] of [[picture, width], [keys, ROLL_KEYS]]) {
      one.setAttribute("viewBox", `0 0 ${wide} ${height}`);
      [one.style.width, one.style.height] = [`${wide}px`, `${height}px`];
    }
    playhead.setAttribute("y2", height);
    keys.replaceChildren(...keyboard(height));
    picture.replaceChildren(...paper(room, width, height), ...lanes(),
      ...(held ? withNote(held.base, held.note) : piece).notes.flatMap(block), ...marks.flatMap(sign), ...arcs.map(bow),
      box(x(cell.tick), y(cell.pitch), Math.max(4, x(grid())), row, "none", { class: "roll-cell", stroke: "--accent",
        "stroke-width": 2 }), playhead);
    moveHead();
  }

  function keyboard(height) {
    const pitches = upTo(highest - lowest + 1).map((step) => lowest + step);
    return [box(0, 0, ROLL_KEYS, height, "--card"), ...pitches.map((pitch) => box(ROLL_KEYS - 14, y(pitch), 14, row,
      isBlack(pitch) ? "#24282e" : "#f7f6f3", { stroke: "#9a9da2", "stroke-width": 0.5 })),
    ...pitches.filter((pitch) => pitch % 12 === 0).map((pitch) =>
      words(ROLL_KEYS - 18, y(pitch) + row, pitchName(pitch), { "text-anchor": "end" })),
    ...open.map((_, own) => words(ROLL_KEYS - 18, ROLL_RULER + own * ROLL_LANE + 9, initial(own),
      { "text-anchor": "end", "font-size": 9, "font-weight": own === voice ? 700 : 400 }))];
  }

  // What lies under the notes: black keys, octaves, beats, bars with their numbers, the span, the end of the piece.
  function paper(room, width, height) {
    const found = [box(0, 0, width, height, "--card")];
    let [octaves, beats] = ["", ""];
    for (let pitch = lowest; pitch <= highest; pitch += 1) {
      if (isBlack(pitch)) found.push(box(0, y(pitch), width, row, "--paper"));
      if (pitch % 12 === 0) octaves += `M0 ${y(pitch) + row}H${width}`;
    }
    for (let tick = piece.pickup % beat(); tick <= room; tick += beat()) beats += `M${x(tick)} ${top()}V${height}`;
    const bars = barsOf(piece);
    const every = Math.ceil(26 / x(barTicks(piece)));
    found.push(path(octaves, "--line"), path(beats, "--line", { "stroke-opacity": 0.5 }),
      path(bars.map(({ start }) => `M${x(start)} 4V${height}`).join(""), "--edge", { "stroke-opacity": 0.7 }),
      ...bars.filter(({ number }) => number && number % every === 0).map(({ start, number }) =>
        words(x(start) + 4, 16, plays() ? `${number} s` : number)));
    if (span) found.push(box(x(span.from), 0, x(span.until - span.from), height, "--accent", { "fill-opacity": 0.14 }));
    passages.forEach(({ from, until }, place) => found.push(
      box(x(from), top(), x(until - from), height - top(), "--glow", { "fill-opacity": 0.55 }),
      words(x(from) + 4, top() + 14, "AB"[place], { fill: "--ink", "font-weight": 700 })));
    return [...found, path(`M${x(piece.length)} 0V${height}`, "--ink", { "stroke-width": 2 })];
  }

  function lanes() {
    const bar = (own, from, until, fill, more) =>
      box(x(from), ROLL_RULER + own * ROLL_LANE, x(until - from), ROLL_LANE - 2, fill, more);
    return [hatched("roll-open", 5, "--accent", "--card"), ...open.map((_, own) => bar(own, 0, piece.length, "--line")),
      ...openSpans(open).map((one) => bar(...one, "url(#roll-open)", { class: "roll-open" }))];
  }

  function block(note) {
    const width = Math.max(2, x(note.end - note.start) - 1);
    const [left, up] = [x(note.start), y(note.pitch)];
    const found = box(left, up + 0.5, width, row - 1, `--series-${note.voice + 1}`, { class: "roll-note", rx: 2,
      "fill-opacity": plays() ? 0.45 + 0.55 * note.velocity / 127 : 1,
      ...(held?.note === note && { stroke: "--ink", "stroke-width": 2 }) });
    return piece.voices.length === 1 || width < 13 ? [found] : [found, words(left + 3, up + row - 1.5,
      initial(note.voice), { fill: "--card", "font-size": 8, "font-weight": 700 })];
  }

  function sign({ kind, voices, step, text }) {
    const heights = voices.flatMap((own) => piece.notes.filter((note) => note.voice === own && note.start <= step &&
      step < note.end).map((note) => note.pitch));
    if (!heights.length) return [];
    const [high, low, at] = [y(Math.max(...heights)) + row, y(Math.min(...heights)), x(step) + 5];
    const middle = (high + low) / 2;
    return [path(`M${at} ${high}V${low}`, "--warn", { "stroke-width": 1.5, "stroke-dasharray": "3 3" }),
      svg("circle", { cx: at, cy: middle, r: 7, fill: "--card", stroke: "--warn" }, svg("title", { text })),
      words(at, middle + 4, ROLL_SIGNS[kind] ?? "!", { fill: "--warn", "text-anchor": "middle" })];
  }

  function bow({ from, to, head: number, share }) {
    const [x1, y1, x2, y2] = [x(from.tick), y(from.pitch) + row / 2, x(to.tick) + 3, y(to.pitch) + row / 2];
    const lift = Math.max(ROLL_RULER, Math.min(y1, y2) - 20 - Math.abs(x1 - x2) / 5 - 6 * number);
    return path(`M${x1} ${y1}Q${(x1 + x2) / 2} ${lift} ${x2} ${y2}`, `--series-${number % 4 + 1}`, {
      class: "roll-arc", "stroke-width": 1 + 6 * share, "stroke-opacity": 0.35 + 0.6 * share, "stroke-linecap": "round",
      "stroke-dasharray": ROLL_DASHES[number % 4] });
  }

  function moveHead(follow = false) {
    playhead.setAttribute("transform", `translate(${x(head)} 0)`);
    const [from, wide] = [scroller.scrollLeft, scroller.clientWidth];
    if (follow && (x(head) < from || x(head) > from + wide - 24)) scroller.scrollLeft = Math.max(0, x(head) - 40);
  }

  const without = (place) => ({ ...piece, notes: piece.notes.filter((_, one) => one !== place) });
  const fresh = (tick, pitch) => ({ start: tick, end: tick + (plays() ? 500 : 4), pitch, velocity: 80,
    voice: piece.voices.length > 1 ? voice : 0 });
  const atEdge = (note, tick) => x(note.end - tick) < Math.min(ROLL_EDGE, x(note.end - note.start) / 3);

  function commit(now, note, value) {
    held = null;
    onedit(now, withCells(open, now.length, [note.voice], note.start, note.end, value));
  }

  function erase(place) {
    const note = piece.notes[place];
    if (!note) return;
    commit(without(place), note, 1);
    announce(`Erased ${noteName(piece, note)}`);
  }

  function keep() {
    const { note, base } = held;
    const late = plays() ? 0 : Math.max(0, note.end - ROLL_MOST);
    const kept = { ...note, start: note.start - late, end: note.end - late };
    commit(withNote(base, kept), kept, 0);
    announce(noteName(piece, kept));
  }

  function shift(note, { ticks = 0, semitones = 0, longer = 0 }) {
    const start = Math.max(0, note.start + ticks);
    return { ...note, pitch: Math.min(108, Math.max(21, note.pitch + semitones)), start,
      end: start + Math.max(grid(), note.end - note.start + longer) };
  }

  function choose(range) { span = range; onspan(span); render(); }

  function under(event) {
    const frame = picture.getBoundingClientRect();
    const down = event.clientY - frame.top - top();
    const at = { tick: Math.max(0, event.clientX - frame.left) / scale, ruler: down < 0,
      pitch: within(highest - Math.floor(down / row)) };
    const place = at.ruler ? -1 : noteAt(at.tick, at.pitch);
    return { at, place, note: piece.notes[place] };
  }

  function press(event) {
    if (!piece || ![0, 2].includes(event.button)) return;
    picture.focus({ preventScroll: true });
    const { at, place, note } = under(event);
    cell = { tick: snapped(at.tick), pitch: at.pitch };
    if (tool !== "look" || at.ruler) picture.setPointerCapture(event.pointerId);
    if (at.ruler) pressed = { kind: "span", from: snapped(at.tick, beat()), at };
    else if (tool === "look") onpoint(place < 0 ? null : place);
    else if (tool === "erase" || event.button === 2) pressed = { kind: "erase" };
    else {
      held = note ? { note: { ...note }, base: without(place) } : { note: fresh(cell.tick, at.pitch), base: piece };
      pressed = { kind: !note ? "new" : atEdge(note, at.tick) ? "size" : "move", at, from: held.note };
    }
    if (held || (note && tool === "look")) onhear(held?.note ?? note);
    if (pressed?.kind === "erase") erase(place);
    render();
  }

  function drag(event) {
    if (!piece) return;
    const { at, place, note } = under(event);
    if (!pressed) {
      const over = !note ? "" : tool !== "draw" ? tool : atEdge(note, at.tick) ? "edge" : "note";
      picture.dataset.over = at.ruler ? "ruler" : over;
      if (tool === "look" && event.pointerType === "mouse") onpoint(place < 0 ? null : place);
    } else if (pressed.kind === "erase") erase(place);
    else if (pressed.kind === "span") {
      const now = snapped(at.tick, beat());
      pressed.drawn ||= Math.abs(x(at.tick - pressed.at.tick)) > 6;
      const [from, until] = [Math.min(now, pressed.from), Math.min(piece.length, Math.max(now, pressed.from) + beat())];
      if (pressed.drawn) choose(until > from ? { from, until } : null);
    } else if (held) {
      const ticks = snapped(at.tick) - snapped(pressed.at.tick);
      const [{ from }, before] = [pressed, held.note.pitch];
      if (pressed.kind === "move") held.note = shift(from, { ticks, semitones: at.pitch - pressed.at.pitch });
      else if (pressed.kind === "size") held.note = shift(from, { longer: ticks });
      else if (ticks) held.note = { ...from, end: from.start + Math.max(grid(), ticks + grid()) };
      if (held.note.pitch !== before) onhear(held.note);
      render();
    }
  }

  function release() {
    const was = pressed;
    pressed = null;
    if (was?.kind === "span" && !was.drawn) onseek(was.at.tick);
    if (held && was) {
      const same = was.kind !== "new" && ["start", "end", "pitch"].every((name) => held.note[name] === was.from[name]);
      if (!same) keep();
      held = null;
    }
    render();
  }

  function go(tick, pitch) {
    cell = { tick: Math.max(0, tick), pitch: within(pitch) };
    render();
    const left = x(cell.tick);
    scroller.scrollLeft = Math.min(Math.max(scroller.scrollLeft, left - scroller.clientWidth + 60), left - 20);
    const place = noteAt(cell.tick, cell.pitch);
    const note = piece.notes[place];
    announce(note ? noteName(piece, note) : `${pitchName(cell.pitch)}, ${placeName(piece, cell.tick)}`);
    if (tool === "look") onpoint(place < 0 ? null : place);
  }

  function hop(direction) {
    const own = piece.notes.filter((note) => piece.voices.length === 1 || note.voice === voice);
    own.sort((one, other) => direction * (one.start - other.start));
    const next = own.find((note) => direction * (note.start - cell.tick) > 0) ?? own[0];
    if (next) go(next.start, next.pitch);
  }

  // Changes the note under the cursor, or draws one there.
  function put(change = null) {
    const place = noteAt(cell.tick, cell.pitch);
    if (change && place < 0) return;
    held = change ? { note: shift(piece.notes[place], change), base: without(place) }
      : { note: fresh(cell.tick, cell.pitch), base: piece };
    cell = { tick: Math.max(held.note.start, cell.tick + (change?.ticks ?? 0)), pitch: held.note.pitch };
    onhear(held.note);
    keep();
  }

  function arrow(event) {
    const [down, right] = arrowStep(event);
    const [ticks, semitones] = [right * grid(), -down];
    if (event.altKey) put({ ticks, semitones });
    else if (event.shiftKey) put({ longer: ticks });
    else go(cell.tick + ticks, cell.pitch + semitones);
  }

  const rub = () => erase(noteAt(cell.tick, cell.pitch));
  const acts = {
    ArrowLeft: arrow, ArrowRight: arrow, ArrowUp: arrow, ArrowDown: arrow, Delete: rub, Backspace: rub,
    PageDown: () => go(cell.tick + barTicks(piece), cell.pitch),
    PageUp: () => go(cell.tick - barTicks(piece), cell.pitch),
    Home: () => go(0, cell.pitch), End: () => go(piece.length - grid(), cell.pitch),
    "[": () => choose({ from: cell.tick, until: Math.max(span?.until ?? 0, cell.tick + beat()) }),
    "]": () => choose({ from: Math.min(span?.from ?? cell.tick, cell.tick), until: cell.tick + grid() }),
    Enter: () => put(), Escape: () => choose(null), " ": () => onplay(), n: () => hop(1), p: () => hop(-1),
  };

  function typed(event) {
    if (!piece || event.ctrlKey || event.metaKey) return;
    const named = piece.voices.length > 1 && piece.voices[event.key - 1];
    const act = acts[event.key] ?? (named && (() => onvoice(event.key - 1)));
    if (!act) return;
    event.preventDefault();
    act(event);
  }
  new ResizeObserver(render).observe(scroller);

  return {
    node, picture,
    get span() { return span; },
    zoom(factor) { zoom = Math.min(4, Math.max(0.4, zoom * factor)); render(); },
    head(tick, follow) { head = tick; moveHead(follow); },
    set(now) {
      if (now.piece && now.piece !== piece) held = null;
      const all = { piece, open, marks, arcs, passages, tool, voice, ...now };
      ({ piece, open, marks, arcs, passages, tool, voice } = all);
      picture.dataset.tool = tool;
      if (now.span === undefined) render();
      else choose(now.span);
    },
  };
}
