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

// "#translate/{...}" -> {tab: "words", request: {endpoint: "translate", body: {...}}}; "#words" -> no request.
function parsedFragment(fragment) {
  const [, name, text] = /^#\/?(\w+)(?:\/(.*))?$/.exec(fragment) ?? [];
  if (name in TABS) return { tab: name, request: null };
  const tab = Object.keys(TABS).find((one) => ENDPOINTS[one].includes(name));
  try {
    const body = JSON.parse(decodeURIComponent(text));
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

const addresses = {}; // the last address of each tab, to come back to

function announce(text) {
  document.getElementById("live").textContent = text;
}

function startTabs(api) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const mounted = {};
  const status = notice();
  const retry = action("Try again", load, { hidden: true });
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
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
    }
    const known = name in mounted && addresses[name] === location.hash;
    current = name;
    addresses[name] = location.hash;
    document.title = `${capital(name)} · Triptych`;
    if (!facts) return;
    const parts = { api, facts, route: createRoute(name), announce };
    mounted[name] ??= TABS[name](document.getElementById(`panel-${name}`), parts);
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
    document.getElementById("main").focus();
  });
  document.getElementById("main").append(status.node, retry);
  open();
  load();
}

function startTheme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;

  function show() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `${button.textContent} theme`);
    document.dispatchEvent(new CustomEvent("themechange"));
  }
  button.addEventListener("click", () => {
    root.dataset.theme = button.textContent.toLowerCase();
    try { localStorage.setItem("triptych-theme", root.dataset.theme); } catch { /* a browser that keeps nothing */ }
    show();
  });
  let kept = null;
  try { kept = localStorage.getItem("triptych-theme"); } catch { /* a browser that keeps nothing */ }
  if (kept) root.dataset.theme = kept;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
}

startTheme();
startTabs(createApi(window.TRIPTYCH_RECORDED ?? null));
