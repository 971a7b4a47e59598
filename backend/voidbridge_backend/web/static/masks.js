// Masks: clicks, boxes and brush strokes on frames, by object; then tracked, looked at, corrected, and removed.
import { askForAffected } from "./asked.js";
import { combineMattes, RULES } from "./combine.js";
import { byId, el, ended, follow, get, header, notice, post, send } from "./common.js";
import { fileField, spaceField } from "./files.js";
import { Frames } from "./frames.js";
import { Viewer } from "./viewer.js";

const COLORS = ["#ff6b6b", "#4dabf7", "#69db7c", "#ffd43b", "#da77f2", "#ff922b", "#66d9e8", "#f783ac"];
const ROLES = ["primary", "belonging", "affected"];
const query = new URLSearchParams(location.search);
const state = { plate: query.get("plate") ?? "", output: query.get("output") ?? "", space: query.get("space") ?? "", frame: 0, objects: [], chosen: 0, matte: "", cross: null, box: null, stroke: null };
let shot = null;

header();
follow(() => {});
const viewer = new Viewer(byId("stage"), { onPoint: point, onDraw: marks });
const frames = new Frames((frame) => [address(frame), null], (frame, pictures) => {
  viewer.show(pictures);
  byId("left").textContent = `frame ${frame}`;
  byId("stage").dataset.frame = frame;
  byId("stage").dataset.matte = String(showsMatte());
}, (error) => notice(byId("notice"), error));

const showsMatte = () => Boolean(state.matte) && byId("overlay").checked && shot.mattes.includes(state.frame);

function address(frame) {
  if (!shot?.frames.plate.includes(frame)) return null;
  const has = state.matte && byId("overlay").checked && shot.mattes.includes(frame);
  const files = has ? { plate: state.plate, matte: state.matte } : { plate: state.plate };
  return `/api/picture?${new URLSearchParams({ kind: has ? "overlay" : "plate", frame, width: 1280, space: state.space, ...files })}`;
}

async function open() {
  if (!state.plate) return;
  try {
    shot = { mattes: [], ...(await get(`/api/shot?${new URLSearchParams({ plate: state.plate, space: state.space })}`)) };
    if (shot.color?.code) notice(byId("notice"), shot.color);
    const found = state.output ? (await get(`/api/prompts?${new URLSearchParams({ folder: state.output })}`)).objects : [];
    state.objects = found.length ? found.map(restored) : [fresh("object")];
  } catch (error) {
    notice(byId("notice"), error);
    return;
  }
  byId("open").open = false;
  viewer.size = shot.size;
  state.cross = [shot.size.width / 2, shot.size.height / 2];
  for (const id of ["scrub", "frame"]) { byId(id).min = shot.frames.plate[0]; byId(id).max = shot.frames.plate.at(-1); }
  await look();
  go(shot.frames.plate[0]);
  list();
}

const fresh = (name) => ({ name, role: "primary", points: [], boxes: [], keys: {}, noun: "", painted: new Map() });
const restored = (entry) => ({ ...fresh(entry.name ?? "object"), ...entry, painted: new Map() });

// The mattes that are there already, as of an earlier visit.
async function look() {
  if (!state.output) return;
  try {
    const { sequences } = await get(`/api/folder?${new URLSearchParams({ path: state.output })}`);
    const quadmask = sequences.find((sequence) => /\/quadmask\.[^/]*$/.test(sequence.pattern));
    if (!quadmask) return;
    state.matte = quadmask.pattern;
    shot.mattes = (await get(`/api/shot?${new URLSearchParams({ matte: quadmask.pattern })}`)).frames.matte;
    byId("after-track").hidden = false;
    byId("remove").href = `/new?${new URLSearchParams({ plate: state.plate, matte: quadmask.pattern, ...(state.space ? { color_space: state.space } : {}) })}`;
    combining.show(sequences);
    asking.show(sequences);
  } catch { /* the folder is made when it is needed */ }
}

function go(frame) {
  if (!shot) return;
  state.frame = Math.min(Math.max(Math.round(frame), shot.frames.plate[0]), shot.frames.plate.at(-1));
  byId("scrub").value = state.frame;
  byId("scrub").setAttribute("aria-valuetext", `frame ${state.frame}`);
  byId("frame").value = state.frame;
  frames.want(state.frame, [state.frame + 1, state.frame - 1].filter((each) => shot.frames.plate.includes(each)));
}

const tool = () => document.querySelector("[name=tool]:checked").value;
const chosen = () => state.objects[state.chosen];
const tenth = (number) => Math.round(number * 10) / 10;

function point(x, y, event, kind) {
  if (!shot || kind === "leave") return;
  const bounded = [Math.min(Math.max(x, 0), shot.size.width - 0.5), Math.min(Math.max(y, 0), shot.size.height - 0.5)];
  const used = tool();
  if (kind === "down") {
    byId("stage").focus();
    state.cross = bounded;
    if (used === "box") state.box = [...bounded, ...bounded];
    else if (used === "brush") { state.stroke = bounded; paint(bounded, event.shiftKey); }
    else click(bounded, used === "on" && !event.shiftKey ? 1 : 0);
  } else if (kind === "move" && state.box) { state.box.splice(2, 2, ...bounded); viewer.draw(); }
  else if (kind === "move" && state.stroke) paint(bounded, event.shiftKey);
  else if (kind === "up") {
    if (state.box) box();
    if (state.stroke) { state.stroke = null; list(); }
  }
}

function click([x, y], label) {
  chosen().points.push({ frame: state.frame, x: tenth(x), y: tenth(y), label });
  list();
}

function box() {
  const [x0, y0, x1, y1] = state.box;
  state.box = null;
  const made = { frame: state.frame, left: tenth(Math.min(x0, x1)), top: tenth(Math.min(y0, y1)), right: tenth(Math.max(x0, x1)), bottom: tenth(Math.max(y0, y1)) };
  if (made.right - made.left >= 2 && made.bottom - made.top >= 2) chosen().boxes.push(made);
  list();
}

function paint(to, erases) {
  const painted = chosen().painted;
  if (!painted.has(state.frame)) painted.set(state.frame, new OffscreenCanvas(shot.size.width, shot.size.height));
  const context = painted.get(state.frame).getContext("2d");
  context.globalCompositeOperation = erases ? "destination-out" : "source-over";
  Object.assign(context, { lineWidth: Number(byId("size").value), lineCap: "round", strokeStyle: COLORS[state.chosen % COLORS.length] });
  context.beginPath();
  context.moveTo(...state.stroke);
  context.lineTo(to[0], to[1] + 0.01);
  context.stroke();
  state.stroke = to;
  viewer.draw();
}

function marks(context, place) {
  if (!shot) return;
  const x = (value) => place.left + (value / shot.size.width) * place.wide, y = (value) => place.top + (value / shot.size.height) * place.high;
  state.objects.forEach((object, i) => {
    const color = COLORS[i % COLORS.length];
    const strokes = object.painted.get(state.frame);
    if (strokes) { context.globalAlpha = 0.5; context.drawImage(strokes, place.left, place.top, place.wide, place.high); context.globalAlpha = 1; }
    context.lineWidth = 2;
    context.strokeStyle = color;
    for (const each of object.boxes.filter((b) => b.frame === state.frame)) context.strokeRect(x(each.left), y(each.top), x(each.right) - x(each.left), y(each.bottom) - y(each.top));
    for (const each of object.points.filter((p) => p.frame === state.frame)) {
      context.beginPath();
      context.arc(x(each.x), y(each.y), 6, 0, 7);
      context.fillStyle = each.label ? color : "#111";
      context.fill();
      context.stroke();
    }
  });
  if (state.box) { context.setLineDash([5, 4]); context.strokeStyle = "#fff"; context.strokeRect(x(state.box[0]), y(state.box[1]), x(state.box[2]) - x(state.box[0]), y(state.box[3]) - y(state.box[1])); context.setLineDash([]); }
  if (document.activeElement === byId("stage") && state.cross) {
    context.strokeStyle = "#ffd36b";
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x(state.cross[0]) - 12, y(state.cross[1])); context.lineTo(x(state.cross[0]) + 12, y(state.cross[1]));
    context.moveTo(x(state.cross[0]), y(state.cross[1]) - 12); context.lineTo(x(state.cross[0]), y(state.cross[1]) + 12);
    context.stroke();
  }
}

function list() {
  byId("objects").replaceChildren(...state.objects.map((object, i) => el("p", { class: "toolbar" },
    el("label", { class: "line" }, el("input", { type: "radio", name: "object", checked: i === state.chosen, onchange: () => { state.chosen = i; list(); } }), object.name),
    el("select", { "aria-label": `Role of ${object.name}`, onchange: (event) => { object.role = event.target.value; } }, ROLES.map((role) => el("option", { selected: role === object.role }, role))))));
  const object = chosen();
  byId("noun").value = object.noun;
  const row = (text, frame, drop) => el("li", { class: "toolbar" }, el("button", { type: "button", class: "small", onclick: () => go(frame) }, text),
    el("button", { type: "button", class: "small", "aria-label": `Delete: ${text}`, onclick: () => { drop(); list(); } }, "×"));
  const rows = [
    ...object.points.map((p) => row(`${p.frame}: ${p.label ? "on it" : "beside it"} at ${p.x}, ${p.y}`, p.frame, () => object.points.splice(object.points.indexOf(p), 1))),
    ...object.boxes.map((b) => row(`${b.frame}: box ${b.left}, ${b.top} to ${b.right}, ${b.bottom}`, b.frame, () => object.boxes.splice(object.boxes.indexOf(b), 1))),
    ...[...new Set([...object.painted.keys(), ...Object.keys(object.keys).map(Number)])].map((frame) => row(`${frame}: painted`, frame, () => { object.painted.delete(frame); delete object.keys[frame]; })),
  ];
  byId("prompts").replaceChildren(...(rows.length ? rows : [el("li", { class: "soft" }, "None yet.")]));
  viewer.draw();
}

async function fields() {
  const overwrite = byId("overwrite").checked;
  for (const object of state.objects)
    for (const [frame, canvas] of object.painted) {
      const place = new URLSearchParams({ folder: state.output, object: object.name, frame, overwrite: Number(overwrite) });
      object.keys[frame] = (await send(`/api/paint?${place}`, await canvas.convertToBlob({ type: "image/png" }))).file;
    }
  const objects = state.objects.filter((o) => o.noun || o.points.length + o.boxes.length + Object.keys(o.keys).length).map(({ painted, ...object }) => object);
  const find = RULES.filter((rule) => byId(`rule-${rule}`).checked).join(",");
  return { ...shared(), objects, find, engine: byId("engine").value.trim() };
}

const shared = () => ({ plate: state.plate, output: state.output, frames: byId("frames").value.trim(), overwrite: byId("overwrite").checked, "color-space": state.space });

// Runs a command of the page, shows its course, and returns it once it is done; null if it failed.
async function course(path, fields) {
  const buttons = ["track", "save", "combine", "draw"].map(byId);
  for (const button of buttons) button.disabled = true;
  try {
    const started = await post(path, await fields());
    byId("notice").replaceChildren();
    byId("cancel").hidden = false;
    byId("cancel").onclick = () => post(`/api/commands/${started.number}/cancel`);
    const command = await ended(started.number, ({ events: { status } }) => {
      byId("course").textContent = status ? `${status.stage || status.state} ${status.of ? `${status.step} of ${status.of}` : ""}` : "reading the frames";
    });
    byId("course").textContent = command.state;
    return command.state === "done" ? command : null;
  } catch (error) {
    byId("course").textContent = "";
    notice(byId("notice"), error);
    return null;
  } finally {
    byId("cancel").hidden = true;
    for (const button of buttons) button.disabled = false;
  }
}

async function showMattes(command) {
  if (!command) return;
  const notes = command.events.warning ? ` Note: ${command.events.warning.text}` : "";
  await look();
  frames.kept.clear();
  go(state.frame);
  byId("course").textContent = `the mattes are there.${notes}`;
}

// Objects of an answer, beside those that are there already.
function addObjects(objects) {
  const taken = new Set(state.objects.map((object) => object.name));
  const added = objects.filter((object) => !taken.has(object.name)).slice(0, COLORS.length - state.objects.length);
  state.objects.push(...added.map(restored));
  list();
  return added.length;
}

const combining = combineMattes(state, async (mattes) => showMattes(await course("/api/masks/combine", () => ({ ...shared(), mattes }))));
const asking = askForAffected(state, (fields) => course("/api/asked/start", () => ({ ...shared(), ...fields })), addObjects, combining);

byId("track").onclick = async () => showMattes(await course("/api/masks", fields));
byId("save").onclick = async () => {
  try {
    byId("course").textContent = `saved as ${(await post("/api/prompts/save", await fields())).file}`;
  } catch (error) {
    notice(byId("notice"), error);
  }
};
byId("add").onclick = () => {
  const name = byId("name").value.trim();
  if (!/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(name) || name === "quadmask" || state.objects.some((object) => object.name === name) || state.objects.length >= COLORS.length)
    return notice(byId("notice"), { text: "An object needs a new name of letters, digits, - and _, a letter first; there are at most 8." });
  byId("notice").replaceChildren();
  state.objects.push(fresh(name));
  state.chosen = state.objects.length - 1;
  byId("name").value = "";
  list();
};
byId("rules").append(...RULES.map((rule) => el("label", { class: "line" }, el("input", { type: "checkbox", id: `rule-${rule}` }), ` ${rule}`)));
byId("noun").addEventListener("input", () => { chosen().noun = byId("noun").value.trim(); });
byId("size").addEventListener("input", () => { byId("size-value").textContent = byId("size").value; });
byId("scrub").addEventListener("input", () => go(Number(byId("scrub").value)));
byId("frame").addEventListener("change", () => go(Number(byId("frame").value)));
byId("before").onclick = () => go(state.frame - 1);
byId("after").onclick = () => go(state.frame + 1);
byId("overlay").addEventListener("input", () => go(state.frame));
byId("stage").addEventListener("focus", () => viewer.draw());
byId("stage").addEventListener("blur", () => viewer.draw());
byId("stage").addEventListener("keydown", (event) => {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (by && event.shiftKey && shot) {
    const step = Math.max(shot.size.width / 100, 1);
    state.cross = [Math.min(Math.max(state.cross[0] + by[0] * step, 0), shot.size.width - 1), Math.min(Math.max(state.cross[1] + by[1] * step, 0), shot.size.height - 1)];
    viewer.draw();
  } else if (by) go(state.frame + by[0]);
  else if (event.key === "Enter" && shot) click(state.cross, tool() === "beside" ? 0 : 1);
  else return;
  event.preventDefault();
});
byId("files").append(fileField("plate", "Plate", "a sequence such as plate.####.exr"), fileField("output", "Folder for the mattes", "the prompts are saved there too", true), spaceField(state.space), el("button", { type: "submit" }, "Open"));
for (const name of ["plate", "output"]) byId(name).value = state[name];
byId("files").addEventListener("submit", (event) => {
  event.preventDefault();
  const space = byId("space").value.trim();
  location.search = new URLSearchParams({ plate: byId("plate").value.trim(), output: byId("output").value.trim().replace(/\/$/, ""), ...(space ? { space } : {}) });
});
open();
