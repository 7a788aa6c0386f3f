// Choosing a class: a dialog with the keyboard (type a part of its name, arrow keys, Enter), and a list for an archive.

import { byId, element } from "./dom.js";

const MOST_SHOWN = 50;
const ENOUGH = 5; // likely windows, for an estimate of the precision

// Names of classes, those with the most likely windows in an archive first, and the background last.
export function byLikelihood(names, { likely_windows: likely }, background) {
  const rank = (name) => (background.includes(name) ? -1 : likely[name] ?? 0);
  return [...names].sort((a, b) => rank(b) - rank(a) || a.localeCompare(b));
}

// Fill a select with the classes of an archive; choose the preferred one if it has likely windows, or else the first.
export function fillClassSelect(select, archive, background, preferred) {
  const { classes, likely_windows: likely } = archive, names = byLikelihood(classes, archive, background);
  const option = (name) => {
    const n = likely[name];
    return element("option", { value: name, text: `${name} (${n ? n.toLocaleString("en") : "no"} window${n === 1 ? "" : "s"})` });
  };
  const groups = [
    ["Score of at least 0.05 in five windows or more", names.filter((name) => likely[name] >= ENOUGH)],
    ["Too few such windows to estimate the precision", names.filter((name) => likely[name] < ENOUGH)],
  ];
  select.replaceChildren(...groups.filter(([, found]) => found.length).map(([label, found]) => element("optgroup", { label }, ...found.map(option))));
  select.value = likely[preferred] ? preferred : names[0];
}

// Resolve to { label } of the class that was chosen, { none: true } for none of the classes, or null.
export function chooseClass(classes, without) {
  const dialog = byId("class-dialog"), input = byId("class-input"), list = byId("class-options");
  let options = [], active = 0;

  function refresh() {
    const wanted = input.value.trim().toLowerCase();
    const found = classes.filter((label) => label !== without && label.toLowerCase().includes(wanted));
    found.sort((a, b) => Number(b.toLowerCase().startsWith(wanted)) - Number(a.toLowerCase().startsWith(wanted)));
    options = found.slice(0, MOST_SHOWN).map((label) => ({ label }));
    if (!wanted) options.unshift({ none: true });
    else if (input.value.trim() !== without && !classes.includes(input.value.trim())) options.push({ label: input.value.trim(), isNew: true });
    active = 0;
    draw();
  }

  function draw() {
    list.replaceChildren(...options.map((option, i) => element("li", {
      role: "option", id: `class-option-${i}`, "aria-selected": String(i === active), onclick: () => finish(options[i]),
      text: option.none ? "none of the classes" : option.isNew ? `new class “${option.label}”` : option.label,
    })));
    if (options.length) input.setAttribute("aria-activedescendant", `class-option-${active}`);
    else input.removeAttribute("aria-activedescendant");
    list.children[active]?.scrollIntoView({ block: "nearest" });
  }

  let finish;
  return new Promise((resolve) => {
    finish = (option) => {
      dialog.onclose = null;
      dialog.close();
      resolve(option ?? null);
    };
    dialog.onclose = () => dialog.open || resolve(null); // Escape; the event of an earlier dialog may come when it is open again
    input.oninput = refresh;
    input.onkeydown = (e) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
      if (step && options.length) active = (active + step + options.length) % options.length;
      else if (e.key === "Enter") {
        e.preventDefault();
        return options.length && finish(options[active]);
      } else return;
      e.preventDefault();
      draw();
    };
    byId("class-cancel").onclick = () => finish(null);
    input.value = "";
    dialog.showModal();
    refresh();
    input.focus();
  });
}
