// Pixels: paint by class, complete what a mask opens, enlarge a drawing, and look at what a pixel looked at.
import { bytesOf, numbersOf } from "./api.js";
import { blankPicture, pictureCanvas, pictureSvg, pixelsOf } from "./easel.js";
import { createGaze } from "./gaze.js";
import { createMask } from "./mask.js";
import { createPalette } from "./palette.js";
import { drawSettings, factsOf, fileInput, optionsOf } from "./settings.js";
import { action, choice, createTurn, element, folded, inBar, notice, number, panelHead } from "./widgets.js";
import { resultFooter, saveButtons, segmented } from "./widgets.js";

const PIXELS_TASKS = {
  paint: { verb: "Paint", noun: "picture", count: 8, label: "Picture of" },
  complete: { verb: "Complete", noun: "completion", count: 4, label: "Picture of", easel: createMask },
  upscale: { verb: "Enlarge", noun: "enlargement", count: 4, label: "It shows", easel: createPalette },
};
const PIXELS_FRAMES = 60; // of a recorded answer that is shown as if it were made now

export function mountPixels(panel, { api, facts, route, announce }) {
  const forms = {}; // of each task: controls, what is given, what was made
  const gaze = createGaze({ api, announce });
  const [status, body] = [notice(), element("div")];
  const task = segmented({ label: "What to do", value: "paint", onchange: open,
    options: Object.fromEntries(Object.entries(PIXELS_TASKS).map(([value, { verb }]) => [value, verb])) });
  const opener = fileInput({ label: "Open a picture", accept: "image/*", area: panel, onfile: read });
  const modelOf = (name) => facts.models.find((one) => one.name === name);

  function formOf(name) {
    const { verb, noun, count, label, easel } = PIXELS_TASKS[name];
    const names = facts.models.filter((one) => one.task === name).map((one) => one.name);
    const status = notice();
    const form = { name, noun, status, turn: createTurn(status.fail, () => status.say("Stopped.")), made: [], chosen: 0,
      opening: createTurn(status.fail), // an example or a file
      drawing: drawSettings(), can: !easel, // whether there is something to ask about
      paused: null, // {promise, resolve} while nothing is shown of what comes
      model: choice({ label: "Model", options: optionsOf(names), onchange: () => { modelled(form); begin(form); } }),
      label: choice({ label }),
      count: number({ label: "How many", value: count, min: 1, max: name === "paint" ? facts.limits.count : 8 }),
      go: action(verb, () => start(form, bodyOf(form)), { class: "primary" }),
      pause: action("Pause", () => pause(form), { hidden: true }),
      stop: action("Stop", () => form.turn.stop(), { hidden: true }),
      one: element("p", { class: "one" }), output: element("div", { class: "card", hidden: true }) };
    form.easel = easel?.({ announce, onchange: (can) => { form.can = can; enabled(form); } });
    const examples = facts.examples[name] ?? [];
    form.node = element("div", {}, element("div", { class: "card" }, inBar(form.label.node, form.count.node, form.go,
      form.pause, form.stop, ...(examples.length > 1 ? examples : []).map((one, place) =>
        action(`Example ${place + 1}`, () => fill(form, one), { class: "quiet" }))),
    folded("More settings", inBar(form.model.node, ...form.drawing.nodes)), status.node),
    form.easel?.node, form.output);
    return form;
  }

  function modelled(form) {
    form.label.setOptions(optionsOf(modelOf(form.model.value)?.labels ?? [], "anything"), "");
    form.drawing.fill({});
  }

  // A picture to begin with, in the size that the model reads; until it or another one is there, there is no easel.
  function begin(form) {
    if (!form.easel) return;
    form.easel.node.hidden = true;
    form.can = false;
    enabled(form);
    form.opening.run(async (signal) =>
      give(form, pixelsOf((await api.post("example", { model: form.model.value }, { signal })).picture)));
  }

  function give(form, picture, hidden = null) {
    form.opening.stop();
    form.easel.node.hidden = false;
    form.easel.set(picture, hidden);
  }

  function enabled({ go, pause: hold, stop, can, turn: { busy } }) {
    go.disabled = !can || busy;
    hold.hidden = stop.hidden = !busy;
  }

  // A recorded answer is to an example with its seed.
  function fill(form, given, more = api.recorded ? {} : { seed: null }) {
    if (modelOf(given.model)) form.model.value = given.model;
    modelled(form);
    form.label.value = given.label ?? "";
    form.count.value = given.count ?? form.count.value;
    form.drawing.fill({ ...given, ...more });
    if (given.picture && form.easel) give(form, pixelsOf(given.picture), given.hidden && bytesOf(given.hidden));
  }

  function bodyOf(form) {
    return { model: form.model.value, label: form.label.value || null, count: form.count.value, ...form.drawing.read(),
      ...form.easel?.read() };
  }

  function pause(form) {
    form.paused?.resolve();
    form.paused = form.paused ? null : Promise.withResolvers();
    form.pause.textContent = form.paused ? "Go on" : "Pause";
  }

  async function held(form, signal) {
    await Promise.race([form.paused?.promise, new Promise((resolve) => { signal.onabort = resolve; })]);
    signal.throwIfAborted();
  }

  // Pictures as they come: what is not made yet is a checkerboard.
  async function start(form, request) {
    if (form.paused) pause(form);
    form.status.busy("The model draws, one position after another …");
    const run = form.turn.run(async (signal) => {
      let going = null;
      for await (const { event, data } of api.stream(form.name, request, { signal })) {
        await held(form, signal);
        if (event === "start") going = begun(form, data);
        else if (event === "pixels") going(data.first, bytesOf(data.values));
        else if (event === "done") {
          if (api.recorded) await replay(form, data, going, signal);
          finish(form, data);
        }
      }
      form.status.clear();
      announce(`${form.made.length} ${form.noun}${form.made.length > 1 ? "s" : ""} ready`);
    });
    enabled(form);
    await run;
    enabled(form);
  }

  // Canvases for the pictures of an answer; gives what draws tokens of all pictures from the `first` one on.
  function begun(form, { count, height, width, channels, order }) {
    const places = numbersOf(order);
    const parts = Array.from({ length: count }, () => {
      const [picture, veil] = [blankPicture(height, width, channels), new Uint8Array(height * width).fill(1)];
      return { picture, veil, canvas: pictureCanvas(picture, { veil }) };
    });
    gaze.clear();
    [form.output.hidden, form.answer] = [false, null];
    form.output.replaceChildren(pictures(form, parts.map(({ canvas }) => canvas)));
    return (first, values) => parts.forEach(({ picture, veil, canvas }, row) => {
      const tokens = values.length / count;
      for (let step = 0; step < tokens; step += 1) {
        const flat = places[first + step];
        if (flat >= picture.bytes.length) continue; // padding
        picture.bytes[flat] = values[row * tokens + step];
        veil[Math.floor(flat / channels)] = 0;
      }
      pictureCanvas(picture, { veil, canvas });
    });
  }

  function pictures(form, canvases, finished = false) {
    const more = finished ? ": look at what its pixels looked at" : "";
    form.buttons = canvases.map((canvas, place) => action(null, () => choose(form, place), { class: "pixels-one",
      disabled: !finished, "aria-label": `${form.noun} ${place + 1}${more}` }, canvas));
    return element("div", { class: "pictures", role: "group", "aria-label": "Results" }, ...form.buttons);
  }

  // A recorded answer comes at once: it is shown in the order in which it was made.
  async function replay(form, { order, pictures }, going, signal) {
    if (!matchMedia("(prefers-reduced-motion: no-preference)").matches) return;
    const [places, all] = [numbersOf(order), pictures.map(({ data }) => bytesOf(data))];
    const step = Math.ceil(places.length / PIXELS_FRAMES);
    for (let first = 0; first < places.length; first += step) {
      going(first, all.flatMap((bytes) => [...places.subarray(first, first + step)].map((at) => bytes[at] ?? 0)));
      await new Promise((resolve) => { setTimeout(resolve, 25); });
      await held(form, signal);
    }
  }

  function finish(form, answer) {
    const { settings, files } = answer;
    Object.assign(form, { answer, made: answer.pictures.map(pixelsOf) });
    const canvases = form.made.map((picture) => pictureCanvas(picture));
    form.output.replaceChildren(pictures(form, canvases, true), form.one, resultFooter({ ...answer,
      settings: factsOf(settings), address: () => route.address(form.name, settings),
      saves: files.map((name) => given(name, settings)) }));
    route.set(form.name, settings, { push: true });
    choose(form, 0);
  }

  // A file that the command names: the picture, or the mask in white.
  function given(name, settings) {
    const picture = pixelsOf(settings.picture);
    const mask = () => ({ ...picture, channels: 1, bytes: bytesOf(settings.hidden).map((one) => 255 * one) });
    const canvas = () => pictureCanvas(name.startsWith("mask") ? mask() : picture);
    return element("span", { class: "saves" }, `${name}: `, saveButtons(name.split(".")[0], canvas, ["png"]));
  }

  function choose(form, place) {
    const picture = form.made[place];
    const { model, settings: { label = null, hidden = null } } = form.answer;
    form.chosen = place;
    form.buttons.forEach((button, one) => button.setAttribute("aria-pressed", String(one === place)));
    form.one.replaceChildren(element("span", { text: `Picture ${place + 1}:` }),
      saveButtons(`${form.name}-${place + 1}`, (kind) => (kind === "svg" ? pictureSvg : pictureCanvas)(picture)));
    const reads = form.name === "paint" && forms.complete ? modelOf(forms.complete.model.value).picture : {};
    if (["height", "width", "channels"].every((side) => reads[side] === picture[side])) {
      form.one.append(action("Complete it", () => onward(picture, label), { class: "quiet" }));
    }
    gaze.show({ picture, model, label, hidden, facts: modelOf(model) });
  }

  function onward(picture, label) {
    open("complete");
    forms.complete.label.value = label ?? "";
    give(forms.complete, picture);
    forms.complete.easel.focus();
  }

  function read(file) {
    const name = task.value === "paint" ? "complete" : task.value;
    const form = forms[name];
    if (!form) return;
    if (name !== task.value) open(name);
    form.status.busy(`Reading ${file.name} …`);
    form.opening.run(async () => {
      const { picture, words } = await api.upload(`picture?model=${encodeURIComponent(form.model.value)}`, file);
      give(form, pixelsOf(picture));
      form.status.say([`${file.name} is open.`, ...words].join(" "));
    });
  }

  function stop() { for (const { turn } of Object.values(forms)) turn.stop(); }

  function open(name) {
    const form = forms[task.value = name];
    stop();
    gaze.clear();
    if (form.easel) form.go.after(opener);
    body.replaceChildren(form.node);
    if (!form.easel?.node.hidden) form.easel?.render();
    if (form.answer) choose(form, form.chosen);
  }

  panel.append(...panelHead("Pixels: pictures made one position after another", "An Image Transformer paints " +
    "clothes, completes what you hide, and enlarges what you draw. Then point at any pixel to see what it looked at."),
  task.node, status.node, body, gaze.node);

  for (const name of Object.keys(PIXELS_TASKS).filter((one) => facts.models.some(({ task: its }) => its === one))) {
    forms[name] = formOf(name);
    fill(forms[name], facts.examples[name]?.[0] ?? {});
    if (!facts.examples[name]?.length) begin(forms[name]);
  }
  for (const input of task.node.querySelectorAll("input")) input.disabled = !(input.value in forms);

  return {
    show(request) {
      const name = request?.endpoint ?? task.value;
      status.clear();
      if (!(name in forms)) return status.say("No model for this is here: start the studio with --model.");
      open(name);
      if (request) fill(forms[name], request.body, {});
      return request && start(forms[name], request.body);
    },
    hide() { stop(); gaze.stop(); },
  };
}
