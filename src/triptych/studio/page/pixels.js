// Pixels: paint by class, complete what a mask opens, enlarge a drawing, and look at what a pixel looked at.
import { bytesOf, isAbort } from "./api.js";
import { blankPicture, createBoard, packed, pictureCanvas, pictureSvg, pixelsOf, writtenPicture } from "./easel.js";
import { createGaze } from "./gaze.js";
import { drawSettings, factsOf, fileInput, optionsOf } from "./settings.js";
import { choice, element, notice, number, resultFooter, saveButtons, segmented, svg } from "./widgets.js";

const PIXELS_PALETTE = ("#000000 #6b6f76 #c9ccd1 #ffffff #c62f2f #ef8a2c #ffd23f #f7e7b5 #3f9b4b #a6d96a #1f6fb5 #8fd3f4 " +
  "#5a3fa0 #d0579b #f9c0c0 #7a4a24").split(" ");
const PIXELS_NAMES = ("black,grey,light grey,white,red,orange,yellow,cream,green,light green,blue,light blue,violet,pink," +
  "rose,brown").split(",");
const PIXELS_TASKS = { paint: ["Paint", "picture"], complete: ["Complete", "completion"], upscale: ["Enlarge", "enlargement"] };

export function mountPixels(panel, { api, route, announce }) {
  let facts = null;
  let running = null;
  let paused = null; // {resume} while nothing is shown of what comes
  const forms = {}; // of each task
  const gaze = createGaze({ api, announce });
  const task = segmented({ label: "What to do", value: "paint", onchange: open,
    options: Object.entries(PIXELS_TASKS).map(([value, [label]]) => ({ value, label })) });
  const body = element("div");
  const opener = fileInput({ label: "Open a picture", accept: "image/*", area: panel, onfile: read });

  // -- what all tasks share -------------------------------------------------------------------------------------------

  function formOf(name) {
    const [verb, noun] = PIXELS_TASKS[name];
    const form = { name, noun, status: notice(), touched: false, chosen: null,
      drawing: drawSettings(),
      model: choice({ label: "Model", options: optionsOf(facts.models.filter((one) => one.task === name).map((one) => one.name)), onchange: () => modelled(form) }),
      label: choice({ label: name === "upscale" ? "It shows" : "Picture of", options: [], onchange: () => { if (name !== "paint") form.touched = true; } }),
      count: number({ label: "How many", value: { paint: 8, complete: 4, upscale: 4 }[name], min: 1, max: name === "paint" ? facts.limits.count : 8 }),
      results: element("div", { class: "pictures", role: "group", "aria-label": "Results" }), one: element("p", { class: "one" }), footer: element("div") };
    form.go = element("button", { type: "button", class: "primary", text: verb, onclick: () => ask(form) });
    form.pause = element("button", { type: "button", text: "Pause", hidden: true, onclick: () => pause(form) });
    form.stop = element("button", { type: "button", text: "Stop", hidden: true, onclick: () => running?.abort() });
    form.controls = element("div", { class: "card" },
      element("div", { class: "bar" }, form.label.node, form.count.node, form.go, form.pause, form.stop, name === "paint" ? null : opener),
      element("details", {}, element("summary", { text: "More settings" }), element("div", { class: "bar" }, form.model.node, ...form.drawing.nodes)), form.status.node);
    form.output = element("div", { class: "card output", hidden: true }, form.results, form.one, form.footer);
    form.node = element("div", {}, form.controls, form.output);
    if (name === "complete") masked(form);
    if (name === "upscale") drawn(form);
    return form;
  }

  const modelOf = (name) => facts.models.find((one) => one.name === name);

  function modelled(form) {
    form.label.setOptions(optionsOf(modelOf(form.model.value)?.labels ?? [], "anything"), "");
    if (form.name === "upscale") form.drawing.fill({ temperature: "" });
  }

  function fill(form, given) {
    if (given.model && modelOf(given.model)) form.model.value = given.model;
    modelled(form);
    form.label.value = given.label ?? "";
    form.count.value = given.count ?? form.count.value;
    form.drawing.fill({ ...given, temperature: given.temperature ?? (form.name === "upscale" ? "" : 1) });
    if (given.picture) form.picture = pixelsOf(given.picture);
    if (given.hidden) form.mask = bytesOf(given.hidden);
    form.touched = false;
    form.render?.();
  }

  function bodyOf(form) {
    const settings = form.drawing.read();
    if (!Number.isFinite(settings.temperature)) settings.temperature = null;
    return { model: form.model.value, label: form.label.value || null, count: form.count.value, ...settings,
      ...(form.picture && { picture: writtenPicture(form.picture) }), ...(form.mask && { hidden: packed(form.mask) }) };
  }

  function ask(form) {
    const examples = facts.examples[form.name] ?? [];
    const same = api.recorded && !form.touched && (form.name === "paint" ? examples.find((one) => (one.label ?? "") === form.label.value) : examples[form.example ?? 0]);
    start(form, same || bodyOf(form));
  }

  function pause(form) {
    if (paused) {
      paused.resume();
      paused = null;
    } else {
      let resume = null;
      const going = new Promise((resolve) => { resume = resolve; });
      paused = { resume, going };
    }
    form.pause.textContent = paused ? "Go on" : "Pause";
  }

  async function start(form, request) {
    running?.abort();
    const own = running = new AbortController();
    own.signal.addEventListener("abort", () => paused?.resume());
    paused = null;
    gaze.clear();
    form.status.busy("The model draws, one position after another …");
    form.pause.textContent = "Pause";
    form.pause.hidden = form.stop.hidden = false;
    form.go.disabled = true;
    form.output.hidden = false;
    try {
      await follow(form, request, own.signal);
      form.status.say("");
      announce(`${form.made.length} ${form.noun}${form.made.length > 1 ? "s" : ""} ready`);
    } catch (error) {
      if (isAbort(error)) form.status.say("Stopped.");
      else form.status.fail(error);
      if (!form.results.children.length) form.output.hidden = true;
    }
    if (running !== own) return;
    running = paused = null;
    form.pause.hidden = form.stop.hidden = true;
    form.go.disabled = false;
  }

  // Pictures as they come: what is not made yet is a checkerboard.
  async function follow(form, request, signal) {
    let going = null;
    for await (const { event, data } of slowly(api.stream(form.name, request, { signal }))) {
      if (paused) await paused.going;
      signal.throwIfAborted();
      if (event === "start") {
        const { count, height, width, channels } = data;
        going = { order: new Uint32Array(bytesOf(data.order).buffer), channels, pictures: [...Array(count).keys()].map(() => ({
          picture: blankPicture(height, width, channels), veil: new Uint8Array(height * width).fill(1) })) };
        form.one.replaceChildren();
        form.footer.replaceChildren();
        form.results.replaceChildren(...going.pictures.map(({ picture, veil }, place) => {
          const canvas = pictureCanvas(picture, { veil });
          return element("figure", {}, element("button", { type: "button", class: "pixels-one", disabled: true, "aria-label": `${form.noun} ${place + 1}` }, canvas));
        }));
      } else if (event === "pixels") {
        const values = bytesOf(data.values);
        const count = values.length / going.pictures.length;
        going.pictures.forEach(({ picture, veil }, row) => {
          for (let step = 0; step < count; step += 1) {
            const flat = going.order[data.first + step];
            if (flat >= picture.bytes.length) continue;
            picture.bytes[flat] = values[row * count + step];
            veil[Math.floor(flat / going.channels)] = 0;
          }
          pictureCanvas(picture, { veil, canvas: form.results.children[row].querySelector("canvas") });
        });
      } else if (event === "done") finish(form, data);
    }
  }

  // Recorded answers come at once: they are shown in the order in which they were made.
  async function* slowly(events) {
    for await (const one of events) {
      if (api.recorded && one.event === "done" && matchMedia("(prefers-reduced-motion: no-preference)").matches) {
        const order = new Uint32Array(bytesOf(one.data.order).buffer);
        const all = one.data.pictures.map((picture) => bytesOf(picture.data));
        const step = Math.ceil(order.length / 60);
        for (let first = 0; first < order.length; first += step) {
          const flat = order.subarray(first, first + step);
          yield { event: "pixels", data: { first, values: packed(all.flatMap((bytes) => [...flat].map((at) => bytes[at] ?? 0))) } };
          await new Promise((resolve) => { setTimeout(resolve, 25); });
        }
      }
      yield one;
    }
  }

  function finish(form, answer) {
    form.made = answer.pictures.map(pixelsOf);
    form.answer = answer;
    form.results.replaceChildren(...form.made.map((picture, place) => {
      const button = element("button", { type: "button", class: "pixels-one", "aria-pressed": "false",
        "aria-label": `${form.noun} ${place + 1}: look at what its pixels looked at`, onclick: () => choose(form, place) }, pictureCanvas(picture));
      return element("figure", {}, button);
    }));
    const { settings } = answer;
    form.footer.replaceChildren(resultFooter({ model: answer.model, seed: answer.seed, settings: factsOf(settings), command: answer.command,
      address: route.address(form.name, settings), saves: answer.files.map((name) => given(name, settings)) }));
    route.set(form.name, settings, { push: true });
    choose(form, 0);
  }

  // A file that the command names: the picture, or the mask in white.
  function given(name, settings) {
    const picture = pixelsOf(settings.picture);
    const shown = name.startsWith("mask") ? { ...picture, channels: 1, bytes: bytesOf(settings.hidden).map((one) => 255 * one) } : picture;
    return element("span", { class: "saves" }, `${name.replace(/\..*/, "")}: `, saveButtons(name.replace(/\..*/, ""), () => pictureCanvas(shown)));
  }

  function choose(form, place) {
    form.chosen = place;
    [...form.results.querySelectorAll(".pixels-one")].forEach((button, one) => button.setAttribute("aria-pressed", String(one === place)));
    const { model, settings, hidden = null } = form.answer;
    const picture = form.made[place];
    const onwards = form.name === "paint" && forms.complete && element("button", { type: "button", class: "quiet", text: "Complete it", onclick: () => onward(picture) });
    form.one.replaceChildren(element("span", { text: `Picture ${place + 1}:` }), saveButtons(`${form.name}-${place + 1}`, () => pictureCanvas(picture),
      { svg: () => pictureSvg(picture) }), onwards || "");
    gaze.show({ picture, model, label: settings.label ?? null, hidden, facts: modelOf(model) });
  }

  function onward(picture) {
    task.value = "complete";
    open("complete");
    Object.assign(forms.complete, { picture, touched: true });
    forms.complete.render();
    forms.complete.board.node.focus();
  }

  // -- completing: a picture and a mask ---------------------------------------------------------------------------------

  function masked(form) {
    const tool = segmented({ label: "Mask", value: "brush", options: [{ value: "brush", label: "Brush" }, { value: "box", label: "Rectangle" }, { value: "rubber", label: "Rubber" }] });
    const width = number({ label: "Brush", value: 4, min: 1, max: 16 });
    let before = null; // the mask where a rectangle began
    const inside = (row, column) => row >= 0 && column >= 0 && row < form.picture.height && column < form.picture.width;
    form.board = createBoard({ label: "Picture to complete", announce, name: (row, column) => `row ${row + 1}, column ${column + 1}, ` +
      `${form.mask[row * form.picture.width + column] ? "hidden" : "kept"}`, hint: "Draw over what the model shall find: arrow keys walk, Space draws, Shift with arrow keys draws on.",
    onstroke(cells, { begin, from, at }) {
      if (begin) before = form.mask.slice();
      if (tool.value === "box") {
        form.mask.set(before);
        const [[top, bottom], [left, right]] = [0, 1].map((axis) => [Math.min(from[axis], at[axis]), Math.max(from[axis], at[axis])]);
        for (let row = top; row <= bottom; row += 1) form.mask.fill(1, row * form.picture.width + left, row * form.picture.width + right + 1);
      } else {
        const reach = width.value;
        for (const [row, column] of cells) {
          for (let place = 0; place < reach * reach; place += 1) {
            const [y, x] = [row + Math.floor(place / reach) - Math.floor((reach - 1) / 2), column + place % reach - Math.floor((reach - 1) / 2)];
            if (inside(y, x)) form.mask[y * form.picture.width + x] = tool.value === "rubber" ? 0 : 1;
          }
        }
      }
      changed();
    } });
    const part = (text, hides) => element("button", { type: "button", class: "quiet", text, onclick: () => {
      form.mask = form.mask.map((_, at) => (hides(Math.floor(at / form.picture.width) / form.picture.height, at % form.picture.width / form.picture.width) ? 1 : 0));
      changed();
    } });
    form.mask = new Uint8Array(0);
    form.picture = blankPicture(28, 28, 1, 0);

    function changed() {
      form.touched = true;
      form.render();
    }
    form.render = () => {
      const size = form.picture.height * form.picture.width;
      if (form.mask.length !== size) form.mask = Uint8Array.from({ length: size }, (_, at) => (at >= size / 2 ? 1 : 0));
      form.board.show(form.picture, { veil: form.mask });
      form.go.disabled = !form.mask.includes(1);
    };
    form.output.before(element("div", { class: "card easel" }, form.board.node, element("div", {}, element("div", { class: "bar" }, tool.node, width.node),
      element("div", { class: "bar", role: "group", "aria-label": "Hide a part" }, part("Lower half", (y) => y >= 0.5), part("Right half", (_, x) => x >= 0.5),
        part("Middle", (y, x) => y >= 0.25 && y < 0.75 && x >= 0.25 && x < 0.75), part("Everything", () => true), part("Nothing", () => false)),
      element("p", { class: "faint small", text: "The checkerboard is hidden: the model fills it in, and leaves every other pixel as it is. Drop a picture of your own here." }))));
  }

  // -- enlarging: a drawing and a palette ---------------------------------------------------------------------------------

  function drawn(form) {
    let colour = PIXELS_PALETTE[4];
    let fills = false;
    const past = [];
    const bytesFor = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    const nameOf = (row, column) => {
      const found = [...form.picture.bytes.subarray(3 * (row * form.picture.width + column))].slice(0, 3);
      const near = PIXELS_PALETTE.map((hex) => bytesFor(hex).reduce((sum, one, at) => sum + (one - found[at]) ** 2, 0));
      return PIXELS_NAMES[near.indexOf(Math.min(...near))];
    };
    form.picture = blankPicture(8, 8, 3);
    form.board = createBoard({ label: "Small picture", announce, name: (row, column) => `row ${row + 1}, column ${column + 1}, ${nameOf(row, column)}`,
      hint: "Arrow keys walk, Space colours a pixel, Shift with arrow keys draws on.",
      onstroke(cells, { begin }) {
        if (begin) remember();
        for (const [row, column] of cells) {
          if (fills && begin) flood(row, column);
          else if (!fills && form.picture.bytes[3 * (row * form.picture.width + column)] !== undefined) form.picture.bytes.set(bytesFor(colour), 3 * (row * form.picture.width + column));
        }
        changed();
      } });

    function remember() {
      past.push(form.picture);
      form.picture = { ...form.picture, bytes: form.picture.bytes.slice() };
    }
    function flood(row, column) {
      const { height, width, bytes } = form.picture;
      const at = (y, x) => bytes.subarray(3 * (y * width + x), 3 * (y * width + x) + 3).join();
      const old = at(row, column);
      const todo = [[row, column]];
      if (old === bytesFor(colour).join()) return;
      while (todo.length) {
        const [y, x] = todo.pop();
        if (y < 0 || x < 0 || y >= height || x >= width || at(y, x) !== old) continue;
        bytes.set(bytesFor(colour), 3 * (y * width + x));
        todo.push([y + 1, x], [y - 1, x], [y, x + 1], [y, x - 1]);
      }
    }
    function changed() {
      form.touched = true;
      form.render();
    }
    form.render = () => {
      const { height, width } = form.picture;
      const lines = [...Array(width - 1).keys()].map((one) => `M${one + 1} 0V${height}`).join("") + [...Array(height - 1).keys()].map((one) => `M0 ${one + 1}H${width}`).join("");
      form.board.show(form.picture, { drawn: [svg("path", { class: "board-lines", d: lines, "vector-effect": "non-scaling-stroke" })] });
      undo.disabled = !past.length;
    };
    const undo = element("button", { type: "button", text: "Undo", onclick: () => { form.picture = past.pop(); changed(); } });
    const clear = element("button", { type: "button", text: "Clear", onclick: () => { remember(); form.picture.bytes.fill(255); changed(); } });
    const swatches = PIXELS_PALETTE.map((hex, place) => element("label", { class: "swatch", vars: { "--colour": hex } },
      element("input", { type: "radio", name: "pixels-colour", checked: place === 4, "aria-label": PIXELS_NAMES[place], onchange: () => { colour = hex; } })));
    const own = element("input", { type: "color", value: "#e8862a", "aria-label": "A colour of your own", oninput: () => { colour = own.value; } });
    const mode = segmented({ label: "Draw with", value: "pencil", options: [{ value: "pencil", label: "Pencil" }, { value: "fill", label: "Fill" }], onchange: (now) => { fills = now === "fill"; } });
    const examples = (facts.examples.upscale ?? []).map((one, place) => element("button", { type: "button", class: "quiet", text: `Example ${place + 1}`,
      onclick: () => { past.push(form.picture); form.example = place; fill(form, one); } }));
    form.output.before(element("div", { class: "card easel" }, form.board.node, element("div", {},
      element("div", { class: "swatches", role: "radiogroup", "aria-label": "Palette" }, ...swatches, own),
      element("div", { class: "bar" }, mode.node, undo, clear), element("div", { class: "bar" }, ...examples),
      element("p", { class: "faint small", text: "Draw an 8 x 8 picture, or drop one here: the model invents the details of a picture 16 times as large that becomes yours again when it is shrunk." }))));
  }

  // -- the panel --------------------------------------------------------------------------------------------------------------

  async function read(file) {
    const form = forms[task.value === "paint" ? "complete" : task.value];
    if (!form) return;
    if (task.value === "paint") { task.value = "complete"; open("complete"); }
    form.status.busy(`Reading ${file.name} …`);
    try {
      const { picture, words } = await api.upload(`picture?model=${encodeURIComponent(form.model.value)}`, file);
      Object.assign(form, { picture: pixelsOf(picture), touched: true });
      form.render();
      form.status.say([`${file.name} is open.`, ...words].join(" "));
    } catch (error) {
      form.status.fail(error);
    }
  }

  function open(name) {
    running?.abort();
    gaze.clear();
    const form = forms[name];
    if (name !== "paint") form.go.after(opener);
    body.replaceChildren(form.node);
    form.render?.();
    if (form.answer) choose(form, form.chosen ?? 0);
  }

  async function prepare() {
    facts = await api.get("models");
    for (const name of Object.keys(PIXELS_TASKS)) {
      if (!facts.models.some((one) => one.task === name)) continue;
      forms[name] = formOf(name);
      fill(forms[name], { model: forms[name].model.value, ...facts.examples[name]?.[0] });
    }
    for (const input of task.node.querySelectorAll("input")) input.disabled = !(input.value in forms);
  }

  const status = notice();
  panel.append(element("h2", { text: "Pixels: pictures made one position after another" }),
    element("p", { class: "lead", text: "An Image Transformer paints clothes, completes what you hide, and enlarges what you draw. Then point at any pixel to see what it looked at." }),
    task.node, status.node, body, gaze.node);
  document.addEventListener("themechange", () => { for (const form of Object.values(forms)) form.render?.(); });

  return {
    async show(request) {
      try {
        if (!facts) await prepare();
      } catch (error) {
        return status.fail(error);
      }
      const name = request?.endpoint ?? task.value;
      if (!(name in forms)) return status.say("No model for this task is here: start the studio with --model.");
      task.value = name;
      open(name);
      if (!request) return undefined;
      fill(forms[name], request.body);
      return start(forms[name], request.body);
    },
    hide() {
      running?.abort();
      gaze.stop();
    },
  };
}
