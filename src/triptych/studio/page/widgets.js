// Small parts that every tab shares: elements, choices, the line under a result, saving, notices, work that ends.
import { isAbort } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";

// An element with properties: text, class, on..., dataset, vars (CSS variables), value, checked; all else attributes,
// of which "--ink" is the colour of that token.
export function element(tag, properties = {}, ...children) {
  return furnished(document.createElement(tag), properties, children);
}
export function svg(tag, properties = {}, ...children) {
  return furnished(document.createElementNS(SVG, tag), properties, children);
}
function furnished(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name === "vars") for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    else if (name === "value" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : /^--/.test(value) ? `var(${value})` : value);
  }
  node.append(...children.filter((child) => (child ?? false) !== false));
  return node;
}

// A hatched pattern of SVG, for what is hidden: fill: `url(#${id})`.
export function hatched(id, size = 7, ink = "--edge", paper = "--paper") {
  return svg("defs", {}, svg("pattern", { id, width: size, height: size, patternUnits: "userSpaceOnUse",
    patternTransform: "rotate(45)" }, svg("rect", { width: size, height: size, fill: paper }),
  svg("rect", { width: 2, height: size, fill: ink })));
}

// The colour behind a CSS token, as rgb(...), for canvases and pictures that are saved.
export function tokenColour(name) {
  const probe = element("span", { hidden: true });
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

export function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// The whole numbers from 0 up to, without, a count; and a text with a capital.
export function upTo(count) { return [...Array(count).keys()]; }
export function capital(text) { return text[0].toUpperCase() + text.slice(1); }

// The step [down, right] of an arrow key, or undefined.
export function arrowStep({ key }) {
  return { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[key];
}

let lastId = 0;
export function freshId(prefix) { return `${prefix}-${lastId += 1}`; }

function labelled(label, input, hint) {
  input.id = freshId("field");
  const below = hint ? element("span", { class: "faint small", id: `${input.id}-hint`, text: hint }) : null;
  if (below) input.setAttribute("aria-describedby", below.id);
  return element("div", { class: "field" }, element("label", { for: input.id, text: label }), input, below);
}

// Controls {node, input, value}.
function control(node, input, read = () => input.value, write = (now) => { input.value = now; }) {
  return { node, input, get value() { return read(); }, set value(now) { write(now); } };
}

export function choice({ label, options = [], value, onchange }) {
  const input = element("select", { onchange: () => onchange?.(input.value) });
  function setOptions(now, chosen) {
    input.replaceChildren(...now.map((one) => element("option", { value: one.value, text: one.label })));
    if (chosen !== undefined) input.value = chosen;
  }
  setOptions(options, value);
  return Object.assign(control(labelled(label, input), input), { setOptions });
}

// Options of a choice of layers, whose values count from 0.
export function layerOptions(layers) {
  return upTo(layers).map((one) => ({ value: String(one), label: `layer ${one + 1}` }));
}

export function number({ label, value, min, max, step = 1, onchange, hint }) {
  const input = element("input", { type: "number", min, max, step, inputmode: "decimal", value });
  input.addEventListener("change", () => {
    const now = Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : value;
    input.value = now === "" ? "" : Math.min(max ?? now, Math.max(min ?? now, now));
    onchange?.(input.valueAsNumber);
  });
  return control(labelled(label, input, hint), input, () => (input.value === "" ? null : input.valueAsNumber));
}

export function check({ label, value = false, onchange, colour = null }) {
  const input = element("input", { type: "checkbox", checked: value, onchange: () => onchange?.(input.checked) });
  const vars = colour && { "--colour": `var(${colour})` };
  const node = element("label", { class: "check", vars }, input, element("span", { text: label }));
  return control(node, input, () => input.checked, (now) => { input.checked = now; });
}

// A row of which one is chosen, {value: label}, as radio buttons: arrow keys come with them.
export function segmented({ label, options, value, onchange }) {
  const name = freshId("segments");
  const inputs = Object.keys(options).map((one) => element("input", { type: "radio", name, value: one,
    checked: one === value, onchange: () => onchange?.(one) }));
  const node = element("fieldset", { class: "segments" }, element("legend", { text: label }), element("div", {},
    ...inputs.map((input) => element("label", {}, input, element("span", { text: options[input.value] })))));
  return control(node, null, () => inputs.find((one) => one.checked)?.value,
    (now) => { for (const one of inputs) one.checked = one.value === now; });
}

export function action(text, onclick, more = {}, ...children) {
  return element("button", { type: "button", text, onclick, ...more }, ...children);
}

// Parts of a panel: its head, paragraphs in small print, text that says where pointer or keys are (to a screen reader
// too), rows, cards, what is folded, and what is wider than its card and scrolls by itself, by keys too.
export function panelHead(title, lead) {
  return [element("h2", { text: title }), element("p", { class: "lead", text: lead })];
}
export function faint(text, more = "") { return element("p", { class: `faint ${more}`, text }); }
export function createReadout(text) { return element("p", { class: "readout", role: "status", text }); }
export function inBar(...children) { return element("div", { class: "bar" }, ...children); }
export function card(title, ...children) {
  return element("section", { class: "card" }, element("h3", { text: title }), ...children);
}
export function folded(summary, ...children) {
  return element("details", {}, element("summary", { text: summary }), ...children);
}
export function scrolled(label, ...children) {
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, ...children);
}

export function tableOf(head, rows) {
  return element("table", {}, element("thead", {}, element("tr", {},
    ...head.map((text) => element("th", { scope: "col", text })))), element("tbody", {}, ...rows));
}
export function tableRow(head, cells, more = {}) {
  return element("tr", {}, element("th", { scope: "row", text: head, ...more }),
    ...cells.map((text) => element("td", { text })));
}

function copyButton(label, text) {
  const button = action(label, async () => {
    const copied = navigator.clipboard.writeText(text());
    button.textContent = await copied.then(() => "Copied", () => "Copying is not allowed here");
    setTimeout(() => { button.textContent = label; }, 1600);
  }, { class: "quiet" });
  return button;
}

// The line under every result: what made it, its address, the command that does the same, and ways to save it.
export function resultFooter({ model, seed, settings = {}, address, command, saves = [] }) {
  const facts = Object.entries({ model, seed, ...settings }).filter(([, value]) => (value ?? null) !== null);
  const list = element("dl", { class: "facts" },
    ...facts.map(([key, value]) => element("div", {}, element("dt", { text: key }), element("dd", { text: value }))));
  const line = command && element("code", { class: "command", text: command });
  return element("footer", { class: "result-foot" }, list, line, inBar(address && copyButton("Copy address", address),
    command && copyButton("Copy command", () => command), ...saves));
}

export function download(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Buttons that save what made(kind) gives: an SVG element as both, or a canvas as PNG.
export function saveButtons(name, made, kinds = ["png", "svg"]) {
  const save = async (kind) => download(`${name}.${kind}`, await (kind === "svg" ? svgBlob : pngOf)(made(kind)));
  return element("span", { class: "saves" }, ...kinds.map((kind) =>
    action(`Save ${kind.toUpperCase()}`, () => save(kind), { class: "quiet" })));
}

function svgBlob(node) {
  const copy = node.cloneNode(true);
  const { width, height } = node.viewBox.baseVal;
  for (const [key, value] of Object.entries({ xmlns: SVG, width, height })) copy.setAttribute(key, value);
  for (const name of ["class", "tabindex"]) copy.removeAttribute(name);
  const text = new XMLSerializer().serializeToString(copy);
  return new Blob([text.replace(/var\((--[\w-]+)\)/g, (_, name) => tokenColour(name))], { type: "image/svg+xml" });
}

async function pngOf(picture) {
  let canvas = picture;
  if (picture.namespaceURI === SVG) {
    const { width, height } = picture.viewBox.baseVal;
    const address = URL.createObjectURL(svgBlob(picture));
    const image = new Image();
    image.src = address;
    await image.decode();
    canvas = element("canvas", { width: Math.ceil(2 * width), height: Math.ceil(2 * height) });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(address);
  }
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}

// One line of status in a result area: errors in plain words where they happened.
export function notice() {
  const node = element("p", { class: "status", role: "status" });
  const show = (kind, text) => {
    node.dataset.kind = kind;
    node.textContent = text;
  };
  return { node, fail: (error) => show("error", error.message), say: (text) => show("note", text),
    busy: (text) => show("busy", text), clear: () => show("", "") };
}

// One piece of work at a time. run(work) ends the one before, waits for work(signal), and calls fail(error) where that
// fails, or stopped() where stop() has ended it. What has the key of the work that runs is not begun anew.
export function createTurn(fail, stopped = () => {}) {
  let [own, doing] = [null, null];
  async function run(work, key = null) {
    if (own && !own.signal.aborted && key !== null && key === doing) return;
    own?.abort();
    const mine = own = new AbortController();
    doing = key;
    try {
      await work(mine.signal);
    } catch (error) {
      if (own === mine) (isAbort(error) ? stopped : fail)(error);
    } finally {
      if (own === mine) own = null;
    }
  }
  return { run, stop: () => own?.abort(), get busy() { return own !== null; } };
}
