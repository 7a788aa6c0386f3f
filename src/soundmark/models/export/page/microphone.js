// The microphone as the newest samples: `latest(seconds)` returns those of the last seconds.

export class Microphone {
  async open(seconds) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("Browsers give a microphone to pages at localhost or by HTTPS only.");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
    } catch (error) {
      throw new Error(error.name === "NotFoundError" ? "There is no microphone." : "The microphone was not allowed: allow it in the settings of the browser.");
    }
    this.context = new AudioContext();
    this.rate = this.context.sampleRate;
    this.samples = new Float32Array(Math.ceil(seconds * this.rate));
    this.received = 0;
    await this.context.audioWorklet.addModule("pcm-worklet.js");
    const node = new AudioWorkletNode(this.context, "pcm", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => this.add(data);
    this.context.createMediaStreamSource(this.stream).connect(node);
    await this.context.resume();
  }

  add(block) {
    this.samples.copyWithin(0, block.length);
    this.samples.set(block, this.samples.length - block.length);
    this.received += block.length;
  }

  get isFull() {
    return this.received >= this.samples.length;
  }

  async close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    await this.context?.close();
  }
}
