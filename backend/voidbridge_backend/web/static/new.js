// A new job: a form from the settings that the protocol describes, the command line it stands for, and its course.
import { byId, el, follow, get, header, notice, post, stateMark } from "./common.js";
import { fileField } from "./files.js";

const ROLES = {
  plate: ["Plate", "a sequence such as plate.####.exr, or a clip"],
  matte: ["Matte", "1 on the object and 0 outside, or a quadmask"],
  hint: ["Hint (optional)", "a rough matte of the foreground"],
  affected: ["Affected (optional)", "shadow, reflection and other effects of the object"],
  clean: ["Painted frames (optional)", "the background as you painted it: 1050=patch.exr with its whole path, or a sequence; one a line"],
  output: ["Results", "a folder, or a pattern such as clean.####.exr"],
};
const TEXTS = ["frames", "handles", "matte-start"];
let forms = {};

header();
follow(() => {});
begin();

async function begin() {
  try {
    forms = await get("/api/forms");
  } catch (error) {
    return notice(byId("notice"), error);
  }
  byId("operation").onchange = build;
  build();
  byId("form").addEventListener("input", later);
  byId("form").addEventListener("submit", start);
  byId("copy").onclick = copy;
  const query = new URLSearchParams(location.search);
  if (query.get("job")) await prefill(query.get("job"));
  for (const role of Object.keys(ROLES)) if (query.get(role) && byId(role)) byId(role).value = query.get(role);
  preview();
  runs();
}

function build() {
  const name = byId("operation").value;
  const roles = [...forms[name].roles, ...(name === "remove" ? ["affected", "clean"] : []), "output"];
  const kept = Object.fromEntries(roles.map((role) => [role, byId(role)?.value ?? ""]));
  byId("roles").replaceChildren(...roles.map((role) => fileField(role, ...ROLES[role], role === "output", later, role === "clean")));
  for (const role of roles) byId(role).value = kept[role];
  for (const place of document.querySelectorAll("[data-only]")) place.hidden = place.dataset.only !== name;
  byId("settings").replaceChildren(...Object.entries(forms[name].groups).map(([title, fields]) => el("details", {},
    el("summary", {}, title), el("div", { class: "columns" }, fields.map(setting)))));
  later();
}

function setting(field) {
  const id = `set-${field.name}`;
  const help = el("small", {}, field.help + (field.range ? ` (${field.range})` : ""));
  if (field.kind === "bool")
    return el("label", { class: "line" }, el("input", { type: "checkbox", id, checked: field.default }), el("span", {}, field.label, " ", help));
  const control = field.choices.length
    ? el("select", { id }, field.choices.map((choice) => el("option", { selected: choice === field.default }, String(choice))))
    : el("input", { id, value: String(field.default), autocomplete: "off", inputmode: field.kind === "str" ? "text" : "decimal" });
  return el("label", { class: "field" }, el("span", {}, field.label), control, help);
}

function fields() {
  const name = byId("operation").value;
  const made = { operation: name, settings: {} };
  for (const role of Object.keys(ROLES)) if (byId(role)) made[role] = byId(role).value.trim();
  for (const text of TEXTS) if (!byId(text).closest("[hidden]")) made[text] = byId(text).value.trim();
  for (const name of ["overwrite", "force"]) made[name] = byId(name).checked;
  for (const field of Object.values(forms[name].groups).flat()) {
    const control = byId(`set-${field.name}`);
    const value = field.kind === "bool" ? control.checked : control.value.trim();
    if (field.kind === "bool" ? value !== field.default : value !== String(field.default)) made.settings[field.name] = value;
  }
  return made;
}

let timer = 0;
function later() {
  clearTimeout(timer);
  timer = setTimeout(preview, 250);
}

async function preview() {
  const { plate, output } = fields();
  if (!plate || !output) return;
  try {
    byId("line").textContent = (await post("/api/command-line", fields())).command;
    byId("notice").replaceChildren();
  } catch (error) {
    notice(byId("notice"), error, "warn");
  }
}

async function copy() {
  await navigator.clipboard?.writeText(byId("line").textContent).catch(() => {});
  getSelection().selectAllChildren(byId("line"));
}

async function start(event) {
  event.preventDefault();
  byId("start").disabled = true;
  try {
    const command = await post("/api/start", fields());
    byId("notice").replaceChildren();
    byId("started").textContent = `command ${command.number} was started`;
    await runs();
  } catch (error) {
    notice(byId("notice"), error);
    byId("notice").scrollIntoView({ block: "nearest" });
  }
  byId("start").disabled = false;
}

async function prefill(job) {
  try {
    const found = await get(`/api/jobs/${job}`);
    if (forms[found.status.operation]) byId("operation").value = found.status.operation;
    build();
    for (const [role, path] of Object.entries(found.paths)) if (byId(role)) byId(role).value = path;
    if (found.frames.length) byId("frames").value = `${found.frames[0]}-${found.frames[1]}`;
    for (const [name, value] of Object.entries(found.settings)) {
      const control = byId(`set-${name}`);
      if (!control) continue;
      if (control.type === "checkbox") control.checked = value;
      else control.value = String(value);
    }
  } catch (error) {
    notice(byId("notice"), error);
  }
}

const shown = new Map(); // number -> the text of its last state
async function runs() {
  clearTimeout(runs.timer);
  let found;
  try {
    found = (await get("/api/commands")).filter((command) => ["run", "key", "mask"].includes(command.command));
  } catch (error) {
    return notice(byId("notice"), error);
  }
  if (!shown.size && found.length) byId("runs").replaceChildren();
  for (const command of found.toReversed()) {
    const text = JSON.stringify([command.state, command.job, command.events.status, command.events.error, command.events.uploading]);
    if (shown.get(command.number) === text) continue;
    shown.set(command.number, text);
    const made = run(command);
    const before = byId(`run-${command.number}`);
    if (before) before.replaceWith(made);
    else byId("runs").prepend(made);
  }
  if (found.some((command) => command.state === "running")) runs.timer = setTimeout(runs, 700);
}

function run(command) {
  const status = command.events.status;
  const now = status ? `${status.stage || status.state} ${status.of ? `${status.step} of ${status.of}` : ""}` : "reading and sending the frames";
  const error = command.state === "failed" ? command.events.error : null;
  const query = new URLSearchParams();
  for (const role of ["plate", "matte", "result"]) if (command.files[role]) query.set(role, command.files[role]);
  return el("div", { class: "run", id: `run-${command.number}`, "data-state": command.state },
    el("p", { class: "toolbar" }, stateMark(command.state), command.job ? el("a", { class: "mono", href: `/jobs/${command.job}` }, command.job.slice(0, 10)) : null,
      command.state === "running" ? el("span", { class: "soft" }, now) : null),
    el("p", { class: "soft mono" }, command.files.result ?? ""),
    error ? el("p", {}, `${error.text} `, el("span", { class: "soft" }, `${error.hint} [${error.code}]`)) : null,
    el("p", { class: "toolbar" },
      command.state === "running" ? el("button", { class: "small", type: "button", onclick: () => post(`/api/commands/${command.number}/cancel`).then(runs) }, `Cancel command ${command.number}`) : null,
      command.state === "done" ? el("a", { class: "button small", href: `/player?${query}` }, "Compare in the player") : null));
}
