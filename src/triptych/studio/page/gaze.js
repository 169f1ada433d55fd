// What a pixel looked at when it was made: its query block, its memory block, and each head's attention.
import { bytesOf, isAbort } from "./api.js";
import { createBoard, outlineOf, pictureSvg, writtenPicture } from "./easel.js";
import { heatCanvas, mapLegend, mapMost, percent } from "./maps.js";
import { choice, element, notice, saveButtons, svg, tokenColour } from "./widgets.js";

const GAZE_WHOLE = 256; // positions of a picture whose attention is fetched at once

export function createGaze({ api, announce }) {
  let shown = null; // {picture, model, label, hidden, facts}
  let pixel = [0, 0];
  let answers = new Map();
  let asked = null;
  let timer = null;
  const status = notice();
  const board = createBoard({ label: "Picture", hint: "Point at a pixel, or use the arrow keys.", announce,
    name: (row, column) => `row ${row + 1}, column ${column + 1}. ${says.textContent}`, onwalk: (row, column) => look([row, column]) });
  const layer = choice({ label: "Layer", options: [], onchange: () => look(pixel) });
  const says = element("p", { class: "readout", role: "status" });
  const heads = element("div", { class: "gaze-heads" });
  const legend = element("p", { class: "small legend gaze-legend" });
  const saves = saveButtons("pixel-attention", () => figure(), { svg: () => figure() });
  const node = element("section", { class: "card gaze", hidden: true }, element("h3", { text: "What a pixel looked at" }),
    element("p", { class: "faint small", text: "Pictures are made one position after another. Point at a pixel, or walk over the " +
      "picture with the arrow keys: outlined are the block it was made in and what it could see." }),
    element("div", { class: "gaze-parts" }, element("div", {}, board.node, legend), element("div", {}, layer.node, says, heads, saves)), status.node);

  async function answerOf([row, column]) {
    const { positions } = shown.facts.picture;
    const whole = positions <= GAZE_WHOLE && shown.facts.config.pattern.kind !== "local_2d";
    const key = whole ? "all" : `${row} ${column}`;
    if (!answers.has(key)) {
      const { model, label, hidden } = shown;
      const body = { kind: "picture", model, label, hidden, picture: writtenPicture(shown.picture), pixel: whole ? null : [row, column] };
      asked?.abort();
      asked = new AbortController();
      const answer = api.post("attention", body, { signal: asked.signal }).then(unpacked);
      answers.set(key, answer);
      answer.catch(() => answers.delete(key));
    }
    return answers.get(key);
  }

  // `places` of the pixels; read(position) -> {weights, query, memory} of a position: pixels, as far as they are known.
  function unpacked(answer) {
    const words = (text) => new Uint32Array(bytesOf(text).buffer);
    const [, layers, count, positions] = answer.weights.shape;
    const places = words(answer.places);
    const { height, width, channels } = shown.picture;
    const first = (at) => places[at * channels];
    const weights = bytesOf(answer.weights.data);
    const windows = words(answer.window);
    const within = (from, until) => Uint8Array.from({ length: height * width }, (_, at) => (first(at) >= from && first(at) < until ? 1 : 0));
    function read(at) {
      const row = answer.pixels.length > 1 ? first(at) : 0;
      const [begin, end, seen, until] = windows.subarray(4 * row, 4 * row + 4);
      const map = (one, head) => {
        const from = ((row * layers + one) * count + head) * positions;
        return Float32Array.from({ length: height * width }, (_, cell) => weights[from + first(cell)] * answer.weights.scale);
      };
      const total = (one, head) => weights.subarray(((row * layers + one) * count + head) * positions,
        ((row * layers + one) * count + head + 1) * positions).reduce((sum, byte) => sum + byte, 0) * answer.weights.scale;
      return { map, total, query: answer.query ? bytesOf(answer.query) : within(begin, end), memory: answer.memory ? bytesOf(answer.memory) : within(seen, until) };
    }
    return { layers, heads: count, read };
  }

  function look(now) {
    if (!shown) return;
    pixel = now;
    clearTimeout(timer);
    timer = setTimeout(ask, answers.has("all") ? 0 : 90);
  }

  async function ask() {
    const [now, about] = [pixel, shown];
    try {
      const answer = await answerOf(now);
      if (now !== pixel || about !== shown) return;
      status.clear();
      render(answer);
    } catch (error) {
      if (!isAbort(error) && about === shown) status.fail(error);
    }
  }

  function render(answer) {
    const { picture } = shown;
    const { height, width } = picture;
    if (layer.input.options.length !== answer.layers) {
      layer.setOptions([...Array(answer.layers).keys()].map((one) => ({ value: String(one), label: `layer ${one + 1}` })), String(answer.layers - 1));
    }
    const at = pixel[0] * width + pixel[1];
    const { map, total, query, memory } = answer.read(at);
    const outline = (mask, kind) => svg("path", { class: `gaze-${kind}`, d: outlineOf(mask, height, width), "vector-effect": "non-scaling-stroke" });
    const own = Uint8Array.from({ length: height * width }, (_, cell) => (cell === at ? 1 : 0));
    board.show(picture, { drawn: [outline(memory, "memory"), outline(query, "query"), outline(own, "own")] });
    const maps = [...Array(answer.heads).keys()].map((head) => map(Number(layer.value), head));
    heads.replaceChildren(...maps.map((values, head) => {
      const canvas = heatCanvas({ values, rows: height, columns: width, most: mapMost(values) });
      const marks = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, outline(memory, "memory"), outline(own, "own"));
      const start = Math.max(0, 1 - total(Number(layer.value), head));
      return element("figure", {}, element("div", { class: "gaze-map" }, canvas, marks),
        element("figcaption", { class: "small", text: `head ${head + 1}: ${percent(start)} to the start` }));
    }));
    const count = (mask) => mask.reduce((sum, one) => sum + one, 0);
    says.textContent = `Row ${pixel[0] + 1}, column ${pixel[1] + 1}: it sees ${count(memory)} pixels; its block has ${count(query)}.`;
    legend.replaceChildren(...[["own", "the pixel"], ["query", "its query block"], ["memory", "what it sees (memory block)"]].map(([kind, name]) =>
      element("span", { class: `gaze-key key-${kind}`, text: name })));
  }

  // The figure as one SVG: the picture with its blocks, and every head beside it.
  function figure() {
    const { picture } = shown;
    const { width, height } = picture;
    const found = pictureSvg(picture);
    const canvases = [...heads.querySelectorAll("canvas")];
    found.setAttribute("viewBox", `0 0 ${(width + 2) * (canvases.length + 1)} ${height}`);
    const outlines = [["memory", "--series-1"], ["query", "--series-2"], ["own", "--series-3"]].map(([kind, token]) => svg("path", {
      d: board.node.querySelector(`.gaze-${kind}`)?.getAttribute("d") ?? "", fill: "none", stroke: tokenColour(token), "stroke-width": 0.25 }));
    found.append(...outlines, ...canvases.map((canvas, place) => svg("image", { href: canvas.toDataURL(), x: (width + 2) * (place + 1), width, height,
      "image-rendering": "pixelated" })));
    return found;
  }

  node.append(mapLegend(false));
  document.addEventListener("themechange", () => { if (shown) look(pixel); });
  return {
    node,
    // facts: the model's, of /api/models.
    show(now) {
      shown = now;
      answers = new Map();
      node.hidden = false;
      heads.replaceChildren();
      says.textContent = "";
      board.show(now.picture);
      const { height, width } = now.picture;
      board.walk(Math.floor(height / 2), Math.floor(width / 2));
    },
    clear() {
      shown = null;
      asked?.abort();
      clearTimeout(timer);
      node.hidden = true;
    },
    stop: () => asked?.abort(),
  };
}
