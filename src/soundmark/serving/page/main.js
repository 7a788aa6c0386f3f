// The page: tabs, the token, and the model.

import { byId, show } from "./dom.js";
import { Problem, getJson, onTokenNeeded, serverIsBack, signIn } from "./api.js";
import { startClassify } from "./classify.js";
import { startLive } from "./live.js";
import { startReview } from "./review.js";
import { startTeach } from "./teach.js";
import { showModel } from "./model.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function openTab(tab, focus = false) {
  for (const each of tabs) {
    const isOpen = each === tab;
    each.setAttribute("aria-selected", String(isOpen));
    each.tabIndex = isOpen ? 0 : -1;
    byId(each.getAttribute("aria-controls")).hidden = !isOpen;
  }
  if (focus) tab.focus();
  const name = tab.id.slice(4);
  history.replaceState(null, "", `#${name}`);
  document.dispatchEvent(new CustomEvent("tab", { detail: name }));
}

for (const [i, tab] of tabs.entries()) {
  tab.addEventListener("click", () => openTab(tab));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    for (let next = i + step; step; next += step) {
      const found = tabs[(next + tabs.length) % tabs.length];
      if (!found.hidden) return openTab(found, true);
    }
  });
}
const wanted = byId(`tab-${location.hash.slice(1)}`);
if (wanted && !wanted.hidden) openTab(wanted);

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
if (archives.length) {
  byId("tab-review").hidden = false;
  byId("tab-teach").hidden = false;
  startReview(archives);
  startTeach(archives, { onModel: async () => showModel(await load("/v1/model")) });
  if (wanted === byId("tab-review") || wanted === byId("tab-teach")) openTab(wanted);
}
document.documentElement.dataset.ready = "true";
