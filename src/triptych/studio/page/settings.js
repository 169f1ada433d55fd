// What pixels and notes share: how the model draws, a strip of results side by side, and files that are dropped.
import { element, number } from "./widgets.js";

// Temperature, top-p and seed: nodes for a form, what they say as fields of a request, and fill() from one.
export function drawSettings() {
  const temperature = number({ label: "Temperature", value: 1, min: 0, max: 10, step: 0.05, hint: "low: safe, high: bold" });
  const top = number({ label: "Top-p", value: 1, min: 0.05, max: 1, step: 0.05, hint: "1: every choice is allowed" });
  const seed = number({ label: "Seed", value: "", min: 0, max: 2 ** 53 - 1, hint: "empty: a new one each time" });
  return {
    nodes: [temperature.node, top.node, seed.node],
    read: (take = 0) => ({
      temperature: temperature.value, top_p: top.value, seed: Number.isFinite(seed.value) ? seed.value + take : null,
    }),
    fill(body) {
      temperature.value = body.temperature ?? 1;
      top.value = body.top_p ?? 1;
      seed.value = body.seed ?? "";
    },
  };
}

// A button that opens a file, and the same by dropping one on `area`.
export function fileInput({ label, accept, area, onfile }) {
  const input = element("input", { type: "file", accept, class: "hidden-text", tabindex: -1, "aria-label": label });
  const button = element("button", { type: "button", text: label, onclick: () => input.click() });
  input.addEventListener("change", () => {
    if (input.files[0]) onfile(input.files[0]);
    input.value = "";
  });
  area.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    area.dataset.dropping = "yes";
  });
  area.addEventListener("dragleave", () => { delete area.dataset.dropping; });
  area.addEventListener("drop", (event) => {
    delete area.dataset.dropping;
    const file = event.dataTransfer.files[0];
    if (!file) return;
    event.preventDefault();
    onfile(file);
  });
  return element("span", { class: "file" }, input, button);
}

// The settings of an answer that a reader wants to see under it, in plain words.
export function factsOf(settings) {
  const names = { label: "kind", temperature: "temperature", top_p: "top-p", count: "count", steps: "sixteenths", seconds: "seconds" };
  const found = Object.entries(names).map(([key, name]) => [name, settings[key]]);
  return Object.fromEntries(found.filter(([name, value]) => value !== null && value !== undefined && !(name === "top-p" && value === 1)));
}

export function optionsOf(names, none) {
  const all = names.map((name) => ({ value: name, label: name }));
  return none === undefined ? all : [{ value: "", label: none }, ...all];
}
