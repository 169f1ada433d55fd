// A closer look at a piece: arcs of attention from a note, passages that resemble each other, voice leading, the score.
import { bytesOf } from "./api.js";
import { cellCursor, decodedMap, heatCanvas, percent } from "./maps.js";
import { noteName, pitchName, placeName, writtenPiece } from "./piece.js";
import { action, card, check, choice, createReadout, createTurn, element, faint, inBar } from "./widgets.js";
import { layerOptions, saveButtons, scrolled, svg, upTo } from "./widgets.js";

const CLOSER_ARCS = 14; // that are drawn, the strongest first
const CLOSER_LEAST = 0.015; // of the attention of a head, for an arc
const CLOSER_WHOLE = 256; // sixteenths of a chorale whose attention is fetched at once
const CLOSER_ALIKE = 0.8; // similarity of beats from which a passage goes on
const CLOSER_BEATS = 8; // of a passage that is played
const CLOSER_MARKS = 24;
const CLOSER_WAIT = 500; // milliseconds after an edit
const CLOSER_HELP = "Choose the tool “Look”, then point at a note: arcs lead to what the model had read there.";

export function createCloser({ api, roll, player, announce, hasScore }) {
  let [piece, model, chosen] = [null, null, null]; // chosen: the note whose arcs are shown
  let known = new Map(); // answers about attention in this piece, by what was asked
  let [marks, timer] = [[], null];
  const plays = () => piece.kind === "performance";

  const says = createReadout();
  const layer = choice({ label: "Layer", onchange: draw });
  const heads = element("div", { class: "bar heads", role: "group", "aria-label": "Heads" });
  const controls = inBar(layer.node, heads);

  function options(layers, count) {
    controls.hidden = false;
    if (layer.input.options.length !== layers + 1) layer.setOptions([...layerOptions(layers),
      { value: "mean", label: "mean of all" }], layers - 1);
    if (heads.children.length === count) return;
    heads.replaceChildren(...upTo(count).map((head) => {
      const number = head % 4 + 1;
      const { node } = check({ label: `head ${head + 1}`, value: true, onchange: draw, colour: `--series-${number}` });
      node.classList.add(`head-${number}`);
      return node;
    }));
  }

  const pointing = createTurn((error) => { says.textContent = error.message; });

  function point(place) {
    chosen = place;
    draw();
  }

  // The arcs of the chosen note, as soon as its attention is known.
  function draw() {
    const note = piece?.notes[chosen];
    if (!note || !model) return roll.set({ arcs: [] });
    const [whole, answers] = [!plays() && piece.length <= CLOSER_WHOLE, known];
    const about = plays() ? { note: chosen } : { step: whole ? null : note.start };
    const key = JSON.stringify(about);
    if (!answers.has(key)) {
      const body = { kind: piece.kind, model, piece: writtenPiece(piece), ...about };
      return pointing.run(async (signal) => {
        answers.set(key, (await api.post("attention", body, { signal })).weights);
        if (answers === known) draw();
      }, key);
    }
    // Bytes of attention of a layer and head to the moments of a chorale or the notes of a performance.
    const { shape: [, all, count, width], data } = answers.get(key);
    const bytes = bytesOf(data).subarray((whole ? note.start : 0) * all * count * width);
    const at = (one, head) => bytes.subarray((one * count + head) * width, (one * count + head + 1) * width);
    options(all, count);
    const layers = layer.value === "mean" ? upTo(all) : [Number(layer.value)];
    const found = new Map();
    for (const [head, { checked }] of [...heads.querySelectorAll("input")].entries()) {
      for (const one of checked ? layers : []) {
        at(one, head).forEach((byte, key) => {
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

  const alike = element("div");
  const alikeNode = card("What comes back",
    faint("Every beat beside every other: strong where they sound alike; stripes beside the diagonal are passages " +
      "that return. Click to hear both, one after the other.", "small"), alike);
  let redrawn = null; // what is alike, in the colours of the theme

  function showAlike({ matrix, begins, ends, repetition }) {
    const count = begins.length;
    const values = decodedMap({ ...matrix, shape: [1, 1, count, count] }).at(0, 0);
    const edges = [...begins, ends].map((edge) => Math.round(plays() ? 1_000 * edge : edge));
    const canvas = heatCanvas({ values, rows: count, columns: count });
    const mark = svg("svg", { viewBox: `0 0 ${count} ${count}`, "aria-hidden": "true" });
    const says = createReadout(`${count} ${plays() ? "moments of half a second" : "beats"}` + (repetition === null ? ""
      : `; ${percent(repetition)} of them lie in passages that come back`));
    let cross = [0, 0];
    const hear = () => heard(values, edges, cross);
    const frame = element("div", { class: "alike", tabindex: 0, role: "application", onclick: hear,
      "aria-label": "Which beats sound alike. Arrow keys choose two beats, Enter plays the two passages.",
      onkeydown: (event) => { if (event.key === "Enter") hear(); } }, canvas, mark);
    cellCursor(frame, canvas, { rows: count, columns: count }, (row, column) => {
      cross = [row, column];
      mark.replaceChildren(svg("path", { d: `M0 ${row + 0.5}H${count}M${column + 0.5} 0V${count}` }));
      const [one, other] = cross.map((beat) => placeName(piece, edges[beat]));
      says.textContent = `${one} and ${other}: ${percent(values[row * count + column])} alike`;
    });
    const size = { width: 8 * count, height: 8 * count, "image-rendering": "pixelated" };
    const picture = () => svg("svg", { viewBox: `0 0 ${8 * count} ${8 * count}` },
      svg("image", { ...size, href: canvas.toDataURL() }));
    alike.replaceChildren(frame, says, saveButtons("repetition", picture));
  }

  // Plays the two passages that begin at two beats: as long as they stay alike, from two beats to eight.
  function heard(values, edges, cross) {
    const [count, first, second] = [edges.length - 1, Math.min(...cross), Math.max(...cross)];
    const room = Math.min(CLOSER_BEATS, count - second, second - first || CLOSER_BEATS);
    let beats = 1;
    while (beats < room && (beats < 2 || values[(first + beats) * count + second + beats] >= CLOSER_ALIKE)) beats += 1;
    const ranges = [...new Set([first, second])].map((beat) => ({ from: edges[beat], until: edges[beat + beats] }));
    roll.set({ passages: ranges });
    player.play(ranges);
    announce(`Playing ${ranges.map((one) => placeName(piece, one.from)).join(", then ")}`);
  }

  const [marksNode, score] = [element("div", { class: "marks" }), element("div")];
  const marked = check({ label: "Mark parallel fifths and octaves, crossings", value: true, onchange: leading });
  const scoreNode = card("Score", score);

  function leading() {
    roll.set({ marks: marked.value ? marks : [] });
    const go = (step) => { player.seek(step); roll.head(step, true); };
    marksNode.replaceChildren(...(marked.value ? marks.slice(0, CLOSER_MARKS) : []).map(({ text, step }) =>
      action(`${text}, ${placeName(piece, step)}`, () => go(step), { class: "quiet small" })));
  }

  function showScore({ data }) {
    score.replaceChildren(scrolled("Score", element("img", { class: "score", src: `data:image/svg+xml;base64,${data}`,
      alt: `Score of ${piece.notes.length} notes, engraved by verovio` })));
  }

  const failing = (view) => createTurn((error) => view.replaceChildren(faint(error.message)));
  const turns = { similarity: failing(alike), voice_leading: createTurn(() => {}), export: failing(score) };

  function fetched(name, use, more = {}) {
    turns[name].run(async (signal) => use(await api.post(name, { piece: writtenPiece(piece), ...more }, { signal })));
  }

  function look() {
    fetched("similarity", (answer) => { redrawn = () => showAlike(answer); redrawn(); });
    if (hasScore) fetched("export", showScore, { format: "svg" });
    if (!plays()) fetched("voice_leading", (answer) => { ({ marks } = answer); leading(); });
  }

  function stop() {
    clearTimeout(timer);
    for (const turn of [pointing, ...Object.values(turns)]) turn.stop();
  }

  document.addEventListener("themechange", () => redrawn?.());
  controls.hidden = true; // until there is something to choose
  return {
    below: [marked.node, marksNode, controls, says],
    beside: [alikeNode, scoreNode],
    point, stop,
    update(now, by) {
      stop();
      says.textContent = CLOSER_HELP;
      if (now.kind !== piece?.kind) {
        for (const view of [alike, score]) view.replaceChildren();
        redrawn = null;
      }
      [piece, model, chosen, known, marks] = [now, by, null, new Map(), []];
      roll.set({ arcs: [], passages: [], marks: [] });
      marksNode.replaceChildren();
      marked.node.hidden = plays();
      alikeNode.hidden = !piece.notes.length;
      scoreNode.hidden = !piece.notes.length || !hasScore;
      if (piece.notes.length) timer = setTimeout(look, CLOSER_WAIT);
    },
  };
}
