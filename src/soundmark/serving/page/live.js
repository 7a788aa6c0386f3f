// The Live tab: the microphone is sent to the server as PCM, and its messages are shown.

import { byId, element, show, fillBars, clock, percent } from "./dom.js";
import { query } from "./api.js";
import { Spectrogram } from "./spectrogram.js";
import { Timeline } from "./timeline.js";
import { openMicrophone } from "./microphone.js";

const SHOWN_S = 30, KEPT_S = 60, LOG_LINES = 200, QUEUED_S = 2, WAITING_S = 5, FRAME_MS = 40, RETRY_MS = [500, 1000, 2000, 4000];

export function startLive(model) {
  const timeline = new Timeline(byId("live-timeline"), { height: 240, curves: true });
  Object.assign(timeline, { duration: SHOWN_S, t1: SHOWN_S, cursor: -1 });
  timeline.describe("Spectrogram of the last 30 seconds");
  byId("window-length").textContent = `${model.window_s} s`;
  const warnings = new Map(); // by topic: one does not hide another
  let microphone = null, socket = null, latest = null, wanted = false, attempts = 0;
  let offset = 0; // seconds from the start of listening to the start of the present connection
  let startedAt = 0, lostAt = 0, unsent = 0, opened = null;
  let waiting = []; // { at, samples } until there is a connection

  const now = () => (performance.now() - startedAt) / 1000;
  const state = (text) => { byId("live-state").textContent = text; };

  function warn(topic, text) {
    warnings.set(topic, text);
    show(byId("live-warning"), [...warnings.values()].join(" "));
  }

  async function toggle() {
    if (wanted) return stop();
    wanted = byId("hop").disabled = byId("listen").disabled = true;
    byId("listen").textContent = "Stop";
    state("Waiting for the microphone …");
    warnings.clear();
    show(byId("live-warning"), "");
    waiting = [];
    socket = latest = null; // the end of an earlier session is ignored
    startedAt = performance.now();
    try {
      microphone = await openMicrophone(send);
    } catch (error) {
      warn("server", error.message);
      return stop();
    } finally {
      byId("listen").disabled = false;
    }
    [offset, unsent, attempts] = [0, 0, 0];
    timeline.spectrogram = null;
    Object.assign(timeline, { scores: [], events: [], duration: SHOWN_S, t0: 0, t1: SHOWN_S });
    for (const id of ["live-events", "rejected", "now"]) byId(id).replaceChildren();
    for (const id of ["live-events-empty", "now-empty", "rejected-empty"]) byId(id).hidden = false;
    connect();
    tick();
  }

  async function stop() {
    wanted = byId("hop").disabled = false;
    byId("listen").textContent = "Start listening";
    await microphone?.close();
    microphone = null;
    if (socket?.readyState === WebSocket.OPEN) socket.send(new ArrayBuffer(0)); // the server sends the rest, and closes
    else state("The microphone is off.");
  }

  function connect() {
    const parameters = query({
      rate: microphone.rate, sample_format: "f32", real_time: true, spectrogram: true, rejected: true, hop: hopOf(),
    });
    const connection = latest = new WebSocket(`${location.origin.replace(/^http/, "ws")}/v1/listen?${parameters}`);
    connection.binaryType = "arraybuffer";
    connection.onopen = () => {
      if (connection !== latest || !wanted) return connection.close();
      socket = connection;
      offset = waiting[0]?.at ?? now();
      state("Listening.");
      if (attempts) {
        const lost = Math.max(0, offset - lostAt);
        warn("connection", `The connection was lost for ${(now() - lostAt).toFixed(1)} s and is back: ${lost.toFixed(1)} s of sound were not analysed.`);
      }
      attempts = 0;
      for (const { samples } of waiting.splice(0)) connection.send(samples.buffer);
    };
    connection.onmessage = ({ data }) => connection === latest && take(JSON.parse(data));
    connection.onclose = () => {
      if (connection !== latest) return;
      if (socket === connection) socket = null;
      if (!wanted) return state("The microphone is off.");
      if (!attempts) lostAt = now();
      state("The connection to the server was lost: connecting again …");
      setTimeout(() => wanted && microphone && connection === latest && connect(), RETRY_MS[Math.min(attempts++, RETRY_MS.length - 1)]);
    };
  }

  // A hop that is not longer than the window.
  function hopOf() {
    const hop = Number(byId("hop").value);
    return hop && hop <= model.window_s ? hop : "";
  }

  function send(samples) {
    if (socket?.readyState !== WebSocket.OPEN) {
      const seconds = samples.length / (microphone?.rate ?? 48000);
      waiting.push({ at: now() - seconds, samples });
      if (waiting.length * seconds > WAITING_S) waiting.shift();
    } else if (socket.bufferedAmount > 4 * QUEUED_S * microphone.rate) {
      unsent += samples.length / microphone.rate;
      warn("unsent", `The connection is too slow: ${unsent.toFixed(1)} s of sound were not sent.`);
    } else socket.send(samples.buffer);
  }

  function take(message) {
    const { kind } = message;
    if (kind === "opened") {
      opened = message;
      timeline.classes = message.classes;
      timeline.spectrogram ??= new Spectrogram(message.spectrogram);
    } else if (kind === "tile") {
      timeline.spectrogram.add({ ...message, start_s: message.start_s + offset, stop_s: message.stop_s + offset });
      timeline.spectrogram.forgetBefore(now() - KEPT_S);
    } else if (kind === "scores") takeScores(message);
    else if (kind === "events") message.events.forEach((event) => logEvent(event));
    else if (kind === "rejections") message.rejections.forEach(logRejection);
    else if (kind === "note" || kind === "error") warn("server", `${message.detail[0].toUpperCase()}${message.detail.slice(1)}`);
    else if (kind === "state") takeState(message);
    else if (kind === "ended" && message.loss) warn("server", message.loss);
  }

  function takeScores({ start_s, stop_s, probabilities }) {
    probabilities.forEach((p, i) => timeline.scores.push({ start: start_s[i] + offset, stop: stop_s[i] + offset, p }));
    timeline.scores = timeline.scores.filter(({ stop }) => stop > now() - KEPT_S);
    const last = probabilities.at(-1), best = [...last.keys()].sort((a, b) => last[b] - last[a]).slice(0, 6);
    byId("now-empty").hidden = true;
    fillBars(byId("now"), best.map((row) => ({ label: opened.classes[row], score: last[row] })));
    const peaks = opened.classes.map((_, row) => Math.max(...timeline.scores.map(({ p }) => p[row])));
    timeline.setCurves([...peaks.keys()].sort((a, b) => peaks[b] - peaks[a]).slice(0, 4));
  }

  function takeState({ level_db, dropped_s }) {
    byId("level").value = level_db;
    if (dropped_s) warn("server", `This server cannot keep up: ${dropped_s.toFixed(1)} s of sound were dropped.`);
  }

  function logEvent(event) {
    const shifted = { ...event, start_s: event.start_s + offset, stop_s: event.stop_s + offset };
    timeline.events = [...timeline.events, shifted].filter(({ stop_s }) => stop_s > now() - KEPT_S);
    byId("live-events-empty").hidden = true;
    log("live-events", shifted, event.label, percent(event.confidence), `${(event.stop_s - event.start_s).toFixed(1)} s`);
  }

  function logRejection(one) {
    byId("rejected-empty").hidden = true;
    log("rejected", { start_s: one.start_s + offset }, one.label, percent(one.score), one.reason === "below the threshold" ? `${one.reason} of ${percent(one.threshold)}` : one.reason);
  }

  function log(id, { start_s }, label, value, small) {
    const list = byId(id);
    list.prepend(element("li", { "data-start": start_s.toFixed(3), "data-label": label },
      element("time", { text: clock(start_s, 1) }), element("span", { text: label }), element("span", { class: "value", text: value }),
      element("small", { text: small })));
    while (list.children.length > LOG_LINES) list.lastChild.remove();
  }

  function tick() {
    if (!wanted) return;
    const time = now();
    byId("live-clock").value = clock(time);
    timeline.duration = Math.max(SHOWN_S, time);
    timeline.cursor = -1;
    timeline.show(timeline.duration - SHOWN_S, timeline.duration);
    setTimeout(() => requestAnimationFrame(tick), FRAME_MS);
  }

  byId("listen").addEventListener("click", toggle);
  byId("show-rejected").addEventListener("change", ({ target }) => { byId("rejected-card").hidden = !target.checked; });
}
