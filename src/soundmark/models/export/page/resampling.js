// soxr's resampling with the weights that soundmark measured: resampling/<rate>.bin, described in model.json.

const filters = new Map();

// Returns a function (samples) => resampled samples, or null if there are no weights for this rate.
export async function resampler(model, rate) {
  if (rate === model.rate_hz) return (samples) => samples;
  const shape = model.resampling[rate];
  if (!shape) return null;
  if (!filters.has(rate)) {
    const response = await fetch(`resampling/${rate}.bin`);
    if (!response.ok) throw new Error(`resampling/${rate}.bin is missing`);
    filters.set(rate, new Float32Array(await response.arrayBuffer()));
  }
  return (samples) => resampled(samples, shape, filters.get(rate));
}

function resampled(x, { up, down, taps, first, start: [startOut, startIn] }, weights) {
  const n = x.length, result = new Float32Array(Math.ceil(n * up / down));
  const computed = Math.min(result.length, Math.floor((2 * n * up + down) / (2 * down)));
  for (let m = 0; m < computed; m++) {
    const p = m % up, from = Math.floor(m / up) * down + first[p], row = p * taps - from;
    let sum = 0;
    for (let i = Math.max(0, from), end = Math.min(n, from + taps); i < end; i++) sum += weights[row + i] * x[i];
    result[m] = sum;
  }
  for (let m = 0; m < Math.min(startOut, computed); m++) {  // soxr's first outputs
    const row = up * taps + m * startIn;
    let sum = 0;
    for (let i = 0; i < Math.min(n, startIn); i++) sum += weights[row + i] * x[i];
    result[m] += sum;
  }
  return result;
}
