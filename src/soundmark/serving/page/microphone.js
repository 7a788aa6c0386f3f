// The microphone as blocks of samples, and recordings as WAV files.

export async function openMicrophone(onSamples) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("Browsers give a microphone to pages at localhost or by HTTPS only: open the page at 127.0.0.1, or start the server with --tls-cert.");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    throw new Error(error.name === "NotFoundError" ? "There is no microphone." : "The microphone was not allowed: allow it in the settings of the browser.");
  }
  const context = new AudioContext();
  await context.audioWorklet.addModule("/page/pcm-worklet.js");
  const node = new AudioWorkletNode(context, "pcm", { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => onSamples(data);
  const source = context.createMediaStreamSource(stream);
  source.connect(node);
  await context.resume();
  const close = async () => {
    node.port.onmessage = null;
    source.disconnect();
    for (const track of stream.getTracks()) track.stop();
    await context.close();
  };
  return { rate: context.sampleRate, close };
}

export function wavFile(blocks, rate, name) {
  const n = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * n));
  const text = (at, value) => [...value].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * n, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * n, true);
  let at = 44;
  for (const block of blocks) {
    for (const value of block) {
      view.setInt16(at, Math.round(32767 * Math.min(1, Math.max(-1, value))), true);
      at += 2;
    }
  }
  return new File([view], name, { type: "audio/wav" });
}
