// The queue: one row a job. Only rows whose values changed are written again.
import { byId, duration, el, follow, header, isFinal, notice, post, size, stateMark } from "./common.js";

const jobs = new Map(); // id -> status, the youngest last
const rows = new Map(); // id -> {row, cells, shown}
let me = null;

header();
follow((change) => {
  if (change.daemon.is_there) {
    me = change.daemon.user;
    if (byId("notice").dataset.about === "daemon") clearNotice();
  } else {
    byId("notice").dataset.about = "daemon";
    notice(byId("notice"), change.daemon);
  }
  for (const job of change.jobs) jobs.set(job.job, job);
  for (const id of change.gone) forget(id);
  showHealth(change.daemon);
  for (const job of change.jobs) show(job);
  filter();
});

for (const id of ["state", "find"]) byId(id).addEventListener("input", filter);

function clearNotice() {
  byId("notice").replaceChildren();
  delete byId("notice").dataset.about;
}

function forget(id) {
  jobs.delete(id);
  rows.get(id)?.row.remove();
  rows.delete(id);
}

function now(job) {
  if (job.state === "queued") return job.text || (job.ahead ? `${job.ahead} ahead` : "next");
  if (job.state === "failed") return job.text;
  if (isFinal(job.state)) return ["", "1 note"][job.warnings.length] ?? `${job.warnings.length} notes`;
  return job.stage + (job.of ? ` ${job.step} of ${job.of}` : "");
}

const COLUMNS = [
  (job) => [job.state, () => stateMark(job.state)],
  (job) => [job.job, () => el("a", { href: `/jobs/${job.job}`, class: "mono" }, job.job.slice(0, 10))],
  (job) => [job.user],
  (job) => [job.operation + " " + job.engine],
  (job) => [job.device],
  (job) => [now(job)],
  (job) => [`${job.ready} ${job.frames}`, () => frames(job)],
  (job) => [job.rate && !isFinal(job.state) ? `${job.rate.toFixed(2)} /s` : ""],
  (job) => [isFinal(job.state) ? "" : duration(job.seconds_left)],
  (job) => [job.state + (job.user === me), () => actions(job)],
];
const NUMBERS = [7, 8];

function frames(job) {
  const bar = el("progress", { max: Math.max(job.frames, 1), value: job.ready, "aria-label": "finished frames" });
  return el("span", {}, bar, ` ${job.ready} of ${job.frames}`);
}

function actions(job) {
  const name = job.job.slice(0, 10);
  const made = el("span", { class: "toolbar" });
  if (!isFinal(job.state) && job.state !== "cancelling")
    made.append(button("Cancel", `Cancel job ${name}`, () => post(`/api/jobs/${job.job}/cancel`)));
  if (job.state === "queued" && job.user === me)
    made.append(button("Priority", `Priority of job ${name}`, () => askPriority(job)));
  if (isFinal(job.state))
    made.append(el("a", { class: "button small", href: `/new?job=${job.job}`, "aria-label": `Change job ${name} and run it again` }, "Change"));
  return made;
}

function button(text, label, act) {
  return el("button", { class: "small", type: "button", "aria-label": label, onclick: async (event) => {
    const pressed = event.currentTarget;
    pressed.disabled = true;
    try {
      await act();
      clearNotice();
    } catch (error) {
      notice(byId("notice"), error);
    }
    pressed.disabled = false;
  } }, text);
}

function askPriority(job) {
  const dialog = byId("priority");
  return new Promise((done, fail) => {
    dialog.onclose = () => {
      if (dialog.returnValue !== "set") return done();
      const priority = Number(byId("priority-value").value);
      post(`/api/jobs/${job.job}/priority`, { priority }).then(done, fail);
    };
    dialog.returnValue = "";
    dialog.showModal();
  });
}

function show(job) {
  let held = rows.get(job.job);
  if (!held) {
    const cells = COLUMNS.map((_, i) => el("td", NUMBERS.includes(i) ? { class: "number" } : {}));
    held = { row: el("tr", { "data-job": job.job }, cells), cells, shown: [] };
    rows.set(job.job, held);
    byId("jobs").prepend(held.row);
  }
  COLUMNS.forEach((column, i) => {
    const [key, make] = column(job);
    if (held.shown[i] === key) return;
    held.shown[i] = key;
    held.cells[i].replaceChildren(make ? make() : key);
  });
}

function filter() {
  const state = byId("state").value;
  const words = byId("find").value.trim().toLowerCase();
  let seen = 0;
  for (const [id, { row }] of rows) {
    const job = jobs.get(id);
    const fits = (!state || (state === "open" ? !isFinal(job.state) : job.state === state))
      && (!words || `${job.job} ${job.user} ${job.engine} ${job.operation} ${job.device} ${job.text}`.toLowerCase().includes(words));
    if (row.hidden === fits) row.hidden = !fits;
    seen += fits;
  }
  const said = `${seen} of ${rows.size} jobs`;
  if (byId("count").textContent !== said) byId("count").textContent = said;
  byId("empty").hidden = seen > 0;
}

let shownHealth = "";
function showHealth(daemon) {
  const health = daemon.health;
  if (!daemon.is_there) return;
  const key = JSON.stringify([health.devices, size(health.free), health.text, health.damaged]);
  if (key === shownHealth) return;
  shownHealth = key;
  const devices = health.devices.map((device) => el("li", {},
    el("span", { class: "state", "data-is": { busy: "running", ready: "done" }[device.state] || "failed" }, device.name),
    ` ${device.state}${device.stage ? `: ${device.stage}` : ""}${device.why ? ` (${device.why})` : ""}`));
  byId("health").replaceChildren(
    el("ul", { class: "plain" }, devices,
      el("li", {}, `${size(health.free)} free on the daemon's disk`),
      health.damaged ? el("li", {}, `${health.damaged} files were found changed on that disk`) : null,
      health.text ? el("li", {}, `${health.text}. ${health.hint}`) : null));
}
