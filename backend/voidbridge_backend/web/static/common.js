// Shared by every page: requests, the header, the state of the daemon, notices. No page keeps a state elsewhere.

export class Refusal extends Error {
  constructor(fields) {
    super(fields.text || "the page does not answer");
    this.code = fields.code || "web";
    this.hint = fields.hint || "";
  }
}

async function answered(response) {
  if (response.ok) return response;
  let fields;
  try {
    fields = await response.json();
  } catch {
    fields = { text: `${response.status} ${response.statusText}`, hint: response.status === 403
      ? "Open a link that voidbridge web printed in the terminal." : "" };
  }
  throw new Refusal(fields);
}

async function asked(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal({ code: "web.gone", text: "the page's server does not answer",
      hint: "Check whether voidbridge web still runs in its terminal." });
  }
}

export async function get(path, signal) {
  return (await answered(await asked(path, { signal }))).json();
}

export async function blob(path, signal) {
  return (await answered(await asked(path, { signal }))).blob();
}

export async function post(path, fields = {}) {
  const headers = { "Content-Type": "application/json" };
  return (await answered(await asked(path, { method: "POST", headers, body: JSON.stringify(fields) }))).json();
}

export async function send(path, picture) {
  const headers = { "Content-Type": "image/png" };
  return (await answered(await asked(path, { method: "POST", headers, body: picture }))).json();
}

// An element: el("p", {class: "soft", onclick: f}, "text", child, ...)
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null));
  return made;
}

export const byId = (id) => document.getElementById(id);

const PAGES = [["/", "Queue"], ["/new", "New job"], ["/masks", "Masks"], ["/player", "Player"]];

export function header() {
  const here = location.pathname;
  const links = PAGES.map(([path, name]) => el("li", {},
    el("a", { href: path, "aria-current": here === path ? "page" : null }, name)));
  document.body.prepend(
    el("a", { class: "skip", href: "#main" }, "To the content"),
    el("header", { class: "top" },
      el("a", { class: "brand", href: "/" }, "Voidbridge"),
      el("nav", { class: "top", "aria-label": "Pages" }, el("ul", {}, links)),
      el("div", { class: "daemon", role: "status", id: "daemon" },
        el("span", { class: "lamp" }), el("span", {}, "asking the daemon"))));
}

export function showDaemon(state) {
  const place = byId("daemon");
  const health = state.health;
  const words = [];
  let is = "bad";
  if (state.is_there) {
    is = health.ready ? "good" : "warn";
    words.push(health.ready ? "ready" : health.text || "not ready",
      `${health.running} running, ${health.queued} waiting`, `${size(health.free)} free`, state.user || "local");
  } else {
    words.push("the daemon does not answer");
  }
  place.firstChild.dataset.is = is;
  const said = words.join(" · ");
  if (place.lastChild.textContent !== said) place.lastChild.textContent = said;
}

export function notice(place, refusal, is = "bad") {
  place.replaceChildren(el("div", { class: "notice", role: "alert", "data-is": is },
    el("p", {}, refusal.message || refusal.text),
    refusal.hint ? el("p", { class: "hint" }, refusal.hint) : null,
    refusal.code && is === "bad" ? el("p", { class: "soft mono" }, refusal.code) : null));
}

// The queue as it changes. A hidden tab lets go of its connection: browsers keep only six to one server.
export function follow(onChange) {
  let source = null;
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource("/api/events");
    source.onmessage = (event) => {
      const change = JSON.parse(event.data);
      showDaemon(change.daemon);
      onChange(change);
    };
    source.onerror = () => {
      showDaemon({ is_there: false });
      if (source?.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(open, 2000);
      }
    };
  };
  const close = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}

export function size(bytes) {
  for (const [unit, factor] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6]])
    if (bytes >= factor) return `${(bytes / factor).toFixed(bytes >= 10 * factor ? 0 : 1)} ${unit}`;
  return `${Math.round(bytes / 1000)} kB`;
}

export function duration(seconds) {
  if (!(seconds >= 0)) return "";
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// Waits until a command of the page has ended; `onEach` is told of its course. Throws the command's own error.
export async function ended(number, onEach = () => {}) {
  for (;;) {
    const command = await get(`/api/commands/${number}`);
    onEach(command);
    if (command.state === "failed") {
      const { text, hint, code } = command.events.error ?? { text: "the command failed" };
      throw new Refusal({ text, hint, code });
    }
    if (command.state !== "running") return command;
    await new Promise((done) => setTimeout(done, 500));
  }
}

export function stateMark(state) {
  return el("span", { class: "state", "data-is": state }, state);
}

export const isFinal = (state) => ["done", "failed", "cancelled"].includes(state);
