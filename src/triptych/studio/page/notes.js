// Notes: a piano roll that is edited, composed, continued, harmonized and filled in, played, and looked into.
import { isAbort } from "./api.js";
import { createCloser } from "./closer.js";
import { createKeys } from "./keys.js";
import { barTicks, openCells, openSpans, pieceOf, placeName, VOICES, withCells, writtenPiece } from "./piece.js";
import { createRoll } from "./roll.js";
import { drawSettings, factsOf, fileInput, optionsOf } from "./settings.js";
import { createPlayer, secondsOf } from "./sound.js";
import { check, choice, download, element, notice, number, resultFooter, saveButtons, segmented, svg, tokenColour } from "./widgets.js";

const NOTES_VERBS = { compose: "Compose", continue: "Continue", harmonize: "Harmonize", infill: "Fill in what is open" };
const NOTES_TASKS = { compose: "compose", continue: "compose", harmonize: "infill", infill: "infill" };
const NOTES_EMPTY = { kind: "chorale", steps: 64, notes: [] };

export function mountNotes(panel, { api, route, announce }) {
  let facts = null; // the answer of /api/models
  let state = { piece: pieceOf(NOTES_EMPTY), open: [], model: null };
  const past = [];
  const future = [];
  let takes = [];
  let running = null; // an AbortController while models write
  let closer = null;

  // -- parts ------------------------------------------------------------------------------------------------------

  const status = notice();
  const player = createPlayer({ onstate: playing });
  const keys = createKeys({ touch: player.touch, announce, onnotes: played });
  const roll = createRoll({
    announce,
    onedit: (piece, open) => { if (!running) change({ ...state, piece, open }); },
    onseek: seek,
    onpoint: (place) => closer?.point(place),
    onhear: (note) => player.touch(note.pitch, { voice: note.voice, velocity: note.velocity, seconds: 0.35 }),
    onplay: toggle,
    onvoice: (voice) => { voices.value = String(voice); spoken(); announce(VOICES[voice]); },
    onspan: () => { spoken(); looped(); },
  });

  const kind = segmented({ label: "Music", value: "chorale", onchange: (now) => begin(now),
    options: [{ value: "chorale", label: "Four voices" }, { value: "performance", label: "Piano" }] });
  const model = choice({ label: "Model for composing", options: [] });
  const filler = choice({ label: "Model for filling in", options: [] });
  const label = choice({ label: "Key", options: [] });
  const count = number({ label: "Takes", value: 2, min: 1, max: 4 });
  const bars = number({ label: "Bars", value: 8, min: 1, max: 64, hint: "to write or to add" });
  const seconds = number({ label: "Seconds", value: 15, min: 1, max: 120, hint: "to write or to add" });
  const drawing = drawSettings();
  const verbs = Object.fromEntries(Object.entries(NOTES_VERBS).map(([verb, text]) => [verb,
    element("button", { type: "button", text, onclick: () => ask(verb) })]));
  const stop = element("button", { type: "button", text: "Stop", hidden: true, onclick: () => running?.abort() });
  const listen = element("button", { type: "button", "aria-pressed": "false", text: "Play on the computer's keys",
    onclick: () => listening(!keys.on) });
  const opener = fileInput({ label: "Open a MIDI or MusicXML file", accept: ".mid,.midi,.kar,.xml,.musicxml,.mxl", area: panel, onfile: read });
  const strip = element("div", { class: "takes", role: "group", "aria-label": "Takes" });

  const tools = segmented({ label: "Tool", value: "draw", onchange: (tool) => roll.set({ tool, arcs: [] }),
    options: [{ value: "draw", label: "Draw" }, { value: "erase", label: "Erase" }, { value: "look", label: "Look" }] });
  const voices = segmented({ label: "Voice", value: "0", onchange: spoken,
    options: [...VOICES.map((name, voice) => ({ value: String(voice), label: name[0].toUpperCase() + name.slice(1) })), { value: "all", label: "All" }] });
  const undo = element("button", { type: "button", text: "Undo", onclick: () => travel(past, future, "Undone") });
  const redo = element("button", { type: "button", text: "Redo", onclick: () => travel(future, past, "Redone") });
  const zoomOut = element("button", { type: "button", text: "−", "aria-label": "Zoom out", onclick: () => roll.zoom(0.8) });
  const zoomIn = element("button", { type: "button", text: "+", "aria-label": "Zoom in", onclick: () => roll.zoom(1.25) });
  const where = element("span", { class: "where" });
  const locks = element("div", { class: "bar locks", role: "group", "aria-label": "Lock, open or clear" }, where,
    element("button", { type: "button", text: "Lock", onclick: () => cells(0) }),
    element("button", { type: "button", text: "Open for the model", onclick: () => cells(1) }),
    element("button", { type: "button", text: "Clear", onclick: clear }));

  const play = element("button", { type: "button", class: "primary play", text: "Play", onclick: toggle });
  const slider = element("input", { type: "range", min: 0, max: 1, step: 1, value: 0, "aria-label": "Position",
    oninput: () => seek(slider.valueAsNumber) });
  const clock = element("output", { class: "clock small" });
  const tempo = number({ label: "Tempo", value: 84, min: 20, max: 300, onchange: paced });
  const loop = check({ label: "Loop", onchange: looped });
  const mutes = element("div", { class: "bar mutes", role: "group", "aria-label": "Voices that are heard" },
    ...VOICES.map((name, voice) => check({ label: name, value: true, onchange: (heard) => player.mute(voice, !heard) }).node));
  const footer = element("div");
  const exports = ["mid", "musicxml", "wav", "svg"].map((format) => element("button", { type: "button", class: "quiet",
    text: `Save .${format}`, hidden: format === "wav" && api.recorded, onclick: () => save(format) }));
  const closerPlace = element("div");

  // -- the piece and its history ------------------------------------------------------------------------------------

  function change(now, { remember = true } = {}) {
    if (remember) {
      past.push(state);
      if (past.length > 200) past.shift();
      future.length = 0;
    }
    state = now;
    shown();
  }

  function travel(from, to, said) {
    if (!from.length || running) return;
    to.push(state);
    state = from.pop();
    shown();
    announce(`${said}: ${state.piece.notes.length} notes`);
  }

  function shown() {
    const { piece, open, about } = state;
    const chorale = piece.kind === "chorale";
    kind.value = piece.kind;
    for (const node of [voices.node, locks, mutes, label.input.options.length > 1 ? null : label.node]) if (node) node.hidden = !chorale;
    for (const node of [verbs.harmonize, verbs.infill, filler.node, bars.node, tempo.node]) node.hidden = !chorale;
    for (const node of [listen, seconds.node]) node.hidden = chorale;
    keys.node.hidden = !keys.on;
    player.load(piece);
    slider.max = piece.length;
    roll.set({ piece, open });
    tempo.value = Math.round(piece.tempo);
    enabled();
    spoken();
    moved();
    closer?.update(piece, state.model ?? (chorale ? model.value : player1()));
    footer.replaceChildren(resultFooter(about ? {
      model: about.model, seed: about.seed, settings: factsOf(about.settings), command: about.command,
      address: route.address(about.verb, about.settings), saves: [...exports, rollSaves(), given(about)],
    } : { model: "none yet: these notes are yours", saves: [...exports, rollSaves()] }));
    for (const button of exports) button.disabled = !piece.notes.length;
    if (facts && !facts.has.score) exports[3].hidden = true;
  }

  const player1 = () => facts?.models.find((one) => one.task === "play")?.name ?? null;
  const rollSaves = () => element("span", { class: "saves" }, "Roll: ", saveButtons("roll", () => roll.picture));

  // The piece that the command names, beside it.
  function given(about) {
    if (!about.files.length || !about.settings.piece) return null;
    return element("button", { type: "button", class: "quiet", text: `Save ${about.files[0]} (what was given)`,
      onclick: () => save("mid", about.settings.piece, about.files[0]) });
  }

  function enabled() {
    const some = state.piece.notes.length > 0;
    undo.disabled = !past.length || running !== null;
    redo.disabled = !future.length || running !== null;
    const can = { compose: true, continue: some, harmonize: state.piece.notes.some((note) => note.voice === 0),
      infill: state.open.some((row) => row.includes(1)) };
    for (const [verb, button] of Object.entries(verbs)) button.disabled = running !== null || !can[verb];
    const best = can.infill && some ? (state.open[0].includes(1) || state.piece.notes.some((note) => note.voice) ? "infill" : "harmonize") : "compose";
    for (const [verb, button] of Object.entries(verbs)) button.classList.toggle("primary", verb === best);
    stop.hidden = running === null;
  }

  // -- what a button is about: a voice or all, a span or the whole piece ----------------------------------------------

  const target = () => ({ from: 0, until: state.piece.length, ...roll.span,
    voices: voices.value === "all" ? [0, 1, 2, 3] : [Number(voices.value)] });

  function spoken() {
    if (voices.value !== "all") roll.set({ voice: Number(voices.value) });
    const name = voices.value === "all" ? "All voices" : VOICES[voices.value];
    where.textContent = roll.span ? `${name}, ${placeName(state.piece, roll.span.from)} to ${placeName(state.piece, roll.span.until)}:`
      : `${name}, the whole piece:`;
  }

  function cells(value) {
    const { from, until, voices: own } = target();
    change({ ...state, open: withCells(state.open, state.piece.length, own, from, until, value) });
    announce(`${where.textContent} ${value ? "open for the model" : "locked"}`);
  }

  function clear() {
    const { from, until, voices: own } = target();
    change({ ...state, piece: roll.emptied(own, from, until),
      open: withCells(state.open, state.piece.length, own, from, until, 1) });
    announce(`${where.textContent} cleared`);
  }

  // -- playing --------------------------------------------------------------------------------------------------------

  function toggle() {
    if (player.playing()) return player.pause();
    roll.set({ passages: [] });
    player.play();
    if (!player.playing()) announce("There are no notes to play");
  }

  function playing(now) {
    play.textContent = now ? "Pause" : "Play";
    if (now) requestAnimationFrame(step);
    else moved();
  }

  function step() {
    moved(true);
    if (player.playing()) requestAnimationFrame(step);
  }

  function moved(follow = false) {
    const tick = player.position();
    roll.head(tick, follow);
    slider.value = tick;
    const speed = state.piece.kind === "chorale" ? tempo.value / state.piece.tempo : 1;
    const time = (ticks) => `${Math.floor(secondsOf(state.piece, ticks) / speed / 60)}:${String(Math.floor(secondsOf(state.piece, ticks) / speed % 60)).padStart(2, "0")}`;
    clock.textContent = `${time(tick)} / ${time(state.piece.length)}`;
    slider.setAttribute("aria-valuetext", placeName(state.piece, Math.floor(tick)));
  }

  function seek(tick) {
    player.seek(tick);
    moved();
  }

  function paced() {
    player.tempo(tempo.value / state.piece.tempo);
    moved();
  }

  function looped() {
    player.loop(loop.value ? { from: 0, until: state.piece.length, ...roll.span } : null);
  }

  // -- asking the models ------------------------------------------------------------------------------------------------

  function bodyOf(verb, take) {
    const { piece, open } = state;
    const plays = piece.kind === "performance";
    const shared = { ...drawing.read(take), ...(verb !== "infill" && { label: label.value || null }) };
    if (verb === "compose") {
      return { model: plays ? player1() : model.value, ...shared,
        ...(plays ? { seconds: seconds.value } : { steps: Math.min(1_024, bars.value * 16), tempo: tempo.value }) };
    }
    const given = { piece: writtenPiece(piece), ...shared };
    if (verb === "continue") {
      return { model: plays ? player1() : model.value, ...given, ...(plays ? { seconds: seconds.value } : { steps: bars.value * barTicks(piece) }) };
    }
    return { model: filler.value, ...given, ...(verb === "infill" && { open: openSpans(open) }) };
  }

  function ask(verb) {
    const plays = state.piece.kind === "performance";
    const recorded = facts.examples[verb]?.filter((body) => (body.model === player1()) === plays);
    start(verb, api.recorded && recorded?.length ? recorded : [...Array(count.value).keys()].map((take) => bodyOf(verb, take)));
  }

  async function start(verb, bodies) {
    running?.abort();
    const own = running = new AbortController();
    player.pause();
    listening(false);
    const before = state;
    takes = bodies.map((body) => ({ verb, body, live: null, about: null, done: false, node: element("div", { class: "take" }) }));
    strip.replaceChildren(...takes.map((take) => take.node));
    status.busy(`${NOTES_VERBS[verb]}: the model is writing …`);
    enabled();
    let failed = null;
    await Promise.all(takes.map(async (take, place) => {
      try {
        await follow(take, place, own.signal);
      } catch (error) {
        if (!isAbort(error)) failed = error;
        take.node.remove();
      }
    }));
    if (running !== own) return;
    running = null;
    const made = takes.filter((take) => take.done);
    if (failed) status.fail(failed);
    else if (!made.length) status.say("Stopped.");
    else {
      const words = [...new Set(made.flatMap((take) => take.about.words))];
      status.say(words.join(" ") || (made.length > 1 ? "Choose a take; Undo brings back what was there before." : ""));
      announce(`${NOTES_VERBS[verb]}: ${made.length} take${made.length > 1 ? "s" : ""} ready`);
    }
    state = before;
    if (made.length) adopt(made[0]);
    else shown();
  }

  async function follow(take, place, signal) {
    const empty = take.body.piece ? pieceOf(take.body.piece)
      : pieceOf(state.piece.kind === "performance" ? { kind: "performance", notes: [] } : { ...NOTES_EMPTY, steps: 16, tempo: take.body.tempo });
    const stays = take.verb === "infill" ? fixed(empty, take.body.open) : empty;
    take.live = stays;
    for await (const { event, data } of api.stream(take.verb, take.body, { signal })) {
      if (event === "start") take.about = data;
      if (event === "start" && data.given && take.verb !== "infill") take.live = pieceOf(data.given);
      if (event === "notes") {
        const more = pieceOf({ kind: stays.kind, steps: 0, notes: data.notes });
        const notes = [...take.live.notes, ...more.notes];
        take.live = { ...take.live, notes, length: notes.reduce((most, note) => Math.max(most, note.end), take.live.length) };
      }
      if (event === "done") Object.assign(take, { about: { ...data, verb: take.verb }, live: pieceOf(data.piece), done: true });
      card(take, place);
      if (place === 0) {
        roll.set({ piece: take.live, open: openCells({ ...take.live, notes: [] }) });
        if (event === "notes") roll.head(take.live.length, true);
      }
    }
  }

  // A piece without what is to be written anew.
  function fixed(piece, open) {
    const within = (note) => open.some(([voice, from, until]) => voice === note.voice && from < note.end && note.start < until);
    return { ...piece, notes: piece.notes.filter((note) => !within(note)) };
  }

  function card(take, place) {
    const { piece: name } = { piece: `Take ${place + 1}` };
    take.node.replaceChildren(element("button", { type: "button", class: "take-choose", disabled: !take.done,
      "aria-pressed": String(state.take === take), onclick: () => adopt(take) },
    small(take.live), element("span", { text: take.done ? `${name} · seed ${take.about.seed}` : `${name} …` })));
  }

  function small(piece) {
    const picture = svg("svg", { viewBox: "0 0 200 60", "aria-hidden": "true", preserveAspectRatio: "none" });
    const pitches = piece.notes.map((note) => note.pitch);
    const [low, high] = [Math.min(48, ...pitches), Math.max(72, ...pitches)];
    const colours = [1, 2, 3, 4].map((one) => tokenColour(`--series-${one}`));
    const wide = 200 / Math.max(piece.length, 32);
    picture.append(...piece.notes.map((note) => svg("rect", { x: wide * note.start, y: 56 * (high - note.pitch) / (high - low),
      width: Math.max(1, wide * (note.end - note.start)), height: 3, fill: colours[note.voice] })));
    return picture;
  }

  function adopt(take) {
    const again = state.take?.verb && takes.includes(state.take); // another take in place of this one
    const now = { piece: take.live, open: withCells(openCells(take.live), take.live.length, [0, 1, 2, 3], 0, take.live.length, 0),
      model: take.about.model, about: take.about, take };
    if (take.live.kind === "performance") now.open = [];
    roll.set({ span: null });
    roll.head(0, true);
    change(now, { remember: !again || state !== past.at(-1) });
    takes.forEach(card);
    route.set(take.verb, take.about.settings, { push: true });
  }

  // -- files and keys -----------------------------------------------------------------------------------------------------

  async function read(file) {
    status.busy(`Reading ${file.name} …`);
    try {
      const { piece, words } = await api.upload(`music?kind=${kind.value}`, file);
      give(pieceOf(piece));
      status.say([`${file.name}: ${state.piece.notes.length} notes.`, ...words].join(" "));
      announce(`${file.name} is open`);
    } catch (error) {
      status.fail(error);
    }
  }

  async function save(format, piece = writtenPiece(state.piece), name = null) {
    try {
      const answer = await api.post("export", { piece, format });
      const bytes = Uint8Array.from(atob(answer.data), (one) => one.charCodeAt(0));
      download(name ?? answer.name, new Blob([bytes], { type: answer.type }));
    } catch (error) {
      status.fail(error);
    }
  }

  function listening(now) {
    keys.listen(now);
    keys.node.hidden = !now;
    listen.setAttribute("aria-pressed", String(now));
    if (now) status.say("Play: the letters A to ; are white and black keys, Z and X change the octave. Then choose Continue.");
  }

  function played(notes) {
    const now = pieceOf({ kind: "performance", notes: [] });
    const length = notes.reduce((most, note) => Math.max(most, note.end), 0);
    change({ piece: { ...now, notes, length }, open: [], model: null }, { remember: notes.length === 1 });
  }

  function give(piece) {
    takes = [];
    strip.replaceChildren();
    roll.set({ span: null });
    change({ piece, open: openCells(piece), model: null });
    paced();
  }

  // Another kind of music: its first example, or an empty roll.
  function begin(now) {
    running?.abort();
    player.pause();
    listening(false);
    const plays = now === "performance";
    const labels = facts.models.find((one) => one.task === (plays ? "play" : "compose"))?.labels ?? [];
    label.setOptions(optionsOf(labels, "any"), "");
    const names = plays ? ["continue"] : ["harmonize", "infill", "continue"];
    const bodies = names.flatMap((name) => facts.examples[name] ?? []);
    const found = bodies.find((body) => body.piece?.kind === now);
    give(pieceOf(found?.piece ?? { ...NOTES_EMPTY, kind: now }));
    past.length = future.length = 0;
    enabled();
    status.say(plays ? "Compose, open a MIDI file, or play on the computer's keys and let the model continue."
      : "A melody to begin with: harmonize it, draw over it, or compose a piece of your own.");
  }

  // -- the panel ------------------------------------------------------------------------------------------------------------

  panel.append(
    element("h2", { text: "Notes: music in four voices and on the piano" }),
    element("p", { class: "lead", text: "Draw a few notes and let a Music Transformer write the rest: harmonize a melody, " +
      "continue a beginning, fill in what you leave open. Then listen, and look at what each note looked at." }),
    element("div", { class: "card" }, element("div", { class: "bar" }, kind.node, label.node, bars.node, seconds.node, count.node),
      element("div", { class: "bar verbs" }, ...Object.values(verbs), stop, listen, opener), keys.node,
      element("details", {}, element("summary", { text: "More settings" }), element("div", { class: "bar" }, model.node, filler.node, ...drawing.nodes)),
      status.node, strip),
    element("div", { class: "card roll-card" },
      element("div", { class: "bar" }, tools.node, voices.node, undo, redo, zoomOut, zoomIn), locks, roll.node,
      element("div", { class: "transport" }, play, slider, clock, tempo.node, loop.node), mutes, closerPlace, footer));

  panel.addEventListener("keydown", (event) => {
    const undoing = (event.ctrlKey || event.metaKey) && ["z", "y"].includes(event.key.toLowerCase());
    if (undoing && !/INPUT|TEXTAREA/.test(event.target.tagName)) {
      event.preventDefault();
      if (event.shiftKey || event.key === "y") redo.click();
      else undo.click();
    }
  });

  async function prepare() {
    facts = await api.get("models");
    const named = (task) => optionsOf(facts.models.filter((one) => one.task === task).map((one) => one.name));
    model.setOptions(named("compose"));
    filler.setOptions(named("infill"));
    closer = createCloser({ api, roll, player, announce, hasScore: facts.has.score });
    closerPlace.append(closer.marksCheck, closer.marksNode, closer.arcsNode, closer.says);
    panel.append(element("div", { class: "columns" }, closer.alikeNode, closer.scoreNode));
  }

  async function show(request) {
    try {
      if (!facts) await prepare();
    } catch (error) {
      return status.fail(error);
    }
    if (!request) return begin(kind.value);
    const { endpoint: verb, body } = request;
    const now = body.piece?.kind ?? (body.model === player1() ? "performance" : "chorale");
    begin(now);
    drawing.fill(body);
    label.value = body.label ?? "";
    if (body.model) (NOTES_TASKS[verb] === "infill" ? filler : model).value = body.model;
    if (body.piece) {
      const piece = pieceOf(body.piece);
      const open = (body.open ?? []).reduce((cells, [voice, from, until]) => withCells(cells, piece.length, [voice], from, until, 1),
        withCells(openCells(piece), piece.length, [0, 1, 2, 3], 0, piece.length, 0));
      change({ piece, open: piece.kind === "chorale" ? open : [], model: null }, { remember: false });
    }
    return start(verb, [body]);
  }

  return {
    show,
    hide() {
      running?.abort();
      player.pause();
      listening(false);
      closer?.stop();
    },
  };
}
