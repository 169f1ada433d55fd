// Layers: the paper's complexity table beside measured curves, the crossing of n and d, and two figures in steps.
import { createFigures } from "./figures.js";
import { element, notice, resultFooter, saveButtons, segmented, svg, tokenColour } from "./widgets.js";

const LAYERS_STYLE = {
  full: { token: "--series-1", dash: "", short: "self-attention", count: ({ n, d }) => n * n * d },
  lstm: { token: "--series-2", dash: "9 4", short: "recurrent", count: ({ n, d }) => n * d * d },
  convolution: { token: "--series-3", dash: "3 3", short: "convolution", count: ({ n, d, k }) => k * n * d * d },
  local: { token: "--series-4", dash: "12 3 3 3", short: "restricted", count: ({ n, d, r }) => Math.min(r, n) * n * d },
  dense: { token: "--series-6", dash: "2 6", short: "by definition", count: () => 0 },
};
const LAYERS_WIDTH = 760;
const LAYERS_HEIGHT = 430;

function formula(text) {
  return text.replaceAll("^2", "²").replace("log_k", "log\u2096");
}

function timeText(seconds) {
  return seconds < 1 ? `${(1000 * seconds).toPrecision(3)} ms` : `${seconds.toPrecision(3)} s`;
}

// A plot of curves [{kind, x: [...], y: [...]}] on logarithmic axes; marks: vertical lines {x, text}.
function logPlot({ curves, marks = [], across, up, format }) {
  const xs = curves.flatMap((one) => one.x);
  const ys = curves.flatMap((one) => one.y);
  const [left, right, top, bottom] = [84, 128, 24 + 19 * marks.length, 58];
  const scale = (low, high, from, to) => (value) => from + Math.log(value / low) / Math.log(high / low) * (to - from);
  const x = scale(Math.min(...xs), Math.max(...xs), left, LAYERS_WIDTH - right);
  const y = scale(Math.min(...ys) * 0.8, Math.max(...ys) * 1.2, LAYERS_HEIGHT - bottom, top);
  const ink = tokenColour("--ink");
  const faint = tokenColour("--faint");
  const line = tokenColour("--line");
  const label = (at, down, text, more) => svg("text", { x: at, y: down, fill: faint, "font-size": 14, text, ...more });
  const ticks = [...new Set(xs)].sort((one, other) => one - other).filter((one) => Number.isInteger(Math.log2(one)));
  const powers = [...Array(14).keys()].map((one) => 10 ** (one - 6)).filter(
    (one) => one > Math.min(...ys) * 0.8 && one < Math.max(...ys) * 1.2);
  const ends = curves.map((one) => ({ ...one, at: y(one.y.at(-1)) })).sort((one, other) => one.at - other.at);
  for (const [place, one] of ends.entries()) if (place) one.at = Math.max(one.at, ends[place - 1].at + 17);
  return svg("svg", { viewBox: `0 0 ${LAYERS_WIDTH} ${LAYERS_HEIGHT}`, class: "plot", role: "img",
    "aria-label": `${up} against ${across}, both axes logarithmic`, "font-family": "system-ui, sans-serif" },
  svg("rect", { width: LAYERS_WIDTH, height: LAYERS_HEIGHT, fill: tokenColour("--card") }),
  ...powers.flatMap((one) => [svg("path", { d: `M${left} ${y(one)}H${LAYERS_WIDTH - right}`, stroke: line }),
    label(left - 8, y(one) + 5, format(one), { "text-anchor": "end" })]),
  ...ticks.map((one) => label(x(one), LAYERS_HEIGHT - bottom + 22, one.toLocaleString("en"),
    { "text-anchor": "middle" })),
  label((left + LAYERS_WIDTH - right) / 2, LAYERS_HEIGHT - 10, across, { "text-anchor": "middle", fill: ink }),
  label(18, (top + LAYERS_HEIGHT - bottom) / 2, up, { "text-anchor": "middle", fill: ink,
    transform: `rotate(-90 18 ${(top + LAYERS_HEIGHT - bottom) / 2})` }),
  ...marks.flatMap((one, place) => {
    const down = 18 + 19 * place;
    const side = x(one.x) > 0.8 * LAYERS_WIDTH ? -6 : 6; // the text is on the side where there is room
    return [svg("path", { d: `M${x(one.x)} ${down - 12}V${LAYERS_HEIGHT - bottom}`, stroke: faint,
      "stroke-dasharray": "4 4" }),
    label(x(one.x) + side, down, one.text, { fill: ink, "text-anchor": side < 0 ? "end" : "start" })];
  }),
  ...curves.flatMap(({ kind, x: sizes, y: values }) => {
    const stroke = tokenColour(LAYERS_STYLE[kind].token);
    return [svg("polyline", { points: sizes.map((one, place) => `${x(one)},${y(values[place])}`).join(" "),
      fill: "none", stroke,
      "stroke-width": 3, "stroke-dasharray": LAYERS_STYLE[kind].dash }),
    ...sizes.map((one, place) => svg("circle", { cx: x(one), cy: y(values[place]), r: 4.5, fill: stroke },
      svg("title", { text: `${LAYERS_STYLE[kind].short}, ${one.toLocaleString("en")}: ${format(values[place])}` })))];
  }),
  ...ends.map(({ kind, x: sizes, at }) => label(x(sizes.at(-1)) + 10, at + 5, LAYERS_STYLE[kind].short,
    { fill: tokenColour(LAYERS_STYLE[kind].token), "font-weight": 600 })));
}

function numbersTable(curves, across, format) {
  const sizes = [...new Set(curves.flatMap((one) => one.x))].sort((one, other) => one - other);
  const cells = (size) => curves.map((one) => element("td", { text: one.x.includes(size)
    ? format(one.y[one.x.indexOf(size)]) : "–" }));
  return element("details", {}, element("summary", { text: "The numbers of this plot" }),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The numbers of this plot" },
      element("table", {},
      element("thead", {}, element("tr", {}, element("th", { scope: "col", text: across }),
        ...curves.map((one) => element("th", { scope: "col", text: LAYERS_STYLE[one.kind].short })))),
      element("tbody", {}, ...sizes.map((size) => element("tr", {}, element("th", { scope: "row",
        text: size.toLocaleString("en") }), ...cells(size)))))));
}

// Two sliders, n and d, and the operations of each layer by the table: which wins depends on which is larger.
function createCounter({ reach, kernel }) {
  const slider = (label, value, max) => {
    const input = element("input", { type: "range", min: 4, max, step: 0.5, value, "aria-label": label,
      oninput: () => draw() });
    return { input, node: element("div", { class: "field" }, element("p", { class: "faint small", text: label }),
      input) };
  };
  const [length, width] = [slider("n: positions of the sequence", 9, 14), slider("d: width of a vector", 8, 12)];
  const bars = element("dl", { class: "counts" });
  const says = element("p", { class: "readout", role: "status" });

  function draw() {
    const n = Math.round(2 ** length.input.value);
    const d = Math.round(2 ** width.input.value);
    for (const [input, value] of [[length.input, n], [width.input, d]]) input.setAttribute("aria-valuetext", value);
    const counts = ["full", "lstm", "convolution", "local"].map((kind) => [kind, LAYERS_STYLE[kind].count({ n, d,
      k: kernel, r: reach })]);
    const most = Math.max(...counts.map(([, count]) => count));
    bars.replaceChildren(...counts.map(([kind, count]) => element("div", {}, element("dt",
      { text: LAYERS_STYLE[kind].short }),
      element("dd", { vars: { "--share": `${100 * count / most}%`, "--colour": `var(${LAYERS_STYLE[kind].token})` },
        text: count.toLocaleString("en") }))));
    const ratio = n < d ? `${(d / n).toPrecision(2)} times fewer operations than`
      : `${(n / d).toPrecision(2)} times more operations than`;
    says.textContent = `n = ${n.toLocaleString("en")}, d = ${d.toLocaleString("en")}: self-attention needs ` +
      `${n === d ? "as many operations as" : ratio} a recurrent layer. They cross where n = d.`;
  }
  draw();
  return element("div", {}, element("div", { class: "columns" }, length.node, width.node), says, bars);
}

export function mountLayers(panel, { api, route }) {
  const status = notice();
  const table = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The complexity table" });
  const plot = element("div", { class: "plot-frame scroll", tabindex: 0, role: "region", "aria-label": "The plot" });
  const below = element("div");
  const counter = element("div");
  const foot = element("div");
  let measured = null;
  const view = segmented({ label: "Measured", value: "length", onchange: () => draw(), options: [
    { value: "length", label: "Time against n" }, { value: "width", label: "Time against d" },
    { value: "memory", label: "Memory against n" }, { value: "crossing", label: "Attention against LSTM" }] });
  const figures = createFigures(route);

  panel.append(element("h2", { text: "Layers" }),
    element("p", { class: "lead",
      text: "What self-attention costs beside other layers, by the paper's table and by the clock; and, step by " +
        "step, how relative and local attention are computed." }), status.node,
    element("section", { class: "card" }, element("h3", { text: "The complexity table, measured" }),
      element("p", { class: "faint",
        text: "Attention Is All You Need, section 4, table 1: n positions of width d. The two columns at the right " +
          "are measured: the power of n, and of d, with which the time grows." }), table, view.node, plot, below,
          foot),
    element("section", { class: "card" }, element("h3", { text: "Where n meets d" }), element("p", { class: "faint",
      text: "Operations by the table. Self-attention pays n² d, a recurrent layer n d². Move n past d." }), counter),
        ...figures.nodes);
  document.addEventListener("themechange", () => { draw(); figures.draw(); });

  function views() {
    const { seconds_by_length: byLength, seconds_by_width: byWidth, megabytes_by_length: memory, crossing } = measured;
    const curves = (of, size, value) => Object.entries(of).map(([kind, one]) => ({ kind, x: one[size],
      y: one[value] }));
    const marks = [{ x: crossing.table, text: `n = d (the table): ${crossing.table}` },
      { x: crossing.multiplications,
        text: `n = 4 d (multiplications counted): ${crossing.multiplications.toLocaleString("en")}` }];
    if (crossing.measured) marks.push({ x: crossing.measured,
      text: `measured: ${Math.round(crossing.measured).toLocaleString("en")}` });
    const n = "n, positions of the sequence";
    return {
      length: { curves: curves(byLength, "length", "seconds"), across: n, up: "time", format: timeText,
        text: `Forward and backward at d = ${measured.layer.width}. A straight line is a power of n; the steeper, the higher.` },
      width: { curves: curves(byWidth, "width", "seconds"), across: "d, width of a vector", up: "time",
        format: timeText,
        text: `The same at n = ${measured.length_of_widths}.` },
      memory: { curves: curves(memory, "length", "megabytes"), across: n, up: "memory, MB",
        format: (one) => `${Number(one.toPrecision(3))} MB`,
        text: "Peak memory of a call. “By definition” writes all n × n weights down; the other self-attention never " +
          "does." },
      crossing: { curves: curves({ full: crossing.full, lstm: crossing.lstm }, "length", "seconds"), marks, across: n,
        up: "time",
        format: timeText, text: "The table leaves constants out. An LSTM multiplies 8 n d² numbers, attention 2 n² " +
          "d: so 4 d. What is measured adds that a recurrent layer must take one step after another." },
    };
  }

  function draw() {
    if (!measured) return;
    const chosen = views()[view.value];
    const picture = logPlot(chosen);
    plot.replaceChildren(picture);
    below.replaceChildren(element("p", { class: "faint", text: chosen.text }), numbersTable(chosen.curves,
      chosen.across, chosen.format));
    const { machine } = measured;
    foot.replaceChildren(resultFooter({ settings: { processor: machine.processor, threads: machine.threads,
      dtype: measured.dtype,
      repeats: measured.repeats, ...(measured.busy ? { note: "the machine had other work: the lines bend" } : {}) },
    command: "triptych look complexity --out complexity.png --json", address: () => route.address("layers"),
      saves: [saveButtons("complexity", () => picture)] }));
  }

  function drawTable() {
    const power = (curve) => (curve ? `${curve.exponent.toFixed(2)} (table: ${curve.table})` : "–");
    const head = ["layer", "operations", "one after another", "longest path", "power of n", "power of d"];
    table.replaceChildren(element("table", { class: "complexity" }, element("thead", {}, element("tr", {},
      ...head.map((text) => element("th", { scope: "col", text })))),
      element("tbody", {}, ...Object.entries(measured.table).map(([kind, row]) => element("tr", {},
        element("th", { scope: "row", text: row.layer, vars: { "--colour": `var(${LAYERS_STYLE[kind].token})` } }),
        ...[row.complexity, row.sequential, row.path].map((text) => element("td", { text: formula(text) })),
        ...[measured.seconds_by_length, measured.seconds_by_width].map((of) => element("td", { text: power(of[kind]) })))))));
  }

  const loaded = api.get("complexity").then((found) => {
    measured = found;
    drawTable();
    draw();
    counter.replaceChildren(createCounter(found.layer));
  });

  return {
    async show(request) {
      figures.show(request?.body ?? {});
      try {
        await loaded;
      } catch (error) {
        status.fail(error);
      }
    },
    hide() {},
  };
}
