// The computer's keys as a piano: what is played is heard and written down, a performance to be continued.
import { isBlack, pitchName } from "./piece.js";
import { element } from "./widgets.js";

const KEYS_CODES = [..."AWSEDFTGYHUJKOLP"].map((letter) => `Key${letter}`).concat("Semicolon");
const KEYS_OCTAVES = { KeyZ: -12, KeyX: 12 };
const KEYS_VELOCITY = 76;
const KEYS_SHORTEST = 30; // milliseconds

// onnotes(notes) gets all notes so far, in milliseconds from the first, after each that ends.
export function createKeys({ touch, onnotes, announce }) {
  let [on, base] = [false, 60];
  let [begin, notes] = [null, []]; // the time of the first note, and all of them
  const down = new Map(); // what is held: pitch -> {start, stop}
  const now = () => Math.round(performance.now() - begin);

  const buttons = KEYS_CODES.map((code, step) => element("button", {
    type: "button", class: isBlack(step) ? "key black" : "key", tabindex: step ? -1 : 0,
    onpointerdown: () => strike(base + step), onpointerup: () => lift(base + step),
    onpointerleave: () => lift(base + step),
    onkeydown: (event) => {
      if (event.key === "Enter" && !event.repeat) strike(base + step);
      buttons[step + ({ ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? NaN)]?.focus();
    },
    onkeyup: (event) => { if (event.key === "Enter") lift(base + step); },
  }));
  const node = element("div", { class: "keys", role: "group", "aria-label": "Piano keys" }, ...buttons);

  function named() {
    for (const [step, button] of buttons.entries()) {
      button.textContent = KEYS_CODES[step].replace("Key", "").replace("Semicolon", ";");
      button.setAttribute("aria-label", `${button.textContent}: ${pitchName(base + step)}`);
    }
  }

  function strike(pitch) {
    if (down.has(pitch)) return;
    begin ??= performance.now();
    down.set(pitch, { start: now(), stop: touch(pitch, { velocity: KEYS_VELOCITY }) });
    buttons[pitch - base]?.toggleAttribute("data-down", true);
  }

  function lift(pitch) {
    if (!down.has(pitch)) return;
    const { start, stop } = down.get(pitch);
    down.delete(pitch);
    stop(0.08);
    buttons[pitch - base]?.toggleAttribute("data-down", false);
    const end = Math.max(start + KEYS_SHORTEST, now());
    notes = [...notes, { start, end, pitch, velocity: KEYS_VELOCITY, voice: 0 }];
    onnotes(notes);
  }

  function heard(event) {
    const [step, octave] = [KEYS_CODES.indexOf(event.code), KEYS_OCTAVES[event.code]];
    if (event.ctrlKey || event.metaKey || event.altKey || (step < 0 && !octave)) return;
    if (/INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.type === "keyup") lift(base + step);
    else if (octave && !event.repeat) {
      for (const pitch of [...down.keys()]) lift(pitch);
      base = Math.min(84, Math.max(24, base + octave));
      named();
      announce(`The keys begin at ${pitchName(base)}`);
    } else if (!event.repeat) strike(base + step);
  }

  named();
  return {
    node,
    get on() { return on; },
    listen(wanted) {
      if (on === wanted) return;
      for (const pitch of [...down.keys()]) lift(pitch);
      if (wanted) [begin, notes] = [null, []];
      on = wanted;
      for (const kind of ["keydown", "keyup"]) document[`${on ? "add" : "remove"}EventListener`](kind, heard, true);
    },
  };
}
