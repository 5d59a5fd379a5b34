// Sample rates: of a file as it is stored, and from one to another by a windowed sinc.

// Pass band up to 91 % of the lower Nyquist frequency, stop band of about 100 dB from there on.
const PASS = 0.913;
const ATTENUATION = 100;

export class Resampler {
  constructor(from, to) {
    const shared = divisor(from, to);
    this.up = to / shared;
    this.down = from / shared;
    const scale = Math.min(1, to / from);
    this.cutoff = scale * (1 + PASS) / 2;
    this.half = Math.ceil((ATTENUATION - 7.95) / (2.285 * Math.PI * (1 - PASS) * scale) / 2);
    this.beta = 0.1102 * (ATTENUATION - 8.7);
    this.kernels = new Map();
    // Silence before the first sample. `next` is the number of the next output, `start` that of the first kept sample.
    this.kept = new Float32Array(this.half);
    this.start = -this.half;
    this.next = 0;
  }

  // Returns the samples that become known by those of the block.
  push(block) {
    if (this.up === this.down) return block;
    const samples = new Float32Array(this.kept.length + block.length);
    samples.set(this.kept);
    samples.set(block, this.kept.length);
    const end = this.start + samples.length - this.half;
    const count = Math.max(0, Math.ceil(end * this.up / this.down) - this.next);
    const output = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const position = (this.next + i) * this.down;
      const whole = Math.floor(position / this.up);
      const kernel = this.kernel(position - whole * this.up);
      const first = whole - this.half + 1 - this.start;
      let sum = 0;
      for (let k = 0; k < kernel.length; k++) sum += kernel[k] * samples[first + k];
      output[i] = sum;
    }
    this.next += count;
    const needed = Math.floor(this.next * this.down / this.up) - this.half + 1;
    const drop = Math.min(samples.length, Math.max(0, needed - this.start));
    this.kept = samples.slice(drop);
    this.start += drop;
    return output;
  }

  // Returns the rest, as if silence followed.
  finish() {
    if (this.up === this.down) return new Float32Array(0);
    const left = Math.round((this.start + this.kept.length) * this.up / this.down) - this.next;
    return this.push(new Float32Array(2 * this.half)).subarray(0, Math.max(0, left));
  }

  kernel(phase) {
    let kernel = this.kernels.get(phase);
    if (kernel) return kernel;
    kernel = new Float32Array(2 * this.half);
    for (let k = 0; k < kernel.length; k++) {
      const time = k - this.half + 1 - phase / this.up;
      const x = Math.PI * this.cutoff * time;
      const window = bessel(this.beta * Math.sqrt(Math.max(0, 1 - (time / this.half) ** 2))) / bessel(this.beta);
      kernel[k] = this.cutoff * (x === 0 ? 1 : Math.sin(x) / x) * window;
    }
    this.kernels.set(phase, kernel);
    return kernel;
  }
}

// Returns the sample rate that a WAV, FLAC, Ogg or MP3 file states (bytes as Uint8Array), or null. Browsers don't tell it,
// and resample by a filter of their own.
export function storedRate(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (at, length) => String.fromCharCode(...bytes.subarray(at, at + length));
  if (text(0, 4) === "RIFF" && text(8, 4) === "WAVE") {
    for (let at = 12; at + 16 <= bytes.length; at += 8 + view.getUint32(at + 4, true) + view.getUint32(at + 4, true) % 2) {
      if (text(at, 4) === "fmt ") return view.getUint32(at + 12, true);
    }
    return null;
  }
  if (text(0, 4) === "fLaC" && bytes.length > 22) return view.getUint32(18) >>> 12;
  if (text(0, 4) === "OggS" && bytes.length > 48) {
    if (text(28, 8) === "OpusHead") return 48000;
    return text(28, 7) === "\x01vorbis" ? view.getUint32(40, true) : null;
  }
  let at = 0;
  if (text(0, 3) === "ID3" && bytes.length > 10) {
    at = 10 + (bytes[6] << 21 | bytes[7] << 14 | bytes[8] << 7 | bytes[9]);
  }
  const version = bytes[at + 1] >> 3 & 3, layer = bytes[at + 1] >> 1 & 3, rate = bytes[at + 2] >> 2 & 3;
  if (bytes[at] !== 255 || bytes[at + 1] < 224 || version === 1 || layer === 0 || rate === 3) return null;
  return [44100, 48000, 32000][rate] / { 3: 1, 2: 2, 0: 4 }[version];
}

function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}

// The modified Bessel function of order 0, by its series.
function bessel(x) {
  let sum = 1, term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / 2 / k) ** 2;
    sum += term;
  }
  return sum;
}
