// The learning curve: macro F1 on held-out recordings by the number of labels, with its interval, as an SVG.

const NS = "http://www.w3.org/2000/svg", WIDTH = 390, HEIGHT = 220, LEFT = 52, RIGHT = 16, TOP = 12, BOTTOM = 42;

function shape(name, attributes, text = "") {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

// The curve as an SVG; points are { corrections, macro_f1: { value, interval } }.
export function learningCurve(points) {
  const known = points.filter(({ macro_f1 }) => macro_f1.value !== null);
  const most = Math.max(1, ...known.map(({ corrections }) => corrections));
  const x = (n) => LEFT + n / most * (WIDTH - LEFT - RIGHT), y = (p) => TOP + (1 - p) * (HEIGHT - TOP - BOTTOM);
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "chart" });
  const texts = known.map(({ corrections, macro_f1 }) => `${(100 * macro_f1.value).toFixed(0)} % with ${corrections}`);
  svg.setAttribute("aria-label", `Macro F1 by the number of labels: ${texts.join(", ")}.`);
  for (const p of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(p), y2: y(p), class: "grid" }),
      shape("text", { x: LEFT - 8, y: y(p) + 4, "text-anchor": "end" }, `${100 * p} %`));
  }
  const bounded = known.filter(({ macro_f1 }) => macro_f1.interval[0] !== null);
  const line = (pick) => bounded.map((point) => `${x(point.corrections)},${y(pick(point.macro_f1))}`);
  svg.append(
    shape("polygon", { points: [...line((f) => f.interval[0]), ...line((f) => f.interval[1]).reverse()].join(" "), class: "interval" }),
    shape("polyline", { points: known.map(({ corrections, macro_f1 }) => `${x(corrections)},${y(macro_f1.value)}`).join(" "), class: "precision" }));
  for (const { corrections, macro_f1 } of known) {
    svg.append(shape("circle", { cx: x(corrections), cy: y(macro_f1.value), r: 4, class: "point" }),
      shape("text", { x: x(corrections), y: HEIGHT - 22, "text-anchor": "middle" }, String(corrections)));
  }
  svg.append(shape("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "labels"));
  return svg;
}
