// Sound files to mono samples. WAV and FLAC keep their sample rate, and their samples equal those that soundmark reads.

export class SoundError extends Error {}
export const RESAMPLED = "Resampled by the browser: the probabilities can differ slightly from soundmark’s.";

// Returns { samples, rate, note }. Other formats are resampled to `rate` by the browser.
export async function decode(file, rate) {
  const bytes = await file.arrayBuffer();
  const wav = decodeWav(new DataView(bytes));
  if (wav) return wav;
  const own = flacRate(new DataView(bytes));
  const usable = own >= 8000 && own <= 96000;
  let buffer;
  try {
    buffer = await new OfflineAudioContext(1, 1, usable ? own : rate).decodeAudioData(bytes);
  } catch {
    throw new SoundError("This browser cannot read the file as sound. Convert it to WAV.");
  }
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c));
  return { samples: mixed(channels), rate: buffer.sampleRate, note: usable ? "" : RESAMPLED };
}

function mixed(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
}

function text(view, at) {
  return at + 4 <= view.byteLength ? String.fromCharCode(...new Uint8Array(view.buffer, at, 4)) : "";
}

function flacRate(view) {
  return text(view, 0) === "fLaC" && view.byteLength > 22 ? view.getUint32(18) >>> 12 : 0;
}

// Integer and float PCM; null if the file is not WAV or is coded in another way.
function decodeWav(view) {
  if (text(view, 0) !== "RIFF" || text(view, 8) !== "WAVE") return null;
  let format = null;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const name = text(view, at), size = view.getUint32(at + 4, true), start = at + 8;
    if (name === "fmt " && start + 16 <= view.byteLength) {
      const tag = view.getUint16(start, true);
      format = {
        kind: tag === 0xfffe && size >= 26 ? view.getUint16(start + 24, true) : tag,
        channels: view.getUint16(start + 2, true), rate: view.getUint32(start + 4, true), bits: view.getUint16(start + 14, true),
      };
    }
    if (name === "data" && format) return samplesOf(view, start, Math.min(size, view.byteLength - start), format);
    at = start + size + (size & 1);
  }
  return null;
}

function samplesOf(view, start, size, { kind, channels, rate, bits }) {
  const readers = {
    "1/8": (at) => (view.getUint8(at) - 128) / 128, "1/16": (at) => view.getInt16(at, true) / 32768,
    "1/24": (at) => ((view.getUint8(at) << 8 | view.getUint8(at + 1) << 16 | view.getUint8(at + 2) << 24) >> 8) / 8388608,
    "1/32": (at) => view.getInt32(at, true) / 2147483648, "3/32": (at) => view.getFloat32(at, true), "3/64": (at) => view.getFloat64(at, true),
  };
  const read = readers[`${kind}/${bits}`], step = bits / 8;
  if (!read || !channels || !rate) return null;
  const samples = new Float32Array(Math.floor(size / step / channels));
  for (let i = 0, at = start; i < samples.length; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++, at += step) sum += read(at);
    samples[i] = sum / channels;
  }
  if (!samples.length) throw new SoundError("The file has no samples.");
  return { samples, rate, note: "" };
}
