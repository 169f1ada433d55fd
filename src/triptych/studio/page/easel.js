// Pictures as arrays of pixels: drawn, saved, and a board of cells that pointer and keys draw on or walk over.
import { bytesOf } from "./api.js";
import { arrowStep, element, svg, tokenColour } from "./widgets.js";

// Ours: {height, width, channels, bytes}; the API's has base64 `data`.
export function pixelsOf({ data, ...size }) { return { ...size, bytes: bytesOf(data) }; }
export function writtenPicture({ bytes, ...size }) { return { ...size, data: base64Of(bytes) }; }
export function base64Of(bytes) { return btoa(Array.from(bytes, (one) => String.fromCharCode(one)).join("")); }
export function blankPicture(height, width, channels, value = 255) {
  return { height, width, channels, bytes: new Uint8Array(height * width * channels).fill(value) };
}

export function colourAt({ channels, bytes }, place) {
  const [red, green = red, blue = red] = bytes.subarray(place * channels, (place + 1) * channels);
  return [red, green, blue];
}

// A canvas of one dot a pixel. veil: cells that are not known yet, or are hidden, get the colours of a checkerboard.
export function pictureCanvas(picture, { canvas = element("canvas"), veil = null, tones = ["--line", "--soft"] } = {}) {
  const { height, width } = picture;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  const colours = tones.map((name) => tokenColour(name).match(/[\d.]+/g).slice(0, 3).map(Number));
  for (let place = 0; place < height * width; place += 1) {
    const tone = colours[(Math.floor(place / width) + place % width) % 2];
    image.data.set([...(veil?.[place] ? tone : colourAt(picture, place)), 255], 4 * place);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// The picture as SVG, a rectangle a pixel.
export function pictureSvg(picture) {
  const { height, width } = picture;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, "shape-rendering": "crispEdges" },
    ...Array.from({ length: height * width }, (_, place) => svg("rect", { x: place % width, width: 1, height: 1,
      y: Math.floor(place / width), fill: `rgb(${colourAt(picture, place).join()})` })));
}

// The outline of the cells of a mask as one path.
export function outlineOf(mask, height, width) {
  const at = (row, column) => (column < 0 || column >= width ? 0 : mask[row * width + column] ?? 0);
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
function easelLine(from, to) {
  const steps = Math.max(...from.map((start, axis) => Math.abs(to[axis] - start)), 1);
  return Array.from({ length: steps + 1 }, (_, step) =>
    from.map((start, axis) => Math.round(start + (to[axis] - start) * step / steps)));
}

// A board: a picture under an overlay in SVG. onstroke(cells, {begin, from, at}) is told what a pressed pointer, Space,
// or Shift with arrow keys pass over; onwalk(row, column) where pointer or keys are; name(row, column) is spoken.
export function createBoard({ label, hint, announce, name, onstroke = null, onwalk = () => {} }) {
  let size = { height: 1, width: 1 };
  let [cursor, stroke] = [null, null]; // stroke: where it began, and where it is
  const lift = () => { stroke = null; };
  const canvas = element("canvas", { "aria-hidden": "true" });
  const overlay = svg("svg", { "aria-hidden": "true" });
  const frame = svg("rect", { class: "board-cursor", width: 1, height: 1, visibility: "hidden" });
  const node = element("div", { class: onstroke ? "board drawable" : "board", tabindex: 0, role: "application",
    "aria-label": `${label}. ${hint}`, onpointerdown: press, onpointermove: move, onpointerup: lift, onkeydown: type,
    onpointercancel: lift, onkeyup: (event) => { if (event.key === "Shift") lift(); } }, canvas, overlay);

  function walk(...place) {
    cursor = place.map((at, axis) => Math.min([size.height, size.width][axis] - 1, Math.max(0, at)));
    frame.setAttribute("transform", `translate(${cursor[1]} ${cursor[0]})`);
    frame.setAttribute("visibility", "visible");
    onwalk(...cursor);
  }

  function draw(begin) {
    if (!onstroke) return;
    const from = begin ? cursor : stroke.at;
    stroke = { from: begin ? cursor : stroke.from, at: cursor };
    onstroke(easelLine(from, cursor), { begin, ...stroke });
  }

  function spot(event) {
    const box = node.getBoundingClientRect();
    return [Math.floor((event.clientY - box.top) / box.height * size.height),
      Math.floor((event.clientX - box.left) / box.width * size.width)];
  }

  function press(event) {
    if (event.button !== 0) return;
    if (onstroke) node.setPointerCapture(event.pointerId);
    walk(...spot(event));
    draw(true);
  }

  function move(event) {
    const [row, column] = spot(event);
    if (cursor && row === cursor[0] && column === cursor[1]) return;
    walk(row, column);
    if (stroke) draw(false);
  }

  function type(event) {
    const step = arrowStep(event);
    const presses = onstroke && (event.key === " " || event.key === "Enter");
    if (!step && !presses) return;
    event.preventDefault();
    if (!cursor) walk(Math.floor(size.height / 2), Math.floor(size.width / 2));
    if (presses || (event.shiftKey && !stroke)) draw(true);
    if (presses) lift();
    else walk(cursor[0] + step[0], cursor[1] + step[1]);
    if (stroke) draw(false);
    announce(name(...cursor));
  }

  return {
    node, walk,
    show(picture, { veil = null, tones, drawn = [] } = {}) {
      size = picture;
      pictureCanvas(picture, { canvas, veil, tones });
      node.style.setProperty("--ratio", `${picture.width} / ${picture.height}`);
      overlay.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
      overlay.replaceChildren(...drawn, frame);
    },
  };
}
