// Words: type and watch the translation come, force what it weighed, and see all that it looked at.
import { decodedMap, gridOfMaps, largeMap, mapLegend, mapName, percent } from "./maps.js";
import { createPositions } from "./positions.js";
import { action, card, check, choice, createTurn, element, faint, folded, inBar, notice, number } from "./widgets.js";
import { panelHead, resultFooter, segmented } from "./widgets.js";

const WORD_MARK = "\u2581"; // SentencePiece's mark of a word's beginning
const WORD_END = "</s>";
const WORD_PAUSE = 450; // milliseconds after the last key before a translation begins
const LANGUAGES = { en: "English", de: "German", fr: "French", cs: "Czech", es: "Spanish", it: "Italian", nl: "Dutch" };
const KINDS = {
  cross: { label: "Encoder-decoder", axes: ["the word being written", "source words it reads"],
    text: "While it writes a piece of the translation (a row), how much it reads each of the source (a column)." },
  encoder: { label: "Encoder self-attention", axes: ["source", "source, both ways"],
    text: "How much each piece of the source (a row) reads every other piece of it (a column), before and after it." },
  decoder: { label: "Masked decoder self-attention", axes: ["the word being written", "what is written so far"],
    text: "While it writes a piece (a row), how much it reads what it has written before. The hatched triangle is " +
      "the look-ahead mask: what comes later is hidden, in training too." },
};

// Pieces as words: {text, from, to, glued}, with the places of their pieces; marks and the end are words of their own.
function wordsOf(pieces) {
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
  const bytes = pieces.flatMap((piece) => (/^<0x[0-9A-F]{2}>$/.test(piece) ? [Number(piece.slice(1, 5))]
    : [...new TextEncoder().encode(piece.replaceAll(WORD_MARK, " "))]));
  return new TextDecoder().decode(new Uint8Array(bytes)).trim();
}

function pieceLabel(piece) {
  if (piece === WORD_END) return "end";
  return piece.startsWith(WORD_MARK) ? piece.slice(1) || "␣" : `·${piece}`;
}

// The fields of a request that are not the default, so that equal requests have equal texts.
function wordsBody({ model, text, beam, nbest, forced = [], sample, seed, temperature }) {
  const drawn = sample ? { sample, seed, temperature } : { beam, nbest };
  return { model, text, ...drawn, ...(forced.length ? { forced } : {}) };
}

export function mountWords(panel, { api, facts, route, announce }) {
  const models = facts.models.filter((one) => one.task === "translate");
  const sentences = facts.examples.translate; // requests
  if (!models.length) {
    panel.append(...panelHead("Words", "No translator is here. Give one: triptych studio --model FOLDER"));
    return { show() {}, hide() {} };
  }
  let [body, answer, shown] = [null, null, 0]; // a request and its answer, of which a translation is looked into:
  let [weighed, attention] = [null, null]; // what was weighed there, asked for when first opened; and looked at
  let chosenMap; // which of the small maps is large: kept from one translation to the next
  let [opposite, waiting] = [null, 0]; // the model that translates back

  const text = element("textarea", { rows: 3, class: "source-text", id: "words-source", spellcheck: "false",
    oninput: () => { clearTimeout(waiting); waiting = setTimeout(now, WORD_PAUSE); },
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      now({ push: true });
    } });
  const onchange = () => now();
  const model = choice({ label: "Model", options: models.map((one) => ({ value: one.name, label: modelLabel(one) })),
    onchange: () => { titles(); now({ push: true }); } });
  const examples = choice({ label: "Try a sentence", value: "", options: [{ value: "", label: "choose …" },
    ...sentences.map((one, place) => ({ value: String(place), label: one.text }))],
    onchange: (place) => { if (place !== "") run(sentences[place], { push: true }); } });
  const swap = action("Translate it back", () => {
    const { text: turned } = answer.translations[shown];
    run({ ...wordsBody(settings()), model: opposite.name, text: turned }, { push: true });
  });
  const fields = {
    beam: number({ label: "Beam: hypotheses kept", value: 5, min: 1, max: 16, onchange }),
    nbest: number({ label: "Translations shown", value: 5, min: 1, max: 16, onchange }),
    sample: check({ label: "Draw at random instead of searching", onchange }),
    temperature: number({ label: "Temperature", value: 1, min: 0, max: 10, step: 0.1, onchange }),
    seed: number({ label: "Seed", value: 1, min: 0, max: 2 ** 53 - 1, onchange }),
  };
  const sourceLabel = element("label", { for: "words-source", class: "side", text: "Source" });
  const targetLabel = element("p", { class: "side", text: "Translation" });
  const sourceWords = element("p", { class: "source-words" });
  const target = element("div", { class: "target-words", role: "group",
    "aria-label": "The translation, word by word" });
  const status = notice();
  const translates = createTurn((error) => { cleared(); status.fail(error); });
  const looks = createTurn((error) => { looked.hidden = true; status.fail(error); });
  const [opened, foot, maps] = [element("div"), element("div"), element("div")];
  const list = element("ol", { class: "nbest" });
  const result = card("Other translations it considered",
    faint("The best of the hypotheses that the search kept. Choose one to look into it."), list, foot);
  const kind = segmented({ label: "Which attention", value: "cross", onchange: drawMaps,
    options: Object.fromEntries(Object.entries(KINDS).map(([value, { label }]) => [value, label])) });
  const looked = card("Where it looked", faint("Every layer and head has attention of its own. Darker (in the dark " +
    "theme: brighter) is more. It shows where the model read, which is not the same as why."), kind.node, maps);

  panel.append(...panelHead("Words", "Type a sentence and watch the translation come. Point at a word to see which " +
    "words it was read from; open a word to see what else the model weighed there, and choose differently."),
  element("div", { class: "card" }, inBar(model.node, examples.node, swap),
    element("div", { class: "columns translation" },
      element("div", {}, sourceLabel, text, sourceWords), element("div", {}, targetLabel, target, status.node)), opened,
    element("div", { class: "bar words-go" }, action("Translate", () => now({ push: true }), { class: "primary" }),
      folded("Settings", inBar(...Object.values(fields).map((field) => field.node))))),
  result, looked, createPositions(api, models[0].config.width));
  document.addEventListener("themechange", drawMaps);

  function languageName(code) { return LANGUAGES[code] ?? code; }
  function modelLabel({ name, languages, shipped }) {
    const pair = languages ? `${languageName(languages.source)} to ${languageName(languages.target)} · ` : "";
    return `${pair}${name}${shipped ? "" : " (yours)"}`;
  }

  function titles() {
    const { source, target: to } = models.find((one) => one.name === model.value)?.languages ?? {};
    opposite = models.find(({ languages }) => languages?.source === to && languages?.target === source);
    sourceLabel.textContent = languageName(source) ?? "Source";
    targetLabel.textContent = languageName(to) ?? "Translation";
    for (const node of [text, sourceWords]) node.lang = source ?? "";
    for (const node of [target, list]) node.lang = to ?? "";
    swap.hidden = !opposite;
  }

  function settings() {
    const values = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value]));
    return { ...values, model: model.value, text: text.value, nbest: Math.min(values.nbest, values.beam) };
  }

  function fill(from) {
    model.value = from.model ?? models[0].name;
    if (text.value !== from.text) text.value = from.text ?? "";
    for (const [name, field] of Object.entries(fields)) field.value = from[name] ?? field.value;
    fields.sample.value = Boolean(from.sample);
    const place = sentences.findIndex((one) => one.text === from.text && one.model === from.model);
    examples.value = place < 0 ? "" : String(place);
    titles();
  }

  function now(options) { run(wordsBody(settings()), options); }

  // What is shown would be of another text.
  function cleared() {
    answer = null;
    swap.disabled = true;
    for (const node of [target, sourceWords]) node.replaceChildren();
    result.hidden = looked.hidden = true;
  }

  // Translate what `request` asks for, and show it as it comes.
  function run(request, { push = false } = {}) {
    stop();
    looks.stop();
    fill(request);
    opened.replaceChildren();
    if (!text.value.trim()) {
      cleared();
      return status.say("The translation appears here while you type.");
    }
    status.busy("Translating …");
    return translates.run(async (signal) => {
      for await (const { event, data } of api.stream("translate", request, { signal })) {
        if (event === "partial") target.replaceChildren(element("span", { class: "partial", text: data.text }));
        if (event === "done") finish(data, request, push);
      }
    });
  }

  function stop() {
    clearTimeout(waiting);
    translates.stop();
  }

  function finish(data, request, push) {
    [answer, body] = [data, request];
    swap.disabled = false;
    shown = 0;
    status.clear();
    route.set("translate", wordsBody(data.settings), { push });
    const { settings: { sample, temperature, beam } } = data;
    foot.replaceChildren(resultFooter({ ...data, address: () => location.href,
      settings: sample ? { temperature } : { beam } }));
    result.hidden = false;
    announce(`Translation: ${data.translations[0].text}`);
    showTranslation();
  }

  function showTranslation() {
    const one = answer.translations[shown];
    const sources = wordsOf(answer.source.pieces).filter((word) => word.text !== WORD_END);
    const targets = wordsOf(one.pieces);
    const linked = (source, word) => one.alignment.some(([to, from]) =>
      to >= word.from && to < word.to && from >= source.from && from < source.to);
    const nodes = new Map(); // of the words
    // A word and the blank before it; it lights up with others.
    const spaced = (word, node, others) => {
      nodes.set(word, node);
      node.classList.toggle("glued", word.glued);
      for (const [event, on] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]]) {
        node.addEventListener(event, () =>
          [word, ...others].forEach((each) => nodes.get(each).classList.toggle("lit", on)));
      }
      return [word.glued ? "" : " ", node];
    };
    sourceWords.replaceChildren(...sources.flatMap((word) => spaced(word, element("span", { class: "source-word",
      text: word.text }), targets.filter((each) => linked(word, each)))));
    target.replaceChildren(...targets.flatMap((word) => {
      const sure = one.probabilities.slice(word.from, word.to).reduce((product, each) => product * each, 1);
      const [end, fixed] = [word.text === WORD_END, word.from < answer.forced];
      const origins = sources.filter((each) => linked(each, word));
      const from = origins.map((source) => source.text).join(" ");
      const button = action(end ? "end" : word.text, () => openWord(word, button), {
        class: `target-word${end ? " end" : ""}${fixed ? " forced" : ""}`, vars: { "--sure": `${100 * sure}%` },
        "aria-expanded": "false",
        "aria-label": `${end ? "End of the sentence" : word.text}, probability ${percent(sure)}` +
          `${from ? `, read from ${from}` : ""}${fixed ? ", chosen by you" : ""}. Open the alternatives.` });
      return spaced(word, button, origins);
    }));
    list.replaceChildren(...answer.translations.map((each, place) => element("li", {},
      action(null, () => { shown = place; showTranslation(); }, { "aria-pressed": String(place === shown) },
        element("span", { class: "nbest-text", text: each.text || "(nothing)" }),
        element("span", { class: "small faint", text: `score ${each.score.toFixed(2)} · ` +
          `probability of the whole ${percent(Math.exp(each.log_prob))}` })))));
    opened.replaceChildren();
    look();
  }

  // What the model weighed at each piece of a word, as buttons that force one of them.
  async function openWord(word, button) {
    const close = button.getAttribute("aria-expanded") === "true";
    for (const each of target.children) each.setAttribute("aria-expanded", "false");
    opened.replaceChildren();
    if (close) return;
    button.setAttribute("aria-expanded", "true");
    const { ids } = shownIds();
    try {
      weighed ??= api.post("alternatives", shownIds());
      const { positions: places } = await weighed;
      if (button.getAttribute("aria-expanded") !== "true") return;
      opened.replaceChildren(element("div", { class: "alternatives" },
        element("h3", { text: word.text === WORD_END ? "Instead of the end" : `Instead of “${word.text}”` }),
        faint("What the model weighed here, given all before it (· joins the word before). Choose one: it is kept, " +
          "and the rest is written anew."),
        ...places.slice(word.from, word.to).map((place, one) => pieceChoices(place, word.from + one, word, ids))));
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
    const buttons = rows.map((one) => action(null, () => force([...ids.slice(0, at), one.id]), { class: "alternative",
      "aria-pressed": String(one.id === id), vars: { "--share": `${100 * one.probability}%` } },
    element("span", { text: one.piece === WORD_END ? "(end)" : pieceLabel(one.piece) }), " ",
    element("span", { class: "faint", text: percent(one.probability) })));
    const title = word.to - word.from > 1 && faint(`Piece ${at - word.from + 1}: ${pieceLabel(piece)}` +
      `${rank ? `, number ${rank + 1} by probability` : ""}`, "small");
    return element("div", { class: "piece-choices", role: "group", "aria-label": `Instead of ${pieceLabel(piece)}` },
      title, ...buttons);
  }

  async function force(forced) {
    await run({ ...body, forced }, { push: true });
    const place = answer ? wordsOf(answer.translations[0].pieces).findIndex((word) => word.to >= forced.length) : -1;
    target.querySelectorAll("button")[place]?.focus();
  }

  function look() {
    weighed = null;
    looks.run(async (signal) => {
      attention = await api.post("attention", { kind: "text", ...shownIds() }, { signal });
      looked.hidden = false;
      drawMaps();
    });
  }

  function shownIds() {
    return { model: answer.model, text: answer.settings.text, ids: answer.translations[shown].ids };
  }

  function drawMaps() {
    const found = attention?.[kind.value];
    if (!found) return;
    const [map, name, masked] = [decodedMap(found), KINDS[kind.value], kind.value === "decoder"];
    const [read, written] = [attention.source, attention.target].map(({ pieces }) => pieces.map(pieceLabel));
    const queries = kind.value === "encoder" ? read : written;
    const keys = masked ? ["(start)", ...written.slice(0, -1)] : read;
    const hidden = (row, column) => masked && column > row;
    const large = element("div", { class: "large" });
    const grid = gridOfMaps({ map, hidden, chosen: chosenMap, onchoose(layer, head, place) {
      chosenMap = place;
      const title = `${name.label}, ${mapName(layer, head)}`;
      const values = map.at(layer, head);
      large.replaceChildren(...largeMap({ values, queries, keys, hidden, title, axes: name.axes }));
    } });
    maps.replaceChildren(element("p", { text: name.text }),
      element("div", { class: "maps" }, element("div", {}, grid, mapLegend(masked)), large));
  }

  cleared();
  return {
    show(request) {
      run(request ? wordsBody(request.body) : sentences[0] ?? { text: "" });
    },
    hide: stop,
  };
}
