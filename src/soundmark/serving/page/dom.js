// Elements of the page, and texts for numbers and times.

export const byId = (id) => document.getElementById(id);

// element("li", { class: "x", text: "…" }, child, …)
export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "text") node.textContent = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

// A message, or none. The names of options, such as --train-data, are not broken at their hyphens.
export function show(node, text) {
  node.hidden = !text;
  const parts = (text || "").split(/(--[\w-]+)/);
  node.replaceChildren(...parts.map((part, i) => (i % 2 ? element("span", { class: "option", text: part }) : part)));
}

// The button that starts and stops a player.
export function showPlaying(button, isPlaying) {
  button.textContent = isPlaying ? "❚❚" : "▶";
  button.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
}

export const percent = (p) => `${(100 * p).toFixed(p > 0 && p < 0.0995 ? 1 : 0)} %`;

export function clock(seconds, digits = 0) {
  const shift = 10 ** digits, total = Math.max(0, digits ? Math.round(seconds * shift) / shift : Math.floor(seconds));
  const h = Math.floor(total / 3600), m = Math.floor((total % 3600) / 60);
  const s = (total % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
}

// A list of classes with a bar for each: rows of { label, score, unknown, hint }.
export function fillBars(list, rows) {
  list.replaceChildren(...rows.map(({ label, score, unknown, hint }) => {
    const fill = element("span", { class: "fill" });
    fill.style.width = `${100 * Math.min(1, Math.max(0, score))}%`;
    const parts = [
      element("span", { class: "name", text: label, title: label }),
      element("span", { class: "track", "aria-hidden": "true" }, fill),
      element("span", { class: "value", text: percent(score) }),
    ];
    if (hint) parts.push(element("span", { class: "hint", text: hint }));
    return element("li", { class: unknown ? "unknown" : null }, ...parts);
  }));
}

export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
