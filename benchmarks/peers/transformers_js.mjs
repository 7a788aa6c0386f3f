// Run in a folder with `npm install @huggingface/transformers`: node transformers_js.mjs FOLDER NAME SAMPLES.f32
// Prints the result of the pipeline for the model in FOLDER/NAME, and float32 samples at its sample rate, as JSON.

import { readFileSync } from "node:fs";
import { env, pipeline } from "@huggingface/transformers";

const [folder, name, sound] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = folder;
const classify = await pipeline("audio-classification", name);
const samples = new Float32Array(new Uint8Array(readFileSync(sound)).buffer);
console.log(JSON.stringify(await classify(samples, { top_k: 1000 })));
