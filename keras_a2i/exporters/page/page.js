// The page that generates images: audio, the newest image with a cross-fade, styles and labels.

import { AudioFile, Microphone, level, toSixteenBits } from "./audio.js";
import {
  MILLISECONDS_OF_FADE, Problem, buttons, canRecord, connectButtons, fail, field, film, freeze, isDue, isFrozen, paint, saveImage,
  say, showLevel,
} from "./stage.js";

const MILLISECONDS_BETWEEN_IMAGES = 50;
// A screen reader reads the label at most as often.
const MILLISECONDS_BETWEEN_LABELS = 1000;
const MAX_SEED = 9999;

let model = null;
let worker = null;
let context = null;
let source = null;
let opening = 0;
// Milliseconds at which images arrived, of the last two seconds.
let arrivals = [];
let asked = false, askedAt = 0, isLast = false;
// The clip of the newest image: where no audio plays, another style is shown of it.
let lastClip = null, style = null, hasNewStyle = false, isRestyled = false;

// Images, float in [-1, 1], or latent vectors where the model gives them: the newest one, the one that is shown, and the one
// that the fade started from. `image` is the newest image.
const shown = {
  newest: null, now: null, from: null, image: null, since: 0, isFading: false, isAsked: false, isBehind: false,
  canvas: document.createElement("canvas"),

  start(size) {
    this.canvas.width = this.canvas.height = size;
    this.pixels = this.canvas.getContext("2d").createImageData(size, size);
    this.pixels.data.fill(255);
  },

  add(image, latent, time) {
    // A number that isn't finite would stay in every fade after it.
    if (!image.every(Number.isFinite)) return;
    this.image = image;
    this.newest = latent ?? image;
    this.from = this.now ? this.now.slice() : this.newest;
    this.now ??= this.newest.slice();
    this.since = time;
    this.isFading = true;
  },

  fade(time) {
    const part = Math.max(0, Math.min(1, (time - this.since) / MILLISECONDS_OF_FADE));
    this.isFading = part < 1;
    for (let i = 0; i < this.now.length; i++) this.now[i] = this.from[i] + part * (this.newest[i] - this.from[i]);
  },

  // Paints what is between two images: their mean, or the image of the mean of their latent vectors, when it is there.
  paint() {
    if (this.newest === this.image) return paint(this.draw(this.now));
    paint(null);
    this.isBehind = this.isAsked;
    if (this.isAsked) return;
    this.isAsked = true;
    worker.postMessage({ latent: this.now.slice() });
  },

  receive(between) {
    this.isAsked = false;
    if (isFrozen()) return;
    paint(this.draw(between));
    if (this.isBehind) this.paint();
  },

  // Draws an image in the model's own size; returns the canvas.
  draw(image) {
    const { data } = this.pixels, channels = model.channels;
    for (let i = 0; i < data.length / 4; i++) {
      for (let c = 0; c < 3; c++) data[4 * i + c] = Math.round((image[channels * i + c % channels] + 1) * 127.5);
    }
    this.canvas.getContext("2d").putImageData(this.pixels, 0, 0);
    return this.canvas;
  },
};

// What was recognised, and how surely: the newest, told at most once a second.
const label = {
  text: "", toldAt: -Infinity, timer: 0,

  set(logits, now) {
    const { temperature, threshold } = model.calibration, highest = Math.max(...logits);
    const sum = scale => logits.reduce((total, logit) => total + Math.exp((logit - highest) / scale), 0);
    // Probabilities can't tell audio that is like nothing in the training: the evidence for any label can.
    const isUnknown = threshold !== null && highest + Math.log(sum(1)) < threshold;
    this.text = isUnknown ? "unknown" : `${model.labels[logits.indexOf(highest)]}, ${Math.round(100 / sum(temperature))} %`;
    this.timer ||= setTimeout(() => this.tell(), Math.max(0, this.toldAt + MILLISECONDS_BETWEEN_LABELS - now));
  },

  tell() {
    this.timer = 0;
    this.toldAt = performance.now();
    if (field("label").textContent !== this.text) field("label").textContent = this.text;
  },
};

function tick(time) {
  requestAnimationFrame(tick);
  const clip = source?.newest();
  if (clip) {
    showLevel(level(clip, model.sample_rate));
    ask(clip, time);
  } else if (hasNewStyle && lastClip && !asked && !isFrozen()) {
    send(lastClip, time);
  }
  if (!isDue(time)) return;
  if (shown.newest && !isFrozen() && (shown.isFading || film.isRunning)) {
    shown.fade(time);
    shown.paint();
  } else {
    paint(null);
  }
}

// Nothing is queued: a clip is sent when the image before it has arrived.
function ask(clip, time) {
  if (asked || isLast || isFrozen() && !source.ended || time - askedAt < MILLISECONDS_BETWEEN_IMAGES) return;
  isLast = source.ended;
  lastClip = toSixteenBits(clip);
  send(lastClip, time);
}

function send(clip, time) {
  asked = true;
  askedAt = time;
  isRestyled = !source;
  hasNewStyle = false;
  worker.postMessage({ clip, style });
}

function receive({ image, logits, latent }) {
  const now = performance.now();
  asked = false;
  arrivals = [...arrivals.filter(time => now - time < 2000), now];
  if (!source && !isRestyled) return;
  if (!isFrozen()) {
    shown.add(image, latent, now);
    if (logits) label.set(logits, now);
  }
  if (!source) return;
  buttons.save.disabled = !shown.newest;
  field("start").hidden = Boolean(shown.newest);
  const rate = (arrivals.length - 1) / ((now - arrivals[0]) / 1000);
  field("figures").textContent = arrivals.length > 5 ? `${rate.toFixed(1)} images a second` : "";
  if (isLast) end();
}

function end() {
  const name = source instanceof AudioFile ? `${source.name} has ended.` : "The microphone was disconnected.";
  stop();
  say(name, !name.includes("ended"));
}

async function open(makeSource) {
  const number = ++opening;
  try {
    context ??= new AudioContext();
    await context.resume();
    const made = await makeSource();
    // Something else was opened meanwhile.
    if (number !== opening) return made.stop();
    stop();
    source = made;
    isLast = false;
    arrivals = [];
    say(source.name);
    enable();
  } catch (error) {
    if (number === opening) fail(error);
  }
}

function stop() {
  film.stop();
  const hadFocus = document.activeElement === buttons.stop;
  source?.stop();
  source = null;
  field("bar").style.clipPath = "";
  field("figures").textContent = "";
  enable();
  if (hadFocus) buttons.microphone.focus({ preventScroll: true });
}

function enable() {
  buttons.microphone.disabled = buttons.choose.disabled = false;
  buttons.stop.hidden = !source;
  buttons.freeze.disabled = !source && !isFrozen();
  buttons.record.disabled = !source || !canRecord;
}

// Numbers of a normal distribution, the same ones for a seed: mulberry32 and the Box-Muller transform.
function drawStyle(seed, temperature, length) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return Float32Array.from({ length }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    return temperature * radius * Math.cos(2 * Math.PI * uniform());
  });
}

function restyle() {
  const temperature = Number(field("temperature").value);
  field("degree").value = temperature.toFixed(1);
  style = drawStyle(Number(field("seed").value), temperature, model.style_units);
  hasNewStyle = true;
}

// Whoever chooses a style wants to see it: at temperature 0, all are the same.
function chooseStyle(seed) {
  field("seed").value = Math.min(MAX_SEED, Math.max(0, Math.round(seed) || 0));
  if (Number(field("temperature").value) === 0) field("temperature").value = 1;
  restyle();
}

const anotherStyle = () => chooseStyle((Number(field("seed").value) + 1) % (MAX_SEED + 1));

function record() {
  if (film.isRunning) return film.stop();
  const sound = context.createMediaStreamDestination();
  // An image is complete after its fade: in a film, the audio waits for the middle of it.
  const seconds = (MILLISECONDS_OF_FADE / 2 + MILLISECONDS_BETWEEN_IMAGES) / 1000 + (context.outputLatency || 0);
  const delay = new DelayNode(context, { delayTime: Math.min(seconds, 1) });
  source.connect(delay);
  delay.connect(sound);
  film.start(sound.stream.getAudioTracks(), () => delay.disconnect());
}

const openMicrophone = () => open(() => Microphone.open(context, model.sample_rate, model.samples));
const openFile = file => open(() => AudioFile.open(context, file, model.sample_rate, model.samples));

function connectControls() {
  connectButtons({
    microphone: openMicrophone, choose: () => field("file").click(), stop: () => { opening++; stop(); say("Stopped."); },
    freeze: () => { freeze(); enable(); }, save: () => saveImage(shown.draw(shown.image)), record, another: anotherStyle,
  });
  field("temperature").addEventListener("input", restyle);
  field("seed").addEventListener("change", ({ target }) => chooseStyle(Number(target.value)));
  field("file").addEventListener("change", ({ target }) => {
    if (target.files.length) openFile(target.files[0]);
    // The same file may be chosen again.
    target.value = "";
  });
  let depth = 0;
  const drag = change => event => {
    event.preventDefault();
    depth = change === 0 ? 0 : depth + change;
    document.body.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", drag(1));
  document.addEventListener("dragleave", drag(-1));
  document.addEventListener("dragover", event => event.preventDefault());
  document.addEventListener("drop", event => {
    drag(0)(event);
    const file = event.dataTransfer.files[0];
    if (file && model && !buttons.choose.disabled) openFile(file);
  });
}

async function start() {
  const base = new URL(".", location.href).href;
  const answer = await fetch("model.json");
  if (!answer.ok) throw new Problem(`model.json can't be loaded: status ${answer.status}.`);
  model = await answer.json();
  shown.start(model.image_size);
  // A worker that starts from a blob obeys this page's content security policy.
  const code = new Blob([`importScripts(${JSON.stringify(base + "worker.js")})`], { type: "text/javascript" });
  worker = new Worker(URL.createObjectURL(code));
  const names = await new Promise((resolve, reject) => {
    worker.onerror = event => reject(new Error(event.message || "the worker can't be started"));
    worker.onmessage = ({ data }) => {
      if (data.error) {
        source && stop();
        reject(new Error(data.error));
        fail(new Error(data.error));
      } else if (data.ready) resolve(data);
      else if (data.between) shown.receive(data.between);
      else receive(data);
    };
    worker.postMessage({ base, model });
  });
  field("styles").hidden = !names.inputs.includes("style");
  field("label").hidden = !names.outputs.includes("logits");
  connectControls();
  enable();
  say(window.isSecureContext ? "Ready." : "Ready for audio files. The microphone needs a secure page (https).");
  requestAnimationFrame(tick);
}

say("Loading the model.");
start().catch(fail);
