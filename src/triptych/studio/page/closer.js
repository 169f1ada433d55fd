// A closer look at a piece: arcs of attention from a note, passages that resemble each other, voice leading, the score.
import { bytesOf, isAbort } from "./api.js";
import { cellCursor, decodedMap, heatCanvas, percent } from "./maps.js";
import { noteName, pitchName, placeName, writtenPiece } from "./piece.js";
import { action, card, check, choice, createReadout, element, faint, inBar, layerOptions, notice } from "./widgets.js";
import { saveButtons, scrolled, svg, upTo } from "./widgets.js";

const CLOSER_ARCS = 14; // that are drawn, the strongest first
const CLOSER_LEAST = 0.015; // of the attention of a head, for an arc
const CLOSER_WHOLE = 256; // sixteenths of a chorale whose attention is fetched at once
const CLOSER_ALIKE = 0.8; // similarity of beats from which a passage goes on
const CLOSER_BEATS = 8; // of a passage that is played
const CLOSER_MARKS = 24;
const CLOSER_WAIT = 500; // milliseconds after an edit
const CLOSER_HELP = "Choose the tool “Look”, then point at a note: arcs lead to what the model had read there.";

export function createCloser({ api, roll, player, announce, hasScore }) {
  let [piece, model] = [null, null];
  let known = new Map(); // answers about attention in this piece, by what was asked
  let chosen = null; // the note whose arcs are shown
  let reading = null; // its attention, by layer and head
  let [asked, waiting] = [new AbortController(), new AbortController()];
  let timer = null;
  let alike = null; // {values, count, edges}
  let marks = [];
  const plays = () => piece.kind === "performance";

  // -- arcs -------------------------------------------------------------------------------------------------------
  const says = createReadout();
  const layer = choice({ label: "Layer", onchange: draw });
  const heads = element("div", { class: "bar heads", role: "group", "aria-label": "Heads" });

  function options(layers, count) {
    const last = String(layers - 1);
    layer.setOptions([...layerOptions(layers), { value: "mean", label: "mean of all" }],
      Number(layer.value) > last ? last : layer.value || last);
    if (heads.children.length === count) return;
    heads.replaceChildren(...upTo(count).map((head) => {
      const number = head % 4 + 1;
      const { node } = check({ label: `head ${head + 1}`, value: true, onchange: draw, colour: `--series-${number}` });
      node.classList.add(`head-${number}`);
      return node;
    }));
  }

  // at(layer, head) -> bytes of attention of a note to the moments of a chorale or the notes of a performance.
  async function attention(note, place) {
    const whole = !plays() && piece.length <= CLOSER_WHOLE;
    const about = plays() ? { note: place } : { step: whole ? null : note.start };
    const key = JSON.stringify(about);
    if (!known.has(key)) {
      asked.abort();
      asked = new AbortController();
      const body = { kind: piece.kind, model, piece: writtenPiece(piece), ...about };
      known.set(key, api.post("attention", body, { signal: asked.signal }));
      known.get(key).catch(() => known.delete(key));
    }
    const { weights } = await known.get(key);
    const [, layers, count, width] = weights.shape;
    const bytes = bytesOf(weights.data).subarray((whole ? note.start : 0) * layers * count * width);
    const at = (one, head) => bytes.subarray((one * count + head) * width, (one * count + head + 1) * width);
    return { layers, count, at };
  }

  async function point(place) {
    chosen = place;
    if (place === null || !model) return roll.set({ arcs: [] });
    try {
      const found = await attention(piece.notes[place], place);
      if (chosen !== place) return undefined;
      reading = found;
      options(found.layers, found.count);
      return draw();
    } catch (error) {
      if (!isAbort(error)) says.textContent = error.message;
      return undefined;
    }
  }

  function draw() {
    const note = piece?.notes[chosen];
    if (!note || !reading) return;
    const layers = layer.value === "mean" ? upTo(reading.layers) : [Number(layer.value)];
    const found = new Map();
    for (const [head, { checked }] of [...heads.querySelectorAll("input")].entries()) {
      for (const one of checked ? layers : []) {
        reading.at(one, head).forEach((byte, key) => {
          const to = byte ? target(note, key) : null;
          if (!to) return;
          const id = `${head} ${to.tick} ${to.pitch}`;
          const arc = found.get(id) ?? { from: { tick: note.start, pitch: note.pitch }, to, head, share: 0 };
          arc.share += byte / 255 / layers.length;
          found.set(id, arc);
        });
      }
    }
    const arcs = [...found.values()].filter((arc) => arc.share > CLOSER_LEAST);
    arcs.sort((one, other) => other.share - one.share);
    roll.set({ arcs: arcs.slice(0, CLOSER_ARCS) });
    const [first] = arcs;
    says.textContent = !first ? `${noteName(piece, note)}: these heads look at the start alone.`
      : `${noteName(piece, note)} looks most at ${pitchName(first.to.pitch)} in ${placeName(piece, first.to.tick)}: ` +
        `${percent(Math.min(1, first.share))} of head ${first.head + 1}.`;
  }

  // Where attention goes: a note of a performance, or the note of the same voice at a moment of a chorale.
  function target(note, key) {
    const to = plays() ? piece.notes[key]
      : piece.notes.find((one) => one.voice === note.voice && one.start <= key && key < one.end);
    if (plays() ? !to || key === chosen : key >= note.start) return null;
    return to ? { tick: to.start, pitch: to.pitch } : { tick: key, pitch: note.pitch };
  }

  // -- what resembles what ----------------------------------------------------------------------------------------
  const cross = { row: 0, column: 0 };
  const crossSays = createReadout();
  const frame = element("div", { class: "alike", tabindex: 0, role: "application",
    onkeydown: (event) => { if (event.key === "Enter") hear(); },
    "aria-label": "Which beats sound alike. Arrow keys choose two beats, Enter plays the two passages." });
  const alikeSaves = saveButtons("repetition", alikePicture, { svg: alikePicture });
  const alikeNode = card("What comes back",
    faint("Every beat beside every other: strong where they sound alike; stripes beside the diagonal are passages " +
      "that return. Click to hear both, one after the other.", "small"), frame, crossSays, alikeSaves);

  function showAlike({ matrix, begins, ends, repetition }) {
    const count = begins.length;
    const values = decodedMap({ ...matrix, shape: [1, 1, count, count] }).at(0, 0);
    const canvas = heatCanvas({ values, rows: count, columns: count });
    const mark = svg("svg", { viewBox: `0 0 ${count} ${count}`, "aria-hidden": "true" });
    alikeSaves.hidden = false;
    alike = { values, count, edges: [...begins, ends].map((edge) => Math.round(plays() ? 1_000 * edge : edge)) };
    frame.replaceChildren(canvas, mark);
    crossSays.textContent = `${count} ${plays() ? "moments of half a second" : "beats"}` + (repetition === null ? ""
      : `; ${percent(repetition)} of them lie in passages that come back`);
    cellCursor(frame, canvas, { rows: count, columns: count }, (row, column) => {
      Object.assign(cross, { row, column });
      mark.replaceChildren(svg("path", { d: `M0 ${row + 0.5}H${count}M${column + 0.5} 0V${count}` }));
      const [one, other] = [row, column].map((beat) => placeName(piece, alike.edges[beat]));
      crossSays.textContent = `${one} and ${other}: ${percent(values[row * count + column])} alike`;
    });
    canvas.addEventListener("click", hear);
  }

  function noneAlike(text) {
    alike = null;
    alikeSaves.hidden = true;
    frame.replaceChildren();
    crossSays.textContent = text;
  }

  function alikePicture() {
    const side = 8 * alike.count;
    return svg("svg", { viewBox: `0 0 ${side} ${side}` }, svg("image", { width: side, height: side,
      href: frame.querySelector("canvas").toDataURL(), "image-rendering": "pixelated" }));
  }

  // The two passages that begin at the cross: as long as they stay alike, from two beats to eight.
  function hear() {
    if (!alike) return;
    const { values, count, edges } = alike;
    const [first, second] = [Math.min(cross.row, cross.column), Math.max(cross.row, cross.column)];
    const room = Math.min(CLOSER_BEATS, count - second, second - first || CLOSER_BEATS);
    let beats = 1;
    while (beats < room && (beats < 2 || values[(first + beats) * count + second + beats] >= CLOSER_ALIKE)) beats += 1;
    const ranges = [...new Set([first, second])].map((beat) => ({ from: edges[beat], until: edges[beat + beats] }));
    roll.set({ passages: ranges });
    player.play(ranges);
    announce(`Playing ${ranges.map((one) => placeName(piece, one.from)).join(", then ")}`);
  }

  // -- voice leading and the score --------------------------------------------------------------------------------
  const marksNode = element("div", { class: "marks" });
  const marked = check({ label: "Mark parallel fifths and octaves, crossings", value: true, onchange: leading });
  const scoreStatus = notice();
  const score = element("img", { class: "score", alt: "" });
  const scoreNode = card("Score", scoreStatus.node, scrolled("Score", score));

  function leading() {
    roll.set({ marks: marked.value ? marks : [] });
    const go = (step) => { player.seek(step); roll.head(step, true); };
    marksNode.replaceChildren(...(marked.value ? marks.slice(0, CLOSER_MARKS) : []).map(({ text, step }) =>
      action(`${text}, ${placeName(piece, step)}`, () => go(step), { class: "quiet small" })));
  }

  function showScore({ data }) {
    score.src = `data:image/svg+xml;base64,${data}`;
    score.alt = `Score of ${piece.notes.length} notes, engraved by verovio`;
    scoreStatus.clear();
  }

  // -- all of it --------------------------------------------------------------------------------------------------
  async function fetched(name, more, use, fail) {
    const [now, { signal }] = [piece, waiting];
    try {
      const answer = await api.post(name, { piece: writtenPiece(now), ...more }, { signal });
      if (now === piece) use(answer);
    } catch (error) {
      if (!isAbort(error) && now === piece) fail(error);
    }
  }

  function look() {
    fetched("similarity", {}, showAlike, (error) => noneAlike(error.message));
    if (hasScore) fetched("export", { format: "svg" }, showScore, (error) => {
      score.removeAttribute("src");
      scoreStatus.fail(error);
    });
    if (!plays()) fetched("voice_leading", {}, (answer) => { ({ marks } = answer); leading(); }, () => {});
  }

  function stop() { clearTimeout(timer); waiting.abort(); asked.abort(); }

  options(6, 4);
  noneAlike("");
  return {
    below: [marked.node, marksNode, inBar(layer.node, heads), says],
    beside: [alikeNode, scoreNode],
    point,
    stop,
    update(now, by) {
      stop();
      says.textContent = CLOSER_HELP;
      if (now.kind !== piece?.kind) {
        noneAlike("");
        score.removeAttribute("src");
      }
      [piece, model, known, chosen, marks, waiting] = [now, by, new Map(), null, [], new AbortController()];
      roll.set({ arcs: [], passages: [], marks: [] });
      marksNode.replaceChildren();
      marked.node.hidden = plays();
      alikeNode.hidden = !piece.notes.length;
      scoreNode.hidden = !piece.notes.length || !hasScore;
      if (piece.notes.length) timer = setTimeout(look, CLOSER_WAIT);
    },
  };
}
