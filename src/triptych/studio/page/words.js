// Words: type and watch the translation come, force what it weighed, and see all that it looked at.
import { isAbort } from "./api.js";
import { decodedMap, gridOfMaps, largeMap, mapLegend, percent } from "./maps.js";
import { createPositions } from "./positions.js";
import { check, choice, element, notice, number, resultFooter, segmented } from "./widgets.js";

const WORD_MARK = "\u2581"; // SentencePiece's mark of a word's beginning
const WORD_END = "</s>";
const WORD_PAUSE = 450; // milliseconds after the last key before a translation begins
const LANGUAGES = { en: "English", de: "German", fr: "French", cs: "Czech", es: "Spanish", it: "Italian", nl: "Dutch" };
const KINDS = {
  cross: { label: "Encoder-decoder", axes: ["the word being written", "source words it reads"],
    text: "While it writes a piece of the translation (a row), how much it reads each piece of the source (a " +
      "column)." },
  encoder: { label: "Encoder self-attention", axes: ["source", "source, both ways"],
    text: "How much each piece of the source (a row) reads every other piece of it (a column), before and after it." },
  decoder: { label: "Masked decoder self-attention", axes: ["the word being written", "what is written so far"],
    text: "While it writes a piece (a row), how much it reads what it has written before. The hatched triangle is " +
      "the look-ahead mask: what comes later is hidden, in training too, where it is there to be seen." },
};

// Pieces as words: {text, from, to, glued}, with the places of their pieces; marks and the end are words of their own.
export function wordsOf(pieces) {
  const found = [];
  for (const [place, piece] of pieces.entries()) {
    const spaced = piece.startsWith(WORD_MARK) || piece === WORD_END;
    if (spaced || !found.length || /^\p{P}+$/u.test(piece)) found.push({ from: place, to: place + 1, glued: !spaced });
    else found.at(-1).to = place + 1;
  }
  return found.map((word) => ({ ...word, text: pieceText(pieces.slice(word.from, word.to)) }));
}

// The text of pieces; a character that has none of its own is spelled in bytes, <0xE2>.
function pieceText(pieces) {
  const bytes = [];
  const encoder = new TextEncoder();
  for (const piece of pieces) {
    const [, byte] = /^<0x([0-9A-F]{2})>$/.exec(piece) ?? [];
    bytes.push(...(byte ? [parseInt(byte, 16)] : encoder.encode(piece.replaceAll(WORD_MARK, " "))));
  }
  return new TextDecoder().decode(new Uint8Array(bytes)).trim();
}

function pieceLabel(piece) {
  if (piece === WORD_END) return "end";
  return piece.startsWith(WORD_MARK) ? piece.slice(1) || "␣" : `·${piece}`;
}

function languageName(code) {
  return LANGUAGES[code] ?? code;
}

// The fields of a request that are not the default, so that equal requests have equal texts.
function wordsBody({ model, text, beam, nbest, forced = [], sample, seed, temperature }) {
  const drawn = sample ? { sample, seed, temperature } : { beam, nbest };
  return { model, text, ...drawn, ...(forced.length ? { forced } : {}) };
}

export function mountWords(panel, { api, route, announce }) {
  let models = [];
  let body = null; // of the request that is shown
  let answer = null;
  let shown = 0; // which of the translations is looked into
  let stopping = null; // ends the translation that runs
  let looking = null; // ends the look into a translation
  let waiting = 0;

  const text = element("textarea", { rows: 3, class: "source-text", id: "words-source", spellcheck: "false",
    oninput: () => soon(), onkeydown: (event) => {
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); now({ push: true }); }
    } });
  const model = choice({ label: "Model", options: [], onchange: () => { titles(); now({ push: true }); } });
  const examples = choice({ label: "Try a sentence", options: [], onchange: (place) => {
    if (place !== "") run({ ...exampleBodies[Number(place)] }, { push: true });
  } });
  const swap = element("button", { type: "button", text: "Translate it back", onclick: () => {
    const other = opposite();
    if (!other || !answer) return;
    run({ ...wordsBody(settings()), model: other.name, text: answer.translations[shown].text }, { push: true });
  } });
  const beam = number({ label: "Beam: hypotheses kept", value: 5, min: 1, max: 16, onchange: () => now() });
  const nbest = number({ label: "Translations shown", value: 5, min: 1, max: 16, onchange: () => now() });
  const sample = check({ label: "Draw at random instead of searching", onchange: () => now() });
  const temperature = number({ label: "Temperature", value: 1, min: 0, max: 10, step: 0.1, onchange: () => now() });
  const seed = number({ label: "Seed", value: 1, min: 0, max: 2 ** 53 - 1, onchange: () => now() });
  const sourceLabel = element("label", { for: "words-source", class: "side", text: "Source" });
  const targetLabel = element("p", { class: "side", text: "Translation" });
  const sourceWords = element("p", { class: "source-words" });
  const target = element("div", { class: "target-words", role: "group",
    "aria-label": "The translation, word by word" });
  const status = notice();
  const opened = element("div", { class: "opened" });
  const list = element("ol", { class: "nbest" });
  const foot = element("div");
  const result = element("div", { class: "card", hidden: true }, element("h3",
    { text: "Other translations it considered" }),
    element("p", { class: "faint",
      text: "The best of the hypotheses that the search kept. Choose one to look into it." }),
    list, foot);
  const maps = element("div");
  const kind = segmented({ label: "Which attention", value: "cross", onchange: () => drawMaps(),
    options: Object.entries(KINDS).map(([value, one]) => ({ value, label: one.label })) });
  const looked = element("section", { class: "card", hidden: true }, element("h3", { text: "Where it looked" }),
    element("p", { class: "faint", text: "Every layer and head has attention of its own. Darker (in the dark theme: " +
      "brighter) is more. It shows where the model read, which is not the same as why." }), kind.node, maps);
  const positions = createPositions(api);
  const again = element("button", { type: "button", class: "primary", text: "Translate",
    onclick: () => now({ push: true }) });

  panel.append(
    element("h2", { text: "Words" }),
    element("p", { class: "lead",
      text: "Type a sentence and watch the translation come. Point at a word to see which words it was read from; " +
        "open a word to see what else the model weighed there, and choose differently." }),
    element("div", { class: "card" }, element("div", { class: "bar" }, model.node, examples.node, swap),
      element("div", { class: "columns translation" },
        element("div", {}, sourceLabel, text, sourceWords), element("div", {}, targetLabel, target, status.node)),
      opened, element("div", { class: "bar words-go" }, again, element("details", {}, element("summary",
        { text: "Settings" }),
        element("div", { class: "bar" }, beam.node, nbest.node, sample.node, temperature.node, seed.node)))),
    result, looked, positions.node);
  document.addEventListener("themechange", () => drawMaps());

  let exampleBodies = [];
  const listed = api.get("models").then((found) => {
    models = found.models.filter((one) => one.task === "translate");
    if (!models.length) throw new Error("No translator is here. Give one: triptych studio --model FOLDER");
    exampleBodies = found.examples.translate;
    model.setOptions(models.map((one) => ({ value: one.name, label: modelLabel(one) })));
    examples.setOptions([{ value: "", label: "choose …" },
      ...exampleBodies.map((one, place) => ({ value: String(place), label: one.text }))], "");
    positions.show(models[0].config.width);
  });

  function modelLabel({ name, languages, shipped }) {
    const pair = languages ? `${languageName(languages.source)} to ${languageName(languages.target)} · ` : "";
    return `${pair}${name}${shipped ? "" : " (yours)"}`;
  }

  function modelNow() {
    return models.find((one) => one.name === model.value);
  }

  function opposite() {
    const { source, target: to } = modelNow()?.languages ?? {};
    return models.find((one) => one.languages?.source === to && one.languages?.target === source);
  }

  function titles() {
    const { source, target: to } = modelNow()?.languages ?? {};
    sourceLabel.textContent = source ? languageName(source) : "Source";
    targetLabel.textContent = to ? languageName(to) : "Translation";
    if (source) for (const node of [text, sourceWords]) node.lang = source;
    if (to) for (const node of [target, list]) node.lang = to;
    swap.hidden = !opposite();
  }

  function settings() {
    return { model: model.value, text: text.value, beam: beam.value, nbest: Math.min(nbest.value, beam.value),
      sample: sample.value, seed: seed.value, temperature: temperature.value };
  }

  function fill(from) {
    model.value = from.model ?? models[0].name;
    if (text.value !== from.text) text.value = from.text ?? "";
    beam.value = from.beam ?? beam.value;
    nbest.value = from.nbest ?? nbest.value;
    sample.value = Boolean(from.sample);
    seed.value = from.seed ?? seed.value;
    temperature.value = from.temperature ?? temperature.value;
    examples.value = String(exampleBodies.findIndex((one) => one.text === from.text && one.model === from.model));
    if (examples.input.selectedIndex < 0) examples.value = "";
    titles();
  }

  function soon() {
    clearTimeout(waiting);
    waiting = setTimeout(() => now(), WORD_PAUSE);
  }

  function now(options) {
    clearTimeout(waiting);
    return run(wordsBody(settings()), options);
  }

  // Translate what `request` asks for, and show it as it comes.
  async function run(request, { push = false } = {}) {
    stopping?.abort();
    looking?.abort();
    stopping = new AbortController();
    const { signal } = stopping;
    fill(request);
    body = request;
    opened.replaceChildren();
    if (!request.text.trim()) {
      answer = null;
      for (const node of [target, sourceWords]) node.replaceChildren();
      result.hidden = looked.hidden = true;
      status.say("The translation appears here while you type.");
      return;
    }
    status.busy("Translating …");
    try {
      for await (const { event, data } of api.stream("translate", request, { signal })) {
        if (event === "partial") target.replaceChildren(element("span", { class: "partial", text: data.text }));
        if (event === "done") finish(data, push);
      }
    } catch (error) {
      if (isAbort(error)) return;
      answer = null;
      for (const node of [target, sourceWords]) node.replaceChildren(); // what is shown would be of another text
      result.hidden = looked.hidden = true;
      status.fail(error);
    }
  }

  function finish(data, push) {
    answer = data;
    shown = 0;
    status.clear();
    route.set("translate", wordsBody(data.settings), { push });
    foot.replaceChildren(resultFooter({ model: data.model, seed: data.seed, address: () => location.href,
      command: data.command, settings: data.settings.sample ? { temperature: data.settings.temperature }
        : { beam: data.settings.beam } }));
    result.hidden = false;
    announce(`Translation: ${data.translations[0].text}`);
    showTranslation();
  }

  function showTranslation() {
    const one = answer.translations[shown];
    const sources = wordsOf(answer.source.pieces).filter((word) => word.text !== WORD_END);
    const targets = wordsOf(one.pieces);
    const links = new Map(targets.map((word) => [word, sources.filter((source) => one.alignment.some(([to, from]) =>
      to >= word.from && to < word.to && from >= source.from && from < source.to))]));
    const marks = new Map();
    const light = (words, on) => words.forEach((word) => marks.get(word)?.classList.toggle("lit", on));
    const lit = (node, words) => {
      for (const [event, on] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]]) {
        node.addEventListener(event, () => { light(words(), on); node.classList.toggle("lit", on); });
      }
      return node;
    };
    sourceWords.replaceChildren(...sources.flatMap((word) => {
      const backs = () => targets.filter((each) => links.get(each).includes(word));
      marks.set(word, lit(element("span", { class: `source-word${word.glued ? " glued" : ""}`, text: word.text }),
        backs));
      return [word.glued ? "" : " ", marks.get(word)];
    }));
    target.replaceChildren(...targets.flatMap((word) => {
      const sure = one.probabilities.slice(word.from, word.to).reduce((product, each) => product * each, 1);
      const end = word.text === WORD_END;
      const fixed = word.from < answer.forced;
      const from = links.get(word).map((source) => source.text).join(" ");
      const button = element("button", { type: "button",
        class: `target-word${end ? " end" : ""}${word.glued ? " glued" : ""}${fixed ? " forced" : ""}`,
        text: end ? "end" : word.text, vars: { "--sure": `${100 * sure}%` }, "aria-expanded": "false",
        "aria-label": `${end ? "End of the sentence" : word.text}, probability ${percent(sure)}` +
          `${from ? `, read from ${from}` : ""}${fixed ? ", chosen by you" : ""}. Open the alternatives.`,
        onclick: () => openWord(word, button) });
      marks.set(word, lit(button, () => links.get(word)));
      return [word.glued ? "" : " ", button];
    }));
    list.replaceChildren(...answer.translations.map((each, place) => element("li", {}, element("button", {
      type: "button", "aria-pressed": String(place === shown), onclick: () => { shown = place; showTranslation(); },
    }, element("span", { class: "nbest-text", text: each.text || "(nothing)" }),
    element("span", { class: "small faint",
      text: `score ${each.score.toFixed(2)} · probability of the whole ${percent(Math.exp(each.log_prob))}` })))));
    opened.replaceChildren();
    look();
  }

  let weighed = null; // alternatives of the shown translation, asked for when first opened

  // What the model weighed at each piece of a word, as buttons that force one of them.
  async function openWord(word, button) {
    const close = button.getAttribute("aria-expanded") === "true";
    for (const each of target.children) each.setAttribute("aria-expanded", "false");
    opened.replaceChildren();
    if (close) return;
    button.setAttribute("aria-expanded", "true");
    const { ids } = answer.translations[shown];
    const of = { model: answer.model, text: answer.settings.text, ids };
    try {
      weighed ??= api.post("alternatives", of);
      const { positions: places } = await weighed;
      if (button.getAttribute("aria-expanded") !== "true") return;
      opened.replaceChildren(element("div", { class: "alternatives" },
        element("h3", { text: word.text === WORD_END ? "Instead of the end" : `Instead of “${word.text}”` }),
        element("p", { class: "faint", text: "What the model weighed here, given all before it (· joins the word " +
          "before). Choose one: it is kept, and the rest is written anew." }),
        ...places.slice(word.from, word.to).map((place, offset) => pieceChoices(place, word.from + offset, word,
          ids))));
      opened.querySelector("button")?.scrollIntoView({ block: "nearest" });
      announce(`Alternatives for ${word.text}`);
    } catch (error) {
      weighed = null;
      status.fail(error);
    }
  }

  function pieceChoices({ id, piece, probability, rank, alternatives }, at, word, ids) {
    const rows = alternatives.some((one) => one.id === id) ? alternatives
      : [...alternatives, { id, piece, probability }];
    const buttons = rows.map((one) => {
      const own = one.id === id;
      return element("button", { type: "button", class: "alternative", "aria-pressed": String(own),
      vars: { "--share": `${100 * one.probability}%` }, onclick: () => force([...ids.slice(0, at), one.id]) },
      element("span", { text: one.piece === WORD_END ? "(end)" : pieceLabel(one.piece) }),
      " ", element("span", { class: "faint", text: percent(one.probability) }));
    });
    const several = word.to - word.from > 1;
    const title = several ? element("p", { class: "small faint", text: `Piece ${at - word.from + 1}: ` +
      `${pieceLabel(piece)}${rank ? `, number ${rank + 1} by probability` : ""}` }) : null;
    return element("div", { class: "piece-choices", role: "group",
      "aria-label": `Instead of ${pieceLabel(piece)}` }, title, ...buttons);
  }

  async function force(forced) {
    await run({ ...body, forced }, { push: true });
    const place = answer ? wordsOf(answer.translations[0].pieces).findIndex((word) => word.to >= forced.length) : -1;
    target.querySelectorAll("button")[place]?.focus();
  }

  let attention = null;

  async function look() {
    looking?.abort();
    looking = new AbortController();
    const { signal } = looking;
    weighed = null;
    const { ids } = answer.translations[shown];
    try {
      const found = await api.post("attention", { kind: "text", model: answer.model, text: answer.settings.text, ids },
        { signal });
      if (signal.aborted) return;
      attention = found;
      looked.hidden = false;
      drawMaps();
    } catch (error) {
      if (isAbort(error)) return;
      attention = null;
      looked.hidden = true;
      status.fail(error);
    }
  }

  let chosenMap; // which of the small maps is large: kept from one translation to the next

  function drawMaps() {
    const found = attention?.[kind.value];
    if (!found) return;
    const map = decodedMap(found);
    const name = KINDS[kind.value];
    const read = attention.source.pieces.map(pieceLabel);
    const written = attention.target.pieces.map(pieceLabel);
    const queries = kind.value === "encoder" ? read : written;
    const keys = kind.value === "decoder" ? ["(start)", ...written.slice(0, -1)] : read;
    const hidden = kind.value === "decoder" ? (row, column) => column > row : () => false;
    const large = element("div", { class: "large" });
    const columns = map.heads + 1;
    const grid = gridOfMaps({ map, hidden, chosen: chosenMap ?? (map.layers - 1) * columns + map.heads,
      onchoose(layer, head) {
        chosenMap = layer * columns + (head < 0 ? map.heads : head);
        const title = `${name.label}, layer ${layer + 1}, ${head < 0 ? "mean of the heads" : `head ${head + 1}`}`;
        const shownMap = largeMap({ values: map.at(layer, head), queries, keys, hidden, title, axes: name.axes });
        large.replaceChildren(shownMap.node, shownMap.readout, shownMap.saves);
      } });
    maps.replaceChildren(element("p", { text: name.text }), element("div", { class: "maps" },
      element("div", {}, grid, mapLegend(kind.value === "decoder")), large));
  }

  return {
    async show(request) {
      try {
        await listed;
        const asked = request && wordsBody(request.body);
        const known = api.recorded && exampleBodies.find(
          (one) => one.text === asked?.text && one.model === asked?.model);
        await run(known ? { ...known, forced: asked.forced } : asked ?? { ...exampleBodies[0] });
      } catch (error) {
        status.fail(error);
      }
    },
    hide() {
      clearTimeout(waiting);
      stopping?.abort();
    },
  };
}
