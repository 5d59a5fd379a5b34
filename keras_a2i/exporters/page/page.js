// The page: buttons, the newest image with a cross-fade, and files to save.

import { AudioFile, Microphone, Problem, level, toSixteenBits } from "./audio.js";

const MILLISECONDS_BETWEEN_IMAGES = 50;
// 30 a second, with some tolerance for the clock of the screen: more costs a phone its battery and a film its frames.
const MILLISECONDS_BETWEEN_DRAWINGS = 30;
const MILLISECONDS_OF_FADE = 160;
const MILLISECONDS_TO_REST = 2500;
const MAX_MINUTES_OF_FILM = 10;
const QUIETEST = -60;
// A screen reader reads the label at most as often.
const MILLISECONDS_BETWEEN_LABELS = 1000;
const MAX_SEED = 9999;
// VP8 before VP9: it is encoded while images are generated.
const FILMS = ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"];

const field = id => document.getElementById(id);
const buttons = Object.fromEntries(["microphone", "choose", "stop", "freeze", "save", "record", "full", "another"].map(id => [id, field(id)]));

let model = null;
let worker = null;
let context = null;
let source = null;
let opening = 0;
let film = null;
// Milliseconds at which images arrived, of the last two seconds.
let arrivals = [];
let asked = false, askedAt = 0, isLast = false;
// The clip of the newest image: where no audio plays, another style is shown of it.
let lastClip = null, style = null, hasNewStyle = false, isRestyled = false;
let drawnAt = 0;

function say(text, isProblem = false) {
  field("message").textContent = text;
  field("line").classList.toggle("problem", isProblem);
}

function fail(error) {
  say(error instanceof Problem ? error.message : `Something went wrong: ${error.message || error}`, true);
}

// Images, float in [-1, 1]: the newest one, the one that is shown, and the one that the fade started from.
const shown = {
  newest: null, now: null, from: null, since: 0, isFading: false,
  canvas: document.createElement("canvas"),

  start(size) {
    this.canvas.width = this.canvas.height = size;
    this.pixels = this.canvas.getContext("2d").createImageData(size, size);
    this.pixels.data.fill(255);
  },

  add(image, time) {
    // A number that isn't finite would stay in every fade after it.
    if (!image.every(Number.isFinite)) return;
    this.from = this.now ? this.now.slice() : image;
    this.newest = image;
    this.now ??= image.slice();
    this.since = time;
    this.isFading = true;
  },

  fade(time) {
    const part = Math.max(0, Math.min(1, (time - this.since) / MILLISECONDS_OF_FADE));
    this.isFading = part < 1;
    for (let i = 0; i < this.now.length; i++) this.now[i] = this.from[i] + part * (this.newest[i] - this.from[i]);
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

const screen = field("image").getContext("2d", { alpha: false });
screen.imageSmoothingQuality = "high";

function tick(time) {
  requestAnimationFrame(tick);
  const clip = source?.newest();
  if (clip) {
    const dB = level(clip, model.sample_rate);
    field("bar").style.clipPath = `inset(0 ${100 * Math.max(0, Math.min(1, dB / QUIETEST))}% 0 0)`;
    ask(clip, time);
  } else if (hasNewStyle && lastClip && !asked && !isFrozen()) {
    send(lastClip, time);
  }
  if (time - drawnAt < MILLISECONDS_BETWEEN_DRAWINGS) return;
  drawnAt = time;
  if (shown.newest && !isFrozen() && (shown.isFading || film)) {
    shown.fade(time);
    screen.drawImage(shown.draw(shown.now), 0, 0, screen.canvas.width, screen.canvas.height);
  } else if (film) {
    // A film of a canvas has a frame for everything that is drawn, and none otherwise.
    screen.drawImage(screen.canvas, 0, 0);
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

function receive({ image, logits }) {
  const now = performance.now();
  asked = false;
  arrivals = [...arrivals.filter(time => now - time < 2000), now];
  if (!source && !isRestyled) return;
  if (!isFrozen()) {
    shown.add(image, now);
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
  if (film) film.stop();
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
  buttons.record.disabled = !source || typeof MediaRecorder === "undefined";
}

const isFrozen = () => buttons.freeze.getAttribute("aria-pressed") === "true";

function freeze() {
  buttons.freeze.setAttribute("aria-pressed", String(!isFrozen()));
  enable();
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

const openMicrophone = () => open(() => Microphone.open(context, model.sample_rate, model.samples));
const openFile = file => open(() => AudioFile.open(context, file, model.sample_rate, model.samples));

function download(blob, suffix) {
  const link = document.createElement("a");
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  link.href = URL.createObjectURL(blob);
  link.download = `keras-a2i-${time}.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// The image as the model generated it, in the model's own size.
function save() {
  shown.draw(shown.newest).toBlob(blob => download(blob, "png"), "image/png");
}

function record() {
  if (film) return film.stop();
  const sound = context.createMediaStreamDestination();
  // An image is complete after its fade: in a film, the audio waits for the middle of it.
  const seconds = (MILLISECONDS_OF_FADE / 2 + MILLISECONDS_BETWEEN_IMAGES) / 1000 + (context.outputLatency || 0);
  const delay = new DelayNode(context, { delayTime: Math.min(seconds, 1) });
  source.connect(delay);
  delay.connect(sound);
  const tracks = [...screen.canvas.captureStream(30).getVideoTracks(), ...sound.stream.getAudioTracks()];
  const mimeType = FILMS.find(type => MediaRecorder.isTypeSupported(type));
  const recorder = new MediaRecorder(new MediaStream(tracks), { mimeType, videoBitsPerSecond: 4_000_000 });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = () => download(new Blob(parts, { type: recorder.mimeType }), recorder.mimeType.includes("mp4") ? "mp4" : "webm");
  const limit = setTimeout(() => {
    film?.stop();
    say(`The film was saved: it may have at most ${MAX_MINUTES_OF_FILM} minutes.`);
  }, 60000 * MAX_MINUTES_OF_FILM);
  film = {
    stop() {
      film = null;
      clearTimeout(limit);
      recorder.stop();
      for (const track of tracks) track.stop();
      delay.disconnect();
      buttons.record.setAttribute("aria-pressed", "false");
      buttons.record.textContent = "Record film";
    },
  };
  recorder.start(1000);
  buttons.record.setAttribute("aria-pressed", "true");
  buttons.record.textContent = "Save film";
}

function toggleFullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen().catch(fail);
}

let resting = 0;
function wake() {
  document.body.classList.remove("resting");
  clearTimeout(resting);
  resting = setTimeout(() => document.body.classList.add("resting"), MILLISECONDS_TO_REST);
}

function connectControls() {
  const actions = {
    microphone: openMicrophone, choose: () => field("file").click(), stop: () => { opening++; stop(); say("Stopped."); },
    freeze, save, record, full: toggleFullScreen, another: anotherStyle,
  };
  for (const [id, action] of Object.entries(actions)) {
    buttons[id].addEventListener("click", event => {
      // After a click of the pointer, the space bar shall freeze the image and not press the button again.
      if (event.detail) buttons[id].blur();
      action();
    });
  }
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.type === "number") return;
    const isSpace = event.key === " " && event.target === document.body;
    const button = Object.values(buttons).find(each => each.getAttribute("aria-keyshortcuts") === (isSpace ? "Space" : event.key.toLowerCase()));
    if (!button || button.disabled || button.closest("[hidden]")) return;
    event.preventDefault();
    button.click();
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
  for (const type of ["pointermove", "pointerdown", "keydown", "focusin"]) document.addEventListener(type, wake);
  buttons.full.hidden = !document.fullscreenEnabled;
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
