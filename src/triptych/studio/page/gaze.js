// What a pixel looked at when it was made: its query block, its memory block, and each head's attention.
import { bytesOf, numbersOf } from "./api.js";
import { createBoard, outlineOf, pictureSvg, writtenPicture } from "./easel.js";
import { heatCanvas, mapLegend, mapMost, percent } from "./maps.js";
import { card, choice, createReadout, createTurn, element, faint, layerOptions, notice } from "./widgets.js";
import { saveButtons, svg } from "./widgets.js";

const GAZE_WHOLE = 256; // positions of a picture whose attention is fetched at once
const GAZE_WAIT = 90; // milliseconds on a pixel before it is asked for by itself
const GAZE_KINDS = {
  own: ["the pixel", "--series-3"], query: ["its query block", "--series-2"],
  memory: ["what it sees (memory block)", "--series-1"],
};

export function createGaze({ api, announce }) {
  let shown = null; // {picture, model, label, hidden, facts}
  let [pixel, timer] = [[0, 0], null];
  let known = new Map(); // what is known of it, by pixel or of all
  const status = notice();
  const asking = createTurn(status.fail);
  const layer = choice({ label: "Layer", onchange: () => look(pixel) });
  const says = createReadout();
  const heads = element("div", { class: "gaze-heads" });
  const saves = saveButtons("pixel-attention", figure);
  const board = createBoard({ label: "Picture", hint: "Point at a pixel, or use the arrow keys.", announce,
    name: (row, column) => `row ${row + 1}, column ${column + 1}`, onwalk: (row, column) => look([row, column]) });
  const legend = element("p", { class: "small gaze-legend" },
    ...Object.entries(GAZE_KINDS).map(([kind, [name, token]]) =>
      element("span", { class: `gaze-key key-${kind}`, text: name, vars: { "--colour": `var(${token})` } })));
  const node = card("What a pixel looked at",
    faint("Point at a pixel, or walk over the picture with the arrow keys: outlined are the block it was made in and " +
      "what it could see; beside it is what each head looked at.", "small"),
    element("div", { class: "gaze-parts" }, element("div", {}, board.node, legend), element("div", {}, layer.node, says,
      heads, mapLegend(false), saves)), status.node);

  node.classList.add("gaze");
  node.hidden = true;

  function isWhole({ picture, config }) {
    return picture.positions <= GAZE_WHOLE && config.pattern.kind !== "local_2d";
  }

  // read(pixel, layer) -> the pixels of its two blocks, and of each head its map and what went to the start.
  function unpacked(answer, { height, width, channels }) {
    const [, layers, count, positions] = answer.weights.shape;
    const [places, windows] = [numbersOf(answer.places), numbersOf(answer.window)];
    const weights = bytesOf(answer.weights.data);
    const pixels = (value) => Float32Array.from({ length: height * width }, (_, at) => value(places[at * channels]));
    function read(at, one) {
      const row = answer.pixels.length > 1 ? places[at * channels] : 0;
      const [begin, end, seen, until] = windows.subarray(4 * row, 4 * row + 4);
      const blocks = answer.query ? { query: bytesOf(answer.query), memory: bytesOf(answer.memory) }
        : { query: pixels((p) => p >= begin && p < end), memory: pixels((p) => p >= seen && p < until) };
      const maps = Array.from({ length: count }, (_, head) => {
        const from = ((row * layers + one) * count + head) * positions;
        const own = Float32Array.from(weights.subarray(from, from + positions), (byte) => byte * answer.weights.scale);
        return { values: pixels((p) => own[p]), start: Math.max(0, 1 - own.reduce((sum, share) => sum + share, 0)) };
      });
      return { ...blocks, own: Uint8Array.from({ length: height * width }, (_, cell) => cell === at), maps };
    }
    return { layers, read };
  }

  function look(now) {
    pixel = now;
    clearTimeout(timer);
    if (!shown) return;
    const key = isWhole(shown.facts) ? "all" : String(pixel);
    if (known.has(key)) render(known.get(key));
    else timer = setTimeout(ask, GAZE_WAIT, key);
  }

  function ask(key) {
    const [{ facts, picture, ...about }, answers] = [shown, known];
    const body = { kind: "picture", ...about, pixel: key === "all" ? null : pixel, picture: writtenPicture(picture) };
    asking.run(async (signal) => {
      answers.set(key, unpacked(await api.post("attention", body, { signal }), picture));
      look(pixel);
    }, key);
  }

  function stop() {
    clearTimeout(timer);
    asking.stop();
  }

  function render({ layers, read }) {
    const { picture } = shown;
    const { height, width } = picture;
    if (layer.input.options.length !== layers) layer.setOptions(layerOptions(layers), layers - 1);
    const found = read(pixel[0] * width + pixel[1], Number(layer.value));
    const outlines = (...kinds) => kinds.map((kind) =>
      svg("path", { class: `gaze-${kind}`, d: outlineOf(found[kind], height, width) }));
    board.show(picture, { drawn: outlines("memory", "query", "own") });
    heads.replaceChildren(...found.maps.map(({ values, start }, head) => element("figure", {},
      element("div", { class: "gaze-map" }, heatCanvas({ values, rows: height, columns: width, most: mapMost(values) }),
        svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...outlines("memory", "own"))),
      element("figcaption", { class: "small", text: `head ${head + 1}: ${percent(start)} to the start` }))));
    const count = (mask) => mask.filter(Boolean).length;
    says.textContent = `Row ${pixel[0] + 1}, column ${pixel[1] + 1}: it sees ${count(found.memory)} pixels; ` +
      `its block has ${count(found.query)}.`;
    status.clear();
    layer.node.hidden = saves.hidden = false;
  }

  // All of it as one SVG: the picture with its blocks, and every head beside it.
  function figure() {
    const { picture, picture: { width, height } } = shown;
    const found = pictureSvg(picture);
    const canvases = [...heads.querySelectorAll("canvas")];
    found.setAttribute("viewBox", `0 0 ${(width + 2) * (canvases.length + 1)} ${height}`);
    found.append(...["memory", "query", "own"].map((kind) => svg("path", { fill: "none", "stroke-width": 0.25,
      stroke: GAZE_KINDS[kind][1], d: board.node.querySelector(`.gaze-${kind}`).getAttribute("d") })),
    ...canvases.map((canvas, place) => svg("image", { href: canvas.toDataURL(), x: (width + 2) * (place + 1),
      width, height, "image-rendering": "pixelated" })));
    return found;
  }

  document.addEventListener("themechange", () => look(pixel));
  return {
    node,
    // facts: the model's, of /api/models.
    show(now) {
      stop();
      known = new Map();
      node.hidden = api.recorded && !isWhole(now.facts); // a recorded page has no answer for every single pixel
      shown = node.hidden ? null : now;
      if (!shown) return;
      layer.node.hidden = saves.hidden = true; // until there is something to choose or save
      heads.replaceChildren();
      says.textContent = "";
      board.show(now.picture);
      board.walk(Math.floor(now.picture.height / 2), Math.floor(now.picture.width / 2));
    },
    clear() {
      stop();
      shown = null;
      node.hidden = true;
    },
    stop,
  };
}
