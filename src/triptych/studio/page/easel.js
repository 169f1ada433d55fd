// Pictures as arrays of pixels: drawn, saved, and a board of cells that pointer and keys draw on or walk over.
import { bytesOf } from "./api.js";
import { element, svg, tokenColour } from "./widgets.js";

// Ours: {height, width, channels, bytes}; the API's has base64 `data`.
export function pixelsOf({ height, width, channels, data }) {
  return { height, width, channels, bytes: bytesOf(data) };
}

export function packed(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

export function writtenPicture({ height, width, channels, bytes }) {
  return { height, width, channels, data: packed(bytes) };
}

export function blankPicture(height, width, channels, value = 255) {
  return { height, width, channels, bytes: new Uint8Array(height * width * channels).fill(value) };
}

export function colourAt({ channels, bytes }, place) {
  const [red, green = red, blue = red] = bytes.subarray(place * channels, (place + 1) * channels);
  return [red, green, blue];
}

// A canvas of one dot a pixel. veil: cells that are not known yet, or are hidden, get the colours of a checkerboard.
export function pictureCanvas(picture, { canvas = element("canvas"), veil = null } = {}) {
  const { height, width } = picture;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  const tones = ["--line", "--soft"].map((name) => tokenColour(name).match(/[\d.]+/g).slice(0, 3).map(Number));
  for (let place = 0; place < height * width; place += 1) {
    const tone = tones[(Math.floor(place / width) + place % width) % 2];
    image.data.set([...(veil?.[place] ? tone : colourAt(picture, place)), 255], 4 * place);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// The picture as SVG, a rectangle for each run of one colour.
export function pictureSvg(picture) {
  const { height, width } = picture;
  const found = svg("svg", { viewBox: `0 0 ${width} ${height}`, "shape-rendering": "crispEdges" });
  for (let row = 0; row < height; row += 1) {
    for (let column = 0, from = 0; column < width; column += 1) {
      const colour = colourAt(picture, row * width + column).join();
      if (column + 1 < width && colourAt(picture, row * width + column + 1).join() === colour) continue;
      found.append(svg("rect", { x: from, y: row, width: column + 1 - from, height: 1, fill: `rgb(${colour})` }));
      from = column + 1;
    }
  }
  return found;
}

// The outline of the cells of a mask as one path.
export function outlineOf(mask, height, width) {
  const at = (row, column) => (row >= 0 && column >= 0 && row < height && column < width ? mask[row * width + column] : 0);
  let path = "";
  for (let row = 0; row <= height; row += 1) {
    for (let column = 0; column <= width; column += 1) {
      if (at(row, column) !== at(row - 1, column)) path += `M${column} ${row}h1`;
      if (at(row, column) !== at(row, column - 1)) path += `M${column} ${row}v1`;
    }
  }
  return path;
}

// Cells on the way from one to another, both included.
function easelLine([row, column], [toRow, toColumn]) {
  const steps = Math.max(Math.abs(toRow - row), Math.abs(toColumn - column), 1);
  return [...Array(steps + 1).keys()].map((step) => [
    Math.round(row + (toRow - row) * step / steps), Math.round(column + (toColumn - column) * step / steps)]);
}

// A board: a picture under an overlay in SVG. onstroke(cells, {begin, from}) is told what a pressed pointer, or Space and
// Shift with arrow keys, pass over; onwalk(row, column) where the pointer or the keys are.
export function createBoard({ label, hint, announce, name, onstroke = null, onwalk = () => {}, onend = () => {} }) {
  let size = { height: 1, width: 1 };
  let cursor = null;
  let stroke = null; // where a stroke began and where it is
  const canvas = element("canvas", { "aria-hidden": "true" });
  const overlay = svg("svg", { "aria-hidden": "true" });
  const frame = svg("rect", { class: "board-cursor", width: 1, height: 1, visibility: "hidden" });
  const node = element("div", { class: onstroke ? "board drawable" : "board", tabindex: 0, role: "application",
    "aria-label": `${label}. ${hint}` }, canvas, overlay);

  function walk(row, column, speak) {
    cursor = [Math.min(size.height - 1, Math.max(0, row)), Math.min(size.width - 1, Math.max(0, column))];
    frame.setAttribute("x", cursor[1]);
    frame.setAttribute("y", cursor[0]);
    frame.setAttribute("visibility", "visible");
    onwalk(...cursor);
    if (speak) announce(name(...cursor));
  }

  function draw(begin) {
    const from = stroke?.at ?? cursor;
    stroke = { from: begin ? cursor : stroke.from, at: cursor };
    onstroke?.(easelLine(begin ? cursor : from, cursor), { begin, from: stroke.from, at: cursor });
  }

  function spot(event) {
    const box = node.getBoundingClientRect();
    return [Math.floor((event.clientY - box.top) / box.height * size.height), Math.floor((event.clientX - box.left) / box.width * size.width)];
  }

  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    walk(...spot(event));
    if (!onstroke) return;
    node.setPointerCapture(event.pointerId);
    draw(true);
  });
  node.addEventListener("pointermove", (event) => {
    const [row, column] = spot(event);
    if (cursor && row === cursor[0] && column === cursor[1]) return;
    walk(row, column);
    if (stroke) draw(false);
  });
  for (const kind of ["pointerup", "pointercancel"]) node.addEventListener(kind, end);
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    const [row, column] = cursor ?? [Math.floor(size.height / 2), Math.floor(size.width / 2)];
    if (step) {
      if (event.shiftKey && onstroke && !stroke) { walk(row, column); draw(true); }
      walk(cursor ? row + step[0] : row, cursor ? column + step[1] : column, true);
      if (event.shiftKey && onstroke) draw(false);
    } else if ((event.key === " " || event.key === "Enter") && onstroke) {
      walk(row, column);
      draw(true);
      end();
      announce(name(row, column));
    } else return;
    event.preventDefault();
  });
  node.addEventListener("keyup", (event) => { if (event.key === "Shift") end(); });

  function end() {
    if (!stroke) return;
    stroke = null;
    onend();
  }

  return {
    node,
    show(picture, { veil = null, drawn = [] } = {}) {
      size = picture;
      pictureCanvas(picture, { canvas, veil });
      node.style.setProperty("--ratio", `${picture.width} / ${picture.height}`);
      overlay.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
      overlay.replaceChildren(...drawn, frame);
    },
    walk,
  };
}
