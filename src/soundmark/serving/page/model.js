// The Model tab: the card.

import { byId, element, clock } from "./dom.js";

const facts = (rows) => rows.flatMap(([heading, text]) => [element("dt", { text: heading }), element("dd", { text: String(text) })]);

export function showModel(model) {
  byId("model-name").textContent = model.name;
  byId("card-title").textContent = model.name;
  byId("summary").replaceChildren(...facts(model.summary));
  byId("details").replaceChildren(...facts(model.details));
  const { limits } = model;
  byId("limits").replaceChildren(...facts([
    ["upload", `${limits.upload_bytes / 1e6} MB`], ["recording", `${limits.audio_s / 3600} h`],
    ["time of a request", clock(limits.request_s)], ["uploads at once", limits.requests], ["live sessions", limits.live],
  ]));
  const items = model.classes.map((label) => element("li", { text: label }));
  byId("all-classes").replaceChildren(...items);
  byId("all-classes-title").textContent = `${model.classes.length} ${model.classes.length === 1 ? "class" : "classes"}`;
  byId("find").hidden = model.classes.length < 20;
  byId("find-class").addEventListener("input", ({ target }) => {
    const wanted = target.value.toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(wanted);
  });
}
