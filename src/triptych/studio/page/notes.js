// Notes: a piano roll that is edited, composed, continued, harmonized and filled in, played, and looked into.
import { bytesOf, canonical } from "./api.js";
import { createCloser } from "./closer.js";
import { createKeys } from "./keys.js";
import { barTicks, cleared, lockedCells, openCells, openSpans, pieceOf, placeName, VOICES } from "./piece.js";
import { withCells, writtenPiece } from "./piece.js";
import { createRoll } from "./roll.js";
import { drawSettings, factsOf, fileInput, optionsOf } from "./settings.js";
import { createPlayer, secondsOf } from "./sound.js";
import { action, capital, check, choice, createTurn, download, element, folded, inBar, notice } from "./widgets.js";
import { number, panelHead, resultFooter, saveButtons, segmented, svg, upTo } from "./widgets.js";

const NOTES_VERBS = { compose: "Compose", continue: "Continue", harmonize: "Harmonize", infill: "Fill in what's open" };
const NOTES_EMPTY = { kind: "chorale", steps: 64, notes: [] };
const NOTES_ALL = [0, 1, 2, 3]; // voices
const NOTES_PAST = 200; // steps that can be undone

export function mountNotes(panel, { api, facts, route, announce }) {
  let state = { piece: pieceOf(NOTES_EMPTY), open: [], about: null, take: null };
  let takes = [];
  const [past, future] = [[], []];
  const piano = () => state.piece.kind === "performance";
  const namesOf = (task) => facts.models.filter((one) => one.task === task).map((one) => one.name);
  const nameOf = (task) => namesOf(task)[0] ?? null;

  const status = notice();
  const writing = createTurn(status.fail, () => status.say("Stopped."));
  const opening = createTurn(status.fail); // a file that is read or saved
  const player = createPlayer({ onstate: playing });
  const keys = createKeys({ touch: player.touch, announce, onnotes: played });
  const roll = createRoll({
    announce, onseek: seek, onplay: toggle,
    onedit: (piece, open) => { if (!writing.busy) change({ ...state, piece, open }); },
    onpoint: (place) => closer.point(place), onspan: () => { spoken(); looped(); },
    onhear: ({ pitch, voice, velocity }) => player.touch(pitch, { voice, velocity, seconds: 0.35 }),
    onvoice: (voice) => { voices.value = String(voice); spoken(); announce(VOICES[voice]); },
  });
  const closer = createCloser({ api, roll, player, announce, hasScore: facts.has.score });
  const kind = segmented({ label: "Music", value: "chorale", onchange: (now) => begin(now),
    options: { chorale: "Four voices", performance: "Piano" } });
  const model = choice({ label: "Model for composing", options: optionsOf(namesOf("compose")) });
  const filler = choice({ label: "Model for filling in", options: optionsOf(namesOf("infill")) });
  const label = choice({ label: "Key" });
  const examples = choice({ label: "Start from", onchange: (place) => begin(kind.value, examples.all[place]) });
  const count = number({ label: "Takes", value: 2, min: 1, max: 4 });
  const bars = number({ label: "Bars to add", value: 8, min: 1, max: 64 });
  const seconds = number({ label: "Seconds to add", value: 15, min: 1, max: 120 });
  const drawing = drawSettings();
  const verbs = Object.fromEntries(Object.entries(NOTES_VERBS).map(([verb, text]) =>
    [verb, action(text, () => ask(verb))]));
  const stop = action("Stop", writing.stop, { hidden: true });
  const listen = action("Play on the computer's keys", () => listening(!keys.on), { "aria-pressed": "false" });
  const opener = fileInput({ label: "Open a MIDI or MusicXML file", accept: ".mid,.midi,.kar,.xml,.musicxml,.mxl",
    area: panel, onfile: read });
  const strip = element("div", { class: "takes", role: "group", "aria-label": "Takes" });
  const tools = segmented({ label: "Tool", value: "draw", onchange: (tool) => roll.set({ tool, arcs: [] }),
    options: { draw: "Draw", erase: "Erase", look: "Look" } });
  const voices = segmented({ label: "Voice", value: "0", onchange: spoken,
    options: { ...VOICES.map(capital), all: "All" } });
  const undo = action("Undo", () => travel(past, future, "Undone"));
  const redo = action("Redo", () => travel(future, past, "Redone"));
  const where = element("span", { class: "where" });
  const locks = element("div", { class: "bar locks", role: "group", "aria-label": "Lock, open or clear" }, where,
    action("Lock", () => cells(0)), action("Open for the model", () => cells(1)),
    action("Clear", () => cells(1, true)));
  const play = action("Play", toggle, { class: "primary play" });
  const slider = element("input", { type: "range", min: 0, max: 1, value: 0, "aria-label": "Position",
    oninput: () => seek(slider.valueAsNumber) });
  const clock = element("span", { class: "clock small" });
  const tempo = number({ label: "Tempo", value: 84, min: 20, max: 300, onchange: paced });
  const loop = check({ label: "Loop", onchange: looped });
  const mutes = element("div", { class: "bar mutes", role: "group", "aria-label": "Voices that are heard" },
    ...VOICES.map((name, voice) => check({ label: name, value: true, colour: `--series-${voice + 1}`,
      onchange: (on) => player.mute(voice, !on) }).node));
  const ofChorales = [voices.node, locks, mutes, verbs.harmonize, verbs.infill, filler.node, model.node, bars.node,
    tempo.node];
  const footer = element("div");

  function change(now, remember = true) {
    if (remember) {
      past.push(state);
      if (past.length > NOTES_PAST) past.shift();
      future.length = 0;
    }
    state = now;
    shown();
  }

  function travel(from, to, said) {
    if (!from.length || writing.busy) return;
    to.push(state);
    state = from.pop();
    shown();
    announce(`${said}: ${state.piece.notes.length} notes`);
  }

  function shown() {
    const { piece, open, about } = state;
    kind.value = piece.kind;
    for (const node of ofChorales) node.hidden = piano();
    for (const node of [listen, seconds.node]) node.hidden = !piano();
    player.load(piece);
    slider.max = piece.length;
    roll.set({ piece, open });
    enabled();
    spoken();
    moved();
    takes.forEach(card);
    closer.update(piece, about?.model ?? (piano() ? nameOf("play") : model.value));
    const formats = ["mid", "musicxml", ...(api.recorded ? [] : ["wav"]), ...(facts.has.score ? ["svg"] : [])];
    const saves = formats.map((format) =>
      action(`Save .${format}`, () => save(format), { class: "quiet", disabled: !piece.notes.length }));
    saves.push(element("span", { class: "saves" }, "Roll: ", saveButtons("roll", () => roll.picture)));
    for (const name of about?.files ?? []) saves.push(action(`Save ${name} (what was given)`,
      () => save("mid", about.settings.piece, name), { class: "quiet" }));
    footer.replaceChildren(resultFooter(!about ? { model: "none yet: these notes are yours", saves }
      : { ...about, settings: factsOf(about.settings), saves,
        address: () => route.address(about.verb, about.settings) }));
  }

  function enabled() {
    const { piece: { notes }, open, about } = state;
    const [writes, fills] = [piano() ? nameOf("play") : model.value, filler.value]; // models that are here
    const can = { compose: writes, continue: writes && notes.length,
      harmonize: fills && notes.some((note) => note.voice === 0),
      infill: fills && open.some((row) => row.includes(1)) };
    const tune = can.harmonize && notes.every((note) => note.voice === 0);
    const best = piano() ? (notes.length && !about ? "continue" : "compose")
      : tune ? "harmonize" : can.infill && notes.length ? "infill" : "compose";
    for (const [verb, button] of Object.entries(verbs)) {
      button.disabled = writing.busy || !can[verb];
      button.classList.toggle("primary", verb === best);
    }
    stop.hidden = !writing.busy;
    undo.disabled = !past.length || writing.busy;
    redo.disabled = !future.length || writing.busy;
  }

  // Lock (0) or open (1) the chosen voices in the span, or in the whole piece; and take their notes away.
  function cells(value, clears = false) {
    const { from, until } = roll.span ?? whole();
    const own = voices.value === "all" ? NOTES_ALL : [Number(voices.value)];
    const piece = clears ? own.reduce((now, voice) => cleared(now, voice, from, until), state.piece) : state.piece;
    change({ ...state, piece, open: withCells(state.open, piece.length, own, from, until, value) });
    announce(`${where.textContent} ${clears ? "cleared" : value ? "open for the model" : "locked"}`);
  }

  function spoken() {
    if (voices.value !== "all") roll.set({ voice: Number(voices.value) });
    const { from, until } = roll.span ?? {};
    const span = roll.span ? `${placeName(state.piece, from)} to ${placeName(state.piece, until)}` : "the whole piece";
    where.textContent = `${VOICES[voices.value] ?? "all voices"}, ${span}:`;
  }

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

  function step() { moved(true); if (player.playing()) requestAnimationFrame(step); }

  function moved(follow = false) {
    const tick = player.position();
    const time = (ticks) => new Date(1_000 * secondsOf(state.piece, ticks) / speed()).toISOString().slice(14, 19);
    roll.head(tick, follow);
    slider.value = tick;
    slider.setAttribute("aria-valuetext", placeName(state.piece, Math.floor(tick)));
    clock.textContent = `${time(tick)} / ${time(state.piece.length)}`;
  }

  function seek(tick) { player.seek(tick); moved(); }
  function speed() { return piano() ? 1 : tempo.value / state.piece.tempo; }
  function paced() { player.tempo(speed()); moved(); }
  function looped() { player.loop(loop.value ? roll.span ?? whole() : null); }
  function whole() { return { from: 0, until: state.piece.length }; }

  function bodyOf(verb, take) {
    const { piece, open } = state;
    const length = piano() ? { seconds: seconds.value } : { steps: bars.value * barTicks(piece) };
    const writer = piano() ? nameOf("play") : model.value;
    const shared = { ...drawing.read(take), ...(verb !== "compose" && { piece: writtenPiece(piece) }) };
    if (verb === "infill") return { model: filler.value, ...shared, open: openSpans(open) };
    shared.label = label.value || null;
    if (verb === "harmonize") return { model: filler.value, ...shared };
    return { model: writer, ...shared, ...length, ...(verb === "compose" && !piano() && { tempo: tempo.value }) };
  }

  function ask(verb) {
    const here = canonical(writtenPiece(state.piece));
    const recorded = examples.all.filter(({ verb: one, body }) => api.recorded && one === verb &&
      (!body.piece || canonical(writtenPiece(pieceOf(body.piece))) === here)).map(({ body }) => body);
    start(verb, recorded.length ? recorded : upTo(count.value).map((take) => bodyOf(verb, take)));
  }

  async function start(verb, bodies) {
    player.pause();
    listening(false);
    const own = takes = bodies.map((body) => ({ verb, body, node: element("div") }));
    strip.replaceChildren(...takes.map((take) => take.node));
    status.busy(`${NOTES_VERBS[verb]}: the model is writing …`);
    const run = writing.run(async (signal) => {
      const ends = await Promise.allSettled(own.map((take, place) => follow(take, place, signal)));
      const failed = ends.find(({ reason }) => reason);
      if (failed) throw failed.reason;
      status.say([...new Set(own.flatMap((take) => take.about.words))].join(" ") ||
        (own.length > 1 ? "Choose a take; Undo brings back what was there before." : ""));
      announce(`${NOTES_VERBS[verb]}: ${own.length} take${own.length > 1 ? "s" : ""} ready`);
    });
    enabled();
    await run;
    if (takes !== own) return enabled();
    takes = own.filter((take) => take.about || take.node.remove());
    return takes.length ? adopt(takes[0]) : shown();
  }

  // The first take is seen in the roll while it is written, all of them in their strip.
  async function follow(take, place, signal) {
    const { verb, body, body: { open = [] } } = take;
    take.live = pieceOf(body.piece ?? { ...NOTES_EMPTY, kind: state.piece.kind, steps: 16, tempo: body.tempo });
    for (const [voice, from, until] of open) take.live = cleared(take.live, voice, from, until);
    for await (const { event, data } of api.stream(verb, body, { signal })) {
      if (event === "start" && data.given && !open.length) take.live = pieceOf(data.given);
      if (event === "notes") {
        const { notes } = pieceOf({ kind: take.live.kind, steps: 0, notes: data.notes });
        const length = Math.max(take.live.length, ...notes.map((note) => note.end));
        take.live = { ...take.live, notes: [...take.live.notes, ...notes], length };
      }
      if (event === "done") [take.about, take.live] = [{ ...data, verb }, pieceOf(data.piece)];
      card(take, place);
      if (place === 0) roll.set({ piece: take.live, open: [] });
      if (place === 0 && event === "notes" && !open.length) roll.head(take.live.length, true);
    }
  }

  function card(take, place) {
    const text = take.about ? `Take ${place + 1} · seed ${take.about.seed}` : `Take ${place + 1} …`;
    take.node.replaceChildren(action(null, () => adopt(take), { class: "take", disabled: !take.about,
      "aria-pressed": String(state.take === take) }, small(take.live), element("span", { text })));
  }

  function small({ notes, length }) {
    const pitches = notes.map((note) => note.pitch);
    const [low, high, wide] = [Math.min(48, ...pitches), Math.max(72, ...pitches), 200 / Math.max(length, 32)];
    return svg("svg", { viewBox: "0 0 200 60", "aria-hidden": "true", preserveAspectRatio: "none" },
      ...notes.map((note) => svg("rect", { x: wide * note.start, y: 56 * (high - note.pitch) / (high - low), height: 3,
        width: Math.max(1, wide * (note.end - note.start)), fill: `--series-${note.voice + 1}` })));
  }

  function adopt(take) {
    const { live: piece, about, verb } = take;
    const again = takes.includes(state.take); // another take in place of this one
    place({ piece, open: lockedCells(piece), about, take }, !again);
    roll.head(0, true);
    route.set(verb, about.settings, { push: true });
  }

  function read(file) {
    status.busy(`Reading ${file.name} …`);
    opening.run(async () => {
      const { piece, words } = await api.upload(`music?kind=${kind.value}`, file);
      give(pieceOf(piece));
      status.say([`${file.name}: ${state.piece.notes.length} notes.`, ...words].join(" "));
      announce(`${file.name} is open`);
    });
  }

  function save(format, piece = writtenPiece(state.piece), name = null) {
    opening.run(async () => {
      const answer = await api.post("export", { piece, format });
      download(name ?? answer.name, new Blob([bytesOf(answer.data)], { type: answer.type }));
    });
  }

  function listening(now) {
    keys.listen(now);
    keys.node.hidden = !now;
    listen.setAttribute("aria-pressed", String(now));
    if (now) status.say("The letters A to ; are piano keys, Z and X change the octave. Play, then choose Continue.");
  }

  function played(notes) {
    const length = Math.max(0, ...notes.map((note) => note.end));
    change({ piece: { ...pieceOf({ kind: "performance", notes: [] }), notes, length }, open: [] }, notes.length === 1);
  }

  function give(piece, open = openCells(piece), remember = true) {
    takes = [];
    strip.replaceChildren();
    place({ piece, open }, remember);
  }

  // Another piece, with its own tempo and no span.
  function place(now, remember) {
    roll.set({ span: null });
    change(now, remember);
    tempo.value = Math.round(now.piece.tempo);
    paced();
  }

  // Begin anew with a kind of music: with an example, else its first one, else an empty roll.
  function begin(now, example = null) {
    const plays = now === "performance";
    hide();
    examples.all = Object.entries(facts.examples).filter(([verb]) => verb in NOTES_VERBS).flatMap(([verb, bodies]) =>
      bodies.map((body) => ({ verb, body }))).filter(({ body }) => (body.model === nameOf("play")) === plays);
    examples.setOptions(examples.all.map(({ verb, body }, place) => ({ value: String(place),
      label: [`${place + 1}: ${verb === "infill" ? "fill in" : verb}`, body.label].filter(Boolean).join(", ") })));
    const writer = facts.models.find((one) => one.task === (plays ? "play" : "compose"));
    label.setOptions(optionsOf(writer?.labels ?? [], "any"));
    label.node.querySelector("label").textContent = plays ? "Composer" : "Key";
    const { verb, body } = example ?? examples.all.find((one) => one.verb === "harmonize") ??
      examples.all.find((one) => one.body.piece) ?? { body: {} };
    examples.value = String(examples.all.findIndex((one) => one.body === body));
    fill(verb, { ...body, piece: body.piece ?? { ...NOTES_EMPTY, kind: now }, seed: null });
    status.say(plays ? "Compose, open a MIDI file, or play on the computer's keys and let the model continue."
      : "A beginning: harmonize it, draw over it, or compose a piece of your own.");
  }

  // Fill the controls and the roll from a request.
  function fill(verb, body) {
    drawing.fill(body);
    label.value = body.label ?? "";
    const writer = verb === "infill" || verb === "harmonize" ? filler : model;
    if (body.model && body.model !== nameOf("play")) writer.value = body.model;
    const piece = pieceOf(body.piece ?? { ...NOTES_EMPTY, kind: kind.value });
    if (body.steps) bars.value = Math.ceil(body.steps / barTicks(piece));
    seconds.value = body.seconds ?? seconds.value;
    give(piece, body.open?.reduce((open, [voice, from, until]) =>
      withCells(open, piece.length, [voice], from, until, 1), lockedCells(piece)), false);
    past.length = future.length = 0;
    enabled();
  }

  panel.append(
    ...panelHead("Notes: music in four voices and on the piano", "Draw a few notes and let a Music Transformer write " +
      "the rest: harmonize a melody, continue a beginning, fill in what you leave open. Then listen, and see what " +
      "each note looked at."),
    element("div", { class: "card" }, inBar(kind.node, examples.node, label.node, bars.node, seconds.node, count.node),
      element("div", { class: "bar verbs" }, ...Object.values(verbs), stop, listen, opener), keys.node,
      folded("More settings", inBar(model.node, filler.node, ...drawing.nodes)), status.node, strip),
    element("div", { class: "card" }, inBar(tools.node, voices.node, undo, redo,
      action("−", () => roll.zoom(0.8), { "aria-label": "Zoom out" }),
      action("+", () => roll.zoom(1.25), { "aria-label": "Zoom in" })), locks, roll.node,
    element("div", { class: "transport" }, play, slider, clock, tempo.node, loop.node), mutes, ...closer.below, footer),
    element("div", { class: "columns" }, ...closer.beside));
  panel.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    if (!(event.ctrlKey || event.metaKey) || !"zy".includes(key) || /INPUT|TEXTAREA/.test(event.target.tagName)) return;
    event.preventDefault();
    (key === "y" || event.shiftKey ? redo : undo).click();
  });

  function show(request) {
    const { endpoint: verb, body } = request ?? {};
    begin(!body ? kind.value : body.piece?.kind ?? (body.model === nameOf("play") ? "performance" : "chorale"));
    if (!body) return;
    fill(verb, body);
    start(verb, [body]);
  }

  function hide() {
    writing.stop();
    player.pause();
    listening(false);
    closer.stop();
  }

  return { show, hide };
}
