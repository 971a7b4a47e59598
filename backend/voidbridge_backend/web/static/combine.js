// Mattes that are there, made into one quadmask: each with its role, any of them left out, others added.
import { byId, el } from "./common.js";
import { fileField } from "./files.js";

export const RULES = ["shadow", "reflection", "contact"]; // affected areas that rules find
const ROLES = ["primary", "belonging", "affected"];

// `run` gets [{role, matte}, ...]. Returns what shows the mattes of the folder, and what adds one.
export function combineMattes(state, run) {
  const rows = new Map(); // pattern -> {row, tick, role}

  function add(pattern, role, isTicked = true) {
    if (rows.has(pattern)) return;
    const name = pattern.slice(pattern.lastIndexOf("/") + 1);
    const tick = el("input", { type: "checkbox", checked: isTicked, "aria-label": `Use ${name}` });
    const choice = el("select", { "aria-label": `Role of ${name}` }, ROLES.map((each) => el("option", { selected: each === role }, each)));
    const row = el("p", { class: "toolbar", title: pattern }, el("label", { class: "line" }, tick, el("span", { class: "mono" }, name)), choice);
    rows.set(pattern, { row, tick, choice });
    byId("mattes").append(row);
  }

  const field = fileField("another-matte", "Another matte", "your own roto, or the answer of a language model");
  const adder = el("button", { type: "button", class: "small", onclick: () => {
    const input = byId("another-matte");
    if (input.value.trim()) add(input.value.trim(), "primary");
    input.value = "";
  } }, "Add this matte");
  byId("another").append(field, adder);
  byId("combine").onclick = () => run([...rows].filter(([, { tick }]) => tick.checked).map(([matte, { choice }]) => ({ matte, role: choice.value })));

  function show(sequences) {
    const roles = Object.fromEntries(state.objects.map((object) => [object.name, object.role]));
    for (const { pattern } of sequences) {
      const name = pattern.slice(pattern.lastIndexOf("/") + 1).split(".")[0];
      if (!["quadmask", "painted"].includes(name) && /\.exr$/.test(pattern)) add(pattern, roles[name] ?? "affected", name in roles || RULES.includes(name));
    }
    byId("combining").hidden = !rows.size;
  }

  return { add, show };
}
