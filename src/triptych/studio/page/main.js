// The frame of the studio: four tabs, each with an address in the fragment, and the theme.
import { action, capital, isDark, notice } from "./widgets.js";
import { createApi } from "./api.js";
import { mountLayers } from "./layers.js";
import { mountNotes } from "./notes.js";
import { mountPixels } from "./pixels.js";
import { mountWords } from "./words.js";

const TABS = { words: mountWords, pixels: mountPixels, notes: mountNotes, layers: mountLayers };
const ENDPOINTS = {
  words: ["translate"], pixels: ["paint", "complete", "upscale"], layers: ["figure"],
  notes: ["compose", "continue", "harmonize", "infill"],
};
const addresses = {}; // the last address of each tab, to come back to
const byId = (id) => document.getElementById(id);

// "#translate/{...}" -> {tab: "words", request: {endpoint: "translate", body: {...}}}; "#words" -> no request.
function parsedFragment(fragment) {
  const [, name, text] = /^#\/?(\w+)(?:\/(.*))?$/.exec(fragment) ?? [];
  const tab = name in TABS ? name : Object.keys(TABS).find((one) => ENDPOINTS[one].includes(name));
  try {
    const body = name in TABS ? null : JSON.parse(decodeURIComponent(text));
    if (tab && body && typeof body === "object") return { tab, request: { endpoint: name, body } };
  } catch { /* an address that was cut short opens the tab alone */ }
  return { tab: tab ?? "words", request: null };
}

function fragmentOf(endpoint, body) {
  return body ? `#${endpoint}/${encodeURIComponent(JSON.stringify(body))}` : `#${endpoint}`;
}

function createRoute(tab) {
  return {
    address: (endpoint, body) => location.href.split("#")[0] + fragmentOf(endpoint, body),
    set(endpoint, body, { push = false } = {}) {
      const fragment = fragmentOf(endpoint, body);
      if (addresses[tab] === fragment) return;
      addresses[tab] = fragment;
      if (parsedFragment(location.hash).tab !== tab) return; // a result of a tab that was left meanwhile
      history[push ? "pushState" : "replaceState"](null, "", fragment);
    },
  };
}

function startTabs(api) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const mounted = {};
  const status = notice();
  const retry = action("Try again", load, { hidden: true });
  const announce = (text) => { byId("live").textContent = text; };
  let facts = null; // the answer of /api/models; a panel is mounted with it, so that no control lacks what it needs
  let current = null;

  async function load() {
    retry.hidden = true;
    status.busy("Asking the studio for its models …");
    try {
      facts = await api.get("models");
    } catch (error) {
      retry.hidden = false;
      return status.fail(error);
    }
    status.clear();
    return open();
  }

  function open() {
    const { tab: name, request } = parsedFragment(location.hash);
    if (current !== name) mounted[current]?.hide();
    for (const tab of tabs) {
      const chosen = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = !chosen;
    }
    const known = name in mounted && addresses[name] === location.hash;
    current = name;
    addresses[name] = location.hash;
    document.title = `${capital(name)} · Triptych`;
    if (!facts) return;
    mounted[name] ??= TABS[name](byId(`panel-${name}`), { api, facts, route: createRoute(name), announce });
    if (!known) mounted[name].show(request);
  }

  function choose(tab) {
    const name = tab.id.slice("tab-".length);
    if (name !== current) location.hash = addresses[name] || fragmentOf(name);
    tab.focus();
  }

  for (const [place, tab] of tabs.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: place + 1, ArrowLeft: place - 1 + tabs.length, Home: 0, End: tabs.length - 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      choose(tabs[steps[event.key] % tabs.length]);
    });
  }
  window.addEventListener("hashchange", open);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment holds the address of a result
    byId("main").focus();
  });
  byId("main").append(status.node, retry);
  open();
  load();
}

// The theme that a person has chosen, if the browser keeps it.
function keptTheme(now) {
  try {
    if (now) localStorage.setItem("triptych-theme", now);
    return localStorage.getItem("triptych-theme");
  } catch { return now; /* a browser that keeps nothing */ }
}

function startTheme() {
  const [button, { dataset }] = [byId("theme"), document.documentElement];
  function show() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `${button.textContent} theme`);
    document.dispatchEvent(new CustomEvent("themechange"));
  }
  button.addEventListener("click", () => {
    dataset.theme = button.textContent.toLowerCase();
    keptTheme(dataset.theme);
    show();
  });
  const kept = keptTheme();
  if (kept) dataset.theme = kept;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
}

startTheme();
startTabs(createApi(window.TRIPTYCH_RECORDED ?? null));
