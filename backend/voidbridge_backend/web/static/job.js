// One job: everything that the daemon and the files of this machine tell of it.
import { byId, duration, el, ended, follow, get, header, isFinal, notice, post, stateMark } from "./common.js";
import { plot, short } from "./plot.js";

const id = location.pathname.split("/").pop();
let shown = null;
let last = null;

header();
byId("name").textContent = id;
document.title = `Job ${id.slice(0, 10)} · Voidbridge`;
follow((change) => {
  const status = change.jobs.find((job) => job.job === id);
  if (!status) return;
  progress(status);
  if (last !== status.state) load();
  last = status.state;
});
load();

async function load() {
  try {
    shown = await get(`/api/jobs/${id}`);
  } catch (error) {
    notice(byId("notice"), error);
    return;
  }
  byId("notice").replaceChildren();
  progress(shown.status);
  failure(shown.status);
  actions(shown.status);
  files();
  quality();
  byId("settings").replaceChildren(facts(shown.settings, "The daemon has no request of this job any more."));
  const { settings, sources, notes, quality: measured, ...more } = shown.provenance || {};
  byId("provenance").replaceChildren(facts(more, "A job has a record of how it was made once it is done."));
}

function facts(values, empty) {
  const rows = Object.entries(values || {}).filter(([, value]) => value !== "" && value !== null && value?.length !== 0);
  if (!rows.length) return el("p", { class: "soft" }, empty);
  return el("table", { class: "facts" }, el("tbody", {}, rows.map(([name, value]) => el("tr", {},
    el("th", { scope: "row" }, name.replaceAll("_", " ")),
    el("td", {}, typeof value === "object" ? JSON.stringify(value, null, 1).replaceAll(/[\n{}"]/g, " ") : String(value))))));
}

function progress(status) {
  byId("state").replaceChildren(stateMark(status.state));
  const place = status.state === "queued" ? (status.ahead ? `${status.ahead} jobs ahead` : "next") : "";
  const rows = {
    operation: `${status.operation} with ${status.engine}`,
    user: status.user,
    device: status.device,
    frames: `${status.ready} of ${status.frames}, from ${status.first}`,
    now: isFinal(status.state) ? "" : [place, status.stage, status.of ? `${status.step} of ${status.of}` : ""].filter(Boolean).join(" "),
    "time left": isFinal(status.state) ? "" : duration(status.seconds_left),
    attempt: status.attempt > 1 ? status.attempt : "",
  };
  const stages = Object.entries(shown?.stages || {}).filter(([, seconds]) => seconds > 0);
  byId("progress").replaceChildren(
    el("progress", { max: Math.max(status.frames, 1), value: status.ready, "aria-label": "finished frames" }),
    facts(rows, ""),
    ...(stages.length ? [el("h3", {}, "Stages as this page saw them"), facts(Object.fromEntries(stages.map(([name, s]) => [name, duration(s)])), "")] : []));
  const warnings = status.warnings;
  byId("notes").replaceChildren(warnings.length
    ? el("ul", { class: "notes" }, warnings.map((text) => el("li", {}, text)))
    : el("p", { class: "soft" }, "None so far."));
}

function failure(status) {
  if (status.state === "failed") notice(byId("failure"), status);
  else byId("failure").replaceChildren();
}

function actions(status) {
  const run = (text, act, kind = "") => el("button", { type: "button", class: kind, onclick: async () => {
    try {
      await act();
      await load();
    } catch (error) {
      notice(byId("notice"), error);
    }
  } }, text);
  const made = [];
  if (!isFinal(status.state)) made.push(run("Cancel", () => post(`/api/jobs/${id}/cancel`)));
  else made.push(run("Run again", () => post(`/api/jobs/${id}/again`)),
    el("a", { class: "button", href: `/new?job=${id}` }, "Change and run"));
  if (shown.paths.result && shown.paths.plate) made.push(el("a", { class: "button main", href: player() }, "Compare in the player"));
  else if (shown.paths.matte && shown.paths.plate && status.state === "done") made.push(el("a", { class: "button main", href: player() }, "Look at it in the player"));
  byId("actions").replaceChildren(...made);
}

function player() {
  const query = new URLSearchParams();
  for (const role of ["plate", "matte", "result"]) if (shown.paths[role]) query.set(role, shown.paths[role]);
  return `/player?${query}`;
}

function files() {
  const rows = Object.entries(shown.paths);
  const place = byId("files");
  if (rows.length) place.replaceChildren(facts(shown.paths, ""));
  else {
    const output = el("input", { id: "output", autocomplete: "off", placeholder: "/shows/alpha/result" });
    const button = el("button", { type: "submit" }, "Fetch the results");
    place.replaceChildren(
      el("p", { class: "soft" }, "No record of this job lies below the folders of this page."),
      shown.status.state === "done" ? el("form", { onsubmit: async (event) => {
        event.preventDefault();
        try {
          const command = await post("/api/fetch", { job: id, output: output.value });
          await ended(command.number);
          await load();
        } catch (error) {
          notice(byId("notice"), error);
        }
      } }, el("label", { class: "field" }, el("span", {}, "Folder for the results"), output), button) : "");
  }
  if (shown.paths.result) {
    const query = new URLSearchParams({ kind: "result", result: shown.paths.result, ...(shown.paths.plate ? { plate: shown.paths.plate } : {}) });
    place.append(el("p", {}, el("a", { href: `/api/proxies?${query}`, download: `${id}.proxies.zip` }, "Small pictures of the result as ZIP")));
  }
  if (shown.provenance) place.append(el("p", {}, download("Provenance as JSON", shown.provenance, `${id}.provenance.json`)));
}

function download(text, value, name) {
  const address = URL.createObjectURL(new Blob([JSON.stringify(value, null, 1)], { type: "application/json" }));
  return el("a", { href: address, download: name }, text);
}

const MEASURES = [
  ["seam_energy", "Edge of the hole (1 is invisible)", 1],
  ["flicker", "Jump of brightness since the frame before (0 is steady)", 0],
  ["grain_match", "Grain, against the plate's (1 is equal)", 1],
  ["outside_differing", "Samples outside the hole that differ (0 always)", 0],
];

function quality() {
  const measured = shown.provenance?.quality;
  byId("quality-card").hidden = !measured;
  if (!measured) return;
  const { warnings, ...numbers } = measured;
  byId("quality").replaceChildren(
    el("dl", { class: "tiles" }, Object.entries(numbers).map(([name, value]) => el("div", {},
      el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, typeof value === "number" ? (Number.isInteger(value) ? value.toLocaleString("en") : short(value)) : "not measured")))),
    el("ul", { class: "notes" }, (warnings || []).map((text) => el("li", {}, text))));
  const can = shown.paths.result && shown.paths.plate && shown.paths.matte;
  byId("measure").hidden = !can;
  byId("measure").onclick = measure;
}

async function measure() {
  byId("measure").disabled = true;
  try {
    const started = await post(`/api/jobs/${id}/report`);
    const found = await ended(started.number, (command) => {
      byId("measuring").textContent = `${command.figures.length} frames measured`;
      draw(command.figures);
    });
    byId("measuring").replaceChildren(download("Report as JSON", { quality: found.events.quality, frames: found.figures }, `${id}.report.json`));
  } catch (error) {
    notice(byId("notice"), error);
  }
  byId("measure").disabled = false;
}

function draw(figures) {
  if (figures.length < 2) return;
  byId("plots").replaceChildren(...MEASURES.map(([name, title, good]) => {
    const points = figures.map((figure) => [figure.frame, figure[name]]);
    const known = points.map(([, value]) => value).filter((value) => value !== null);
    const caption = known.length ? `${title}: ${short(Math.min(...known))} to ${short(Math.max(...known))}` : title;
    return el("figure", {}, el("figcaption", {}, caption), plot(title, points, good));
  }));
}
