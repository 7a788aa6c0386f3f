// The page: files and the microphone in, classes with their probabilities out.

import { load } from "./classifier.js";
import { decode, RESAMPLED } from "./decoding.js";
import { Microphone } from "./microphone.js";
import { atModelRate, plain } from "./resampling.js";

const MOST_CLASSES = 10, MOST_WINDOWS = 5000, PERIOD_MS = 500;
const element = (id) => document.getElementById(id);
let classifier, microphone = null, queue = Promise.resolve();

function say(text, failed = false) {
  element("state").textContent = text;
  element("state").classList.toggle("failed", failed);
}

function percent(score) {
  return `${Math.round(100 * score)} %`;
}

function show(name, note, { classes, windows }) {
  element("result").hidden = false;
  element("name").textContent = name;
  element("note").textContent = note;
  element("note").hidden = !note;
  element("classes").replaceChildren(...classes.slice(0, MOST_CLASSES).map(row));
  element("classes").dataset.scores = JSON.stringify(classes);
  element("more").hidden = windows.length < 2;
  element("windows").replaceChildren(...windows.slice(0, MOST_WINDOWS).map(({ start, stop, label, score }) => {
    const line = document.createElement("tr");
    for (const text of [start.toFixed(1), stop.toFixed(1), label, percent(score)]) {
      line.appendChild(document.createElement("td")).textContent = text;
    }
    return line;
  }));
}

function row({ label, score }, number) {
  const item = document.createElement("li");
  item.classList.toggle("top", number === 0);
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("aria-hidden", "true");
  const bar = picture.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "rect"));
  bar.setAttribute("width", `${100 * score}%`);
  bar.setAttribute("height", "100%");
  item.append(picture);
  for (const text of [label, percent(score)]) item.appendChild(document.createElement("span")).textContent = text;
  return item;
}

async function classifyFile(file) {
  try {
    say(`${file.name}: reading …`);
    const rate = classifier.model.rate_hz;
    const { samples, rate: own, note } = await decode(file, rate);
    const found = await atModelRate(classifier.model, samples, own);
    const sound = found ?? plain(await browserResampled(samples, own, rate));
    const result = await classifier.classify(sound, (done, total) => say(`${file.name}: window ${done} of ${total}`));
    show(file.name, found ? note : RESAMPLED, result);
    say(`${file.name}: done.`);
  } catch (error) {
    say(`${file.name}: ${error.message}`, true);
  }
}

async function browserResampled(samples, rate, to) {
  const context = new OfflineAudioContext(1, Math.ceil(samples.length * to / rate), to);
  const buffer = context.createBuffer(1, samples.length, rate), source = context.createBufferSource();
  buffer.copyToChannel(samples, 0);
  source.buffer = buffer;
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

function add(files) {
  for (const file of files) queue = queue.then(() => classifyFile(file));
}

async function listen() {
  if (microphone) {
    await microphone.close();
    microphone = null;
    element("listen").setAttribute("aria-pressed", "false");
    say("Stopped.");
    return;
  }
  const opened = new Microphone(), { model } = classifier;
  try {
    await opened.open(model.window_samples / model.rate_hz);
  } catch (error) {
    await opened.close();
    say(error.message, true);
    return;
  }
  microphone = opened;
  element("listen").setAttribute("aria-pressed", "true");
  say("Listening …");
  while (microphone === opened) {
    if (opened.isFull) {
      const samples = opened.samples.slice();
      const sound = (await atModelRate(model, samples, opened.rate)) ?? plain(await browserResampled(samples, opened.rate, model.rate_hz));
      const result = await classifier.classify(sound);
      if (microphone === opened) show("Microphone", "", result);
    }
    await new Promise((resume) => setTimeout(resume, PERIOD_MS));
  }
}

function connect() {
  const drop = element("drop");
  element("choose").onclick = () => element("files").click();
  element("files").onchange = ({ target }) => { add([...target.files]); target.value = ""; };
  element("listen").onclick = listen;
  drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
  drop.ondragleave = () => drop.classList.remove("over");
  drop.ondrop = (event) => { event.preventDefault(); drop.classList.remove("over"); add([...event.dataTransfer.files]); };
  for (const id of ["choose", "listen"]) element(id).disabled = false;
}

try {
  classifier = await load();
  const { title, about, licence } = classifier.model;
  document.title = element("title").textContent = title;
  element("about").textContent = about;
  element("licence").textContent = licence;
  connect();
  say("Ready.");
  document.documentElement.dataset.ready = "true";
} catch (error) {
  say(`The model cannot be loaded: ${error.message}`, true);
}
