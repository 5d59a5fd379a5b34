// The page of live images: a session on this machine generates them, and this page shows them.

import {
  MILLISECONDS_OF_FADE, buttons, canRecord, connectButtons, field, film, freeze, isDue, isFrozen, paint, saveImage, say, showLevel,
} from "./stage.js";

const MILLISECONDS_BETWEEN_QUESTIONS = 200;
const MILLISECONDS_TO_TRY_AGAIN = 1000;
const MILLISECONDS_TO_WAIT = 3000;

// Images as canvases: the newest one, the one that is shown, and the one that the fade started from.
const shown = {
  newest: null, since: 0, isFading: false,

  add(bitmap, time) {
    if (!this.newest) [this.newest, this.now, this.from] = [bitmap, bitmap, bitmap].map(copy);
    this.from.getContext("2d").drawImage(this.now, 0, 0);
    this.newest.getContext("2d").drawImage(bitmap, 0, 0);
    this.since = time;
    this.isFading = true;
  },

  fade(time) {
    const part = Math.max(0, Math.min(1, (time - this.since) / MILLISECONDS_OF_FADE));
    this.isFading = part < 1;
    const now = this.now.getContext("2d");
    now.globalAlpha = 1;
    now.drawImage(this.from, 0, 0);
    now.globalAlpha = part;
    now.drawImage(this.newest, 0, 0);
    return this.now;
  },
};

function copy(image) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas;
}

function tick(time) {
  requestAnimationFrame(tick);
  if (isDue(time)) paint(shown.newest && !isFrozen() && (shown.isFading || film.isRunning) ? shown.fade(time) : null);
}

// Yields the images of a multipart answer, whose parts state their lengths.
async function* parts(answer) {
  const reader = answer.body.getReader();
  let bytes = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const longer = new Uint8Array(bytes.length + value.length);
    longer.set(bytes);
    longer.set(value, bytes.length);
    bytes = longer;
    for (let part; (part = firstPart(bytes)); bytes = bytes.slice(part.end)) yield part.image;
  }
}

// Returns the first image and where it ends, or null where it isn't complete.
function firstPart(bytes) {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 500)), blank = text.indexOf("\r\n\r\n");
  if (blank < 0) return null;
  const start = blank + 4, end = start + Number(/content-length: *(\d+)/i.exec(text)[1]);
  return bytes.length < end ? null : { image: new Blob([bytes.subarray(start, end)], { type: "image/jpeg" }), end };
}

async function watch() {
  try {
    for await (const image of parts(await fetch("stream", { cache: "no-store" }))) {
      if (isFrozen()) continue;
      shown.add(await createImageBitmap(image), performance.now());
      field("start").hidden = true;
      buttons.save.disabled = false;
      buttons.freeze.disabled = false;
      buttons.record.disabled = !canRecord;
    }
  } catch { /* The connection was lost: the next status tells why. */ }
  isWatching = false;
}

function time(seconds) {
  const whole = Math.floor(seconds), two = n => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(whole % 60);
}

function show(status) {
  showLevel(status.level);
  const lost = status.overflows ? ` Audio was lost ${status.overflows} times.` : "";
  const text = status.source + (lost && "." + lost);
  // Said once: a screen reader reads what changes.
  if (field("message").textContent !== text) say(text, Boolean(lost));
  const figures = [time(status.seconds)];
  if (status.images_per_second !== null) figures.push(`${status.images_per_second.toFixed(1)} images a second`);
  if (status.latency_median !== null) {
    figures.push(`latency ${status.latency_median.toFixed(0)} ms, 95 % below ${status.latency_p95.toFixed(0)} ms`);
  }
  if (status.dropped) figures.push(`${status.dropped.toLocaleString("en")} dropped`);
  field("figures").textContent = figures.join(" · ");
  field("figures").title = `Every image is generated from the last ${status.clip} s of audio and belongs to the middle of that clip. `
    + "The latency is the time from the newest audio of the clip to the image.";
}

let isWatching = false, wasLive = false;
async function poll() {
  let status = null;
  try {
    const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(MILLISECONDS_TO_WAIT) });
    status = await answer.json();
  } catch { /* The session has ended, or isn't there yet. */ }
  const isLive = status !== null && "images" in status;
  if (isLive) show(status);
  else if (wasLive) end();
  if (isLive && !isWatching) {
    isWatching = true;
    watch();
  }
  wasLive = isLive;
  setTimeout(poll, isLive ? MILLISECONDS_BETWEEN_QUESTIONS : MILLISECONDS_TO_TRY_AGAIN);
}

function end() {
  film.stop();
  showLevel(-Infinity);
  field("figures").textContent = "";
  buttons.record.disabled = true;
  say("The session has ended. The page goes on when another begins.");
}

function record() {
  if (film.isRunning) film.stop();
  // The audio is at the session, not here: a silent film.
  else film.start([], () => {});
}

field("invitation").textContent = "Waiting for the first image.";
field("invitation").nextElementSibling.hidden = true;
field("sources").hidden = true;
buttons.record.title += ". The film is silent: keras-a2i generate --video makes films with their audio";
connectButtons({ freeze, save: () => saveImage(shown.newest), record });
say("Connecting.");
requestAnimationFrame(tick);
poll();
