// The Teach tab: label windows of an archive or regions of its recordings, retrain, compare, go back.

import { byId, element, show, showPlaying, percent, clock } from "./dom.js";
import { Problem, getJson, getBlob, sendJson, query, serverIsBack } from "./api.js";
import { Spectrogram } from "./spectrogram.js";
import { Timeline } from "./timeline.js";
import { Player } from "./player.js";
import { byLikelihood, chooseClass } from "./class_chooser.js";
import { learningCurve } from "./teach_chart.js";

const MARGIN_S = 3, LISTED = 20, BUTTONS = 9, LOADED = 6, RECENT = 20;
const KEYS = { c: "other", n: "none", s: "skip", m: "similar", r: "replay", u: "undo" };
const STORED = "soundmark teach";

const plural = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

export function startTeach(archives, background, { onModel }) {
  let status = null, windows = [], shown = null, region = null, busy = false, drawn = 0, listed = 0, lastJob = "";
  const labels = new Map(); // of windows labelled here: number of the window to the text that is shown
  const loaded = new Map();
  const made = []; // labels given on this page: { id, window }
  let added = []; // new classes, before the model has them

  const player = new Player({
    onTime: (time) => timeline.moveCursor((shown?.picture.start_s ?? 0) + time),
    onState: (isPlaying) => showPlaying(byId("teach-play"), isPlaying),
    onError: () => show(byId("teach-error"), "This browser cannot play the sound."),
  });
  const timeline = new Timeline(byId("teach-timeline"), {
    onSeek: (time) => player.seek(time - (shown?.picture.start_s ?? 0)), onToggle: () => player.toggle(),
    onRegion: (start, stop) => mark(start, stop), height: 220, curves: false,
  });

  const archive = () => byId("teach-archive").value;
  const likelyFirst = (names) => byLikelihood(names, archives.find(({ name }) => name === archive()), background);
  const path = (rest) => `/v1/archives/${encodeURIComponent(archive())}/${rest}`;
  const chosenClass = () => byId("teach-class").value;
  const reviewer = () => byId("teach-reviewer").value.trim();

  // Do something, and if the server cannot be reached, do it again when it is back.
  async function withServer(work) {
    for (;;) {
      try {
        await work();
        show(byId("teach-error"), "");
        return true;
      } catch (error) {
        const isLost = error instanceof Problem && (error.status === 0 || error.status === 503);
        show(byId("teach-error"), isLost && !error.status ? "The connection to the server was lost. This page goes on when it is back …" : error.message);
        if (!isLost) return false;
        await serverIsBack();
      }
    }
  }

  // --- Windows ---

  async function list() {
    const order = byId("teach-order").value, label = chosenClass();
    const known = status.model.classes;
    if (order === "top" && !label) byId("teach-class").value = known.includes(shown?.window.label) ? shown.window.label : likelyFirst(known)[0];
    byId("windows-title").textContent = order === "top" ? `Highest scores of ${chosenClass()}` : `What to label next${label ? `: ${label}` : ""}`;
    await fill(`${path(order)}?${query({ n: LISTED, class: chosenClass() })}`);
  }

  async function fill(address) {
    const mine = ++listed;
    await withServer(async () => {
      const found = await getJson(address);
      if (mine !== listed) return; // another list has been asked for since
      windows = found.windows;
      drawWindows();
      if (windows.length) await select(windows[0]);
      else byId("teach-about").textContent = "All windows have a label.";
    });
  }

  function drawWindows() {
    byId("teach-windows").replaceChildren(...windows.map((window) => {
      const given = labels.get(key(window));
      const value = window.similarity === undefined ? `${window.label}, ${percent(window.score)}` : `similarity ${window.similarity.toFixed(2)}`;
      return element("li", {}, element("button", { "aria-pressed": String(window === shown?.window), onclick: () => select(window) },
        element("span", { class: "name", text: `${window.file}, ${clock(window.start_s, 1)}` }),
        element("span", { class: "quiet", text: given ? `✓ ${given}` : value })));
    }));
  }

  const key = (window) => `${archive()}/${window.number}`;

  function load(window) {
    const id = key(window);
    if (!loaded.has(id)) {
      const address = (what) => `${path(`windows/${window.number}/${what}`)}?${query({ margin: MARGIN_S })}`;
      const found = Promise.all([getJson(address("spectrogram")), getBlob(address("sound"))]).then(([picture, sound]) => ({ picture, sound }));
      found.catch(() => loaded.delete(id));
      loaded.set(id, found);
      if (loaded.size > LOADED) loaded.delete(loaded.keys().next().value);
    }
    return loaded.get(id);
  }

  async function select(window, plays = !byId("panel-teach").hidden) {
    const mine = ++drawn;
    let found = null;
    if (!(await withServer(async () => { found = await load(window); })) || mine !== drawn) return;
    shown = { window, ...found };
    const { picture } = found, spectrogram = new Spectrogram(picture.spectrogram);
    for (const tile of picture.tiles) spectrogram.add(tile);
    Object.assign(timeline, { spectrogram, start: picture.start_s, duration: picture.stop_s, cursor: picture.start_s });
    timeline.fit();
    wholeWindow();
    byId("teach-about").textContent = `${picture.file}, ${clock(window.start_s, 1)} to ${clock(window.stop_s, 1)}; the model says ${window.label}, ${percent(window.score)}.`;
    drawWindows();
    drawLabels();
    player.load(found.sound);
    if (plays) player.play(window.start_s - picture.start_s, window.stop_s - picture.start_s);
    const next = windows[windows.indexOf(window) + 1];
    if (next) load(next).catch(() => {});
  }

  // --- Regions ---

  function mark(start, stop) {
    region = { start_s: start, stop_s: stop };
    timeline.selected = region;
    byId("region-start").value = start.toFixed(2);
    byId("region-stop").value = stop.toFixed(2);
    timeline.describe(`Spectrogram of ${shown.picture.file}. Marked: ${start.toFixed(2)} to ${stop.toFixed(2)} seconds. Space plays, I and O mark a region at the cursor.`);
    timeline.redraw();
  }

  function wholeWindow() { mark(shown.window.start_s, shown.window.stop_s); }

  function fromInputs() {
    const start = Number(byId("region-start").value), stop = Number(byId("region-stop").value);
    if (shown && stop > start && start >= 0) mark(start, stop);
    else show(byId("teach-error"), "A region must end after its beginning.");
  }

  function markAtCursor(end) {
    const at = timeline.cursor, { start_s, stop_s } = region;
    if (end === "start") mark(at, stop_s > at ? stop_s : shown.picture.stop_s);
    else if (at > shown.picture.start_s) mark(start_s < at ? start_s : shown.picture.start_s, at);
  }

  const isWholeWindow = () => region.start_s === shown.window.start_s && region.stop_s === shown.window.stop_s;

  // --- Labels ---

  const classes = () => [...new Set([...(status?.model.classes ?? []), ...Object.keys(status?.corrections.by_class ?? {}), ...added])];

  function nearClasses() {
    const taught = [...added, ...Object.keys(status?.corrections.by_class ?? {})].filter((name) => name !== "background");
    const known = likelyFirst(classes().filter((name) => name !== "background"));
    return [...new Set([...(shown ? [shown.window.label] : []), ...taught, ...known])].filter((name) => known.includes(name)).slice(0, BUTTONS);
  }

  function drawLabels() {
    byId("teach-labels").replaceChildren(...nearClasses().map((name, i) => element("button", {
      "aria-keyshortcuts": String(i + 1), disabled: busy || !shown, onclick: () => send({ decision: "label", label: name }),
    }, name, element("kbd", { text: String(i + 1) }))));
  }

  async function send(decision) {
    if (busy || !shown) return;
    const { window } = shown, place = isWholeWindow() ? {} : { start_s: region.start_s, stop_s: region.stop_s };
    busy = true;
    player.pause();
    const asked = decision.decision === "label" ? {} : { asked: chosenClass() || window.label };
    const body = { archive: archive(), window: window.number, reviewer: reviewer(), ...asked, ...place, ...decision };
    const isSent = await withServer(async () => {
      const found = await sendJson("POST", "/v1/teach/labels", body);
      made.push({ id: found.id, window: key(window) });
      take(found);
    });
    busy = false;
    if (isSent) {
      labels.set(key(window), decision.label ?? { none: "none of the classes", skip: "skipped" }[decision.decision]);
      const next = windows.slice(windows.indexOf(window) + 1).find((each) => !labels.has(key(each)));
      drawWindows();
      if (next) await select(next);
      else await list();
    }
    drawLabels();
  }

  async function act(what) {
    if (what === "replay") return shown && player.play(region.start_s - shown.picture.start_s, region.stop_s - shown.picture.start_s);
    if (what === "undo") return undo(made.at(-1)?.id);
    if (!shown) return;
    if (what === "similar") return similar();
    if (what !== "other") return send({ decision: what });
    player.pause();
    const chosen = await chooseClass(classes(), null);
    if (!chosen) return;
    if (chosen.label && !classes().includes(chosen.label)) added = [chosen.label, ...added];
    await send(chosen.none ? { decision: "none" } : { decision: "label", label: chosen.label });
  }

  async function similar() {
    const place = isWholeWindow() ? {} : { start: region.start_s, stop: region.stop_s };
    byId("windows-title").textContent = `Like ${shown.window.file}, ${clock(region.start_s, 1)}`;
    await fill(`${path("similar")}?${query({ window: shown.window.number, n: LISTED, ...place })}`);
  }

  async function undo(id) {
    if (!id) return;
    if (!(await withServer(async () => take(await sendJson("DELETE", `/v1/teach/labels/${id}`))))) return;
    const at = made.findIndex((each) => each.id === id);
    if (at >= 0) labels.delete(made.splice(at, 1)[0].window);
    drawWindows();
  }

  // --- Training ---

  function take(found) {
    status = found;
    const { corrections, job, models, training_data, model } = status;
    byId("teach-counts").textContent = !corrections.labelled ? "No labels yet. Label some windows, then train." : `${plural(corrections.labelled, "label")} of ${plural(Object.keys(corrections.by_class).length, "class").replace("classs", "classes")} in the folder of corrections.`;
    byId("teach-classes").replaceChildren(...Object.entries(corrections.by_class).map(([name, n]) => element("li", { text: `${name} ${n}` })));
    show(byId("teach-data"), training_data.note);
    show(byId("teach-with"), training_data.note ? "" : `Together with ${plural(training_data.clips, "clip")} of ${training_data.name}.`);
    byId("teach-recent").replaceChildren(...corrections.recent.slice(0, RECENT).map((each) => element("li", {},
      element("time", { text: clock(each.start_s, 1) }), element("span", { text: `${each.label || each.decision}, ${each.file}${each.is_discarded ? " (speech: sound discarded)" : ""}` }),
      element("button", { text: "Undo", "aria-label": `Undo ${each.label || each.decision}, ${each.file}`, onclick: () => undo(each.id) }))));
    showJob(job);
    showModels(models, model);
    fillClasses();
    drawLabels();
  }

  function showJob(job) {
    const isRunning = job.state === "running";
    byId("train").disabled = isRunning || !status.corrections.labelled;
    byId("train-cancel").hidden = byId("train-progress").hidden = !isRunning;
    byId("train-state").textContent = isRunning ? `Training: ${job.step} …`
      : job.state === "idle" ? "" : `${job.detail}${job.state === "done" ? ` It took ${job.seconds.toFixed(1)} s.` : ""}`;
    if (isRunning) setTimeout(poll, 300);
    if (lastJob === "running" && job.state === "done") {
      onModel();
      list();
    }
    lastJob = job.state;
  }

  async function poll() { await withServer(async () => take(await getJson("/v1/teach"))); }

  function showModels(models, model) {
    const rows = [{ number: 0, text: `${model.name}: before teaching` }, ...models.map(({ number, time, report }) => ({
      number, text: `Model ${number}: ${plural(report.corrections, "label")}, ${new Date(time).toLocaleTimeString()}`,
    }))];
    byId("teach-models").replaceChildren(...rows.reverse().map(({ number, text }) => {
      const inUse = number === model.in_use;
      const row = element("li", {}, element("span", { text: inUse ? `${text} (in use)` : text }));
      if (!inUse) row.append(element("button", { text: "Use", "aria-label": `Use ${number ? `model ${number}` : "the model before teaching"}`, onclick: () => use(number) }));
      if (number) row.append(element("a", { href: `/v1/teach/models/${number}`, download: `model-${number}.onnx`, text: "Download", "aria-label": `Download model ${number}` }));
      return row;
    }));
    showReport(models.find(({ number }) => number === model.in_use)?.report);
  }

  function showReport(report) {
    byId("teach-report").hidden = !report;
    if (!report) return;
    const cell = ([text, between]) => element("td", { class: "number" }, text, element("small", { text: between }));
    const share = (figure) => (!figure || figure.value === null ? ["–", ""] : [percent(figure.value), range(figure.interval, percent)]);
    const points = (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)}`;
    const gain = (figure) => (figure.value === null ? ["–", ""] : [points(figure.value), range(figure.interval, points)]);
    const rows = [];
    for (const [part, name] of [["all", "all clips"], ["corrections", "your labels"]]) {
      const found = report.held_out[part];
      if (!found.after || (part === "all" && !report.original)) continue;
      for (const [figure, title] of [["accuracy", "Accuracy"], ["macro_f1", "Macro F1"]]) {
        rows.push(element("tr", {}, element("th", { scope: "row", text: `${title}, ${name}` }),
          cell(share(found.before?.[figure])), cell(share(found.after[figure])), cell(gain(found[`${figure}_gain`]))));
      }
    }
    byId("teach-scores").tBodies[0].replaceChildren(...rows);
    byId("teach-curve").replaceChildren(learningCurve(report.curve));
  }

  const range = ([low, high], text) => (low === null ? "" : `${text(low)} to ${text(high)}`);

  async function use(number) {
    const isDone = await withServer(async () => take(await sendJson("PUT", "/v1/teach/model", { number })));
    if (!isDone) return;
    byId("train-state").textContent = number ? `Model ${number} is in use.` : "The model before teaching is in use.";
    onModel();
    await list();
  }

  async function train() {
    const isStarted = await withServer(async () => { lastJob = (await sendJson("POST", "/v1/teach/training")).state; });
    if (isStarted) await poll();
  }

  // --- Controls ---

  function fillClasses() {
    const before = chosenClass(), names = [...(status?.model.classes ?? [])].sort((a, b) => a.localeCompare(b));
    byId("teach-class").replaceChildren(element("option", { value: "", text: "any class" }), ...names.map((name) => element("option", { value: name, text: name })));
    byId("teach-class").value = names.includes(before) ? before : "";
  }

  function onKey(e) {
    if (byId("panel-teach").hidden || e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
    if (e.target.closest?.("input, select, textarea, [role=tab]")) return;
    const pressed = e.key.toLowerCase();
    const action = KEYS[pressed] ? () => act(KEYS[pressed])
      : shown && pressed === "i" ? () => markAtCursor("start")
        : shown && pressed === "o" ? () => markAtCursor("stop")
          : /^[1-9]$/.test(pressed) && nearClasses()[pressed - 1] ? () => send({ decision: "label", label: nearClasses()[pressed - 1] })
            : pressed === " " && !e.target.closest("button, summary, a, .view") ? () => player.toggle() : null;
    if (!action) return;
    e.preventDefault();
    if (!e.repeat) action();
  }

  async function start() {
    await withServer(async () => {
      const found = await getJson("/v1/teach");
      if (!found.is_on) {
        show(byId("teach-note"), found.note.replace(/^./, (first) => first.toUpperCase()));
        document.querySelector("#panel-teach .split").hidden = true;
        return;
      }
      take(found);
      await list();
    });
  }

  byId("teach-archive").replaceChildren(...archives.map(({ name }) => element("option", { value: name, text: name })));
  byId("teach-archive").closest("label").hidden = archives.length < 2;
  try {
    byId("teach-reviewer").value = localStorage.getItem(STORED) ?? "";
  } catch { /* a browser that stores nothing */ }
  byId("teach-reviewer").addEventListener("change", () => {
    try {
      localStorage.setItem(STORED, reviewer());
    } catch { /* the name is asked for again */ }
  });
  for (const id of ["teach-archive", "teach-order", "teach-class"]) byId(id).addEventListener("change", () => status && list());
  for (const id of ["region-start", "region-stop"]) byId(id).addEventListener("change", fromInputs);
  byId("region-window").addEventListener("click", () => shown && wholeWindow());
  byId("teach-play").addEventListener("click", () => player.toggle());
  for (const button of document.querySelectorAll("[data-teach]")) button.addEventListener("click", () => act(button.dataset.teach));
  byId("train").addEventListener("click", train);
  byId("train-cancel").addEventListener("click", () => withServer(async () => sendJson("DELETE", "/v1/teach/training")));
  document.addEventListener("keydown", onKey);
  window.addEventListener("focus", () => status && poll()); // others may have labelled, too
  document.addEventListener("tab", ({ detail }) => {
    if (detail !== "teach") player.pause();
    else if (!status) start();
  });
  if (!byId("panel-teach").hidden) start();
}
