// Where the audio comes from: a microphone or a decoded file. Both return the newest clip at the model's sample rate.

import { Resampler, storedRate } from "./resample.js";
import { Problem } from "./stage.js";

const MAX_MEGABYTES = 200;
const MAX_MINUTES = 15;
// What every browser decodes to.
const MIN_RATE = 8000, MAX_RATE = 96000, USUAL_RATE = 48000;

// The newest clip of what is added.
class Clip {
  constructor(samples) {
    this.kept = new Float32Array(samples);
    this.total = 0;
  }

  add(samples) {
    const added = samples.subarray(Math.max(0, samples.length - this.kept.length));
    this.kept.copyWithin(0, added.length);
    this.kept.set(added, this.kept.length - added.length);
    this.total += samples.length;
  }
}

export class Microphone {
  name = "Microphone";
  ended = false;

  constructor(context, stream, rate, samples) {
    this.stream = stream;
    this.clip = new Clip(samples);
    const resampler = new Resampler(context.sampleRate, rate);
    this.source = context.createMediaStreamSource(stream);
    this.capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    this.capture.port.onmessage = ({ data }) => this.clip.add(resampler.push(data));
    this.source.connect(this.capture);
    stream.getAudioTracks()[0].addEventListener("ended", () => { this.ended = true; });
  }

  static async open(context, rate, samples) {
    if (!window.isSecureContext || !navigator.mediaDevices || !context.audioWorklet) {
      throw new Problem("The microphone needs a secure page: https, or localhost on this device. Audio files work here too.");
    }
    let stream;
    try {
      // What makes speech intelligible in a call changes every other sound.
      const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      throw new Problem(microphoneSentence(error));
    }
    await context.audioWorklet.addModule("capture.js");
    return new Microphone(context, stream, rate, samples);
  }

  newest() {
    return this.clip.kept.slice();
  }

  // Connects the audio to where a film is recorded.
  connect(node) {
    this.source.connect(node);
  }

  stop() {
    this.source.disconnect();
    this.capture.port.onmessage = null;
    for (const track of this.stream.getTracks()) track.stop();
  }
}

export class AudioFile {
  ended = false;

  constructor(context, name, buffer, rate, samples) {
    this.context = context;
    this.name = name;
    this.buffer = buffer;
    this.clip = new Clip(samples);
    this.resampler = new Resampler(buffer.sampleRate, rate);
    this.read = 0;
    this.source = context.createBufferSource();
    this.source.buffer = buffer;
    this.source.connect(context.destination);
    this.source.onended = () => { this.ended = true; };
    this.source.start();
    this.started = context.currentTime;
  }

  static async open(context, file, rate, samples) {
    // An empty file has no address to read its duration from.
    if (!file.size) throw new Problem(`${file.name} is empty.`);
    if (file.size > 1e6 * MAX_MEGABYTES || await duration(file) > 60 * MAX_MINUTES) {
      throw new Problem(`A file may have at most ${MAX_MEGABYTES} MB and ${MAX_MINUTES} minutes. Cut a part out of ${file.name}.`);
    }
    const bytes = new Uint8Array(await file.arrayBuffer());
    const stored = storedRate(bytes);
    const decodable = stored >= MIN_RATE && stored <= MAX_RATE ? stored : USUAL_RATE;
    let buffer;
    try {
      buffer = await new OfflineAudioContext(1, 1, decodable).decodeAudioData(bytes.buffer);
    } catch {
      throw new Problem(`${file.name} can't be read as audio by this browser. Choose a WAV, MP3, FLAC, Ogg or M4A file.`);
    }
    if (!buffer.length) throw new Problem(`${file.name} holds no audio.`);
    return new AudioFile(context, file.name, buffer, rate, samples);
  }

  newest() {
    // What is audible now, not what was sent to the speakers.
    const seconds = this.context.currentTime - this.started - (this.context.outputLatency || 0);
    this.advance(this.ended ? Infinity : Math.round(seconds * this.buffer.sampleRate));
    const { kept, total } = this.clip;
    const clip = new Float32Array(kept.length);
    // As in Python, a file that is shorter than a clip is followed by silence.
    clip.set(this.ended && total < kept.length ? kept.subarray(kept.length - total) : kept);
    return clip;
  }

  // Adds the samples up to a position in the file, a number of its own samples.
  advance(position) {
    const length = this.buffer.length;
    if (this.read === length) return;
    const end = Math.min(length, Math.max(this.read, position + this.resampler.half));
    const channels = Array.from({ length: this.buffer.numberOfChannels }, (_, i) => this.buffer.getChannelData(i));
    const block = new Float32Array(end - this.read);
    for (const channel of channels) {
      for (let i = 0; i < block.length; i++) block[i] += channel[this.read + i] / channels.length;
    }
    this.read = end;
    this.clip.add(this.resampler.push(block));
    if (end === length) this.clip.add(this.resampler.finish());
  }

  connect(node) {
    this.source.connect(node);
  }

  stop() {
    this.source.onended = null;
    this.source.stop();
    this.source.disconnect();
  }
}

// Returns the root mean square of the newest tenth of a second, in dB relative to full scale.
export function level(clip, rate) {
  const newest = clip.subarray(Math.max(0, clip.length - Math.round(rate / 10)));
  let sum = 0;
  for (const sample of newest) sum += sample * sample;
  return sum > 0 ? Math.max(-90, 10 * Math.log10(sum / newest.length)) : -90;
}

// Rounds a clip to 16 bits, as the library does before every model.
export function toSixteenBits(clip) {
  return clip.map(sample => Math.min(32767, Math.max(-32768, Math.round(sample * 32768))) / 32768);
}

// Resolves to the seconds that a file states, without decoding it, or to 0.
function duration(file) {
  return new Promise(resolve => {
    const media = new Audio();
    const address = URL.createObjectURL(file);
    const done = seconds => {
      clearTimeout(limit);
      media.removeAttribute("src");
      URL.revokeObjectURL(address);
      resolve(Number.isFinite(seconds) ? seconds : 0);
    };
    const limit = setTimeout(() => done(0), 3000);
    media.preload = "metadata";
    media.onloadedmetadata = () => done(media.duration);
    media.onerror = () => done(0);
    media.src = address;
  });
}

function microphoneSentence(error) {
  if (error.name === "NotAllowedError") {
    return "The microphone was refused. Allow it for this page in the browser's address bar, then press Microphone again.";
  }
  if (error.name === "NotFoundError") return "No microphone was found. Connect one, or choose an audio file.";
  return "The microphone can't be opened. Another program may be using it.";
}
