// Small parts that every tab shares: elements, choices, the line under a result, saving, notices.

const SVG = "http://www.w3.org/2000/svg";

// An element with properties: text, class, on..., dataset, vars (CSS variables), value, checked; all else attributes.
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
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// The colour behind a CSS token such as "--accent", as rgb(...), for canvases and pictures that are saved.
export function tokenColour(name) {
  const probe = element("span", { hidden: true });
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

export function isDark() {
  return (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : ""))
    === "dark";
}

let lastId = 0;

export function freshId(prefix = "id") {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

function labelled(label, input, hint) {
  input.id = freshId("field");
  const below = hint ? element("span", { class: "faint small", id: `${input.id}-hint`, text: hint }) : null;
  if (below) input.setAttribute("aria-describedby", below.id);
  return element("div", { class: "field" }, element("label", { for: input.id, text: label }), input, below);
}

export function choice({ label, options, value, onchange, hint }) {
  const input = element("select", { onchange: () => onchange?.(input.value) });
  function setOptions(now, chosen) {
    input.replaceChildren(...now.map((one) => element("option", { value: one.value, text: one.label })));
    if (chosen !== undefined) input.value = chosen;
  }
  setOptions(options, value);
  const node = labelled(label, input, hint);
  return { node, input, setOptions, get value() { return input.value; }, set value(now) { input.value = now; } };
}

export function number({ label, value, min, max, step = 1, onchange, hint }) {
  const input = element("input", { type: "number", min, max, step, inputmode: "decimal", value });
  input.addEventListener("change", () => {
    const now = Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : value;
    input.value = Math.min(max ?? now, Math.max(min ?? now, now));
    onchange?.(input.valueAsNumber);
  });
  const node = labelled(label, input, hint);
  return { node, input, get value() { return input.valueAsNumber; }, set value(now) { input.value = now; } };
}

export function check({ label, value = false, onchange }) {
  const input = element("input", { type: "checkbox", checked: value, onchange: () => onchange?.(input.checked) });
  const node = element("label", { class: "check" }, input, element("span", { text: label }));
  return { node, input, get value() { return input.checked; }, set value(now) { input.checked = now; } };
}

// A row of which one is chosen, as radio buttons: arrow keys come with them.
export function segmented({ label, options, value, onchange }) {
  const name = freshId("segments");
  const inputs = options.map((one) => element("input", {
    type: "radio", name, value: one.value, checked: one.value === value, onchange: () => onchange?.(one.value),
  }));
  const pills = options.map((one, place) => element("label", {}, inputs[place], element("span", { text: one.label })));
  const node = element("fieldset", { class: "segments" }, element("legend", { text: label }),
    element("div", {}, ...pills));
  return {
    node,
    get value() { return inputs.find((one) => one.checked)?.value; },
    set value(now) { for (const one of inputs) one.checked = one.value === now; },
  };
}

export function copyButton(label, text) {
  const button = element("button", { type: "button", class: "quiet", text: label });
  button.addEventListener("click", async () => {
    const copied = await copyText(typeof text === "function" ? text() : text);
    button.textContent = copied ? "Copied" : "Copying is not allowed here";
    setTimeout(() => { button.textContent = label; }, 1600);
  });
  return button;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", { class: "hidden-text", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// The line under every result: what made it, its address, the command that does the same, and ways to save it.
export function resultFooter({ model, seed, settings = {}, address, command, saves = [] }) {
  const facts = Object.entries({ model, seed, ...settings }).filter(([,
    value]) => value !== undefined && value !== null);
  const list = element("dl", { class: "facts" },
    ...facts.map(([key, value]) => element("div", {}, element("dt", { text: key }), element("dd", { text: value }))));
  const line = command ? element("code", { class: "command", text: command }) : null;
  const buttons = element("div", { class: "bar" }, address ? copyButton("Copy address", address) : null,
    command ? copyButton("Copy command", command) : null, ...saves);
  return element("footer", { class: "result-foot" }, list, line, buttons);
}

export function download(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Buttons that save what `made` gives: a canvas as PNG, an SVG element as PNG and SVG; `svg` gives the SVG of a canvas.
export function saveButtons(name, made, { svg: vector } = {}) {
  const save = (kind) => async () => {
    const picture = kind === "svg" && vector ? vector() : made();
    if (!picture) return;
    const file = `${name}.${kind}`;
    if (kind === "svg") download(file, new Blob([svgText(picture)], { type: "image/svg+xml" }));
    else download(file, await pngOf(picture));
  };
  const button = (kind) => element("button", {
    type: "button", class: "quiet", text: `Save ${kind.toUpperCase()}`, onclick: save(kind),
  });
  const both = vector || made()?.namespaceURI === SVG;
  return element("span", { class: "saves" }, button("png"), both ? button("svg") : null);
}

export function svgText(node) {
  const copy = node.cloneNode(true);
  const { width, height } = node.viewBox.baseVal;
  for (const [key, value] of Object.entries({ xmlns: SVG, width, height })) copy.setAttribute(key, value);
  copy.removeAttribute("class");
  copy.removeAttribute("tabindex");
  return new XMLSerializer().serializeToString(copy);
}

async function pngOf(picture) {
  let canvas = picture;
  if (picture.namespaceURI === SVG) {
    const { width, height } = picture.viewBox.baseVal;
    const address = URL.createObjectURL(new Blob([svgText(picture)], { type: "image/svg+xml" }));
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
  return {
    node,
    fail: (error) => show("error", error.message ?? String(error)),
    say: (text) => show("note", text),
    busy: (text) => show("busy", text),
    clear: () => show("", ""),
  };
}
