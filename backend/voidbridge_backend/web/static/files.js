// Choosing files of this machine: a dialog that walks through the folders that the page may use.
import { el, get } from "./common.js";

// Resolves to the chosen pattern, to a folder with a slash at its end if `wantsFolder`, or to null.
export function choose(title, start, wantsFolder = false) {
  return new Promise((done) => {
    const place = el("p", { class: "mono soft" });
    const list = el("ul", { class: "plain", "aria-label": "Folders and sequences" });
    const trouble = el("p", { role: "alert" });
    const here = el("button", { type: "button", class: "main", onclick: () => close(`${place.textContent}/`) }, "Use this folder");
    const dialog = el("dialog", { "aria-label": title },
      el("h2", {}, title), place, trouble, list,
      el("p", { class: "toolbar" }, wantsFolder ? here : null, el("button", { type: "button", onclick: () => close(null) }, "Close")));
    const close = (value) => { dialog.remove(); done(value); };
    dialog.addEventListener("cancel", () => close(null));
    const entry = (text, act, more = "") => el("li", {}, el("button", { type: "button", class: "small", onclick: act }, text), more);

    async function show(path) {
      let found;
      try {
        found = await get(`/api/folder?path=${encodeURIComponent(path)}`);
      } catch (error) {
        trouble.textContent = `${error.message} ${error.hint}`;
        return path ? show("") : undefined;
      }
      trouble.textContent = "";
      place.textContent = found.path;
      const above = found.path.slice(0, found.path.lastIndexOf("/"));
      list.replaceChildren(
        found.is_top ? "" : entry("one folder up", () => show(above)),
        ...found.tops.map((top) => entry(top, () => show(top))),
        ...found.folders.map((name) => entry(`${name}/`, () => show(`${found.path}/${name}`))),
        ...(wantsFolder ? [] : found.sequences.map((sequence) => entry(sequence.pattern.slice(found.path.length + 1),
          () => close(sequence.pattern), el("span", { class: "soft" }, ` ${sequence.frames} (${sequence.count} frames)`)))));
      list.querySelector("button")?.focus();
    }
    document.body.append(dialog);
    dialog.showModal();
    show(start.slice(0, start.lastIndexOf("/")));
  });
}

// The color space of a plate that does not say it.
export function spaceField(value) {
  return el("label", { class: "field" }, el("span", {}, "Color space"), el("input", { id: "space", value, autocomplete: "off", spellcheck: "false" }),
    el("small", {}, "as the OpenColorIO config spells it; empty: as the file says"));
}

// A labelled text field with a button for the dialog. With `takesLines` it holds one file a line.
export function fileField(id, label, help, wantsFolder = false, onChange = () => {}, takesLines = false) {
  const input = el(takesLines ? "textarea" : "input", { id, autocomplete: "off", spellcheck: "false", oninput: onChange, ...(takesLines ? { rows: 2 } : {}) });
  const browse = el("button", { type: "button", "aria-label": `Browse for: ${label}`, onclick: async () => {
    const chosen = await choose(label, input.value, wantsFolder);
    if (chosen !== null) { input.value = takesLines && input.value.trim() ? `${input.value.trim()}\n${chosen}` : chosen; onChange(); }
    browse.focus();
  } }, "Browse");
  input.classList.add("grow");
  return el("div", { class: "field-row" }, el("label", { class: "field grow" }, el("span", {}, label), input, help ? el("small", {}, help) : null), browse);
}
