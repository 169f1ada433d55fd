// A closer look at a piece: arcs of attention from a note, passages that resemble each other, voice leading, the score.
import { bytesOf, isAbort } from "./api.js";
import { cellCursor, decodedMap, heatCanvas, percent } from "./maps.js";
import { noteName, pitchName, placeName, writtenPiece } from "./piece.js";
import { check, choice, element, notice, saveButtons, svg } from "./widgets.js";

const CLOSER_ARCS = 14; // that are drawn, the strongest first
const CLOSER_WHOLE = 256; // sixteenths of a chorale whose attention is fetched at once
const CLOSER_ALIKE = 0.8;
const CLOSER_BEATS = 8; // of a passage that is played

export function createCloser({ api, roll, player, announce, hasScore }) {
  let piece = null;
  let model = null;
  let shape = { layers: 6, heads: 4 };
  let known = new Map(); // answers about this piece, by what was asked
  let chosen = null; // the note whose arcs are shown
  let reading = null; // its attention, by layer and head
  let asked = null;
  let waiting = null;
  let alike = null; // {values, beats, begins, ends, bars}

  // -- arcs -------------------------------------------------------------------------------------------------------

  const says = element("p", { class: "readout", role: "status",
    text: "Choose the tool “Look”, then point at a note: arcs lead to what the model read when it wrote it." });
  const layer = choice({ label: "Layer", options: [], onchange: draw });
  const heads = element("div", { class: "bar heads" });
  const arcsNode = element("div", { class: "bar" }, layer.node, heads);

  function options() {
    const names = [...Array(shape.layers).keys()].map((one) => ({ value: String(one), label: `layer ${one + 1}` }));
    layer.setOptions([...names, { value: "mean", label: "mean of all" }], layer.value || String(shape.layers - 1));
    if (heads.children.length === shape.heads) return;
    heads.replaceChildren(...[...Array(shape.heads).keys()].map((head) => {
      const one = check({ label: `head ${head + 1}`, value: true, onchange: draw });
      one.node.classList.add(`head-${head % 4 + 1}`);
      return one.node;
    }));
  }

  // Attention of the chosen note: at(layer, head) -> Float32Array over the moments or the notes.
  async function attention(note, place, signal) {
    const whole = piece.kind === "chorale" && piece.length <= CLOSER_WHOLE;
    const about = piece.kind === "performance" ? { note: place } : { step: whole ? null : note.start };
    const key = JSON.stringify(about);
    if (!known.has(key)) {
      known.set(key, api.post("attention", { kind: piece.kind, model, piece: writtenPiece(piece), ...about }, { signal }));
      known.get(key).catch(() => known.delete(key));
    }
    const answer = await known.get(key);
    shape = { layers: answer.layers, heads: answer.heads };
    const [, layers, count, keys] = answer.weights.shape;
    const bytes = bytesOf(answer.weights.data).subarray((whole ? note.start : 0) * layers * count * keys);
    return (one, head) => bytes.subarray((one * count + head) * keys, (one * count + head + 1) * keys);
  }

  // Shares of attention by note of the piece (or moment of rest), the strongest of the heads that are shown.
  async function point(place) {
    chosen = place;
    asked?.abort();
    if (place === null || !piece || !model) return roll.set({ arcs: [] });
    asked = new AbortController();
    try {
      const note = piece.notes[place];
      const at = await attention(note, place, asked.signal);
      if (chosen !== place) return;
      options();
      reading = at;
      draw();
    } catch (error) {
      if (!isAbort(error)) says.textContent = error.message;
    }
  }

  function draw() {
    const note = piece?.notes[chosen];
    if (!note || !reading) return;
    const shownHeads = [...heads.querySelectorAll("input")].flatMap((input, head) => (input.checked ? [head] : []));
    const layers = layer.value === "mean" ? [...Array(shape.layers).keys()] : [Number(layer.value)];
    const found = new Map();
    for (const head of shownHeads) {
      for (const one of layers) {
        reading(one, head).forEach((byte, key) => {
          const to = byte ? target(note, key) : null;
          if (!to) return;
          const id = `${head} ${to.tick} ${to.pitch}`;
          const arc = found.get(id) ?? { from: { tick: note.start, pitch: note.pitch }, to, head, share: 0 };
          arc.share += byte / 255 / layers.length;
          found.set(id, arc);
        });
      }
    }
    const arcs = [...found.values()].filter((arc) => arc.share > 0.015).sort((one, other) => other.share - one.share);
    roll.set({ arcs: arcs.slice(0, CLOSER_ARCS) });
    const [first] = arcs;
    says.textContent = !first ? `${noteName(piece, note)}: these heads look at the start alone.`
      : `${noteName(piece, note)} looks most at ${pitchName(first.to.pitch)} in ${placeName(piece, first.to.tick)}: ` +
        `${percent(Math.min(1, first.share))} of head ${first.head + 1}.`;
  }

  function target(note, key) {
    if (piece.kind === "performance") {
      const to = piece.notes[key];
      return to && key !== chosen ? { tick: to.start, pitch: to.pitch } : null;
    }
    if (key >= note.start) return null;
    const to = piece.notes.find((one) => one.voice === note.voice && one.start <= key && key < one.end);
    return to ? { tick: to.start, pitch: to.pitch } : { tick: key, pitch: note.pitch };
  }

  // -- what resembles what ----------------------------------------------------------------------------------------

  const alikeStatus = element("p", { class: "readout", role: "status" });
  const frame = element("div", { class: "alike scroll", tabindex: 0, role: "application",
    "aria-label": "Which beats sound alike. Arrow keys choose two beats, Enter plays the two passages." });
  const alikeSaves = element("span");
  const alikeNode = element("section", { class: "card" }, element("h3", { text: "What comes back" }),
    element("p", { class: "faint small", text: "Every beat beside every other: dark where they sound alike; stripes beside " +
      "the diagonal are passages that return. Click to hear both, one after the other." }), frame, alikeStatus, alikeSaves);
  const crossing = { row: 0, column: 0 };
  frame.addEventListener("keydown", (event) => { if (event.key === "Enter") hear(); });

  function showAlike(answer) {
    const { matrix: { shape: [count] }, begins, ends, bars } = answer;
    const values = decodedMap({ ...answer.matrix, shape: [1, 1, count, count] }).at(0, 0);
    alike = { values, count, edges: [...begins, ends], bars };
    const canvas = heatCanvas({ values, rows: count, columns: count });
    const mark = svg("svg", { viewBox: `0 0 ${count} ${count}`, "aria-hidden": "true" });
    frame.replaceChildren(element("div", { class: "alike-square" }, canvas, mark));
    if (!alikeSaves.firstChild) alikeSaves.append(saveButtons("repetition", alikePicture));
    alikeStatus.textContent = `${count} beats` + (answer.repetition === null ? "" :
      `; ${percent(answer.repetition)} of them lie in passages that come back`);
    cellCursor(frame, canvas, { grid: { x: 0, y: 0, width: count, height: count }, rows: count, columns: count }, (row, column) => {
      Object.assign(crossing, { row, column });
      mark.replaceChildren(svg("path", { d: `M0 ${row + 0.5}H${count}M${column + 0.5} 0V${count}`, "vector-effect": "non-scaling-stroke" }));
      alikeStatus.textContent = `${beatName(row)} and ${beatName(column)}: ${percent(values[row * count + column])} alike`;
    });
    canvas.addEventListener("click", hear);
  }

  function alikePicture() {
    const canvas = element("canvas", { width: 8 * alike.count, height: 8 * alike.count });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(frame.querySelector("canvas"), 0, 0, canvas.width, canvas.height);
    return canvas;
  }

  const ticks = (edge) => Math.round(piece.kind === "performance" ? 1_000 * edge : edge);
  const beatName = (beat) => placeName(piece, ticks(alike.edges[beat]));

  // The two passages that begin at the cross: as long as they stay alike, from two beats to eight.
  function hear() {
    if (!alike) return;
    const { row, column } = crossing;
    let beats = 1;
    const room = Math.min(CLOSER_BEATS, alike.count - Math.max(row, column), Math.abs(row - column) || CLOSER_BEATS);
    while (beats < room && (beats < 2 || alike.values[(row + beats) * alike.count + column + beats] >= CLOSER_ALIKE)) beats += 1;
    const range = (first) => ({ from: ticks(alike.edges[first]), until: ticks(alike.edges[first + beats]) });
    const ranges = row === column ? [range(row)] : [range(Math.min(row, column)), range(Math.max(row, column))];
    roll.set({ passages: ranges });
    player.play(ranges);
    announce(`Playing ${ranges.map((one) => placeName(piece, one.from)).join(", then ")}`);
  }

  // -- voice leading and the score ----------------------------------------------------------------------------------

  const marksNode = element("div", { class: "marks" });
  const showMarks = check({ label: "Mark parallel fifths and octaves, crossings", value: true, onchange: () => leading() });
  let marks = [];

  function leading() {
    const shown = showMarks.value ? marks : [];
    roll.set({ marks: shown });
    marksNode.replaceChildren(...(shown.length ? shown.slice(0, 24).map((mark) => element("button", {
      type: "button", class: "quiet small", text: `${mark.text}, ${placeName(piece, mark.step)}`,
      onclick: () => { player.seek(mark.step); roll.head(mark.step, true); },
    })) : [element("span", { class: "faint small", text: showMarks.value ? "No fault of voice leading found." : "" })]));
  }

  const scoreStatus = notice();
  const score = element("img", { class: "score", alt: "" });
  const scoreNode = element("section", { class: "card" }, element("h3", { text: "Score" }), scoreStatus.node,
    element("div", { class: "scroll score-frame", tabindex: 0, role: "region", "aria-label": "Score" }, score));

  function showScore(answer) {
    score.src = `data:image/svg+xml;base64,${answer.data}`;
    score.alt = `Score of ${piece.notes.length} notes, engraved by verovio`;
    scoreStatus.clear();
  }

  // -- all of it ----------------------------------------------------------------------------------------------------

  async function fetched(name, body, use, fail) {
    const [now, { signal }] = [piece, waiting];
    try {
      const answer = await api.post(name, body, { signal });
      if (now === piece) use(answer);
    } catch (error) {
      if (!isAbort(error) && now === piece) fail(error);
    }
  }

  function look() {
    const body = { piece: writtenPiece(piece) };
    fetched("similarity", body, showAlike, (error) => { frame.replaceChildren(); alikeStatus.textContent = error.message; });
    if (hasScore) fetched("export", { ...body, format: "svg" }, showScore, (error) => { score.removeAttribute("src"); scoreStatus.fail(error); });
    if (piece.kind === "chorale") fetched("voice_leading", body, (answer) => { ({ marks } = answer); leading(); }, () => {});
  }

  options();
  let timer = null;
  return {
    arcsNode, says, alikeNode, scoreNode, marksNode, marksCheck: showMarks.node,
    point,
    update(now, by) {
      [piece, model, known, chosen, marks] = [now, by, new Map(), null, []];
      roll.set({ arcs: [], passages: [], marks: [] });
      marksNode.replaceChildren();
      clearTimeout(timer);
      waiting?.abort();
      waiting = new AbortController();
      alikeNode.hidden = scoreNode.hidden = !piece.notes.length;
      if (!hasScore) scoreNode.hidden = true;
      if (piece.notes.length) timer = setTimeout(look, 500);
    },
    stop() {
      clearTimeout(timer);
      waiting?.abort();
      asked?.abort();
    },
  };
}
