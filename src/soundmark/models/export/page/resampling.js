// Sounds at the model's sample rate, a part at a time, so that a long one does not block the page.
//
// soxr's resampling with the weights that soundmark measured: resampling/<rate>.bin, described in model.json.

const filters = new Map();

// Returns { length, part }: the number of samples at the model's rate, and a function (from, to) => these samples.
// Returns null if there are no weights for this rate.
export async function atModelRate(model, samples, rate) {
  if (rate === model.rate_hz) return plain(samples);
  const shape = model.resampling[rate];
  if (!shape) return null;
  if (!filters.has(rate)) {
    const response = await fetch(`resampling/${rate}.bin`);
    if (!response.ok) throw new Error(`resampling/${rate}.bin is missing`);
    filters.set(rate, new Float32Array(await response.arrayBuffer()));
  }
  const length = Math.ceil(samples.length * shape.up / shape.down);
  return { length, part: (from, to) => resampled(samples, shape, filters.get(rate), from, to) };
}

export function plain(samples) {
  return { length: samples.length, part: (from, to) => samples.slice(from, to) };
}

function resampled(x, { up, down, taps, first, start: [startOut, startIn] }, weights, from, to) {
  const n = x.length, result = new Float32Array(to - from);
  const computed = Math.min(to, Math.floor((2 * n * up + down) / (2 * down)));
  for (let m = from; m < computed; m++) {
    const p = m % up, begin = Math.floor(m / up) * down + first[p], row = p * taps - begin;
    let sum = 0;
    for (let i = Math.max(0, begin), end = Math.min(n, begin + taps); i < end; i++) sum += weights[row + i] * x[i];
    result[m - from] = sum;
  }
  for (let m = from; m < Math.min(startOut, computed); m++) {  // soxr's first outputs
    const row = up * taps + m * startIn;
    let sum = 0;
    for (let i = 0; i < Math.min(n, startIn); i++) sum += weights[row + i] * x[i];
    result[m - from] += sum;
  }
  return result;
}
