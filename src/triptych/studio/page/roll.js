// The piano roll that is an editor: draw, move, lengthen and erase notes by pointer or keys, choose a span, see arcs.
import { barsOf, barTicks, cleared, noteName, pitchName, placeName, withCells, withNote } from "./piece.js";
import { element, freshId, svg, tokenColour } from "./widgets.js";

const ROLL_RULER = 24; // dots
const ROLL_LANE = 11; // a row a voice: what is locked and what is open
const ROLL_KEYS = 46; // width of the keys at the left
const ROLL_BLACK = [1, 3, 6, 8, 10];
const ROLL_SIGNS = { "parallel fifths": "5", "parallel octaves": "8", "parallel unisons": "1", crossing: "×", spacing: "↕" };
const ROLL_HELP = "Arrow keys move the cursor, Page Up and Page Down by a bar. Enter draws a note, or picks one up: move it " +
  "with the arrow keys and press Enter again. Shift with left and right changes its length, Delete erases it. N and P go " +
  "to the next and previous note, 1 to 4 choose a voice, square brackets begin and end a span, Space plays.";

export function createRoll({ announce, onedit, onseek, onpoint, onhear, onplay, onvoice, onspan }) {
  let piece = null;
  let open = [];
  let marks = [];
  let arcs = [];
  let passages = [];
  let tool = "draw";
  let voice = 0;
  let span = null;
  let zoom = 1;
  let head = 0; // ticks of the playhead
  let cell = { tick: 0, pitch: 67 };
  let held = null; // a note in the hand: {note, base}, base being the piece without it
  let pressed = null; // what the pointer does
  let [lowest, highest, row, scale] = [36, 81, 9, 14];

  const help = element("p", { class: "hidden-text", id: freshId("help"), text: ROLL_HELP });
  const picture = svg("svg", { class: "roll-picture", tabindex: 0, role: "application",
    "aria-label": "Piano roll", "aria-roledescription": "piano roll editor", "aria-describedby": help.id });
  const keys = svg("svg", { class: "roll-keys", "aria-hidden": "true" });
  const playhead = svg("line", { class: "roll-head" });
  const scroller = element("div", { class: "roll-scroll" }, picture);
  const node = element("div", { class: "roll" }, keys, scroller, help);

  const grid = () => (piece.kind === "performance" ? 50 : 1);
  const usual = () => (piece.kind === "performance" ? 500 : 4);
  const beat = () => (piece.kind === "performance" ? 500 : 16 / piece.metre[1]);
  const top = () => ROLL_RULER + (open.length ? open.length * ROLL_LANE + 4 : 0);
  const x = (tick) => tick * scale;
  const y = (pitch) => top() + (highest - pitch) * row;
  const snapped = (tick, unit = grid()) => Math.max(0, Math.floor(tick / unit) * unit);
  const noteAt = (tick, pitch, own = null) => piece.notes.findLastIndex((note) => note.start <= tick && tick < note.end &&
    (pitch === null || note.pitch === pitch) && (own === null || note.voice === own));

  // -- drawing ----------------------------------------------------------------------------------------------------

  function measure() {
    const pitches = piece.notes.map((note) => note.pitch);
    const plays = piece.kind === "performance";
    [lowest, highest, row] = plays ? [Math.min(48, ...pitches) - 2, Math.max(79, ...pitches) + 2, 7]
      : [Math.min(36, ...pitches), Math.max(81, ...pitches), 9];
    scale = zoom * (plays ? 0.07 : 14);
  }

  function render() {
    if (!piece) return;
    measure();
    const room = piece.length + (piece.kind === "performance" ? 2_000 : barTicks(piece));
    const width = Math.max(x(room), scroller.clientWidth);
    const height = y(lowest) + row;
    const colour = Object.fromEntries(["line", "faint", "ink", "card", "paper", "soft", "accent", "warn", "edge", "glow",
      "series-1", "series-2", "series-3", "series-4"].map((name) => [name, tokenColour(`--${name}`)]));
    const box = (x0, y0, w, h, fill, more = {}) => svg("rect", { x: x0, y: y0, width: w, height: h, fill, ...more });
    const words = (x0, y0, text, more = {}) => svg("text", { x: x0, y: y0, text, fill: colour.faint, "font-size": 11,
      "font-family": "system-ui, sans-serif", ...more });
    for (const [one, wide] of [[picture, width], [keys, ROLL_KEYS]]) {
      one.setAttribute("viewBox", `0 0 ${wide} ${height}`);
      one.style.width = `${wide}px`;
      one.style.height = `${height}px`;
    }
    const drawn = [box(0, 0, width, height, colour.card)];
    const left = [box(0, 0, ROLL_KEYS, height, colour.card)];
    for (let pitch = lowest; pitch <= highest; pitch += 1) {
      const black = ROLL_BLACK.includes(pitch % 12);
      if (black) drawn.push(box(0, y(pitch), width, row, colour.paper));
      left.push(box(ROLL_KEYS - 14, y(pitch), 14, row, black ? colour.ink : colour.card, { stroke: colour.line }));
      if (pitch % 12 === 0) {
        drawn.push(svg("path", { d: `M0 ${y(pitch) + row}H${width}`, stroke: colour.line }));
        left.push(words(ROLL_KEYS - 18, y(pitch) + row, pitchName(pitch), { "text-anchor": "end" }));
      }
    }
    open.forEach((_, own) => left.push(words(ROLL_KEYS - 18, ROLL_RULER + own * ROLL_LANE + 9, piece.voices[own][0].toUpperCase(),
      { "text-anchor": "end", "font-size": 9, "font-weight": own === voice ? 700 : 400 })));
    for (let tick = piece.pickup % beat(); tick <= room; tick += beat()) {
      drawn.push(svg("path", { d: `M${x(tick)} ${top()}V${height}`, stroke: colour.line, "stroke-opacity": 0.5 }));
    }
    const bars = barsOf(piece);
    const every = Math.ceil(26 / x(barTicks(piece)));
    for (const { start, number } of bars) {
      drawn.push(svg("path", { d: `M${x(start)} 4V${height}`, stroke: colour.edge, "stroke-opacity": 0.7 }));
      if (number && number % every === 0) drawn.push(words(x(start) + 4, 16, piece.kind === "performance" ? `${number} s` : number));
    }
    if (span) drawn.push(box(x(span.from), 0, x(span.until - span.from), height, colour.accent, { "fill-opacity": 0.14 }));
    passages.forEach((one, place) => drawn.push(box(x(one.from), top(), x(one.until - one.from), height - top(), colour.glow,
      { "fill-opacity": 0.55 }), words(x(one.from) + 4, top() + 14, "AB"[place], { fill: colour.ink, "font-weight": 700 })));
    drawn.push(svg("path", { d: `M${x(piece.length)} 0V${height}`, stroke: colour.ink, "stroke-width": 2 }));
    drawn.push(...lanes(colour, box));
    for (const note of shown().notes) drawn.push(...block(note, colour, box, words));
    drawn.push(...marks.flatMap((mark) => sign(mark, colour, words)), ...arcs.map((arc) => bow(arc, colour)));
    drawn.push(svg("rect", { class: "roll-cell", x: x(cell.tick), y: y(cell.pitch), width: Math.max(4, x(grid())), height: row,
      fill: "none", stroke: colour.accent, "stroke-width": 2 }));
    playhead.setAttribute("y2", height);
    playhead.setAttribute("stroke", colour.warn);
    picture.replaceChildren(...drawn, playhead);
    keys.replaceChildren(...left);
    moveHead();
  }

  function lanes(colour, box) {
    const hatch = svg("pattern", { id: "roll-open", width: 5, height: 5, patternUnits: "userSpaceOnUse",
      patternTransform: "rotate(45)" }, box(0, 0, 2, 5, colour.accent));
    return [svg("defs", {}, hatch), ...open.flatMap((cells, own) => {
      const height = ROLL_RULER + own * ROLL_LANE;
      const found = [box(0, height, x(piece.length), ROLL_LANE - 2, colour.line)];
      for (let step = 0, from = 0; step <= cells.length; step += 1) {
        if (cells[step]) continue;
        if (step > from) {
          const open = [x(from), height, x(step - from), ROLL_LANE - 2];
          found.push(box(...open, colour.card), box(...open, "url(#roll-open)", { class: "roll-open" }));
        }
        from = step + 1;
      }
      return found;
    })];
  }

  function block(note, colour, box, words) {
    const chosen = held?.note === note;
    const width = Math.max(2, x(note.end - note.start) - 1);
    const fill = colour[`series-${note.voice + 1}`];
    const strength = piece.kind === "performance" ? 0.45 + 0.55 * note.velocity / 127 : 1;
    const found = [box(x(note.start), y(note.pitch) + 0.5, width, row - 1, fill, { rx: 2, "fill-opacity": strength,
      class: "roll-note", ...(chosen && { stroke: colour.ink, "stroke-width": 2 }) })];
    if (piece.voices.length > 1 && width > 12) {
      found.push(words(x(note.start) + 3, y(note.pitch) + row - 1.5, piece.voices[note.voice][0].toUpperCase(),
        { fill: colour.card, "font-size": 8, "font-weight": 700 }));
    }
    return found;
  }

  function sign({ kind, voices, step, text }, colour, words) {
    const heights = voices.map((own) => piece.notes[noteAt(step, null, own)]?.pitch).filter((pitch) => pitch !== undefined);
    if (!heights.length) return [];
    const [high, low] = [Math.max(...heights), Math.min(...heights)];
    const at = x(step) + 5;
    return [svg("path", { d: `M${at} ${y(high) + row}V${y(low)}`, stroke: colour.warn, "stroke-width": 1.5,
      "stroke-dasharray": "3 3" }), svg("circle", { cx: at, cy: y((high + low) / 2) + row / 2, r: 7, fill: colour.card,
      stroke: colour.warn }, svg("title", { text })),
    words(at, y((high + low) / 2) + row / 2 + 4, ROLL_SIGNS[kind] ?? "!", { fill: colour.warn, "text-anchor": "middle" })];
  }

  function bow({ from, to, head: number, share }, colour) {
    const [x1, y1, x2, y2] = [x(from.tick), y(from.pitch) + row / 2, x(to.tick) + 3, y(to.pitch) + row / 2];
    const lift = Math.max(ROLL_RULER, Math.min(y1, y2) - 14 - Math.abs(x1 - x2) / 5 - 6 * number);
    return svg("path", { class: "roll-arc", d: `M${x1} ${y1}Q${(x1 + x2) / 2} ${lift} ${x2} ${y2}`, fill: "none",
      stroke: colour[`series-${number % 4 + 1}`], "stroke-width": 1 + 6 * share, "stroke-opacity": 0.35 + 0.6 * share,
      "stroke-linecap": "round", "stroke-dasharray": ["", "7 4", "2 4", "9 3 2 3"][number % 4] });
  }

  const shown = () => (held ? withNote(held.base, held.note) : piece);

  function moveHead(follow = false) {
    playhead.setAttribute("transform", `translate(${x(head)} 0)`);
    const [from, wide] = [scroller.scrollLeft, scroller.clientWidth];
    if (follow && (x(head) < from || x(head) > from + wide - 24)) scroller.scrollLeft = Math.max(0, x(head) - 40);
  }

  // -- editing ----------------------------------------------------------------------------------------------------

  function commit(now, touched = [], value = 0) {
    let cells = open;
    for (const note of touched) cells = withCells(cells, now.length, [note.voice], note.start, note.end, value);
    if (!touched.length) cells = withCells(cells, now.length, [], 0, 0, 0);
    held = null;
    onedit(now, cells);
  }

  function without(place) {
    return { ...piece, notes: piece.notes.filter((_, one) => one !== place) };
  }

  function erase(place) {
    const note = piece.notes[place];
    if (!note) return;
    commit(without(place), [note], 1);
    announce(`Erased ${noteName(piece, note)}`);
  }

  function keep() {
    if (!held) return;
    const { note, base } = held;
    const most = piece.kind === "performance" ? Infinity : 1_024;
    if (note.end > most) Object.assign(note, { start: most - (note.end - note.start), end: most });
    commit(withNote(base, note), [note], 0);
    announce(noteName(piece, note));
  }

  function fresh(tick, pitch, length = usual()) {
    return { start: tick, end: tick + length, pitch, velocity: 80, voice: piece.voices.length > 1 ? voice : 0 };
  }

  function shift(note, { ticks = 0, semitones = 0, longer = 0 }) {
    const start = Math.max(0, note.start + ticks);
    const pitch = Math.min(piece.kind === "performance" ? 108 : 127, Math.max(21, note.pitch + semitones));
    return { ...note, pitch, start, end: start + Math.max(grid(), note.end - note.start + longer) };
  }

  // -- pointer ----------------------------------------------------------------------------------------------------

  function spot(event) {
    const frame = picture.getBoundingClientRect();
    const [left, down] = [event.clientX - frame.left, event.clientY - frame.top];
    return { tick: left / scale, pitch: Math.min(highest, Math.max(lowest, highest - Math.floor((down - top()) / row))),
      ruler: down < top() };
  }

  function press(event) {
    if (!piece || (event.button !== 0 && event.button !== 2)) return;
    picture.focus({ preventScroll: true });
    const at = spot(event);
    const place = noteAt(at.tick, at.pitch);
    const note = piece.notes[place];
    if (tool !== "look" || at.ruler) picture.setPointerCapture(event.pointerId);
    if (at.ruler) pressed = { kind: "span", from: snapped(at.tick, beat()), exact: at.tick };
    else if (tool === "erase" || event.button === 2) {
      pressed = { kind: "erase" };
      erase(place);
    } else if (tool === "look") {
      if (note) onhear(note);
      onpoint(place < 0 ? null : place);
    } else if (note) {
      const edge = x(note.end) - x(at.tick) < Math.min(8, x(note.end - note.start) / 3);
      held = { note: { ...note }, base: without(place) };
      pressed = { kind: edge ? "size" : "move", at, from: note };
      onhear(note);
    } else {
      const tick = snapped(at.tick);
      held = { note: fresh(tick, at.pitch), base: piece };
      pressed = { kind: "new", at, from: held.note };
      onhear(held.note);
    }
    cell = { tick: snapped(at.tick), pitch: at.pitch };
    render();
  }

  function drag(event) {
    if (!piece) return;
    const at = spot(event);
    if (!pressed) {
      const place = at.ruler ? -1 : noteAt(at.tick, at.pitch);
      const note = piece.notes[place];
      picture.dataset.over = at.ruler ? "ruler" : !note ? "" : tool !== "draw" ? tool :
        x(note.end) - x(at.tick) < Math.min(8, x(note.end - note.start) / 3) ? "edge" : "note";
      if (tool === "look" && event.pointerType === "mouse") onpoint(place < 0 ? null : place);
      return;
    }
    if (pressed.kind === "erase") erase(noteAt(at.tick, at.pitch));
    if (pressed.kind === "span") {
      const now = snapped(at.tick, beat());
      if (Math.abs(x(at.tick) - x(pressed.exact)) > 6 || span?.drawn) {
        const [from, until] = [Math.min(now, pressed.from), Math.min(piece.length, Math.max(now, pressed.from) + beat())];
        choose(until > from ? { from, until, drawn: true } : null);
      }
    } else if (held) {
      const ticks = snapped(at.tick) - snapped(pressed.at.tick);
      const before = held.note.pitch;
      if (pressed.kind === "move") held.note = shift(pressed.from, { ticks, semitones: at.pitch - pressed.at.pitch });
      else if (pressed.kind === "size") held.note = shift(pressed.from, { longer: ticks });
      else if (ticks) held.note = { ...pressed.from, end: pressed.from.start + Math.max(grid(), ticks + grid()) };
      if (held.note.pitch !== before) onhear(held.note);
      render();
    }
  }

  function release() {
    const kind = pressed?.kind;
    if (kind === "span" && !span?.drawn) onseek(pressed.exact);
    if (span) span.drawn = false;
    const unchanged = held && pressed && kind !== "new" && ["start", "end", "pitch"].every((name) => held.note[name] === pressed.from[name]);
    pressed = null;
    if (held && !unchanged && kind) keep();
    else held = null;
    render();
  }

  function choose(range) {
    span = range;
    onspan(span);
    render();
  }

  // -- keys -------------------------------------------------------------------------------------------------------

  function walk(ticks, semitones) {
    if (held) held.note = shift(held.note, { ticks, semitones });
    cell = { tick: Math.max(0, cell.tick + ticks), pitch: Math.min(highest, Math.max(lowest, cell.pitch + semitones)) };
    if (held && semitones) onhear(held.note);
    tell();
  }

  function tell() {
    render();
    scroller.scrollLeft = Math.min(Math.max(scroller.scrollLeft, x(cell.tick) - scroller.clientWidth + 60), Math.max(0, x(cell.tick) - 20));
    const note = held?.note ?? piece.notes[noteAt(cell.tick, cell.pitch)];
    announce(note ? noteName(piece, note) : `${pitchName(cell.pitch)}, ${placeName(piece, cell.tick)}`);
    onpoint(tool === "look" && note ? piece.notes.indexOf(note) : null);
  }

  function hop(direction) {
    const own = piece.notes.filter((note) => piece.voices.length === 1 || note.voice === voice);
    own.sort((one, other) => direction * (one.start - other.start));
    const next = own.find((note) => direction * (note.start - cell.tick) > 0) ?? own[0];
    if (next) cell = { tick: next.start, pitch: next.pitch };
    tell();
  }

  function lengthen(ticks) {
    const place = noteAt(cell.tick, cell.pitch);
    if (held) held.note = shift(held.note, { longer: ticks });
    else if (place >= 0) {
      held = { note: shift(piece.notes[place], { longer: ticks }), base: without(place) };
      keep();
    }
    tell();
  }

  function enter() {
    const place = noteAt(cell.tick, cell.pitch);
    if (held) return keep();
    if (place >= 0) {
      held = { note: { ...piece.notes[place] }, base: without(place) };
      announce(`Picked up ${noteName(piece, held.note)}`);
      return render();
    }
    held = { note: fresh(cell.tick, cell.pitch), base: piece };
    onhear(held.note);
    return keep();
  }

  const acts = {
    ArrowLeft: (far) => (far ? lengthen(-grid()) : walk(-grid(), 0)), ArrowRight: (far) => (far ? lengthen(grid()) : walk(grid(), 0)),
    ArrowUp: (far) => walk(0, far ? 12 : 1), ArrowDown: (far) => walk(0, far ? -12 : -1),
    PageDown: () => walk(barTicks(piece), 0), PageUp: () => walk(-barTicks(piece), 0),
    Home: () => walk(-cell.tick, 0), End: () => walk(piece.length - grid() - cell.tick, 0),
    Enter: enter, " ": () => onplay(), n: () => hop(1), p: () => hop(-1),
    Delete: () => erase(noteAt(cell.tick, cell.pitch)), Backspace: () => erase(noteAt(cell.tick, cell.pitch)),
    "[": () => choose({ from: cell.tick, until: Math.max(span?.until ?? 0, cell.tick + beat()) }),
    "]": () => choose({ from: Math.min(span?.from ?? cell.tick, cell.tick), until: cell.tick + grid() }),
    Escape: () => { if (held) { held = null; render(); } else choose(null); },
  };

  picture.addEventListener("keydown", (event) => {
    if (!piece || event.ctrlKey || event.metaKey || event.altKey) return;
    const number = Number(event.key);
    const act = acts[event.key] ?? (number >= 1 && number <= piece.voices.length && piece.voices.length > 1 ? () => onvoice(number - 1) : null);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act(event.shiftKey);
  });
  picture.addEventListener("pointerdown", press);
  picture.addEventListener("pointermove", drag);
  picture.addEventListener("pointerup", release);
  picture.addEventListener("pointercancel", () => { held = pressed = null; render(); });
  picture.addEventListener("pointerleave", () => { if (!pressed && tool === "look") onpoint(null); });
  picture.addEventListener("contextmenu", (event) => { if (tool === "draw") event.preventDefault(); });
  document.addEventListener("themechange", render);
  new ResizeObserver(render).observe(scroller);

  return {
    node,
    picture,
    set(now) {
      if (now.piece && now.piece !== piece) held = null;
      ({ piece, open, marks, arcs, passages, tool, voice } = { piece, open, marks, arcs, passages, tool, voice, ...now });
      if (now.span !== undefined) choose(now.span);
      picture.dataset.tool = tool;
      render();
    },
    head(tick, follow) {
      head = tick;
      moveHead(follow);
    },
    zoom(factor) { zoom = Math.min(4, Math.max(0.4, zoom * factor)); render(); },
    get span() { return span; },
    xOf: (tick) => x(tick),
    yOf: (pitch) => y(pitch) + row / 2,
    // What a span of a voice holds becomes open and empty.
    emptied: (voices, from, until) => voices.reduce((now, own) => cleared(now, own, from, until), piece),
  };
}
