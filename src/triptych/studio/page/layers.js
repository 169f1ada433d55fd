// Layers: the paper's complexity table beside measured curves, the crossing of n and d, and two figures in steps.
import { createFigures } from "./figures.js";
import { card, createReadout, createTurn, element, faint, folded, notice, panelHead, resultFooter } from "./widgets.js";
import { saveButtons, scrolled, segmented, svg, tableOf, tableRow, upTo } from "./widgets.js";

const LAYERS_STYLE = {
  full: { token: "--series-1", dash: "", short: "self-attention", count: ({ n, d }) => n * n * d },
  lstm: { token: "--series-2", dash: "9 4", short: "recurrent", count: ({ n, d }) => n * d * d },
  convolution: { token: "--series-3", dash: "3 3", short: "convolution", count: ({ n, d, k }) => k * n * d * d },
  local: { token: "--series-4", dash: "12 3 3 3", short: "restricted", count: ({ n, d, r }) => Math.min(r, n) * n * d },
  dense: { token: "--series-6", dash: "2 6", short: "by definition", count: () => 0 },
};
const [LAYERS_WIDTH, LAYERS_HEIGHT] = [760, 430];

function timeText(seconds) {
  return seconds < 1 ? `${(1000 * seconds).toPrecision(3)} ms` : `${seconds.toPrecision(3)} s`;
}
function grouped(number) { return number.toLocaleString("en"); }

// A plot of curves [{kind, x: [...], y: [...]}] on logarithmic axes; marks: vertical lines {x, text}.
function logPlot({ curves, marks = [], across, up, format }) {
  const xs = curves.flatMap((one) => one.x);
  const ys = curves.flatMap((one) => one.y);
  const [left, right, top, bottom] = [84, 128, 24 + 19 * marks.length, 58];
  const scale = (low, high, from, to) => (value) => from + Math.log(value / low) / Math.log(high / low) * (to - from);
  const x = scale(Math.min(...xs), Math.max(...xs), left, LAYERS_WIDTH - right);
  const y = scale(Math.min(...ys) * 0.8, Math.max(...ys) * 1.2, LAYERS_HEIGHT - bottom, top);
  const [floor, edge] = [LAYERS_HEIGHT - bottom, LAYERS_WIDTH - right];
  const label = (at, y1, text, more) => svg("text", { x: at, y: y1, fill: "--faint", "font-size": 14, text, ...more });
  const middle = { "text-anchor": "middle" };
  const ticks = [...new Set(xs)].sort((one, other) => one - other).filter((one) => Number.isInteger(Math.log2(one)));
  const powers = upTo(14).map((one) => 10 ** (one - 6)).filter(
    (one) => one > Math.min(...ys) * 0.8 && one < Math.max(...ys) * 1.2);
  const ends = curves.map((one) => ({ ...one, at: y(one.y.at(-1)) })).sort((one, other) => one.at - other.at);
  for (const [place, one] of ends.entries()) if (place) one.at = Math.max(one.at, ends[place - 1].at + 17);
  return svg("svg", { viewBox: `0 0 ${LAYERS_WIDTH} ${LAYERS_HEIGHT}`, class: "plot", role: "img",
    "aria-label": `${up} against ${across}, both axes logarithmic`, "font-family": "system-ui, sans-serif" },
  svg("rect", { width: LAYERS_WIDTH, height: LAYERS_HEIGHT, fill: "--card" }),
  ...powers.flatMap((one) => [svg("path", { d: `M${left} ${y(one)}H${edge}`, stroke: "--line" }),
    label(left - 8, y(one) + 5, format(one), { "text-anchor": "end" })]),
  ...ticks.map((one) => label(x(one), floor + 22, grouped(one), middle)),
  label((left + edge) / 2, LAYERS_HEIGHT - 10, across, { ...middle, fill: "--ink" }),
  label(18, (top + floor) / 2, up, { ...middle, fill: "--ink", transform: `rotate(-90 18 ${(top + floor) / 2})` }),
  ...marks.flatMap((one, place) => {
    const down = 18 + 19 * place;
    const side = x(one.x) > 0.8 * LAYERS_WIDTH ? -6 : 6; // the text is on the side where there is room
    return [svg("path", { d: `M${x(one.x)} ${down - 12}V${floor}`, stroke: "--faint", "stroke-dasharray": "4 4" }),
      label(x(one.x) + side, down, one.text, { fill: "--ink", "text-anchor": side < 0 ? "end" : "start" })];
  }),
  ...curves.flatMap(({ kind, x: sizes, y: values }) => {
    const { token, dash, short } = LAYERS_STYLE[kind];
    const points = sizes.map((one, place) => `${x(one)},${y(values[place])}`).join(" ");
    return [svg("polyline", { points, fill: "none", stroke: token, "stroke-width": 3,
      "stroke-dasharray": dash }),
    ...sizes.map((one, place) => svg("circle", { cx: x(one), cy: y(values[place]), r: 4.5, fill: token },
      svg("title", { text: `${short}, ${grouped(one)}: ${format(values[place])}` })))];
  }),
  ...ends.map(({ kind, x: sizes, at }) => label(x(sizes.at(-1)) + 10, at + 5, LAYERS_STYLE[kind].short,
    { fill: LAYERS_STYLE[kind].token, "font-weight": 600 })));
}

function numbersTable(curves, across, format) {
  const sizes = [...new Set(curves.flatMap((one) => one.x))].sort((one, other) => one - other);
  const cell = ({ x, y }, size) => (x.includes(size) ? format(y[x.indexOf(size)]) : "–");
  return folded("The numbers of this plot", scrolled("The numbers of this plot",
    tableOf([across, ...curves.map((one) => LAYERS_STYLE[one.kind].short)],
      sizes.map((size) => tableRow(grouped(size), curves.map((one) => cell(one, size)))))));
}

// Two sliders, n and d, and the operations of each layer by the table: which wins depends on which is larger.
function createCounter({ reach, kernel }) {
  const slider = (text, value, max) => {
    const input = element("input", { type: "range", min: 4, max, step: 0.5, value, "aria-label": text,
      oninput: () => draw() });
    return { input, node: element("div", { class: "field" }, faint(text, "small"), input) };
  };
  const [length, width] = [slider("n: positions of the sequence", 9, 14), slider("d: width of a vector", 8, 12)];
  const [bars, says] = [element("dl", { class: "counts" }), createReadout()];

  function draw() {
    const [n, d] = [length, width].map(({ input }) => Math.round(2 ** input.value));
    length.input.setAttribute("aria-valuetext", n);
    width.input.setAttribute("aria-valuetext", d);
    const rows = ["full", "lstm", "convolution", "local"].map((kind) => LAYERS_STYLE[kind]).map((style) =>
      ({ ...style, operations: style.count({ n, d, k: kernel, r: reach }) }));
    const most = Math.max(...rows.map(({ operations }) => operations));
    bars.replaceChildren(...rows.map(({ short, token, operations }) => element("div", {},
      element("dt", { text: short }), element("dd", { text: grouped(operations),
        vars: { "--share": `${100 * operations / most}%`, "--colour": `var(${token})` } }))));
    const ratio = n < d ? `${(d / n).toPrecision(2)} times fewer operations than`
      : `${(n / d).toPrecision(2)} times more operations than`;
    says.textContent = `n = ${grouped(n)}, d = ${grouped(d)}: self-attention needs ` +
      `${n === d ? "as many operations as" : ratio} a recurrent layer. They cross where n = d.`;
  }
  draw();
  return element("div", {}, element("div", { class: "columns" }, length.node, width.node), says, bars);
}

// The plots of a measurement, by name: {curves, marks, axes, text}.
function plotsOf({ seconds_by_length: byLength, seconds_by_width: byWidth, megabytes_by_length: memory, crossing,
  layer: { width }, length_of_widths: length }) {
  const curves = (of, size, value) => Object.entries(of).map(([kind, one]) => ({ kind, x: one[size], y: one[value] }));
  const marks = [{ x: crossing.table, text: `n = d (the table): ${crossing.table}` },
    { x: crossing.multiplications, text: `n = 4 d (multiplications counted): ${grouped(crossing.multiplications)}` },
    { x: crossing.measured, text: `measured: ${grouped(Math.round(crossing.measured))}` }].filter(({ x }) => x);
  const time = { across: "n, positions of the sequence", up: "time", format: timeText };
  return {
    length: { ...time, curves: curves(byLength, "length", "seconds"),
      text: `Forward and backward at d = ${width}. A straight line is a power of n.` },
    width: { ...time, curves: curves(byWidth, "width", "seconds"), across: "d, width of a vector",
      text: `The same at n = ${length}.` },
    memory: { ...time, curves: curves(memory, "length", "megabytes"), up: "memory, MB",
      format: (one) => `${Number(one.toPrecision(3))} MB`,
      text: "Peak memory of a call. “By definition” writes all n × n weights down; other self-attention does not." },
    crossing: { ...time, curves: curves({ full: crossing.full, lstm: crossing.lstm }, "length", "seconds"), marks,
      text: "The table leaves constants out. An LSTM multiplies 8 n d² numbers, attention 2 n² d: so 4 d. What is " +
        "measured adds that a recurrent layer must take one step after another." },
  };
}

function complexityTable(measured) {
  const formula = (text) => text.replaceAll("^2", "²").replace("log_k", "log\u2096");
  const power = (curve) => (curve ? `${curve.exponent.toFixed(2)} (table: ${curve.table})` : "–");
  const found = tableOf(["layer", "operations", "one after another", "longest path", "power of n", "power of d"],
    Object.entries(measured.table).map(([kind, row]) => tableRow(row.layer,
      [...[row.complexity, row.sequential, row.path].map(formula),
        power(measured.seconds_by_length[kind]), power(measured.seconds_by_width[kind])],
      { vars: { "--colour": `var(${LAYERS_STYLE[kind].token})` } })));
  found.className = "complexity";
  return scrolled("The complexity table", found);
}

// The cards of a measurement.
function measuredCards(measured, route) {
  const [plot, below, foot] = [scrolled("The plot"), element("div"), element("div")];
  const { machine: { processor, threads }, dtype, repeats, busy, layer } = measured;
  const settings = { processor, threads, dtype, repeats, note: busy ? "the machine had other work" : null };
  const view = segmented({ label: "Measured", value: "length", onchange: draw, options: { length: "Time against n",
    width: "Time against d", memory: "Memory against n", crossing: "Attention against LSTM" } });

  function draw() {
    const { text, ...chosen } = plotsOf(measured)[view.value];
    const picture = logPlot(chosen);
    plot.replaceChildren(picture);
    below.replaceChildren(faint(text), numbersTable(chosen.curves, chosen.across, chosen.format));
    foot.replaceChildren(resultFooter({ settings, command: "triptych look complexity --out complexity.png --json",
      address: () => route.address("layers"), saves: [saveButtons("complexity", () => picture)] }));
  }

  draw();
  return [card("The complexity table, measured", faint("Attention Is All You Need, section 4, table 1: n positions " +
    "of width d. The two columns at the right are measured: the power of n, and of d, with which the time grows."),
  complexityTable(measured), view.node, plot, below, foot),
  card("Where n meets d", faint("Operations by the table. Self-attention pays n² d, a recurrent layer n d². Move n " +
    "past d."), createCounter(layer))];
}

export function mountLayers(panel, { api, route }) {
  const [status, costs, figures] = [notice(), element("div"), createFigures(route)];
  panel.append(...panelHead("Layers", "What self-attention costs beside other layers, by the paper's table and by " +
    "the clock; and, step by step, how relative and local attention are computed."), status.node, costs,
  ...figures.nodes);
  createTurn(status.fail).run(async () => costs.append(...measuredCards(await api.get("complexity"), route)));
  return { show: (request) => figures.show(request?.body ?? {}), hide() {} };
}
