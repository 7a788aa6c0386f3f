// The explanation of a window: what matters less is dimmed, the most important regions are outlined.

import { explain } from "./api.js";
import { bytesOf } from "./spectrogram.js";

export async function explanationOf(file, window) {
  const found = await explain(file, window);
  const levels = bytesOf(found.importance);
  const mask = Object.assign(document.createElement("canvas"), { width: found.columns, height: found.rows });
  const context = mask.getContext("2d"), image = context.createImageData(found.columns, found.rows);
  levels.forEach((level, i) => { image.data[4 * i + 3] = 150 * (1 - Math.min(1, 2 * level / 255)); });
  context.putImageData(image, 0, 0);
  return { ...found, mask };
}
