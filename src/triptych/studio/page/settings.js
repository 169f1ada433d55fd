// What pixels and notes share: how the model draws, a strip of results side by side, and files that are dropped.
import { action, element, number } from "./widgets.js";

// Temperature, top-p and seed: nodes for a form, what they say as fields of a request, and fill() from one.
export function drawSettings() {
  const temperature = number({ label: "Temperature", value: "", min: 0, max: 10, step: 0.05, hint: "empty: as usual" });
  const top = number({ label: "Top-p", value: "", min: 0.05, max: 1, step: 0.05, hint: "empty: as usual" });
  const seed = number({ label: "Seed", value: "", min: 0, max: 2 ** 53 - 1, hint: "empty: a new one" });
  return {
    nodes: [temperature.node, top.node, seed.node],
    read: (take = 0) => ({ temperature: temperature.value, top_p: top.value,
      seed: seed.value === null ? null : seed.value + take }),
    fill(body) {
      [temperature.value, top.value, seed.value] = [body.temperature ?? "", body.top_p ?? "", body.seed ?? ""];
    },
  };
}

// A button that opens a file, and the same by dropping one on `area`.
export function fileInput({ label, accept, area, onfile }) {
  const input = element("input", { type: "file", accept, class: "hidden-text", tabindex: -1, "aria-label": label });
  const given = (event, [file]) => {
    area.toggleAttribute("data-dropping", false);
    if (!file) return;
    event.preventDefault();
    onfile(file);
    input.value = "";
  };
  input.onchange = (event) => given(event, input.files);
  area.ondrop = (event) => given(event, event.dataTransfer.files);
  area.ondragleave = () => area.toggleAttribute("data-dropping", false);
  area.ondragover = (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    area.toggleAttribute("data-dropping", true);
  };
  return element("span", {}, input, action(label, () => input.click()));
}

// The settings of an answer that a reader wants to see under it.
export function factsOf({ label: kind, temperature, top_p: top, min_p: least, count, steps: sixteenths, seconds }) {
  return { kind, temperature, "top-p": top === 1 ? null : top, "min-p": least || null, count, sixteenths, seconds };
}

export function optionsOf(names, none) {
  const all = names.map((name) => ({ value: name, label: name }));
  return none === undefined ? all : [{ value: "", label: none }, ...all];
}
