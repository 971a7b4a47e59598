// The player: plate, matte, result and difference side by side, at the host's frame numbers.
import { byId, el, follow, get, header, notice } from "./common.js";
import { fileField, spaceField } from "./files.js";
import { Frames } from "./frames.js";
import { Viewer } from "./viewer.js";

const RATE = 24;
const ROLES = { plate: "Plate", matte: "Matte", result: "Result" };
const query = new URLSearchParams(location.search);
const files = Object.fromEntries(Object.keys(ROLES).map((role) => [role, query.get(role) ?? ""]));
const state = { frame: 0, speed: 0, all: [], x: null };
let shot = null;

header();
follow(() => {});

const viewer = new Viewer(byId("stage"), { onPoint: point });
const frames = new Frames(addresses, (frame, pictures) => {
  viewer.show(pictures);
  byId("left").textContent = label(viewer.mode === "B" ? "b" : "a", frame);
  byId("right").textContent = ["wipe", "onion"].includes(viewer.mode) ? label("b", frame) : "";
  byId("stage").dataset.frame = frame;
}, (error) => notice(byId("notice"), error));

const label = (side, frame) => `${side.toUpperCase()}: ${byId(side).value} ${frame}`;

function address(kind, frame, more = {}) {
  if (!kind || kind === "none") return null;
  const needs = { plate: ["plate"], result: ["result"], matte: ["matte"], overlay: ["plate", "matte"], difference: ["plate", "result"], confidence: ["result"] }[kind];
  if (needs.some((role) => !shot.frames[role]?.includes(frame))) return null;
  const fields = { kind, frame, ...Object.fromEntries([...new Set([...needs, "plate"])].filter((role) => files[role]).map((role) => [role, files[role]])),
    display: byId("display").value, view: byId("view").value, exposure: byId("exposure").value, gamma: byId("gamma").value, gain: byId("gain").value,
    space: query.get("space") ?? "", layer: query.get("layer") ?? "", ...more };
  return `/api/picture?${new URLSearchParams(fields)}`;
}

function proxyWidth() {
  const wanted = byId("stage").clientWidth * devicePixelRatio;
  return [640, 960, 1280, 1920].find((width) => width >= wanted) ?? 1920;
}

function addresses(frame) {
  const more = { width: proxyWidth() };
  const first = address(byId("a").value, frame, more), second = address(byId("b").value, frame, more);
  return viewer.mode === "A" ? [first, null] : viewer.mode === "B" ? [null, second] : [first, second];
}

async function open() {
  if (!files.plate && !files.result) { byId("open").open = true; return; }
  try {
    shot = await get(`/api/shot?${new URLSearchParams({ ...files, space: query.get("space") ?? "", layer: query.get("layer") ?? "" })}`);
  } catch (error) {
    notice(byId("notice"), error);
    byId("open").open = true;
    return;
  }
  if (shot.color?.code) notice(byId("notice"), shot.color);
  byId("color").textContent = shot.color?.space ? `${shot.size.width} × ${shot.size.height}, ${shot.color.space}. Channels: ${shot.size.channels.slice(0, 8).join(", ")}` : "";
  viewer.size = shot.size;
  viewer.tileAddress = (side, left, top, width, height) =>
    state.speed ? null : address(byId(side ? "b" : "a").value, state.frame, { tile: [left, top, width, height].join(), width: 0 });
  const inside = shot.frames.result ?? shot.frames.plate;
  state.all = [...new Set([...(shot.frames.plate ?? []), ...inside])].sort((one, other) => one - other); // new frames lie beyond the plate
  const kinds = ["plate", "result", "difference", "confidence", "matte", "overlay", "none"].filter((kind) => kind === "none" || (kind === "confidence" && shot.has_confidence)
    || (["difference", "overlay"].includes(kind) ? shot.frames.plate && shot.frames[kind === "overlay" ? "matte" : "result"] : shot.frames[kind]));
  fill("a", kinds, kinds[0]);
  fill("b", kinds, kinds.includes("result") ? "result" : kinds.includes("overlay") ? "overlay" : "none");
  fill("display", Object.keys(shot.views));
  fill("view", shot.views[byId("display").value]);
  for (const id of ["scrub", "frame"]) { byId(id).min = state.all[0]; byId(id).max = state.all.at(-1); }
  byId("in").value = inside[0];
  byId("out").value = inside.at(-1);
  state.frame = inside[0];
  if (shot.frames.result && shot.frames.plate) mode("wipe");
  go(Number(query.get("frame")) || inside[0]);
}

function fill(id, options, chosen = options[0]) {
  byId(id).replaceChildren(...options.map((option) => el("option", { selected: option === chosen }, option)));
}

function range() {
  const first = Number(byId("in").value), last = Number(byId("out").value);
  return first <= last ? [Math.max(first, state.all[0]), Math.min(last, state.all.at(-1))] : [state.all[0], state.all.at(-1)];
}

function go(frame) {
  if (!shot) return;
  const bounded = Math.min(Math.max(Math.round(frame), state.all[0]), state.all.at(-1));
  if (bounded !== state.frame) viewer.dropTiles();
  state.frame = bounded;
  byId("scrub").value = bounded;
  byId("scrub").setAttribute("aria-valuetext", `frame ${bounded}`);
  if (document.activeElement !== byId("frame")) byId("frame").value = bounded;
  frames.want(bounded, following(bounded));
  proxies();
}

function following(frame) {
  if (!state.speed) return [frame + 1, frame - 1].filter((each) => state.all.includes(each));
  const found = [];
  for (let each = next(frame); found.length < 6 && each !== null && each !== frame; each = next(each)) found.push(each);
  return found;
}

function next(frame) {
  const [first, last] = range();
  const wanted = frame + state.speed;
  if (wanted >= first && wanted <= last) return wanted;
  return byId("loop").checked ? (state.speed > 0 ? first : last) : null;
}

function play(speed) {
  state.speed = speed;
  byId("rate").textContent = "";
  clearInterval(play.timer);
  if (!speed) return frames.want(state.frame, following(state.frame));
  let shownFrames = 0, began = performance.now();
  play.timer = setInterval(() => {
    const wanted = next(state.frame);
    if (wanted === null) return play(0);
    if (!frames.has(wanted)) return frames.want(state.frame, following(state.frame)); // waits; nothing is skipped
    go(wanted);
    shownFrames++;
    const seconds = (performance.now() - began) / 1000;
    if (seconds > 1) {
      byId("rate").textContent = `${(shownFrames / seconds).toFixed(0)} fps`;
      [shownFrames, began] = [0, performance.now()];
    }
  }, 1000 / RATE);
}

// A ZIP file of small pictures: what A shows, as it looks now, from in to out.
function proxies() {
  const [first, last] = range();
  const shown = address(byId("a").value, state.frame, { first, last, width: 1280 });
  byId("proxies").hidden = !shown;
  if (shown) byId("proxies").href = shown.replace("/api/picture?", "/api/proxies?");
}

function mode(wanted) {
  viewer.mode = wanted;
  for (const button of byId("modes").children) button.setAttribute("aria-pressed", String(button.dataset.mode === wanted));
  if (shot) frames.want(state.frame, following(state.frame));
}

let asked = null;
async function point(x, y, event, kind) {
  if (kind === "down") byId("stage").focus();
  if (viewer.mode === "wipe" && (kind === "down" || (kind === "move" && event.buttons === 1))) {
    byId("wipe").value = viewer.wipe = Math.min(Math.max(x / viewer.size.width, 0), 1);
    viewer.draw();
  }
  if (!shot || kind === "leave" || state.speed) return;
  const wish = [Math.floor(x), Math.floor(y), state.frame];
  if (asked) { asked.next = wish; return; }
  asked = { next: wish };
  while (asked.next) {
    const [px, py, frame] = asked.next;
    asked.next = null;
    try {
      show(px, py, await get(`/api/probe?${new URLSearchParams({ ...files, frame, x: px, y: py, space: query.get("space") ?? "" })}`));
    } catch { /* the next move asks again */ }
  }
  asked = null;
}

function show(x, y, values) {
  const number = (value) => (Math.abs(value) < 1e-4 && value ? value.toExponential(1) : value.toFixed(4)).padStart(9);
  byId("probe").textContent = `x ${x}  y ${y}` + Object.entries(values).map(([role, list]) => `   ${role}${list.map(number).join("")}`).join("");
}

const KEYS = {
  j: () => play(state.speed < 0 ? Math.max(2 * state.speed, -8) : -1), k: () => play(0), l: () => play(state.speed > 0 ? Math.min(2 * state.speed, 8) : 1),
  " ": () => play(state.speed ? 0 : 1),
  arrowleft: (event) => (event.ctrlKey ? viewer.pan(-0.05, 0) : step(event.shiftKey ? -10 : -1)),
  arrowright: (event) => (event.ctrlKey ? viewer.pan(0.05, 0) : step(event.shiftKey ? 10 : 1)),
  arrowup: (event) => event.ctrlKey && viewer.pan(0, -0.05), arrowdown: (event) => event.ctrlKey && viewer.pan(0, 0.05),
  home: () => step(-1e7), end: () => step(1e7),
  i: (event) => { byId("in").value = event.shiftKey ? state.all[0] : state.frame; }, o: (event) => { byId("out").value = event.shiftKey ? state.all.at(-1) : state.frame; },
  x: () => mode(viewer.mode === "A" ? "B" : "A"), w: () => mode("wipe"), n: () => mode("onion"),
  "[": () => wipe(-0.02), "]": () => wipe(0.02), f: () => viewer.fit(), 1: () => viewer.pixels(1), "+": () => viewer.zoom(1.25), "-": () => viewer.zoom(0.8),
  e: (event) => { byId("exposure").value = Number(byId("exposure").value) + (event.shiftKey ? -0.25 : 0.25); look(); },
};

function step(frames) { play(0); go(state.frame + frames); }
function wipe(by) { byId("wipe").value = viewer.wipe = Math.min(Math.max(viewer.wipe + by, 0), 1); viewer.draw(); }

function look() {
  for (const id of ["exposure", "gamma", "gain"]) byId(`${id}-value`).textContent = Number(byId(id).value).toFixed(id === "gain" ? 0 : 2);
  viewer.dropTiles();
  if (shot) frames.want(state.frame, state.speed ? following(state.frame) : []);
}

addEventListener("keydown", (event) => {
  const place = event.target;
  const isTyping = place.matches("input:not([type=range], [type=checkbox]), select, textarea, dialog *") || (place.matches("input[type=range]") && event.key.startsWith("Arrow"));
  const isPress = place.matches("button, summary, a") && [" ", "Enter"].includes(event.key);
  const act = KEYS[event.key.toLowerCase()];
  if (!act || isTyping || isPress || event.metaKey || (event.ctrlKey && !event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  act(event);
});
byId("scrub").addEventListener("input", () => { if (state.speed) play(0); go(Number(byId("scrub").value)); });
byId("frame").addEventListener("change", () => step(Number(byId("frame").value) - state.frame));
byId("back").onclick = KEYS.j;
byId("stop").onclick = KEYS.k;
byId("forward").onclick = KEYS.l;
for (const event of ["pointerdown", "focus"]) byId("proxies").addEventListener(event, proxies);
byId("fit").onclick = KEYS.f;
byId("one").onclick = KEYS[1];
byId("closer").onclick = KEYS["+"];
byId("farther").onclick = KEYS["-"];
byId("wipe").addEventListener("input", () => { viewer.wipe = Number(byId("wipe").value); viewer.draw(); });
for (const button of byId("modes").children) button.onclick = () => mode(button.dataset.mode);
for (const id of ["exposure", "gamma", "gain", "view", "a", "b"]) byId(id).addEventListener("input", look);
byId("display").addEventListener("input", () => { fill("view", shot.views[byId("display").value]); look(); });
byId("files").append(...Object.entries(ROLES).map(([role, name]) => fileField(`file-${role}`, name)), spaceField(query.get("space") ?? ""),
  el("button", { type: "submit" }, "Open"));
for (const role of Object.keys(ROLES)) byId(`file-${role}`).value = files[role];
byId("files").addEventListener("submit", (event) => {
  event.preventDefault();
  const chosen = Object.keys(ROLES).map((role) => [role, byId(`file-${role}`).value.trim()]).filter(([, value]) => value);
  if (byId("space").value.trim()) chosen.push(["space", byId("space").value.trim()]);
  location.search = new URLSearchParams(chosen);
});
open();
