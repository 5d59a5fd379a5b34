// Runs the model, away from the page's own thread: receives clips and styles, or latent vectors, and answers with images, the
// logits of labels and latent vectors.
"use strict";

// A module with one instruction of relaxed SIMD: the fast build of the runtime needs it.
const RELAXED_SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15,
  253, 128, 2, 11,
]);
const FLOAT32 = 1;

let runtime = null;
let environment = null;
let compiled = null;
let details = null;
// Of every signature: its index, and the names of its inputs and outputs in the order in which it runs them.
let signatures = {};

async function load(base, model) {
  details = model;
  const [answer, created] = await Promise.all([fetch(base + details.model), createRuntime(base)]);
  if (!answer.ok) throw new Error(`${details.model} can't be loaded: status ${answer.status}`);
  runtime = created;
  runtime.setupLogging();
  const content = new Uint8Array(await answer.arrayBuffer());
  // The compiled model reads its weights there as long as the page is open.
  const address = runtime._malloc(content.length);
  runtime.HEAPU8.set(content, address);
  environment = runtime.LiteRtEnvironment.create(null);
  const options = { environment, accelerator: "wasm", cpuOptions: { numThreads: 1 }, gpuOptions: {}, webNNOptions: {} };
  const loaded = runtime.loadModel(environment, address, content.length);
  compiled = await runtime.compileModel(environment, loaded, options);
  for (let i = 0; i < loaded.getNumSignatures(); i++) {
    const signature = loaded.getSignature(i);
    signatures[signature.key()] = { index: i, inputs: toArray(signature.inputNames()), outputs: toArray(signature.outputNames()) };
    signature.delete();
  }
}

// What comes from elsewhere is checked before it runs.
async function createRuntime(base) {
  const name = WebAssembly.validate(RELAXED_SIMD) ? "litert_wasm_internal" : "litert_wasm_compat_internal";
  const address = new URL(details.runtime_address, base).href;
  const silent = { print: () => {}, printErr: () => {} };
  if (!Object.keys(details.runtime_sha256).length) {
    importScripts(address + name + ".js");
    return self.ModuleFactory({ ...silent, locateFile: file => address + file });
  }
  const [script, wasmBinary] = await Promise.all([".js", ".wasm"].map(suffix => fetchChecked(address, name + suffix)));
  importScripts(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  return self.ModuleFactory({ ...silent, wasmBinary });
}

async function fetchChecked(address, name) {
  if (!self.crypto?.subtle) throw new Error("The runtime can only be checked on a secure page (https).");
  const answer = await fetch(address + name).catch(() => null);
  if (!answer?.ok) throw new Error(`The runtime can't be loaded from ${address}.`);
  const content = await answer.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const found = Array.from(digest, byte => byte.toString(16).padStart(2, "0")).join("");
  if (found !== details.runtime_sha256[name]) throw new Error(`${address}${name} isn't the expected file: it wasn't run.`);
  return content;
}

function toArray(vector) {
  const values = Array.from({ length: vector.size() }, (_, i) => vector.get(i));
  vector.delete();
  return values;
}

function makeTensor(values) {
  const shape = new runtime.VectorInt32();
  shape.push_back(1);
  shape.push_back(values.length);
  const layout = runtime.LiteRtLayout.create(shape);
  const type = runtime.LiteRtRankedTensorType.create({ value: FLOAT32 }, layout);
  const kind = runtime.LiteRtTensorBufferType.HOST_MEMORY;
  const tensor = runtime.LiteRtTensorBuffer.createManaged(environment, kind, type, values.byteLength);
  for (const each of [shape, layout, type]) each.delete();
  const address = tensor.lock(runtime.LiteRtTensorBufferLockMode.WRITE);
  runtime.HEAPU8.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), address);
  tensor.unlock();
  return tensor;
}

// Tensors lie in the runtime's memory and are freed by hand.
function readTensor(tensor) {
  const address = tensor.lock(runtime.LiteRtTensorBufferLockMode.READ);
  const values = new Float32Array(runtime.HEAPU8.slice(address, address + tensor.packedSize()).buffer);
  tensor.unlock();
  return values;
}

// Returns the outputs of a signature by their names.
async function run(signature, values) {
  const { index, inputs, outputs } = signatures[signature];
  const tensors = inputs.map(name => makeTensor(values[name]));
  const results = await compiled.run(index, tensors);
  const found = Object.fromEntries(outputs.map((name, i) => [name, readTensor(results[i])]));
  for (const each of [...tensors, ...results]) each.delete();
  return found;
}

// Returns the image, the logits of labels and the latent vector, where the model gives them. Without a style, the image
// is the usual one.
async function generate(waveform, style) {
  style ??= new Float32Array(details.style_units || 0);
  const found = await run("serving_default", { waveform, style });
  if (!signatures.encode || !signatures.generate) return found;
  const { latent } = await run("encode", { waveform });
  // A latent vector ends with the style.
  latent.set(style, latent.length - style.length);
  return { ...found, latent };
}

self.onmessage = async ({ data }) => {
  try {
    if (data.base) {
      await load(data.base, data.model);
      // The first image takes longer: it isn't shown.
      await generate(new Float32Array(data.model.samples));
      self.postMessage({ ready: true, ...signatures.serving_default });
    } else if (data.latent) {
      self.postMessage({ between: (await run("generate", { latent: data.latent })).image });
    } else {
      self.postMessage(await generate(data.clip, data.style));
    }
  } catch (error) {
    self.postMessage({ error: String(error.message || error) });
  }
};
