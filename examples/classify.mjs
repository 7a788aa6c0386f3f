// A sound to its classes, in JavaScript: node classify.mjs model-waveform.onnx street.wav
//
// The model was written by `soundmark export MODEL --with-front-end --dynamic`. Needs `npm install onnxruntime-web`, which
// works in a browser, too; nothing is computed here but what a WAV holds. Prints a line per class, the best first.
// For a sound of up to about.whole_samples; classify.py shows what is done with a longer one.

import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

const [model, sound] = process.argv.slice(2).map((path) => readFileSync(path));
const about = metadata(model);
const waveform = samples(sound, about.rate_hz);
const session = await ort.InferenceSession.create(new Uint8Array(model));
const { probabilities } = await session.run({ waveform: new ort.Tensor("float32", waveform, [1, waveform.length]) });
const scored = about.classes.map((label, i) => [probabilities.data[i], label]);
for (const [score, label] of scored.sort(([a], [b]) => b - a)) console.log(score.toFixed(6), label);

// What soundmark says of the model stands behind the graph, as JSON with its length before it (protobuf's varint).
function metadata(bytes) {
  const key = "soundmark_export";
  let at = bytes.lastIndexOf(key) + key.length + 1;
  let length = 0;
  for (let shift = 0, byte = 0x80; byte & 0x80; shift += 7) length |= ((byte = bytes[at++]) & 0x7f) << shift;
  return JSON.parse(bytes.toString("utf8", at, at + length));
}

// The samples of a WAV of 16 bits at the model's rate, −1 to 1; the mean of its channels.
function samples(bytes, rateHz) {
  const chunks = {};
  for (let at = 12; at + 8 <= bytes.length; at += 8 + bytes.readUInt32LE(at + 4) + (bytes.readUInt32LE(at + 4) & 1)) {
    chunks[bytes.toString("latin1", at, at + 4)] = bytes.subarray(at + 8, at + 8 + bytes.readUInt32LE(at + 4));
  }
  const [channels, rate, bits] = [chunks["fmt "].readUInt16LE(2), chunks["fmt "].readUInt32LE(4), chunks["fmt "].readUInt16LE(14)];
  if (bits !== 16 || rate !== rateHz) throw new Error(`a WAV of 16 bits at ${rateHz} Hz is needed; this has ${bits} at ${rate}`);
  const mono = new Float32Array(chunks.data.length / 2 / channels);
  for (let i = 0; i < mono.length * channels; i++) {
    mono[Math.floor(i / channels)] += chunks.data.readInt16LE(2 * i) / 32768 / channels;
  }
  return mono;
}
