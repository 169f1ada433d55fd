// The computer's keys as a piano: what is played is heard and written down, a performance to be continued.
import { pitchName } from "./piece.js";
import { element } from "./widgets.js";

const KEYS_PIANO = "KeyA KeyW KeyS KeyE KeyD KeyF KeyT KeyG KeyY KeyH KeyU KeyJ KeyK KeyO KeyL KeyP Semicolon".split(" ");
const KEYS_BLACK = [1, 3, 6, 8, 10];

// `onnotes(notes)` gets all notes so far, in milliseconds from the first, after each that ends.
export function createKeys({ touch, onnotes, announce }) {
  let on = false;
  let base = 60;
  let begin = null; // the time of the first note
  let notes = [];
  const down = new Map(); // what is held: pitch -> {start, stop}

  const buttons = KEYS_PIANO.map((code, step) => element("button", {
    type: "button", class: KEYS_BLACK.includes(step % 12) ? "key black" : "key", tabindex: step ? -1 : 0,
    onpointerdown: (event) => { event.preventDefault(); strike(base + step); },
    onpointerup: () => lift(base + step), onpointerleave: () => lift(base + step),
    onkeydown: (event) => { if (event.key === "Enter" && !event.repeat) strike(base + step); walk(event, step); },
    onkeyup: (event) => { if (event.key === "Enter") lift(base + step); },
  }));
  const node = element("div", { class: "keys", role: "group", "aria-label": "Piano keys: A to ; on the keyboard, Z and X change the octave" },
    ...buttons);

  function walk(event, step) {
    const next = buttons[step + ({ ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? NaN)];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  function name() {
    buttons.forEach((button, step) => {
      const letter = KEYS_PIANO[step].replace("Key", "").replace("Semicolon", ";");
      button.replaceChildren(element("span", { text: letter }));
      button.setAttribute("aria-label", `${pitchName(base + step)}, key ${letter}`);
    });
  }

  function strike(pitch) {
    if (down.has(pitch)) return;
    begin ??= performance.now();
    down.set(pitch, { start: Math.round(performance.now() - begin), stop: touch(pitch, { velocity: 76 }) });
    buttons[pitch - base]?.setAttribute("data-down", "");
  }

  function lift(pitch) {
    const held = down.get(pitch);
    if (!held) return;
    down.delete(pitch);
    held.stop(0.08);
    buttons[pitch - base]?.removeAttribute("data-down");
    const end = Math.max(held.start + 30, Math.round(performance.now() - begin));
    notes = [...notes, { start: held.start, end, pitch, velocity: 76, voice: 0 }];
    onnotes(notes);
  }

  function heard(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) return;
    const step = KEYS_PIANO.indexOf(event.code);
    const octave = { KeyZ: -12, KeyX: 12 }[event.code];
    if (step < 0 && !octave) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.type === "keyup") return lift(base + step);
    if (octave && !event.repeat) {
      for (const pitch of [...down.keys()]) lift(pitch);
      base = Math.min(84, Math.max(24, base + octave));
      name();
      announce(`The keys begin at ${pitchName(base)}`);
    } else if (!event.repeat) strike(base + step);
  }

  name();
  return {
    node,
    get on() { return on; },
    listen(now) {
      if (on === now) return;
      on = now;
      if (!on) for (const pitch of [...down.keys()]) lift(pitch);
      [begin, notes] = on ? [null, []] : [begin, notes];
      for (const kind of ["keydown", "keyup"]) document[on ? "addEventListener" : "removeEventListener"](kind, heard, true);
    },
  };
}
