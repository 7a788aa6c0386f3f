// A recording on a time axis: spectrogram, probabilities, events as boxes, cursor. Zoom, pan, keyboard.

import { element, clock } from "./dom.js";

const GAP = 10, AXIS = 22, CURVES = 110, LANES = 10, BOXES = 400;
// Okabe and Ito's colours: told apart with every kind of colour vision; each curve has its own dashes as well.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"];
const DARK_COLOURS = ["#56b4e9", "#e69f00", "#2fc59a", "#e59ac4", "#f08a4b", "#f0e442"];
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4]];

const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
export const classColour = (rank) => (isDark() ? DARK_COLOURS : COLOURS)[rank % COLOURS.length];

function niceStep(seconds, width) {
  const least = seconds * 80 / Math.max(1, width);
  return [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200]
    .find((step) => step >= least) ?? 14400;
}

export class Timeline {
  constructor(container, { onSeek = () => {}, onEvent = null, onToggle = () => {}, onRegion = null, height = 260, curves = true } = {}) {
    Object.assign(this, { container, onSeek, onEvent, onToggle, onRegion, height, curves });
    this.spectrogram = null;
    [this.start, this.duration] = [0, 1]; // seconds of the recording that can be shown: from start to duration
    this.scores = []; // of { start, stop, p: [classes] }
    this.shown = []; // rows of the classes with a curve
    this.classes = [];
    this.events = [];
    this.selected = null;
    this.overlay = null;
    [this.t0, this.t1, this.cursor] = [0, 1, 0];
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.view = element("div", { class: "view", tabindex: "0", role: "group" }, this.canvas);
    this.lanes = element("div", { class: "lanes" });
    this.legend = element("ul", { class: "legend", "aria-label": "Curves" });
    container.replaceChildren(this.view, this.legend, this.lanes);
    this.#listen();
    new ResizeObserver(() => this.redraw()).observe(container);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  describe(text) { this.view.setAttribute("aria-label", text); }

  get gutter() { return innerWidth <= 640 ? 50 : 56; }
  get plotWidth() { return Math.max(50, this.container.clientWidth - this.gutter); }
  get fullHeight() { return this.height + AXIS + (this.curves ? GAP + CURVES : 0); }

  show(t0, t1) {
    const span = Math.min(this.duration - this.start, Math.max(0.05, t1 - t0));
    this.t0 = Math.min(Math.max(this.start, t0), this.duration - span);
    this.t1 = this.t0 + span;
    this.redraw();
  }

  fit() { this.show(this.start, this.duration); }
  zoom(factor, centre = (this.t0 + this.t1) / 2) {
    this.show(centre - (centre - this.t0) * factor, centre + (this.t1 - centre) * factor);
  }
  pan(share) { this.show(this.t0 + share * (this.t1 - this.t0), this.t1 + share * (this.t1 - this.t0)); }

  moveCursor(time, follow = false) {
    this.cursor = time;
    if (follow && (time < this.t0 || time > this.t1)) this.show(time, time + this.t1 - this.t0);
    else this.redraw();
  }

  redraw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      this.#draw();
    });
  }

  #draw() {
    const ratio = devicePixelRatio || 1, width = this.gutter + this.plotWidth;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(this.fullHeight * ratio);
    this.canvas.style.height = `${this.fullHeight}px`;
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    this.paint(context, this.plotWidth, getComputedStyle(document.documentElement));
    this.#drawLanes();
  }

  // Draw everything but the boxes; also for the picture that is downloaded.
  paint(context, width, style) {
    const ink = style.getPropertyValue("--quiet"), line = style.getPropertyValue("--line");
    const plot = { x: this.gutter, y: 0, width, height: this.height };
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = style.getPropertyValue("--soft");
    context.fillRect(plot.x, plot.y, plot.width, plot.height);
    if (this.spectrogram) {
      this.spectrogram.draw(context, plot, this.t0, this.t1);
      this.#drawOverlay(context, plot);
      this.#drawHertz(context, plot, ink);
    }
    if (this.selected) this.#drawBand(context, plot, this.selected);
    const bottom = this.curves ? { ...plot, y: this.height + GAP, height: CURVES } : plot;
    if (this.curves) this.#drawCurves(context, bottom, ink, line);
    this.#drawSeconds(context, plot, bottom, ink, line);
    const x = this.#x(this.cursor, plot);
    if (x >= plot.x && x <= plot.x + plot.width) {
      context.fillStyle = "#000000";
      context.fillRect(x - 1.5, 0, 3, bottom.y + bottom.height);
      context.fillStyle = "#ffffff";
      context.fillRect(x - 0.5, 0, 1, bottom.y + bottom.height);
    }
  }

  #x(time, plot) { return plot.x + (time - this.t0) / (this.t1 - this.t0) * plot.width; }

  #drawHertz(context, plot, ink) {
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillStyle = ink;
    let last = Infinity;
    for (const hz of this.spectrogram.ticks()) {
      const y = Math.min(plot.height - 6, Math.max(7, this.spectrogram.position(hz) * plot.height));
      if (last - y < 15) continue;
      last = y;
      context.fillText(hz >= 1000 ? `${hz / 1000} kHz` : `${hz} Hz`, plot.x - 6, y);
    }
  }

  #drawSeconds(context, plot, bottom, ink, line) {
    const step = niceStep(this.t1 - this.t0, plot.width), y = bottom.y + bottom.height;
    const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0, long = this.duration >= 100;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (let i = Math.ceil(this.t0 / step - 1e-9); i * step <= this.t1 + 1e-9; i++) {
      const x = this.#x(i * step, plot);
      context.fillStyle = line;
      context.fillRect(x, y, 1, 4);
      context.fillStyle = ink;
      const text = long ? clock(i * step, digits) : `${(i * step).toFixed(digits)} s`;
      context.fillText(text, Math.min(Math.max(x, plot.x + 10), plot.x + plot.width - 16), y + 7);
    }
  }

  #drawCurves(context, plot, ink, line) {
    context.strokeStyle = line;
    context.fillStyle = ink;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const p of [0, 0.5, 1]) {
      const y = plot.y + (1 - p) * plot.height;
      context.strokeRect(plot.x, y, plot.width, 0);
      context.fillText(`${100 * p} %`, plot.x - 6, Math.min(y, plot.y + plot.height - 4));
    }
    context.save();
    context.beginPath();
    context.rect(plot.x, plot.y - 2, plot.width, plot.height + 4);
    context.clip();
    context.lineWidth = 2;
    this.shown.forEach((row, rank) => {
      context.strokeStyle = classColour(rank);
      context.setLineDash(DASHES[rank % DASHES.length]);
      context.beginPath();
      const y = (p) => plot.y + (1 - p) * plot.height, n = this.scores.length;
      this.scores.forEach(({ start, stop, p }, i) => {
        // A window stands for the time around its middle, the first and the last one for the ends of the recording.
        const before = i ? (this.scores[i - 1].start + this.scores[i - 1].stop) / 2 : null, middle = (start + stop) / 2;
        const left = before === null ? start : (before + middle) / 2;
        const right = i + 1 < n ? (middle + (this.scores[i + 1].start + this.scores[i + 1].stop) / 2) / 2 : stop;
        if (right < this.t0 || left > this.t1) return;
        context.lineTo(this.#x(left, plot), y(p[row]));
        context.lineTo(this.#x(right, plot), y(p[row]));
      });
      context.stroke();
    });
    context.restore();
  }

  #drawBand(context, plot, event) {
    const x = this.#x(event.start_s, plot), width = this.#x(event.stop_s, plot) - x;
    context.save();
    context.beginPath();
    context.rect(plot.x, plot.y, plot.width, plot.height);
    context.clip();
    for (const [colour, size] of [["#000000", 4], ["#ffffff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = size;
      context.strokeRect(x, 2, width, plot.height - 4);
    }
    context.restore();
  }

  #drawOverlay(context, plot) {
    const found = this.overlay;
    if (!found) return;
    const x = this.#x(found.start_s, plot), width = this.#x(found.stop_s, plot) - x;
    context.save();
    context.beginPath();
    context.rect(plot.x, plot.y, plot.width, plot.height);
    context.clip();
    context.imageSmoothingQuality = "high";
    context.drawImage(found.mask, x, plot.y, width, plot.height);
    for (const region of found.regions) {
      const top = this.spectrogram.position(region.high_hz) * plot.height;
      const bottom = this.spectrogram.position(region.low_hz) * plot.height, left = this.#x(region.start_s, plot);
      for (const [colour, size] of [["#000000", 4], ["#ffffff", 2]]) {
        context.strokeStyle = colour;
        context.lineWidth = size;
        context.strokeRect(left, top, this.#x(region.stop_s, plot) - left, bottom - top);
      }
    }
    context.restore();
  }

  // The classes with a curve, the most probable first.
  setCurves(rows) {
    this.shown = rows.slice(0, COLOURS.length);
    this.#drawLegend();
    this.redraw();
  }

  #drawLegend() {
    this.legend.replaceChildren(...this.shown.map((row, rank) => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("width", 28);
      svg.setAttribute("height", 8);
      svg.setAttribute("aria-hidden", "true");
      const stroke = document.createElementNS(svg.namespaceURI, "line");
      for (const [key, value] of Object.entries({
        x1: 0, x2: 28, y1: 4, y2: 4, stroke: classColour(rank), "stroke-width": 2.5, "stroke-dasharray": DASHES[rank].join(" "),
      })) stroke.setAttribute(key, value);
      svg.append(stroke);
      return element("li", {}, svg, this.classes[row]);
    }));
  }

  // One lane for each class, in the order of its first event; boxes are buttons.
  #drawLanes() {
    const labels = [...new Set(this.events.map((event) => event.label))].slice(0, LANES);
    const visible = this.events.filter((event) => event.stop_s > this.t0 && event.start_s < this.t1).slice(0, BOXES);
    const scale = 100 / (this.t1 - this.t0);
    const key = JSON.stringify([labels, this.t0, this.t1, this.events.length, this.selected && this.events.indexOf(this.selected), this.shown]);
    if (key === this.lanesKey) return;
    this.lanesKey = key;
    const focused = document.activeElement?.dataset?.event;
    this.lanes.replaceChildren(...labels.map((label) => {
      const rank = this.shown.indexOf(this.classes.indexOf(label));
      return element("div", { class: "lane", role: "group", "aria-label": `Events of ${label}` },
        ...visible.filter((event) => event.label === label).map((event) => {
          const times = `${label}, ${event.start_s.toFixed(1)} to ${event.stop_s.toFixed(1)} s`;
          const shared = { text: label, title: times, class: event === this.selected ? "box on" : "box" };
          const box = !this.onEvent ? element("span", shared) : element("button", {
            ...shared, "data-event": String(this.events.indexOf(event)), "aria-label": `${times}: play`, onclick: () => this.onEvent(event),
          });
          const left = Math.max(0, (event.start_s - this.t0) * scale), right = Math.min(100, (event.stop_s - this.t0) * scale);
          box.style.left = `${left}%`;
          box.style.width = `${right - left}%`;
          if (rank >= 0) box.style.setProperty("--class", classColour(rank));
          return box;
        }));
    }));
    if (focused !== undefined) this.lanes.querySelector(`[data-event="${focused}"]`)?.focus();
  }

  #time(clientX) {
    const { left } = this.canvas.getBoundingClientRect();
    return this.t0 + (clientX - left - this.gutter) / this.plotWidth * (this.t1 - this.t0);
  }

  // A region is marked by dragging, between two positions of the pointer.
  #mark(one, other) {
    const inside = (x) => Math.min(this.duration, Math.max(this.start, this.#time(x)));
    const [start, stop] = [inside(one), inside(other)].sort((a, b) => a - b);
    if (stop > start) this.onRegion(start, stop);
  }

  #listen() {
    const pointers = new Map();
    let moved = 0, pinch = 0, from = 0;
    this.view.addEventListener("pointerdown", (e) => {
      if (e.button !== 0) return;
      pointers.set(e.pointerId, e);
      this.view.setPointerCapture(e.pointerId);
      [moved, from] = [0, e.clientX];
      if (pointers.size === 2) pinch = this.#distance(pointers);
    });
    this.view.addEventListener("pointermove", (e) => {
      const before = pointers.get(e.pointerId);
      if (!before) return;
      pointers.set(e.pointerId, e);
      if (pointers.size === 2) {
        const now = this.#distance(pointers);
        this.zoom(pinch / Math.max(10, now), this.#time([...pointers.values()].reduce((sum, p) => sum + p.clientX, 0) / 2));
        pinch = now;
        moved = 100;
      } else {
        moved += Math.abs(e.clientX - before.clientX);
        if (moved > 4 && this.onRegion) this.#mark(from, e.clientX);
        else if (moved > 4) this.pan((before.clientX - e.clientX) / this.plotWidth);
      }
    });
    const up = (e) => {
      if (pointers.delete(e.pointerId) && e.type === "pointerup" && moved <= 4) {
        this.onSeek(Math.min(this.duration, Math.max(this.start, this.#time(e.clientX))));
      }
    };
    this.view.addEventListener("pointerup", up);
    this.view.addEventListener("pointercancel", up);
    this.view.addEventListener("wheel", (e) => {
      if (e.ctrlKey || e.metaKey) this.zoom(Math.exp(e.deltaY / 300), this.#time(e.clientX));
      else if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) this.pan(e.deltaX / this.plotWidth);
      else return;
      e.preventDefault();
    }, { passive: false });
    this.view.addEventListener("keydown", (e) => {
      const actions = {
        ArrowLeft: () => this.pan(-0.2), ArrowRight: () => this.pan(0.2), "+": () => this.zoom(0.6), "=": () => this.zoom(0.6),
        "-": () => this.zoom(1.7), 0: () => this.fit(), Home: () => this.pan(-1e9), End: () => this.pan(1e9), " ": this.onToggle,
      };
      if (!actions[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
      e.preventDefault();
      actions[e.key]();
    });
  }

  #distance(pointers) {
    const [a, b] = [...pointers.values()];
    return Math.abs(a.clientX - b.clientX);
  }
}
