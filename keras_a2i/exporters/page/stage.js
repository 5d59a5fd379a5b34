// What all pages share: the image, the meter, the line of text, and the buttons that concern images alone.

// 30 a second, with some tolerance for the clock of the screen: more costs a phone its battery and a film its frames.
const MILLISECONDS_BETWEEN_DRAWINGS = 30;
export const MILLISECONDS_OF_FADE = 160;
const MILLISECONDS_TO_REST = 2500;
const MAX_MINUTES_OF_FILM = 10;
const QUIETEST = -60;
// VP8 before VP9: it is encoded while images are generated.
const FILMS = ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"];

// A sentence for the person at the page.
export class Problem extends Error {}

export const field = id => document.getElementById(id);
export const buttons = Object.fromEntries(["microphone", "choose", "stop", "freeze", "save", "record", "full", "another"].map(id => [id, field(id)]));

export function say(text, isProblem = false) {
  field("message").textContent = text;
  field("line").classList.toggle("problem", isProblem);
}

export function fail(error) {
  say(error instanceof Problem ? error.message : `Something went wrong: ${error.message || error}`, true);
}

const screen = field("image").getContext("2d", { alpha: false });
screen.imageSmoothingQuality = "high";

export function showLevel(dB) {
  field("bar").style.clipPath = `inset(0 ${100 * Math.max(0, Math.min(1, dB / QUIETEST))}% 0 0)`;
}

let drawnAt = 0;

// Whether a drawing is due at a time.
export function isDue(time) {
  if (time - drawnAt < MILLISECONDS_BETWEEN_DRAWINGS) return false;
  drawnAt = time;
  return true;
}

let painted = null;

// Draws an image (a canvas), or nothing new.
export function paint(image) {
  painted = image ?? painted;
  // A film of a canvas has a frame for everything that is drawn, and none otherwise.
  if (image || painted && film.isRunning) screen.drawImage(painted, 0, 0, screen.canvas.width, screen.canvas.height);
}

function togglePixels() {
  screen.imageSmoothingEnabled = !screen.imageSmoothingEnabled;
  if (painted) screen.drawImage(painted, 0, 0, screen.canvas.width, screen.canvas.height);
}

export const isFrozen = () => buttons.freeze.getAttribute("aria-pressed") === "true";

export function freeze() {
  buttons.freeze.setAttribute("aria-pressed", String(!isFrozen()));
}

function download(blob, suffix) {
  const link = document.createElement("a");
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  link.href = URL.createObjectURL(blob);
  link.download = `keras-a2i-${time}.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// Saves an image (a canvas) in its own size.
export function saveImage(canvas) {
  canvas.toBlob(blob => download(blob, "png"), "image/png");
}

export const canRecord = typeof MediaRecorder !== "undefined";

export const film = {
  isRunning: false,

  // `sound`: tracks of audio, none for a silent film; `release`: called at the end.
  start(sound, release) {
    const tracks = [...screen.canvas.captureStream(30).getVideoTracks(), ...sound];
    const mimeType = FILMS.find(type => MediaRecorder.isTypeSupported(type));
    const recorder = new MediaRecorder(new MediaStream(tracks), { mimeType, videoBitsPerSecond: 4_000_000 });
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = () => download(new Blob(parts, { type: recorder.mimeType }), recorder.mimeType.includes("mp4") ? "mp4" : "webm");
    const limit = setTimeout(() => {
      this.stop();
      say(`The film was saved: it may have at most ${MAX_MINUTES_OF_FILM} minutes.`);
    }, 60000 * MAX_MINUTES_OF_FILM);
    this.end = () => {
      clearTimeout(limit);
      recorder.stop();
      for (const track of tracks) track.stop();
      release();
    };
    recorder.start(1000);
    this.show(true);
  },

  stop() {
    if (!this.isRunning) return;
    this.end();
    this.show(false);
  },

  show(isRunning) {
    this.isRunning = isRunning;
    buttons.record.setAttribute("aria-pressed", String(isRunning));
    buttons.record.textContent = isRunning ? "Save film" : "Record film";
  },
};

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

// Connects the buttons, by click and by key, with what they do.
export function connectButtons(actions) {
  for (const [id, action] of Object.entries({ ...actions, full: toggleFullScreen })) {
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
  field("image").addEventListener("click", togglePixels);
  for (const type of ["pointermove", "pointerdown", "keydown", "focusin"]) document.addEventListener(type, wake);
  buttons.full.hidden = !document.fullscreenEnabled;
}
