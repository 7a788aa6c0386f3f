// The Classify tab: files are sent to the server, and their results shown while they are computed.

import { byId, element, show, showPlaying, fillBars, clock, percent, download } from "./dom.js";
import { Problem, classify, convert, serverIsBack } from "./api.js";
import { Spectrogram } from "./spectrogram.js";
import { Timeline } from "./timeline.js";
import { Player } from "./player.js";
import { openMicrophone, wavFile } from "./microphone.js";
import { explanationOf } from "./why.js";

const MOST_CLASSES = 5; // of the recording
const MOST_LOST = 5; // connections, until a file is given up
const TABLE_ROWS = 500; // of events; the downloads have all
const WINDOW_S = 20; // shown of a long recording while it is analysed, after which the whole is

export function startClassify(model) {
  const recordings = []; // { file, state, error, note, analyzed, … }, in the order in which they were chosen
  const isCalibrated = !model.summary.some(([heading, text]) => heading === "calibration" && text.startsWith("not calibrated"));
  let current = null, working = false;

  const player = new Player({
    onTime: (time) => { timeline.moveCursor(time, true); byId("clock").value = clock(time, 1); },
    onState: (isPlaying) => showPlaying(byId("play"), isPlaying),
    onError: () => current && show(byId("result-note"), [current.note, "This browser cannot play this format; the results are complete."].filter(Boolean).join(" ")),
  });
  const timeline = new Timeline(byId("timeline"), {
    onSeek: (time) => player.seek(time), onEvent: playEvent, onToggle: () => player.toggle(),
  });

  // --- Choosing files ---

  function add(files) {
    for (const file of files) {
      const recording = { file, state: "waiting", error: "", note: "", events: [], scores: [], analyzed: 0, duration: 0, peaks: [] };
      if (file.size > model.limits.upload_bytes) {
        recording.state = "failed";
        recording.error = `“${file.name}” has ${(file.size / 1e6).toFixed(0)} MB; this server accepts at most ${model.limits.upload_bytes / 1e6} MB.`;
      }
      recordings.push(recording);
      if (recordings.length === 1 || current?.state === "done" || current?.state === "failed") select(recording);
    }
    byId("drop").classList.add("small");
    showQueue();
    work();
  }

  function showQueue() {
    byId("queue").hidden = recordings.length < 2;
    byId("queue").replaceChildren(...recordings.map((recording) => {
      const mark = { waiting: "… ", working: "⟳ ", done: "✓ ", failed: "✗ " }[recording.state];
      return element("li", {}, element("button", {
        text: mark + recording.file.name, class: recording.state === "failed" ? "failed" : null,
        "aria-label": `${recording.file.name}: ${recording.state}`,
        "aria-pressed": String(recording === current), onclick: () => select(recording),
      }));
    }));
  }

  async function work() {
    if (working) return;
    working = true;
    for (let next; (next = recordings.find(({ state }) => state === "waiting"));) await analyse(next);
    working = false;
  }

  async function analyse(recording) {
    recording.state = "working";
    refresh(recording);
    let lost = 0;
    const settings = { overlap: byId("overlap").value, min_confidence: byId("min-confidence").value };
    for (;;) {
      try {
        await classify(recording.file, settings, (update) => take(recording, update));
        recording.state = "done";
        break;
      } catch (error) {
        const isLost = error instanceof Problem && error.status === 0;
        if ((!isLost && error.status !== 503) || (isLost && ++lost > MOST_LOST)) {
          recording.state = "failed";
          recording.error = error.message;
          break;
        }
        recording.interrupted = isLost
          ? "The connection to the server was lost. Waiting for it, to analyse this file again …"
          : error.message;
        refresh(recording);
        await serverIsBack();
        recording.interrupted = "";
        if (isLost) recording.note = "The server was interrupted: this file was analysed again.";
        Object.assign(recording, { events: [], scores: [], analyzed: 0, spectrogram: null, result: null });
      }
    }
    refresh(recording);
  }

  // --- Results ---

  function take(recording, update) {
    if (update.kind === "opened") {
      Object.assign(recording, { opened: update, duration: update.duration_s, spectrogram: new Spectrogram(update.spectrogram) });
      recording.spectrogram.setColours(byId("colours").value);
      recording.sums = new Float64Array(update.classes.length);
      recording.peaks = new Float64Array(update.classes.length);
      if (recording === current) select(recording);
    } else if (update.kind === "tile") {
      recording.spectrogram.add(update);
    } else if (update.kind === "scores") {
      update.probabilities.forEach((p, i) => {
        recording.scores.push({ start: update.start_s[i], stop: update.stop_s[i], p });
        p.forEach((value, row) => {
          recording.sums[row] += value;
          recording.peaks[row] = Math.max(recording.peaks[row], value);
        });
      });
      recording.analyzed = update.stop_s.at(-1);
    } else if (update.kind === "events") {
      recording.events.push(...update.events);
      recording.events.sort((a, b) => a.start_s - b.start_s);
    } else if (update.kind === "result") {
      Object.assign(recording, { result: update.result, events: update.result.events, duration: update.result.duration_s });
      recording.note = [recording.note, update.result.note].filter(Boolean).join(" ");
    }
    recording.changed = true;
    if (recording === current) scheduleRefresh(recording);
  }

  let scheduled = null;
  function scheduleRefresh(recording) {
    scheduled ??= setTimeout(() => { scheduled = null; refresh(recording); }, 120);
  }

  function select(recording) {
    current = recording;
    Object.assign(timeline, { overlay: null, selected: null, cursor: 0, scores: recording.scores, events: recording.events });
    if (recording.state !== "failed") player.load(recording.file);
    if (recording.opened) {
      timeline.classes = recording.opened.classes;
      timeline.spectrogram = recording.spectrogram;
      timeline.duration = Math.max(0.05, recording.duration);
      timeline.fit();
    }
    byId("clock").value = clock(0, 1);
    show(byId("why-text"), "");
    byId("why").setAttribute("aria-pressed", "false");
    showQueue();
    refresh(recording);
  }

  function refresh(recording) {
    showQueue();
    if (recording !== current) return;
    byId("result").hidden = false;
    byId("result-name").textContent = recording.file.name;
    const share = recording.duration ? recording.analyzed / recording.duration : 0;
    const state = {
      waiting: "waiting", failed: "",
      working: recording.opened && recording.analyzed ? `analysing: ${clock(recording.analyzed)} of ${clock(recording.duration)}` : "uploading …",
      done: `${recording.duration < 100 ? `${recording.duration.toFixed(1)} s` : clock(recording.duration)}, ${count(recording.events.length, "event")}`,
    }[recording.state];
    byId("result-state").textContent = recording.interrupted || state;
    byId("progress").hidden = recording.state !== "working";
    if (share) byId("progress").value = share;
    else byId("progress").removeAttribute("value");
    show(byId("result-error"), recording.error);
    show(byId("result-note"), recording.note);
    byId("result-body").hidden = !recording.opened || recording.state === "failed";
    for (const button of document.querySelectorAll("[data-format], #why")) button.disabled = recording.state !== "done";
    if (!recording.opened) return;
    timeline.spectrogram = recording.spectrogram;
    timeline.scores = recording.scores;
    timeline.events = recording.events;
    if (timeline.duration !== recording.duration) {
      const wasAll = timeline.t1 - timeline.t0 >= timeline.duration - 1e-6;
      timeline.duration = Math.max(0.05, recording.duration);
      if (wasAll) timeline.fit();
    }
    showClasses(recording);
    showEvents(recording);
    timeline.describe(`Spectrogram of ${recording.file.name}, ${recording.duration.toFixed(1)} seconds, with ${count(recording.events.length, "event")}. Arrow keys move, plus and minus zoom, space plays.`);
    timeline.redraw();
  }

  function showClasses(recording) {
    const { opened, result, scores, sums, peaks } = recording, order = [...peaks.keys()];
    order.sort((a, b) => peaks[b] - peaks[a]);
    timeline.setCurves(order.slice(0, 5));
    const provisional = () => order.map((row) => ({ label: opened.classes[row], score: scores.length ? sums[row] / scores.length : 0 }))
      .sort((a, b) => b.score - a.score).slice(0, 5);
    const rows = (result?.classes ?? provisional()).slice(0, MOST_CLASSES).map(({ label, score }) => ({
      label, score, unknown: label === opened.unknown,
      hint: label === opened.unknown ? "This sounds unlike everything that the model was trained on: its classes may not apply." : "",
    }));
    fillBars(byId("classes"), rows);
    const mean = scores.length > 1 ? `Means of ${scores.length} windows. ` : "";
    byId("classes-about").textContent = mean + (isCalibrated ? "Calibrated probabilities." : "The model is not calibrated: these are scores, not probabilities.");
  }

  function showEvents(recording) {
    const { events } = recording;
    byId("no-events").hidden = events.length > 0 || recording.state !== "done";
    byId("events").hidden = !events.length;
    const rows = events.slice(0, TABLE_ROWS).map((event) => element("tr", { class: event === timeline.selected ? "on" : null },
      element("td", {}, element("button", { class: "icon", text: "▶", "aria-label": `Play ${event.label} at ${event.start_s.toFixed(1)} s`, onclick: () => playEvent(event) })),
      element("td", { class: "number", text: event.start_s.toFixed(2) }), element("td", { class: "number", text: event.stop_s.toFixed(2) }),
      element("td", { text: event.label }), element("td", { class: "number", text: percent(event.confidence) })));
    if (events.length > TABLE_ROWS) {
      rows.push(element("tr", {}, element("td", { colspan: "5", class: "quiet", text: `… and ${events.length - TABLE_ROWS} more: the downloads have all.` })));
    }
    byId("events").tBodies[0].replaceChildren(...rows);
  }

  function playEvent(event) {
    timeline.selected = event;
    if (event.stop_s < timeline.t0 || event.start_s > timeline.t1) {
      const span = Math.max(WINDOW_S, 2 * (event.stop_s - event.start_s));
      timeline.show(event.start_s - span / 4, event.start_s + span * 3 / 4);
    }
    player.play(event.start_s, event.stop_s);
    showEvents(current);
    timeline.redraw();
  }

  const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

  // --- Why ---

  async function why() {
    const button = byId("why"), recording = current;
    if (timeline.overlay) {
      timeline.overlay = null;
      show(byId("why-text"), "");
      button.setAttribute("aria-pressed", "false");
      timeline.redraw();
      return;
    }
    button.disabled = true;
    show(byId("why-text"), "Hiding each region of the spectrogram in turn: this takes some seconds …");
    try {
      const found = await explanationOf(recording.file, windowToExplain(recording));
      if (recording !== current) return;
      timeline.overlay = found;
      show(byId("why-text"), found.sentence);
      button.setAttribute("aria-pressed", "true");
      if (found.start_s < timeline.t0 || found.stop_s > timeline.t1) timeline.show(found.start_s - 1, found.stop_s + 1);
      timeline.redraw();
    } catch (error) {
      show(byId("why-text"), error.message);
    } finally {
      button.disabled = false;
    }
  }

  // The window of the selected event, or else the one with the highest score of the top class.
  function windowToExplain({ scores, opened, result }) {
    if (scores.length === 1) return {};
    const label = timeline.selected?.label ?? result.classes.find((entry) => entry.label !== opened.unknown).label;
    const row = opened.classes.indexOf(label), inside = scores.filter(({ start, stop }) => !timeline.selected || (start < timeline.selected.stop_s && stop > timeline.selected.start_s));
    const best = (inside.length ? inside : scores).reduce((a, b) => (b.p[row] > a.p[row] ? b : a));
    return { start: best.start, stop: best.stop };
  }

  // --- Downloads ---

  const SUFFIXES = { csv: ".csv", audacity: ".txt", raven: ".selections.txt", json: ".json", png: ".png" };

  async function save(format) {
    const name = current.file.name.replace(/\.[^.]+$/, "") + SUFFIXES[format];
    try {
      download(name, format === "png" ? await picture() : await convert([current.result], format));
    } catch (error) {
      show(byId("result-error"), error.message);
    }
  }

  function picture() {
    const width = 1400, margin = 24, scale = 2, title = 40;
    const canvas = element("canvas", { width: scale * (width + 2 * margin), height: scale * (timeline.fullHeight + title + 2 * margin + 22) });
    const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    context.scale(scale, scale);
    context.fillStyle = style.getPropertyValue("--card");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = style.getPropertyValue("--ink");
    context.font = "600 18px system-ui, sans-serif";
    context.fillText(current.file.name, margin + timeline.gutter, margin + 18);
    context.translate(margin, margin + title);
    timeline.paint(context, width - timeline.gutter, style);
    context.font = "13px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillStyle = style.getPropertyValue("--quiet");
    const labels = [...new Set(current.events.map(({ label }) => label))];
    context.fillText(labels.length ? `Events: ${labels.join(", ")}` : "No events", timeline.gutter, timeline.fullHeight + 12);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  // --- Recording ---

  let recorder = null;
  async function record() {
    const button = byId("record");
    if (recorder) {
      const { microphone, blocks } = recorder;
      recorder = null;
      button.textContent = "Record";
      await microphone.close();
      if (blocks.length) add([wavFile(blocks, microphone.rate, `recording-${new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "_")}.wav`)]);
      return;
    }
    const blocks = [];
    button.disabled = true; // a second microphone would never be closed
    try {
      recorder = { microphone: await openMicrophone((block) => blocks.push(block)), blocks };
      button.textContent = "Stop recording";
    } catch (error) {
      byId("result").hidden = false;
      show(byId("result-error"), error.message);
    } finally {
      button.disabled = false;
    }
  }

  // --- Controls ---

  const drop = byId("drop");
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", ({ target }) => { add([...target.files]); target.value = ""; });
  byId("record").addEventListener("click", record);
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (e) => { e.preventDefault(); drop.classList.add("over"); });
  }
  document.addEventListener("dragleave", (e) => { if (!e.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (e) => {
    e.preventDefault();
    drop.classList.remove("over");
    if (e.dataTransfer.files.length) add([...e.dataTransfer.files]);
  });
  byId("play").addEventListener("click", () => player.toggle());
  byId("zoom-in").addEventListener("click", () => timeline.zoom(0.5));
  byId("zoom-out").addEventListener("click", () => timeline.zoom(2));
  byId("fit").addEventListener("click", () => timeline.fit());
  byId("colours").addEventListener("change", ({ target }) => {
    for (const { spectrogram } of recordings) spectrogram?.setColours(target.value);
    timeline.redraw();
  });
  byId("why").addEventListener("click", why);
  for (const button of document.querySelectorAll("[data-format]")) button.addEventListener("click", () => save(button.dataset.format));
}
