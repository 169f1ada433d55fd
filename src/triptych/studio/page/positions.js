// Sinusoidal positions as a picture: a row a position, a column a dimension, and the wave of the column pointed at.
import { bytesOf } from "./api.js";
import { cellCursor, heatCanvas, signedColour } from "./maps.js";
import { card, createReadout, createTurn, element, faint, notice, saveButtons, svg, upTo } from "./widgets.js";

const POSITIONS_SHOWN = 64;

export function createPositions(api, width) {
  const [view, status] = [element("div"), notice()];
  let chosen = [10, Math.min(8, width - 1)]; // position and dimension

  function draw({ length, scale, zero, data }) {
    const values = Float32Array.from(bytesOf(data), (byte) => (byte - zero) * scale);
    const canvas = heatCanvas({ values, rows: length, columns: width, colour: signedColour });
    const marker = element("span", { class: "column-marker", vars: { "--columns": width } });
    const frame = element("div", { class: "positions-frame", tabindex: 0, role: "group",
      "aria-label": "Sinusoidal positions. Arrow keys read out one value after another." }, canvas, marker);
    const [wave, says] = [element("div", { class: "wave" }), createReadout()];
    const height = (row, dimension) => 40 - 32 * values[row * width + dimension];
    const read = (position, dimension) => {
      chosen = [position, dimension];
      const pair = dimension - dimension % 2;
      const period = 2 * Math.PI * 10_000 ** (pair / width);
      const wavelength = period < 100 ? period.toFixed(1) : Math.round(period).toLocaleString("en");
      const name = dimension % 2 ? "cos" : "sin";
      says.textContent = `Position ${position}, dimension ${dimension}: ${name}(${position} / ` +
        `10000^(${pair}/${width})) = ${values[position * width + dimension].toFixed(2)}. ` +
        `This wave repeats every ${wavelength} positions.`;
      marker.style.setProperty("--at", dimension);
      const points = upTo(length).map((row) => `${row * 8 + 4},${height(row, dimension)}`).join(" ");
      wave.replaceChildren(svg("svg", { viewBox: `0 0 ${length * 8} 80`, "aria-hidden": "true" },
        svg("path", { d: `M0 40H${length * 8}`, stroke: "--line" }),
        svg("polyline", { points, fill: "none", stroke: "--accent", "stroke-width": 2 }),
        svg("circle", { cx: position * 8 + 4, cy: height(position, dimension), r: 5, fill: "--warn" })));
    };
    cellCursor(frame, canvas, { rows: length, columns: width }, read);
    read(...chosen);
    const cells = () => svg("svg", { viewBox: `0 0 ${6 * width} ${6 * length}` },
      ...upTo(values.length).map((cell) => svg("rect", { x: cell % width * 6, y: 6 * Math.floor(cell / width), width: 6,
        height: 6, fill: `rgb(${signedColour(values[cell]).join()})` })));
    view.replaceChildren(frame, says, wave, saveButtons("positions", cells));
  }

  createTurn(status.fail).run(async () => {
    const answer = await api.post("positions", { length: POSITIONS_SHOWN, width });
    draw(answer);
    document.addEventListener("themechange", () => draw(answer));
  });
  return card("How it knows where a word is", faint("Attention alone does not see order. So to each word's vector a " +
    "pattern of its position is added: waves, quick ones in the first dimensions, ever slower ones in the later. A " +
    "row is a position, a column a dimension; blue is +1, orange −1."), status.node, view);
}
