// Asking a language model what the object affects: the pictures are drawn and shown, then sent after a yes.
import { byId, el, get, notice } from "./common.js";

// `run` starts mask-ask and returns the command once it is done, else null; `addObjects` takes objects of an answer.
export function askForAffected(state, run, addObjects, combining) {
  let mattes = {}; // object -> pattern of its matte
  let endpoint = "";

  const object = () => state.objects[state.chosen].name;
  const place = (asked) => new URLSearchParams({ folder: state.output, object: asked.object });

  async function show(sequences) {
    mattes = {};
    for (const { pattern } of sequences) mattes[pattern.slice(pattern.lastIndexOf("/") + 1).split(".")[0]] = pattern;
    endpoint = (await get("/api/asked")).endpoint;
    byId("asking").hidden = !endpoint;
    byId("endpoint").textContent = endpoint;
  }

  byId("draw").onclick = async () => {
    if (!mattes[object()]) return notice(byId("notice"), { text: `The object ${object()} has no matte yet.`, hint: "Track it first." });
    byId("question").replaceChildren();
    byId("answer").replaceChildren();
    const asked = { object: object(), matte: mattes[object()], instruction: byId("instruction").value.trim() };
    if (await run(asked)) question(asked, await get(`/api/asked?${place(asked)}`));
  };

  function question(asked, found) {
    const query = place(asked);
    const pictures = found.pictures.map((name, i) => {
      const address = `/api/asked/picture?${query}&name=${name}&of=${found.shown}`;
      const alt = i ? `Picture ${i} that would be sent` : "Picture 0 that would be sent, with the object in red";
      return el("li", {}, el("a", { href: address, target: "_blank", rel: "noopener" }, el("img", { src: address, alt })));
    });
    const send = el("button", { type: "button", class: "main", id: "send", onclick: async () => {
      send.disabled = true;
      if (await run({ ...asked, shown: found.shown })) answered(await get(`/api/asked?${query}`), addObjects, combining);
      send.disabled = false;
    } }, `Send these ${pictures.length} pictures`);
    byId("question").replaceChildren(
      el("p", {}, `Nothing was sent yet. These ${pictures.length} pictures and this text would go to ${endpoint}:`),
      el("ul", { class: "pictures", "aria-label": "Pictures that would be sent" }, pictures),
      el("details", {}, el("summary", {}, "The text"), el("pre", { class: "command mono", tabindex: "0" }, found.text)),
      el("p", { class: "toolbar" }, send));
    send.focus();
  }

  return { show };
}

// What the model says: boxes become objects to track, affected cells a matte to combine.
function answered({ answer: said, objects, affected }, addObjects, combining) {
  byId("question").replaceChildren();
  const nouns = (things) => things.map((thing) => thing.noun).join(", ") || "nothing";
  const button = (text, act) => el("button", { type: "button", class: "small", onclick: act }, text);
  const told = el("span", { role: "status", class: "soft" });
  byId("answer").replaceChildren(
    el("p", {}, `The model says, with a confidence of ${said.confidence}:`),
    el("ul", { class: "notes" },
      el("li", {}, `belongs to it: ${nouns(said.belongings)}`), el("li", {}, `seen because of it: ${nouns(said.artefacts)}`),
      el("li", {}, `touched by it: ${nouns(said.objects)}`), el("li", {}, `without it: ${said.scene_without}`)),
    el("p", { class: "toolbar" },
      objects.length ? button("Add its boxes as objects", () => { told.textContent = `${addObjects(objects)} objects were added; track again.`; }) : null,
      told));
  if (affected) {
    combining.add(affected, "affected");
    byId("combining").open = true;
  }
}
