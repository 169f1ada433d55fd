// Attention maps: small canvases in a grid of layers and heads, one large with its labels, and a cell to read out.
import { bytesOf } from "./api.js";
import { element, freshId, isDark, saveButtons, svg, tokenColour } from "./widgets.js";

// Light means little in light, dark in dark; brightness is monotone, so that it is read without telling hues apart.
const MAP_LIGHT = [[255, 255, 255], [207, 225, 242], [107, 174, 214], [33, 113, 181], [8, 48, 107]];
const MAP_DARK = [[28, 32, 38], [32, 60, 98], [62, 112, 140], [160, 172, 110], [255, 233, 150]];
const MAP_SIGNED = { light: [[179, 72, 6], [255, 255, 255], [24, 90, 160]], dark: [[255, 166, 87], [28, 32, 38], [110,
  178, 245]] };
const MAP_CELL = 34; // dots of a cell of a large map; smaller where there are many

function mapBetween(stops, value) {
  const at = Math.min(Math.max(value, 0), 1) * (stops.length - 1);
  const first = Math.min(Math.floor(at), stops.length - 2);
  return stops[first].map((from, channel) => Math.round(from + (stops[first + 1][channel] - from) * (at - first)));
}

// [r, g, b] of a value from 0 to 1, in the colours of the theme.
export function heatColour(value) {
  return mapBetween(isDark() ? MAP_DARK : MAP_LIGHT, value);
}

// [r, g, b] of a value from -1 to 1: orange below, blue above, the card's colour at 0.
export function signedColour(value) {
  return mapBetween(MAP_SIGNED[isDark() ? "dark" : "light"], (value + 1) / 2);
}

// A map of the API as probabilities: at(layer, head) -> Float32Array [queries x keys]; head -1: the mean.
export function decodedMap({ shape, scale, data }) {
  const [layers, heads, queries, keys] = shape;
  const bytes = bytesOf(data);
  const size = queries * keys;
  function at(layer, head) {
    const chosen = head < 0 ? [...Array(heads).keys()] : [head];
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

// Small maps, a row a layer, a column a head (the last: their mean), each a button; arrow keys move among them.
export function gridOfMaps({ map, hidden, chosen, onchoose }) {
  const columns = map.heads + 1;
  const buttons = [];
  for (let layer = 0; layer < map.layers; layer += 1) {
    for (let head = 0; head < columns; head += 1) {
      const mean = head === map.heads;
      const values = map.at(layer, mean ? -1 : head);
      const label = `Layer ${layer + 1}, ${mean ? "mean of the heads" : `head ${head + 1}`}`;
      buttons.push(element("button", {
        type: "button", class: "small-map", "aria-label": label, title: label,
      }, heatCanvas({ values, rows: map.queries, columns: map.keys, hidden, most: mapMost(values) })));
      const place = buttons.length - 1;
      buttons[place].addEventListener("click", () => choose(place));
    }
  }
  const titles = [...Array(columns).keys()].map((head) => element("span", {
    class: "map-title", text: head === map.heads ? "mean" : `head ${head + 1}`,
  }));
  const rows = [...Array(map.layers).keys()].flatMap((layer) => [
    element("span", { class: "map-title", text: `layer ${layer + 1}` }),
    ...buttons.slice(layer * columns, (layer + 1) * columns),
  ]);
  const node = element("div", { class: "map-grid", role: "group", "aria-label": "Every layer and head",
    vars: { "--columns": columns } }, element("span"), ...titles, ...rows);

  function choose(place, focus = false) {
    for (const [one, button] of buttons.entries()) {
      button.setAttribute("aria-pressed", String(one === place));
      button.tabIndex = one === place ? 0 : -1;
    }
    if (focus) buttons[place].focus();
    const head = place % columns;
    onchoose(Math.floor(place / columns), head === map.heads ? -1 : head);
  }
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    const next = buttons.indexOf(document.activeElement) + step;
    if (!step || !(next in buttons)) return;
    event.preventDefault();
    choose(next, true);
  });
  choose(Math.min(chosen ?? columns - 1, buttons.length - 1));
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
  const left = longest(queries) + 18;
  const top = longest(keys) + 58;
  const width = Math.max(left + keys.length * cell, 20 + 8 * title.length) + 12;
  const height = top + queries.length * cell + 12;
  const most = mapMost(values);
  const ink = tokenColour("--ink");
  const faint = tokenColour("--faint");
  const hatch = freshId("hatch");
  const text = (x, y, content, more = {}) => svg("text", { x, y, fill: ink, "font-size": font, text: content,
    ...more });
  const cells = [];
  for (let row = 0; row < queries.length; row += 1) {
    for (let column = 0; column < keys.length; column += 1) {
      const masks = hidden(row, column);
      const fill = masks ? `url(#${hatch})` : `rgb(${heatColour(values[row * keys.length + column] / most).join()})`;
      cells.push(svg("rect", { x: left + column * cell, y: top + row * cell, width: cell, height: cell, fill }));
    }
  }
  const frame = svg("rect", { width: cell, height: cell, fill: "none", stroke: tokenColour("--warn"), "stroke-width": 3,
    visibility: "hidden" });
  const grid = { x: left, y: top, width: keys.length * cell, height: queries.length * cell };
  const picture = svg("svg", { viewBox: `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`, class: "large-map",
    "font-family": "system-ui, sans-serif", "aria-hidden": "true" },
  svg("defs", {}, svg("pattern", { id: hatch, width: 7, height: 7, patternUnits: "userSpaceOnUse",
    patternTransform: "rotate(45)" }, svg("rect", { width: 7, height: 7, fill: tokenColour("--paper") }),
  svg("rect", { width: 2, height: 7, fill: tokenColour("--edge") }))),
  svg("rect", { width, height, fill: tokenColour("--card") }),
  text(10, 20, title, { "font-size": 14, "font-weight": 600 }),
  text(left, 42, `${axes[1]} →`, { fill: faint, "font-size": 12 }),
  text(14, top + grid.height, `← ${axes[0]}`, { fill: faint, "font-size": 12, "text-anchor": "start",
    transform: `rotate(-90 14 ${top + grid.height})` }),
  ...cells,
  ...queries.map((name, row) => text(left - 6, top + (row + 0.5) * cell + font * 0.35, name, { "text-anchor": "end" })),
  ...keys.map((name, column) => text(0, 0, name, {
    transform: `translate(${left + (column + 0.5) * cell + font * 0.35} ${top - 6}) rotate(-90)` })),
  svg("rect", { ...grid, fill: "none", stroke: tokenColour("--line") }), frame);
  picture.style.setProperty("--natural", `${Math.ceil(width)}px`);

  const says = element("p", { class: "readout", role: "status",
    text: "Point at a cell, or focus the map and use the arrow keys." });
  const node = element("div", { class: "large-map-frame scroll", tabindex: 0, role: "group",
    "aria-label": `${title}. Arrow keys read out one cell after another.` }, picture);
  cellCursor(node, picture, { grid, rows: queries.length, columns: keys.length }, (row, column) => {
    frame.setAttribute("visibility", "visible");
    frame.setAttribute("x", left + column * cell);
    frame.setAttribute("y", top + row * cell);
    const share = values[row * keys.length + column];
    says.textContent = hidden(row, column)
      ? `${queries[row]} must not look at ${keys[column]}: it comes later (look-ahead mask).`
      : `${queries[row]} looks at ${keys[column]}: ${percent(share)}`;
  });
  return { node, readout: says, picture, saves: saveButtons("attention", () => picture) };
}

export function percent(share) {
  const value = 100 * share;
  return `${value >= 9.95 ? value.toFixed(0) : value.toFixed(1)} %`;
}

// Calls onmove(row, column) for the cell under the pointer in `picture`, or chosen by arrow keys on `node`.
export function cellCursor(node, picture, { grid, rows, columns }, onmove) {
  let place = null;
  function move(row, column) {
    place = [Math.min(Math.max(row, 0), rows - 1), Math.min(Math.max(column, 0), columns - 1)];
    onmove(...place);
  }
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const [width, height] = picture.viewBox
      ? [picture.viewBox.baseVal.width, picture.viewBox.baseVal.height] : [picture.width, picture.height];
    const x = (event.clientX - box.left) / box.width * width - grid.x;
    const y = (event.clientY - box.top) / box.height * height - grid.y;
    if (x >= 0 && y >= 0 && x < grid.width && y < grid.height) {
      move(Math.floor(y / grid.height * rows), Math.floor(x / grid.width * columns));
    }
  });
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    if (place) move(place[0] + step[0], place[1] + step[1]);
    else move(0, 0);
  });
}

// The scale below maps: from nothing to the strongest, and the mask where there is one.
export function mapLegend(masked) {
  const bar = heatCanvas({ values: [...Array(64).keys()].map((one) => one / 63), rows: 1, columns: 64 });
  bar.classList.add("legend-bar");
  return element("p", { class: "legend small faint" }, "no attention ", bar, " the strongest in the map",
    masked ? element("span", { class: "legend-mask" }) : null, masked ? " hidden by the look-ahead mask" : null);
}
