// Classify a sound file in JavaScript: node classify.mjs model-waveform.onnx street.wav
//
// Export the model with `soundmark export MODEL --with-front-end --dynamic`. Requires `npm install onnxruntime-web`, which
// also works in a browser. Accepts 16-bit WAV at the model's sample rate, of up to metadata.whole_samples samples;
// classify.py shows how to split a longer recording. Prints a line per class, the most probable first.

import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

const [model, sound] = process.argv.slice(2).map((path) => readFileSync(path));
const metadata = readMetadata(model);
const waveform = decodeWav(sound, metadata.rate_hz);
const session = await ort.InferenceSession.create(new Uint8Array(model));
const { probabilities } = await session.run({ waveform: new ort.Tensor("float32", waveform, [1, waveform.length]) });
const scores = metadata.classes.map((label, i) => [probabilities.data[i], label]);
for (const [score, label] of scores.sort(([a], [b]) => b - a)) console.log(score.toFixed(6), label);

// The metadata is at the end of the file: its key, its length as a protobuf varint, and JSON.
function readMetadata(bytes) {
  const key = "soundmark_export";
  let at = bytes.lastIndexOf(key) + key.length + 1;
  let length = 0;
  for (let shift = 0, byte = 0x80; byte & 0x80; shift += 7) length |= ((byte = bytes[at++]) & 0x7f) << shift;
  return JSON.parse(bytes.toString("utf8", at, at + length));
}

// Decode a 16-bit WAV to mono samples, −1 to 1.
function decodeWav(bytes, rateHz) {
  const chunks = {};
  for (let at = 12; at + 8 <= bytes.length; at += 8 + bytes.readUInt32LE(at + 4) + (bytes.readUInt32LE(at + 4) & 1)) {
    chunks[bytes.toString("latin1", at, at + 4)] = bytes.subarray(at + 8, at + 8 + bytes.readUInt32LE(at + 4));
  }
  const [channels, rate, bits] = [chunks["fmt "].readUInt16LE(2), chunks["fmt "].readUInt32LE(4), chunks["fmt "].readUInt16LE(14)];
  if (bits !== 16 || rate !== rateHz) throw new Error(`the WAV has ${bits} bits at ${rate} Hz; expected: 16 bits at ${rateHz} Hz`);
  const mono = new Float32Array(chunks.data.length / 2 / channels);
  for (let i = 0; i < mono.length * channels; i++) {
    mono[Math.floor(i / channels)] += chunks.data.readInt16LE(2 * i) / 32768 / channels;
  }
  return mono;
}
