// A spectrogram made of tiles that the server computed: 8-bit levels to colours.

const MAPS = {
  viridis: ["440154", "472c7a", "3b518b", "2c718e", "21908d", "27ad81", "5cc863", "aadc32", "fde725"],
  cividis: ["00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "fee838"],
  grey: ["000000", "ffffff"],
};

// 256 colours, as [r, g, b] each.
export function colourTable(name) {
  const anchors = MAPS[name].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, level) => {
    const at = level / 255 * (anchors.length - 1), low = Math.min(anchors.length - 2, Math.floor(at));
    return [0, 1, 2].map((c) => anchors[low][c] + (anchors[low + 1][c] - anchors[low][c]) * (at - low));
  });
}

export function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const RANGE_DB = 75; // of the colours, below the loudest level

export class Spectrogram {
  constructor(axis) {
    this.axis = axis;
    this.tiles = [];
    this.histogram = new Float64Array(256);
    this.version = 0; // of the colours: a tile of an older version is coloured again when it is drawn
    this.low = 0;
    this.high = 255;
    this.setColours("viridis");
  }

  setColours(name) {
    this.table = colourTable(name);
    this.version++;
  }

  add({ start_s, stop_s, rows, columns, pixels }) {
    const levels = bytesOf(pixels);
    for (const level of levels) this.histogram[level]++;
    this.tiles.push({ start: start_s, stop: stop_s, rows, columns, levels, version: -1, canvas: null });
    this.#updateRange();
  }

  forgetBefore(time) {
    while (this.tiles.length && this.tiles[0].stop < time) {
      for (const level of this.tiles.shift().levels) this.histogram[level]--;
    }
  }

  #updateRange() {
    const total = this.histogram.reduce((sum, n) => sum + n, 0);
    const level = (share) => {
      let seen = 0;
      for (let i = 0; i < 256; i++) if ((seen += this.histogram[i]) >= share * total) return i;
      return 255;
    };
    const perDb = 255 / (this.axis.db_max - this.axis.db_min);
    const high = level(0.999), low = Math.min(high - 20 * perDb, Math.max(level(0.02), high - RANGE_DB * perDb));
    if (Math.abs(high - this.high) + Math.abs(low - this.low) > 4) {
      [this.low, this.high] = [low, high];
      this.version++;
    }
  }

  // The colours of the 256 levels, as the bytes of a pixel.
  #colourOfLevel() {
    if (this.coloursOf === this.version) return this.colours;
    const bytes = new Uint8ClampedArray(4 * 256), scale = 255 / Math.max(1, this.high - this.low);
    for (let level = 0; level < 256; level++) {
      const at = Math.round(Math.min(255, Math.max(0, (level - this.low) * scale)));
      bytes.set([...this.table[at], 255], 4 * level);
    }
    this.coloursOf = this.version;
    return (this.colours = new Uint32Array(bytes.buffer));
  }

  #coloured(tile) {
    if (tile.version === this.version) return tile.canvas;
    tile.canvas ??= Object.assign(document.createElement("canvas"), { width: tile.columns, height: tile.rows });
    const context = tile.canvas.getContext("2d"), image = context.createImageData(tile.columns, tile.rows);
    const colours = this.#colourOfLevel(), pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = colours[tile.levels[i]];
    context.putImageData(image, 0, 0);
    tile.version = this.version;
    return tile.canvas;
  }

  // Draw the time from t0 to t1 in a rectangle of a canvas.
  draw(context, { x, y, width, height }, t0, t1) {
    const at = (time) => x + (time - t0) / (t1 - t0) * width;
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.imageSmoothingQuality = "high";
    for (const tile of this.tiles) {
      if (tile.stop <= t0 || tile.start >= t1) continue;
      const left = Math.round(at(tile.start)), right = Math.max(left + 1, Math.round(at(tile.stop)));
      context.drawImage(this.#coloured(tile), left, y, right - left, height);
    }
    context.restore();
  }

  // The position of a frequency, from 0 at the top to 1 at the bottom.
  position(hz) {
    const f = this.axis.frequencies_hz, n = f.length; // descending
    if (hz >= f[0]) return 0.5 / n;
    for (let i = 1; i < n; i++) {
      if (hz >= f[i]) return (i - 1 + (f[i - 1] - hz) / (f[i - 1] - f[i]) + 0.5) / n;
    }
    return 1;
  }

  ticks() {
    const top = this.axis.frequencies_hz[0];
    if (this.axis.scale === "mel") {
      return [0, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000].filter((hz) => hz <= top * 1.02);
    }
    const step = [1, 2, 5, 10].map((n) => n * 10 ** Math.floor(Math.log10(top / 2))).find((s) => top / s <= 6);
    return Array.from({ length: Math.floor(top / step) + 1 }, (_, i) => i * step);
  }
}
