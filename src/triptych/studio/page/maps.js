// Attention maps: small canvases in a grid of layers and heads, one large with its labels, and a cell to read out.
import { bytesOf } from "./api.js";
import { action, arrowStep, capital, createReadout, element, freshId, hatched, isDark } from "./widgets.js";
import { saveButtons, svg, upTo } from "./widgets.js";

// Light means little in light, dark in dark; brightness is monotone, so that it is read without telling hues apart.
const MAP_LIGHT = [[255, 255, 255], [207, 225, 242], [107, 174, 214], [33, 113, 181], [8, 48, 107]];
const MAP_DARK = [[28, 32, 38], [32, 60, 98], [62, 112, 140], [160, 172, 110], [255, 233, 150]];
const MAP_SIGNED_LIGHT = [[179, 72, 6], [255, 255, 255], [24, 90, 160]];
const MAP_SIGNED_DARK = [[255, 166, 87], [28, 32, 38], [110, 178, 245]];
const MAP_CELL = 34; // dots of a cell of a large map; smaller where there are many

function mapBetween(stops, value) {
  const at = Math.min(Math.max(value, 0), 1) * (stops.length - 1);
  const first = Math.min(Math.floor(at), stops.length - 2);
  return stops[first].map((from, channel) => Math.round(from + (stops[first + 1][channel] - from) * (at - first)));
}

// [r, g, b] of a value from 0 to 1, in the colours of the theme.
function heatColour(value) { return mapBetween(isDark() ? MAP_DARK : MAP_LIGHT, value); }

// [r, g, b] of a value from -1 to 1: orange below, blue above, the card's colour at 0.
export function signedColour(value) {
  return mapBetween(isDark() ? MAP_SIGNED_DARK : MAP_SIGNED_LIGHT, (value + 1) / 2);
}

// A map of the API as probabilities: at(layer, head) -> Float32Array [queries x keys]; head -1: the mean.
export function decodedMap({ shape, scale, data }) {
  const [layers, heads, queries, keys] = shape;
  const [bytes, size] = [bytesOf(data), queries * keys];
  function at(layer, head) {
    const chosen = head < 0 ? upTo(heads) : [head];
    const found = new Float32Array(size);
    for (const one of chosen) {
      const from = (layer * heads + one) * size;
      for (let cell = 0; cell < size; cell += 1) found[cell] += bytes[from + cell] * scale / chosen.length;
    }
    return found;
  }
  return { layers, heads, queries, keys, at };
}

// A canvas of one dot a cell, which CSS enlarges. hidden(query, key): true where a mask lies.
export function heatCanvas({ values, rows, columns, hidden = () => false, colour = heatColour, most = 1 }) {
  const canvas = element("canvas", { width: columns, height: rows, class: "heat" });
  const image = new ImageData(columns, rows);
  const masked = isDark() ? [52, 58, 67] : [226, 223, 215];
  for (let cell = 0; cell < rows * columns; cell += 1) {
    const masks = hidden(Math.floor(cell / columns), cell % columns);
    image.data.set([...(masks ? masked : colour(values[cell] / most)), 255], 4 * cell);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// What a map of a layer shows; head -1 is their mean.
export function mapName(layer, head) {
  return `layer ${layer + 1}, ${head < 0 ? "mean of the heads" : `head ${head + 1}`}`;
}

// Small maps, a row a layer, a column a head (the last: their mean), each a button; arrow keys move among them.
export function gridOfMaps({ map, hidden, chosen, onchoose }) {
  const columns = map.heads + 1;
  const of = (place) => [Math.floor(place / columns), place % columns === map.heads ? -1 : place % columns];
  const buttons = upTo(map.layers * columns).map((place) => {
    const [values, title] = [map.at(...of(place)), capital(mapName(...of(place)))];
    return action(null, () => choose(place), { class: "small-map", "aria-label": title, title },
      heatCanvas({ values, rows: map.queries, columns: map.keys, hidden, most: mapMost(values) }));
  });
  const named = (text) => element("span", { class: "map-title", text });
  const node = element("div", { class: "map-grid", role: "group", "aria-label": "Every layer and head",
    vars: { "--columns": columns } }, element("span"), ...upTo(map.heads).map((head) => named(`head ${head + 1}`)),
  named("mean"), ...upTo(map.layers).flatMap((layer) =>
    [named(`layer ${layer + 1}`), ...buttons.slice(layer * columns, (layer + 1) * columns)]));

  function choose(place, focus = false) {
    for (const [one, button] of buttons.entries()) {
      button.setAttribute("aria-pressed", String(one === place));
      button.tabIndex = one === place ? 0 : -1;
    }
    if (focus) buttons[place].focus();
    onchoose(...of(place), place);
  }
  node.addEventListener("keydown", (event) => {
    const [down, right] = arrowStep(event) ?? [];
    const next = buttons.indexOf(document.activeElement) + down * columns + right;
    if (!(next in buttons)) return;
    event.preventDefault();
    choose(next, true);
  });
  choose(Math.min(chosen ?? buttons.length - 1, buttons.length - 1));
  return node;
}

// The value that gets the strongest colour: the largest, so that even attention is not all pale.
export function mapMost(values) {
  return Math.max(0.05, values.reduce((most, value) => Math.max(most, value), 0));
}

// A large map as SVG: labels on both sides, the mask hatched, a frame around the cell that is read out.
export function largeMap({ values, queries, keys, hidden = () => false, title, axes }) {
  const cell = Math.max(11, Math.min(MAP_CELL, 900 / Math.max(queries.length, keys.length)));
  const font = Math.min(15, cell * 0.62);
  const longest = (names) => Math.max(...names.map((name) => [...name].length)) * font * 0.62 + 10;
  const [left, top] = [longest(queries) + 18, longest(keys) + 58];
  const grid = { x: left, y: top, width: keys.length * cell, height: queries.length * cell };
  const width = Math.ceil(Math.max(left + grid.width, 20 + 8 * title.length) + 12);
  const height = Math.ceil(top + grid.height + 12);
  const [most, hatch] = [mapMost(values), freshId("hatch")];
  const text = (x, y, content, more) => svg("text", { x, y, fill: "--ink", "font-size": font,
    text: content, ...more });
  const small = { fill: "--faint", "font-size": 12 };
  const shared = { width: cell, height: cell };
  const cells = upTo(values.length).map((place) => {
    const [row, column] = [Math.floor(place / keys.length), place % keys.length];
    const fill = hidden(row, column) ? `url(#${hatch})` : `rgb(${heatColour(values[place] / most).join()})`;
    return svg("rect", { x: left + column * cell, y: top + row * cell, ...shared, fill });
  });
  const frame = svg("rect", { ...shared, fill: "none", stroke: "--warn", "stroke-width": 3,
    visibility: "hidden" });
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "large-map",
    "font-family": "system-ui, sans-serif", "aria-hidden": "true" },
  hatched(hatch), svg("rect", { width, height, fill: "--card" }),
  text(10, 20, title, { "font-size": 14, "font-weight": 600 }), text(left, 42, `${axes[1]} →`, small),
  text(14, top + grid.height, `← ${axes[0]}`, { ...small, transform: `rotate(-90 14 ${top + grid.height})` }), ...cells,
  ...queries.map((name, row) => text(left - 6, top + (row + 0.5) * cell + font * 0.35, name, { "text-anchor": "end" })),
  ...keys.map((name, column) => text(0, 0, name, {
    transform: `translate(${left + (column + 0.5) * cell + font * 0.35} ${top - 6}) rotate(-90)` })),
  svg("rect", { ...grid, fill: "none", stroke: "--line" }), frame);
  picture.style.setProperty("--natural", `${width}px`);

  const says = createReadout("Point at a cell, or focus the map and use the arrow keys.");
  const node = element("div", { class: "large-map-frame scroll", tabindex: 0, role: "group",
    "aria-label": `${title}. Arrow keys read out one cell after another.` }, picture);
  cellCursor(node, picture, { grid, rows: queries.length, columns: keys.length }, (row, column) => {
    const place = { visibility: "visible", x: left + column * cell, y: top + row * cell };
    for (const [name, value] of Object.entries(place)) frame.setAttribute(name, value);
    says.textContent = hidden(row, column)
      ? `${queries[row]} must not look at ${keys[column]}: it comes later (look-ahead mask).`
      : `${queries[row]} looks at ${keys[column]}: ${percent(values[row * keys.length + column])}`;
  });
  return [node, says, saveButtons("attention", () => picture)];
}

export function percent(share) {
  const value = 100 * share;
  return `${value >= 9.95 ? value.toFixed(0) : value.toFixed(1)} %`;
}

// Calls onmove(row, column) for the cell under the pointer in `picture`, or chosen by arrow keys on `node`; grid: where
// the cells lie in the picture's own units, where they are not all of it.
export function cellCursor(node, picture, { grid, rows, columns }, onmove) {
  let place = null;
  function move(row, column) {
    place = [Math.min(Math.max(row, 0), rows - 1), Math.min(Math.max(column, 0), columns - 1)];
    onmove(...place);
  }
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const all = picture.viewBox?.baseVal ?? { width: columns, height: rows };
    const { x, y, width, height } = grid ?? { x: 0, y: 0, ...all };
    const across = ((event.clientX - box.left) / box.width * all.width - x) / width;
    const down = ((event.clientY - box.top) / box.height * all.height - y) / height;
    if (across >= 0 && down >= 0 && across < 1 && down < 1) move(Math.floor(down * rows), Math.floor(across * columns));
  });
  node.onkeydown = (event) => { // of the picture that is shown now
    const step = arrowStep(event);
    if (!step) return;
    event.preventDefault();
    move(...place ? place.map((at, axis) => at + step[axis]) : [0, 0]);
  };
}

// The scale below maps: from nothing to the strongest, and the mask where there is one.
export function mapLegend(masked) {
  const bar = heatCanvas({ values: upTo(64).map((one) => one / 63), rows: 1, columns: 64 });
  bar.classList.add("legend-bar");
  return element("p", { class: "legend small faint" }, "no attention ", bar, " the strongest in the map",
    ...(masked ? [element("span", { class: "legend-mask" }), " hidden by the look-ahead mask"] : []));
}
