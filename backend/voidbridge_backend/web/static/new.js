// A new job: a form from the settings and options that the server describes, the command line it stands for, and its course.
import { byId, el, follow, get, header, notice, post, stateMark } from "./common.js";
import { fileField } from "./files.js";

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
  byId("operation").append(...Object.entries(forms).map(([name, { label }]) => el("option", { value: name }, label)));
  const query = new URLSearchParams(location.search);
  if (forms[query.get("operation")]) byId("operation").value = query.get("operation");
  byId("operation").onchange = build;
  build();
  byId("form").addEventListener("input", later);
  byId("form").addEventListener("submit", start);
  byId("copy").onclick = copy;
  if (query.get("job")) await prefill(query.get("job"));
  for (const field of form().fields) if (query.get(field.name)) byId(field.name).value = query.get(field.name);
  for (const [name, value] of query) if (byId(`set-${name}`)) byId(`set-${name}`).value = value;
  preview();
  runs();
}

const form = () => forms[byId("operation").value];
const isFile = (field) => ["file", "folder"].includes(field.kind);

function build() {
  const kept = new Map([...byId("form").querySelectorAll("#roles [id], #files [id], #options [id]")].map((control) => [control.id, control]));
  const places = form().fields.map((field) => [field, place(field)]);
  const put = (id, fits) => byId(id).replaceChildren(...places.filter(([field]) => fits(field)).map(([, made]) => made));
  const isFirst = (field) => field.is_word || field.kind === "folder";
  put("roles", isFirst);
  put("files", (field) => isFile(field) && !isFirst(field));
  put("options", (field) => !isFile(field) && !isFirst(field) && field.kind !== "switch");
  put("switches", (field) => field.kind === "switch");
  for (const { name, kind } of form().fields) if (kept.has(name) && kind !== "switch") byId(name).value = kept.get(name).value;
  byId("settings").replaceChildren(...Object.entries(form().groups).map(([title, fields]) => el("details", {},
    el("summary", {}, title), el("div", { class: "columns" }, fields.map(setting)))));
  later();
}

// A word or an option of the command. Optional ones say so, and repeated ones take one value a line.
function place(field) {
  const { name, kind, is_repeated, metavar } = field;
  const help = field.help + (is_repeated ? `; ${metavar}, one a line` : "");
  if (kind === "switch") return el("label", { class: "line" }, el("input", { type: "checkbox", id: name }), el("span", {}, field.label, " ", el("small", { class: "soft" }, help)));
  if (isFile(field)) return fileField(name, field.label, help, kind === "folder", later, is_repeated);
  const shared = { id: name, autocomplete: "off", placeholder: is_repeated ? "" : field.default || metavar };
  const control = kind === "choice" ? el("select", { id: name }, field.choices.map((choice) => el("option", { selected: choice === field.default }, choice)))
    : el(is_repeated ? "textarea" : "input", { ...shared, rows: is_repeated ? 2 : null });
  return el("label", { class: "field" }, el("span", {}, field.label), control, el("small", {}, help));
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
  const made = { operation: byId("operation").value, settings: {} };
  for (const { name, kind } of form().fields) made[name] = kind === "switch" ? byId(name).checked : byId(name).value.trim();
  for (const field of Object.values(form().groups).flat()) {
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

// The files and the settings of a job that was run before.
async function prefill(job) {
  try {
    const found = await get(`/api/jobs/${job}`);
    if (forms[found.status.operation]) byId("operation").value = found.status.operation;
    build();
    const set = (name, value) => { if (byId(name)) byId(name).value = value; };
    for (const field of form().fields) if (found.paths[field.role]) set(field.name, found.paths[field.role]);
    const [first, last] = found.frames;
    if (found.frames.length && found.settings.mode === "bridge") set("length", String(last - first + 1));
    else if (found.frames.length) set("frames", `${first}-${last}`);
    for (const [name, value] of Object.entries(found.settings)) {
      const control = byId(`set-${name}`) ?? byId(name);
      if (control?.type === "checkbox") control.checked = value;
      else if (control) control.value = String(value);
    }
    if (found.settings.objects) prompts(JSON.parse(found.settings.objects), set);
  } catch (error) {
    notice(byId("notice"), error);
  }
}

// Prompts of a job as lines of the form. Key mattes travelled as files, so their names are not known any more.
function prompts(objects, set) {
  const lines = (of, write) => objects.flatMap((object) => of(object).map((each) => `${write(each)}:${object.name}`)).join("\n");
  const click = (point) => `${point.frame}:${point.x},${point.y}`;
  set("point", lines((object) => object.points.filter((point) => point.label), click));
  set("not", lines((object) => object.points.filter((point) => !point.label), click));
  set("box", lines((object) => object.boxes, (box) => `${box.frame}:${box.left},${box.top},${box.right},${box.bottom}`));
  set("noun", objects.filter((object) => object.noun).map((object) => `${object.noun}:${object.name}`).join("\n"));
  set("role", objects.map((object) => `${object.name}=${object.role}`).join("\n"));
}

const shown = new Map(); // number -> the text of its last state
async function runs() {
  clearTimeout(runs.timer);
  let found;
  try {
    found = (await get("/api/commands")).filter((command) => ["run", "key", "mask", "generate"].includes(command.command));
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
    el("p", { class: "soft mono" }, command.files.result ?? command.files.matte ?? ""),
    error ? el("p", {}, `${error.text} `, el("span", { class: "soft" }, `${error.hint} [${error.code}]`)) : null,
    el("p", { class: "toolbar" },
      command.state === "running" ? el("button", { class: "small", type: "button", onclick: () => post(`/api/commands/${command.number}/cancel`).then(runs) }, `Cancel command ${command.number}`) : null,
      command.state === "done" ? el("a", { class: "button small", href: `/player?${query}` }, command.files.result ? "Compare in the player" : "Look at it in the player") : null));
}
