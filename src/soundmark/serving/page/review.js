// The Review tab: windows of an archive, one key for each answer, and the precision by threshold that they lead to.

import { byId, element, show, showPlaying, percent, clock } from "./dom.js";
import { Problem, getJson, getBlob, postJson, query, serverIsBack } from "./api.js";
import { Spectrogram } from "./spectrogram.js";
import { Timeline } from "./timeline.js";
import { Player } from "./player.js";
import { PrecisionChart } from "./precision_chart.js";
import { chooseClass, fillClassSelect } from "./class_chooser.js";

const LOADED = 8, EVENLY = 10, UNLIKELY = 0.05;
const KEYS = { y: "yes", n: "no", o: "other", s: "skip", u: "undo", r: "replay" };
const STORED = "soundmark review";

const plural = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORED)) ?? {};
  } catch {
    return {};
  }
}

export function startReview(archives, background) {
  let state = null, shown = null, busy = false, threshold = null, isChosen = false, wasPointer = false;
  let opened = 0, drawn = 0; // the latest review, and the latest window: answers to earlier requests are ignored
  const loaded = new Map(); // windows that were requested, by their address

  const player = new Player({
    onTime: (time) => timeline.moveCursor((shown?.picture.start_s ?? 0) + time),
    onState: (isPlaying) => showPlaying(byId("review-play"), isPlaying),
    onError: () => show(byId("review-error"), "This browser cannot play the sound."),
  });
  const timeline = new Timeline(byId("review-timeline"), {
    onSeek: (time) => player.seek(time - (shown?.picture.start_s ?? 0)), onToggle: () => player.toggle(), height: 240, curves: false,
  });
  const chart = new PrecisionChart(byId("precision-chart"), byId("precision-table").tBodies[0], { onThreshold: choose });

  // --- What is reviewed ---

  const archive = () => archives.find(({ name }) => name === byId("review-archive").value);
  const label = () => byId("review-class").value;
  const path = (rest) => `/v1/archives/${encodeURIComponent(archive().name)}/${rest}`;
  const wanted = () => Number(byId("review-wanted").value);

  const fillClasses = (preferred) => fillClassSelect(byId("review-class"), archive(), background, preferred);

  function remember() {
    const values = { archive: byId("review-archive").value, label: label(), wanted: wanted(), reviewer: byId("reviewer").value };
    for (const id of ["autoplay", "equal-loudness", "shortcuts"]) values[id] = byId(id).checked;
    values.margin = byId("review-margin").value;
    try {
      localStorage.setItem(STORED, JSON.stringify(values));
    } catch { /* a browser that stores nothing */ }
  }

  async function open() {
    const mine = ++opened;
    remember();
    state = shown = threshold = null;
    isChosen = false;
    player.pause();
    await withServer(async () => {
      const found = await getJson(`${path("review")}?${query({ class: label(), wanted: wanted() })}`);
      if (mine === opened) take(found);
    });
  }

  // Do something, and if the server cannot be reached, do it again when it is back.
  async function withServer(work) {
    for (;;) {
      try {
        await work();
        show(byId("review-error"), "");
        return true;
      } catch (error) {
        const isLost = error instanceof Problem && (error.status === 0 || error.status === 503);
        show(byId("review-error"), isLost && !error.status ? "The connection to the server was lost. The review goes on when it is back …" : error.message);
        if (!isLost) return false;
        await serverIsBack();
      }
    }
  }

  function take(found) {
    state = found;
    if (!isChosen) threshold = found.safe_threshold ?? threshold ?? 0.5;
    showProgress();
    showWindow();
  }

  // --- The window ---

  function address(number, what) {
    const values = { class: label(), margin: byId("review-margin").value };
    if (what === "sound" && byId("equal-loudness").checked) values.equal_loudness = true;
    return `${path(`windows/${number}/${what}`)}?${query(values)}`;
  }

  // The spectrogram and the sound of a window, which are requested once.
  function load(number) {
    const key = address(number, "sound");
    if (!loaded.has(key)) {
      const found = Promise.all([getJson(address(number, "spectrogram")), getBlob(key)]).then(([picture, sound]) => ({ picture, sound }));
      found.catch(() => loaded.delete(key));
      loaded.set(key, found);
      if (loaded.size > LOADED) loaded.delete(loaded.keys().next().value);
    }
    return loaded.get(key);
  }

  async function showWindow() {
    const mine = ++drawn, number = state.upcoming[0];
    byId("review-window").hidden = number === undefined;
    byId("review-end").hidden = number !== undefined;
    byId("review-question").textContent = `Does this window contain “${state.class}”?`;
    setBusy(true);
    if (number === undefined) return setBusy(false);
    let found = null;
    const isLoaded = await withServer(async () => { found = await load(number); });
    if (mine !== drawn) return;
    setBusy(false);
    if (!isLoaded) {
      shown = null;
      byId("review-about").textContent = "This window cannot be shown. Skip it, or put its recording back.";
      return;
    }
    shown = { number, ...found };
    draw();
    player.load(found.sound);
    if (byId("autoplay").checked && !byId("panel-review").hidden) player.play(0);
    for (const next of state.upcoming.slice(1, 3)) load(next).catch(() => {});
  }

  function draw() {
    const { picture } = shown, { window } = picture, spectrogram = new Spectrogram(picture.spectrogram);
    for (const tile of picture.tiles) spectrogram.add(tile);
    Object.assign(timeline, { spectrogram, start: picture.start_s, duration: picture.stop_s, selected: window, cursor: picture.start_s });
    timeline.fit();
    const times = `${clock(window.start_s, 1)} to ${clock(window.stop_s, 1)}`;
    byId("review-about").textContent = `${picture.file}, ${times}; score ${window.score.toFixed(2)}; ${window.level_dbfs.toFixed(0)} dBFS`;
    timeline.describe(`Spectrogram of ${picture.file}, ${times}. Space plays.`);
  }

  // --- Answers ---

  function setBusy(isBusy) {
    busy = isBusy;
    for (const button of document.querySelectorAll("[data-answer]")) {
      const needsWindow = button.dataset.answer !== "undo";
      button.setAttribute("aria-disabled", String(isBusy || (needsWindow ? !state?.upcoming.length : !state?.decisions.length)));
    }
  }

  async function answer(what) {
    if (what === "replay") return shown && player.play(0);
    if (busy || !state) return;
    const number = state.upcoming[0];
    if (what === "undo") {
      const last = state.decisions.at(-1);
      if (last) await send({ window: last.window, decision: "undo" });
      return;
    }
    if (number === undefined || (!shown && what !== "skip")) return;
    if (what !== "other") return send({ window: number, decision: what });
    player.pause();
    const chosen = await chooseClass(archive().classes, state.class);
    if (chosen) await send(chosen.none ? { window: number, decision: "none" } : { window: number, decision: "label", label: chosen.label });
  }

  async function send(decision) {
    const mine = opened;
    setBusy(true);
    player.pause();
    const body = { class: state.class, wanted: state.wanted, revision: state.revision, reviewer: byId("reviewer").value.trim(), ...decision };
    let found = null;
    const isSent = await withServer(async () => {
      try {
        found = await postJson(path("review"), body);
      } catch (error) {
        if (error.status !== 409) throw error;
        loaded.clear();
        found = await getJson(`${path("review")}?${query({ class: body.class, wanted: body.wanted })}`);
        show(byId("review-note"), error.message);
      }
    });
    if (mine !== opened) return;
    if (isSent) take(found);
    else setBusy(false);
  }

  // --- The result so far ---

  function showProgress() {
    const { reviewed, contain, skipped } = state, aim = percent(state.wanted);
    byId("review-count").textContent = `${plural(reviewed, "window")} reviewed, ${contain} contain${contain === 1 ? "s" : ""} it${skipped ? `, ${skipped} skipped` : ""}.`;
    byId("review-outlook").textContent = outlook(aim);
    byId("review-kept").hidden = state.kept;
    showThreshold();
  }

  function outlook(aim) {
    const { safe_threshold: safe, reviewed, curve, outlook: { reviews, chance } } = state;
    if (safe !== null) return `From ${safe.toFixed(2)} on, the threshold is safe: with a probability of at least 90 %, its precision is ${aim} or more.`;
    if (!curve.some(({ precision }) => precision !== null)) return "No threshold has five windows at or above it: the archive has too few that may contain this class.";
    if (reviewed < EVENLY) return `Review ${EVENLY - reviewed} more for a first estimate.`;
    if (reviews === null || chance < UNLIKELY) {
      const best = Math.max(...curve.map(({ precision }) => precision ?? 0));
      if (best >= state.wanted) return "Not decided yet: many more windows are needed, or more than the archive has with high scores. Index more recordings.";
      return `Probably no threshold has a precision of ${aim}: the highest is about ${percent(best)}. Choose a lower one, or train the model with these answers.`;
    }
    if (chance < 0.3) return `A safe threshold is not likely: it takes about ${plural(reviews, "more review")}, in ${percent(chance)} of the simulated reviews.`;
    return `About ${plural(reviews, "more review")} until a threshold is safe, in ${percent(chance)} of the simulated reviews.`;
  }

  function choose(value) {
    if (!state) return;
    const steps = state.curve.map((row) => row.threshold);
    threshold = steps.reduce((best, step) => (Math.abs(step - value) < Math.abs(best - value) ? step : best));
    isChosen = true;
    showThreshold();
  }

  function showThreshold() {
    const at = state.curve.reduce((best, row) => (Math.abs(row.threshold - threshold) < Math.abs(best.threshold - threshold) ? row : best));
    threshold = at.threshold;
    byId("threshold").value = threshold;
    byId("threshold-value").textContent = threshold.toFixed(2);
    const windows = plural(at.windows, "window");
    byId("threshold-about").textContent = at.precision === null
      ? `${windows} of the archive at or above it: too few to estimate the precision.`
      : `Precision ${percent(at.precision)}, 90 % interval ${percent(at.low)} to ${percent(at.high)}; ${windows} of the archive at or above it. `
        + `It is ${percent(state.wanted)} or more with a probability of ${percent(at.reached)}.`;
    byId("threshold-now").textContent = state.threshold === null ? "" : `In use: ${state.threshold}.`;
    chart.show(state, threshold);
  }

  async function useThreshold() {
    const body = { class: state.class, wanted: state.wanted, threshold, model: byId("threshold-model").checked };
    await withServer(async () => {
      const { file, model } = await postJson(path("threshold"), body);
      state.threshold = threshold;
      showThreshold();
      const copy = model ? ` The model with it is ${model}.` : "";
      byId("threshold-done").textContent = `The threshold ${threshold} of ${body.class} is in ${file}, and in use here from now on. Elsewhere: soundmark classify --thresholds ${file}.${copy}`;
    });
  }

  // --- Controls ---

  function onKey(e) {
    if (byId("panel-review").hidden || e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
    if (e.target.closest?.("input:not([type=checkbox], [type=range]), select, textarea, [role=tab]") || !byId("shortcuts").checked) return;
    const what = KEYS[e.key.toLowerCase()];
    if (what) {
      e.preventDefault();
      if (!e.repeat) answer(what);
    } else if (e.key === " " && !e.target.closest("button, summary, a, input, .view")) {
      e.preventDefault();
      player.toggle();
    }
  }

  const before = stored();
  byId("review-archive").replaceChildren(...archives.map(({ name }) => element("option", { value: name, text: name })));
  if (archives.some(({ name }) => name === before.archive)) byId("review-archive").value = before.archive;
  byId("review-archive").closest("label").hidden = archives.length < 2;
  fillClasses(before.label);
  if (before.wanted) byId("review-wanted").value = String(before.wanted);
  if (!byId("review-wanted").value) byId("review-wanted").value = "0.9";
  byId("reviewer").value = before.reviewer ?? "";
  if (before.margin) byId("review-margin").value = before.margin;
  for (const id of ["autoplay", "equal-loudness", "shortcuts"]) if (id in before) byId(id).checked = before[id];

  document.addEventListener("keydown", onKey);
  document.addEventListener("pointerdown", () => { wasPointer = true; });
  document.addEventListener("keydown", () => { wasPointer = false; }, true);
  for (const button of document.querySelectorAll("[data-answer]")) button.addEventListener("click", () => answer(button.dataset.answer));
  byId("review-play").addEventListener("click", () => player.toggle());
  for (const id of ["review-archive", "review-class", "review-wanted"]) {
    byId(id).addEventListener("change", () => {
      if (id === "review-archive") fillClasses(label());
      show(byId("review-note"), "");
      byId("threshold-done").textContent = "";
      if (wasPointer) byId("review-card").focus(); // so that the next key is an answer, not another class
      open();
    });
  }
  for (const id of ["equal-loudness", "review-margin"]) {
    byId(id).addEventListener("change", () => { remember(); if (state) showWindow(); });
  }
  for (const id of ["autoplay", "shortcuts", "reviewer"]) byId(id).addEventListener("change", remember);
  byId("threshold").addEventListener("input", ({ target }) => choose(Number(target.value)));
  byId("use-threshold").addEventListener("click", () => state && useThreshold());
  document.addEventListener("tab", ({ detail }) => {
    if (detail !== "review") player.pause();
    else if (!state) open();
  });
  if (!byId("panel-review").hidden) open();
}
