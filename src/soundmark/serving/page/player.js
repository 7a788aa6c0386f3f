// Plays the file in the browser, as a whole or in part; the cursor follows.

export class Player {
  constructor({ onTime, onState, onError }) {
    Object.assign(this, { onTime, onState, onError });
    this.audio = new Audio();
    this.audio.preload = "auto";
    this.stopAt = Infinity;
    this.audio.addEventListener("play", () => this.#started());
    this.audio.addEventListener("pause", () => onState(false));
    this.audio.addEventListener("error", () => this.url && onError());
  }

  load(file) {
    this.audio.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(file);
    this.audio.src = this.url;
  }

  get time() { return this.audio.currentTime; }

  seek(time) {
    this.stopAt = Infinity;
    this.audio.currentTime = time;
    this.onTime(time);
  }

  play(start = null, stop = Infinity) {
    if (start !== null) this.audio.currentTime = start;
    this.stopAt = stop;
    this.audio.play().catch(() => this.audio.error && this.onError());
  }

  pause() { this.audio.pause(); }

  toggle() {
    if (this.audio.paused) this.play();
    else this.pause();
  }

  #started() {
    this.onState(true);
    const step = () => {
      if (this.audio.paused) return;
      if (this.audio.currentTime >= this.stopAt) this.audio.pause();
      this.onTime(Math.min(this.audio.currentTime, this.stopAt));
      requestAnimationFrame(step);
    };
    step();
  }
}
