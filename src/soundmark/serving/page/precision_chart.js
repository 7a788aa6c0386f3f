// The precision of detections by threshold, with its interval: an SVG, and the same as a table.

import { element, percent } from "./dom.js";

const NS = "http://www.w3.org/2000/svg", LEAST_WIDTH = 240, HEIGHT = 290, LEFT = 52, RIGHT = 12, TOP = 14, BOTTOM = 46;

const y = (precision) => TOP + (1 - precision) * (HEIGHT - TOP - BOTTOM);

function shape(name, attributes, text = "") {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

export class PrecisionChart {
  constructor(container, table, { onThreshold }) {
    Object.assign(this, { container, table });
    this.svg = shape("svg", { role: "img", class: "chart", height: HEIGHT });
    container.replaceChildren(this.svg);
    this.svg.addEventListener("click", ({ clientX }) => {
      onThreshold((clientX - this.svg.getBoundingClientRect().left - LEFT) / (this.width - LEFT - RIGHT));
    });
    new ResizeObserver(() => this.shown && this.container.clientWidth !== this.width && this.show(...this.shown)).observe(container);
  }

  show(state, threshold) {
    this.shown = [state, threshold];
    this.width = Math.max(LEAST_WIDTH, this.container.clientWidth);
    this.svg.setAttribute("width", this.width);
    const { curve, decisions, wanted } = state, x = (at) => this.#x(at);
    const known = curve.filter(({ precision }) => precision !== null);
    const line = (name) => known.map((row) => `${x(row.threshold)},${y(row[name])}`);
    this.svg.replaceChildren(...this.#axes(wanted),
      shape("polygon", { points: [...line("low"), ...line("high").reverse()].join(" "), class: "interval" }),
      shape("polyline", { points: line("precision").join(" "), class: "precision" }),
      ...known.map((row) => shape("circle", { cx: x(row.threshold), cy: y(row.precision), r: 3, class: "point" })),
      ...decisions.filter(({ contains }) => contains !== null).map(({ score, contains }) =>
        shape("line", { x1: x(score), x2: x(score), y1: contains ? TOP - 6 : y(0) - 6, y2: contains ? TOP + 6 : y(0) + 6, class: contains ? "yes" : "no" })),
      shape("line", { x1: x(threshold), x2: x(threshold), y1: TOP, y2: y(0), class: "chosen" }));
    const at = curve.find((row) => Math.abs(row.threshold - threshold) < 1e-6);
    this.svg.setAttribute("aria-label", at && at.precision !== null
      ? `Precision by threshold. At ${threshold}: ${percent(at.precision)}, interval ${percent(at.low)} to ${percent(at.high)}. The table has all values.`
      : "Precision by threshold. The table has all values.");
    this.table.replaceChildren(...curve.map((row) => element("tr", { class: row === at ? "on" : null },
      element("td", { class: "number", text: row.threshold.toFixed(2) }),
      element("td", { class: "number", text: row.precision === null ? "unknown" : percent(row.precision) }),
      element("td", { class: "number", text: row.precision === null ? "" : `${percent(row.low)} to ${percent(row.high)}` }),
      element("td", { class: "number", text: percent(row.reached) }),
      element("td", { class: "number", text: String(row.windows) }))));
  }

  #x(threshold) { return LEFT + threshold * (this.width - LEFT - RIGHT); }

  #axes(wanted) {
    const nodes = [], right = this.width - RIGHT;
    for (const p of [0, 0.25, 0.5, 0.75, 1]) {
      nodes.push(shape("line", { x1: LEFT, x2: right, y1: y(p), y2: y(p), class: "grid" }),
        shape("text", { x: LEFT - 8, y: y(p) + 4, "text-anchor": "end" }, `${100 * p} %`),
        shape("text", { x: this.#x(p), y: y(0) + 20, "text-anchor": "middle" }, String(p)));
    }
    nodes.push(shape("line", { x1: LEFT, x2: right, y1: y(wanted), y2: y(wanted), class: "wanted" }),
      shape("text", { x: (LEFT + right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "threshold"));
    return nodes;
  }
}
