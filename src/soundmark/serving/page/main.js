// The page: tabs, the token, and the model.

import { byId, show } from "./dom.js";
import { Problem, getJson, onTokenNeeded, serverIsBack, signIn } from "./api.js";
import { startClassify } from "./classify.js";
import { startLive } from "./live.js";
import { startReview } from "./review.js";
import { startTeach } from "./teach.js";
import { showModel } from "./model.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function openTab(tab, { focus = false, history: change = "replaceState" } = {}) {
  for (const each of tabs) {
    const isOpen = each === tab;
    each.setAttribute("aria-selected", String(isOpen));
    each.tabIndex = isOpen ? 0 : -1;
    byId(each.getAttribute("aria-controls")).hidden = !isOpen;
  }
  if (focus) tab.focus();
  const name = tab.id.slice(4);
  document.title = `${tab.textContent} · soundmark`;
  if (location.hash !== `#${name}`) history[change](null, "", `#${name}`);
  document.dispatchEvent(new CustomEvent("tab", { detail: name }));
}

for (const [i, tab] of tabs.entries()) {
  tab.addEventListener("click", () => openTab(tab, { history: "pushState" }));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    for (let next = i + step; step; next += step) {
      const found = tabs[(next + tabs.length) % tabs.length];
      if (!found.hidden) return openTab(found, { focus: true });
    }
  });
}

// The tab that the address names; none if it is hidden, or the address names something else.
const tabOfAddress = () => tabs.find((tab) => !tab.hidden && location.hash === `#${tab.id.slice(4)}`);

function followAddress() {
  const tab = location.hash ? tabOfAddress() : tabs[0];
  if (tab && tab.getAttribute("aria-selected") !== "true") openTab(tab);
}

addEventListener("hashchange", followAddress); // typed, a link, or Back
followAddress();

let asking = null;
onTokenNeeded(() => {
  asking ??= new Promise((resolve) => {
    const dialog = byId("token-dialog");
    dialog.onclose = () => asking && dialog.showModal(); // Escape: nothing works without the token
    dialog.showModal();
    byId("token-form").onsubmit = async (e) => {
      e.preventDefault();
      const problem = await signIn(byId("token").value);
      show(byId("token-error"), problem);
      if (problem) return;
      asking = null;
      dialog.close();
      resolve();
    };
  });
  return asking;
});

async function load(path) {
  for (;;) {
    try {
      return await getJson(path);
    } catch (error) {
      show(byId("banner"), error.message);
      if (!(error instanceof Problem) || error.status) throw error;
      await serverIsBack();
      show(byId("banner"), "");
    }
  }
}

const model = await load("/v1/model");
showModel(model);
startClassify(model);
startLive(model);
const { archives } = await load("/v1/archives");
byId("no-archive").hidden = archives.length > 0;
if (archives.length) {
  byId("tab-review").hidden = false;
  byId("tab-teach").hidden = false;
  const { background = [] } = model.card; // labels that mean "none of these"
  startReview(archives, background);
  startTeach(archives, background, { onModel: async () => showModel(await load("/v1/model")) });
  followAddress(); // these two tabs
}
document.documentElement.dataset.ready = "true";
