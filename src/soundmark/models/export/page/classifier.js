// The model: windows of a recording to probabilities, as soundmark computes them.

import * as ort from "./onnxruntime/ort.js";

export async function load() {
  const [model, graph, wasm] = await Promise.all([
    received("model.json").then((response) => response.json()),
    received("model.onnx").then((response) => response.arrayBuffer()),
    received("onnxruntime/ort-wasm-simd-threaded.wasm").then((response) => response.arrayBuffer()),
  ]);
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1;  // several need headers that a plain file server does not send
  ort.env.logLevel = "error";
  return new Classifier(model, await ort.InferenceSession.create(new Uint8Array(graph)));
}

async function received(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} cannot be loaded (status ${response.status})`);
  return response;
}

class Classifier {
  constructor(model, session) {
    this.model = model;
    this.session = session;
  }

  // Classifies a sound at the model's sample rate, { length, part }. Returns { classes, windows }, the most probable
  // class first.
  async classify(sound, onProgress = () => {}) {
    const { classes, rate_hz: rate, unknown } = this.model;
    const spans = this.spans(sound.length), sums = new Float64Array(classes.length), windows = [];
    let familiarity = 0;
    for (const [number, [start, stop]] of spans.entries()) {
      const found = await this.score(sound.part(start, stop));
      found.probabilities.forEach((p, row) => { sums[row] += p; });
      familiarity += found.familiarity ?? 0;
      windows.push({ start: start / rate, stop: stop / rate, ...this.best(found) });
      onProgress(number + 1, spans.length);
      await new Promise((resume) => setTimeout(resume));
    }
    const answer = classes.map((label, row) => ({ label, score: sums[row] / spans.length })).sort((a, b) => b.score - a.score);
    const mean = familiarity / spans.length;
    if (unknown !== null && mean < unknown) answer.unshift({ label: this.model.unknown_label, score: 1 - mean });
    return { classes: answer, windows };
  }

  // The first and last sample of each window: one window for up to 1.05 windows; the last one ends with the recording.
  spans(n) {
    const { window_samples: length, whole_samples: whole, hop_samples: hop } = this.model;
    if (n <= whole) return [[0, n]];
    const starts = [];
    for (let start = 0; start < n - length; start += hop) starts.push(start);
    return [...starts, n - length].map((start) => [start, start + length]);
  }

  async score(samples) {
    const outputs = await this.session.run({ waveform: new ort.Tensor("float32", samples, [1, samples.length]) });
    return { probabilities: outputs.probabilities.data, familiarity: outputs.familiarity?.data[0] };
  }

  best({ probabilities, familiarity }) {
    const { classes, unknown, unknown_label: label } = this.model;
    if (unknown !== null && familiarity < unknown) return { label, score: 1 - familiarity };
    const row = probabilities.indexOf(Math.max(...probabilities));
    return { label: classes[row], score: probabilities[row] };
  }
}
