// A small picture drawn with a palette: pencil, fill, undo.
import { blankPicture, colourAt, createBoard, writtenPicture } from "./easel.js";
import { action, element, faint, inBar, segmented, svg, upTo } from "./widgets.js";

const PALETTE = { black: "#000000", grey: "#6b6f76", "light grey": "#c9ccd1", white: "#ffffff", red: "#c62f2f",
  orange: "#ef8a2c", yellow: "#ffd23f", cream: "#f7e7b5", green: "#3f9b4b", "light green": "#a6d96a", blue: "#1f6fb5",
  "light blue": "#8fd3f4", violet: "#5a3fa0", pink: "#d0579b", rose: "#f9c0c0", brown: "#7a4a24" };

// onchange(true) after every stroke; read() -> the fields of a request.
export function createPalette({ announce, onchange }) {
  let picture = blankPicture(8, 8, 3);
  let colour = PALETTE.red;
  const past = [];
  const bytesFor = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const tool = segmented({ label: "Draw with", value: "pencil", options: { pencil: "Pencil", fill: "Fill" } });
  const undo = action("Undo", () => { picture = past.pop(); render(); });
  const own = element("input", { type: "color", value: "#e8862a", "aria-label": "A colour of your own",
    oninput: () => { colour = own.value; } });
  const swatches = Object.entries(PALETTE).map(([name, hex]) =>
    element("label", { class: "swatch", vars: { "--colour": hex } }, element("input", { type: "radio", name: "palette",
      checked: hex === colour, "aria-label": name, onchange: () => { colour = hex; } })));
  const board = createBoard({ label: "Small picture", announce, onstroke, name: nameOf,
    hint: "Arrow keys walk, Space colours a pixel, Shift with arrow keys draws on." });

  function nameOf(row, column) {
    const found = colourAt(picture, row * picture.width + column);
    const far = (hex) => bytesFor(hex).reduce((sum, one, channel) => sum + (one - found[channel]) ** 2, 0);
    const [name] = Object.entries(PALETTE).reduce((best, one) => (far(one[1]) < far(best[1]) ? one : best));
    return `row ${row + 1}, column ${column + 1}, ${name}`;
  }

  function remember() { past.push(picture); picture = { ...picture, bytes: picture.bytes.slice() }; }
  function clear() { remember(); picture.bytes.fill(255); render(); }

  function onstroke(cells, { begin }) {
    if (begin) remember();
    const { height, width, channels, bytes } = picture;
    const at = (row, column) => (row < 0 || column < 0 || row >= height || column >= width ? ""
      : colourAt(picture, row * width + column).join());
    const old = at(...cells[0]);
    const todo = [...cells];
    while (todo.length) {
      const [row, column] = todo.pop();
      const fills = tool.value === "fill";
      if (at(row, column) === "" || (fills && (at(row, column) !== old || old === bytesFor(colour).join()))) continue;
      bytes.set(bytesFor(colour).slice(0, channels), channels * (row * width + column));
      if (fills) todo.push([row + 1, column], [row - 1, column], [row, column + 1], [row, column - 1]);
    }
    render();
  }

  function render() {
    const { height, width } = picture;
    const [down, across] = [upTo(width).map((x) => `M${x} 0V${height}`), upTo(height).map((y) => `M0 ${y}H${width}`)];
    board.show(picture, { drawn: [svg("path", { class: "board-lines", d: [...down, ...across].join("") })] });
    undo.disabled = !past.length;
    onchange(true);
  }

  return {
    node: element("div", { class: "card easel" }, board.node, element("div", {},
      element("div", { class: "swatches", role: "radiogroup", "aria-label": "Palette" }, ...swatches, own),
      inBar(tool.node, undo, action("Clear", clear)),
      faint("Draw a small picture, or drop one anywhere here: the model invents the details of a large one that " +
        "becomes yours again when it is shrunk.", "small"))),
    render, focus: () => board.node.focus(),
    read: () => ({ picture: writtenPicture(picture) }),
    set(now) { past.length = 0; picture = now; render(); },
  };
}
