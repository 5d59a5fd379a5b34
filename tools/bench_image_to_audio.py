"""Audio generated from images, judged by networks that were trained on real audio alone.

    python tools/bench_image_to_audio.py OUT --digits pairs.csv --instruments pairs.csv [--only digits] [--seed 0]
        [--epochs 24] [--style-weight 0.005]

Digits: handwritten digits, 32 pixels, to spoken ones at 8 kHz, one speaker held out. Instruments: drawings, 64 pixels,
to sounds at 16 kHz, one sound font held out. Surf: `synthetic:surf:400`, 64 pixels, blocks held out.

A recogniser (a regression of the hidden factors for surf) learns from the real audio of the training pairs, and takes
no part in the training of the generator. It then names up to 200 held-out pairs by their generated audio, with the
usual style and with a random one, and by baselines: the audio of the mean training spectrogram, that of the training
pair with the nearest image (which is retrieval), real audio that was turned into a spectrogram and back (the ceiling),
and real audio. What exists below OUT isn't repeated.
"""

import pathlib
import time
from collections.abc import Callable
from typing import Any

import click
import keras
import numpy as np
from keras import layers

import keras_a2i as a2i
from keras_a2i.config import ImageConfig
from keras_a2i.evaluation.train_network import train_network
from keras_a2i.layers import LogMel
from keras_a2i.media.conversion import from_uint8
from keras_a2i.models.image_to_audio import ImageToAudio, log_mel_to_waveform
from keras_a2i.records.decoded_split import DecodedSplit

N_HELD_OUT = 200
STEPS = 1500
HOLDOUT = {"digits": "lucas", "instruments": "gmbank"}
ROWS = (
    "generated",
    "generated, random style",
    "mean spectrogram",
    "sound of the nearest image",
    "real, through the spectrogram",
    "real",
)


def build(name: str, out: pathlib.Path, table: pathlib.Path | None) -> pathlib.Path:
    """Records of a benchmark."""
    folder = out / "records" / name
    if (folder / "records.json").is_file():
        return folder
    features = a2i.FeatureConfig(sample_rate=8000 if name == "digits" else 16_000)
    image = ImageConfig(size=32, channels=1) if name == "digits" else ImageConfig(size=64)
    split = a2i.SplitSpec(kind="block") if name == "surf" else a2i.SplitSpec(kind="source", holdout=(HOLDOUT[name],))
    sources = a2i.open_sources([table or "synthetic:surf:400"], features=features, image=image)
    a2i.build_records(sources, folder, features=features, image=image, split=split)
    return folder


def front_end(records: a2i.Records) -> Callable[[np.ndarray], np.ndarray]:
    """Log-mel frames of 32 ms without the clip's own level: other frames and bands than those that are generated."""
    rate = records.features.sample_rate
    log_mel = LogMel(
        rate, convention="htk", frame_length=round(0.032 * rate), hop_length=rate // 64, n_mels=40, f_max=rate / 2
    )

    def compute(waveforms: np.ndarray) -> np.ndarray:
        parts = [waveforms[i : i + 64] for i in range(0, len(waveforms), 64)]
        values = np.concatenate([np.asarray(log_mel(part)) for part in parts])
        peak = np.percentile(values, 99, axis=(1, 2), keepdims=True)
        return np.maximum(values - peak, -6.0)[..., None] / 2 + 1

    return compute


def learn(inputs: np.ndarray, targets: np.ndarray, n_outputs: int, loss: object) -> keras.Model:
    """A small convolutional network over log-mel frames."""
    network = keras.Sequential(
        [
            keras.Input(inputs.shape[1:]),
            *[
                layer
                for width in (16, 32, 48, 64)
                for layer in (layers.Conv2D(width, 3, padding="same", activation="relu"), layers.MaxPooling2D(2))
            ],
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(n_outputs),
        ]
    )
    train_network(network, loss, inputs, targets, STEPS)
    return network


def augmented(waveforms: np.ndarray, seed: int) -> np.ndarray:
    """The waveforms, and again with noise and moved by up to 50 ms, so that the judge isn't put off by artefacts."""
    random = np.random.default_rng(seed)
    moved = np.stack([np.roll(each, random.integers(-400, 400)) for each in waveforms])
    level = np.abs(waveforms).max(axis=1, keepdims=True) * random.uniform(0, 0.03, (len(waveforms), 1))
    return np.concatenate([waveforms, moved + level * random.standard_normal(waveforms.shape)]).astype(np.float32)


def competitors(model: ImageToAudio, train: DecodedSplit, held_out: DecodedSplit) -> dict[str, np.ndarray]:
    """The audio of the held-out pairs by the names of `ROWS`."""
    rate, n_samples = model.sample_rate, model.n_samples
    real = held_out.inputs
    parts = [np.asarray(model.log_mel(train.inputs[i : i + 64])) for i in range(0, len(train), 64)]
    mean = log_mel_to_waveform(np.concatenate(parts).mean(axis=0), rate, n_samples)
    known = train.images.reshape(len(train), -1).astype(np.float32)
    wanted = held_out.images.reshape(len(held_out), -1).astype(np.float32)
    nearest = [int(((known - each) ** 2).sum(axis=1).argmin()) for each in wanted]
    through = [log_mel_to_waveform(each, rate, n_samples) for each in np.asarray(model.log_mel(real))]
    images = from_uint8(held_out.images)
    drawn = [model.generate(image[None], temperature=1.0, seed=i)[0] for i, image in enumerate(images)]
    values = (model.generate(images), np.stack(drawn), np.stack([mean] * len(real)), train.inputs[nearest])
    return dict(zip(ROWS, (*values, np.stack(through), real), strict=True))


def judge_labels(records: a2i.Records, train: DecodedSplit, held_out: DecodedSplit, audio: dict) -> dict[str, str]:
    """The share of the audio of each kind whose label is recognised."""
    compute = front_end(records)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    heard = compute(augmented(train.inputs, 0))
    network = learn(heard, np.tile(train.label_numbers, 2), len(records.labels), loss)
    found = {}
    for name, waveforms in audio.items():
        right = network.predict(compute(waveforms), verbose=0).argmax(axis=1) == held_out.label_numbers
        found[name] = f"{right.mean():.1%}"
    return found


def judge_factors(records: a2i.Records, train: DecodedSplit, held_out: DecodedSplit, audio: dict) -> dict[str, str]:
    """The correlation with the truth of loudness (dB), and of the factors that a regression hears in each audio."""
    compute, names = front_end(records), sorted(train.factors[0])
    table = np.array([[each[name] for name in names] for each in train.factors], np.float32)
    truth = np.array([[each[name] for name in names] for each in held_out.factors], np.float32)
    mean, deviation = table.mean(axis=0), table.std(axis=0) + 1e-6
    network = learn(compute(augmented(train.inputs, 0)), np.tile((table - mean) / deviation, (2, 1)), len(names), "mse")
    found = {}
    for name, waveforms in audio.items():
        heard = network.predict(compute(waveforms), verbose=0)
        parts = [f"loudness {_correlation(_decibels(waveforms), _decibels(held_out.inputs)):.2f}"]
        parts += [f"{n} {_correlation(heard[:, i], truth[:, i]):.2f}" for i, n in enumerate(names)]
        found[name] = ", ".join(parts)
    return found


def _decibels(waveforms: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.mean(np.square(waveforms), axis=1) + 1e-9)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if min(x.std(), y.std()) > 1e-4 else 0.0


def run(name: str, out: pathlib.Path, table: pathlib.Path | None, seed: int, **settings: Any) -> None:
    """Trains and judges one benchmark, and prints its table."""
    records = a2i.Records(build(name, out, table))
    folder = out / f"{name}-{seed}"
    if not (folder / "model.keras").is_file():
        started = time.monotonic()
        a2i.fit_image_to_audio(records, folder, seed=seed, overwrite=folder.exists(), verbose=0, **settings)
        click.echo(f"{name}, seed {seed}: trained in {time.monotonic() - started:.0f} s", err=True)
    keras.utils.set_random_seed(seed)
    train = records.decoded("train", "waveform")
    held_out = records.sample_pairs("val", N_HELD_OUT, "waveform")
    audio = competitors(ImageToAudio.from_preset(folder), train, held_out)
    judge = judge_factors if name == "surf" else judge_labels
    click.echo(f"\n| {name}, seed {seed}: audio of {len(held_out)} held-out pairs | recognised |\n|---|---|")
    for row, value in judge(records, train, held_out, audio).items():
        click.echo(f"| {row} | {value} |")


@click.command()
@click.argument("out", type=click.Path(path_type=pathlib.Path))
@click.option("--digits", type=click.Path(exists=True, path_type=pathlib.Path), help="pairs.csv of spoken digits.")
@click.option("--instruments", type=click.Path(exists=True, path_type=pathlib.Path), help="pairs.csv of instruments.")
@click.option("--only", type=click.Choice(["digits", "instruments", "surf"]), help="One benchmark alone.")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option("--epochs", type=int, help="Epochs of the generator (default: those of fit_image_to_audio).")
@click.option("--style-weight", type=float, help="Weight of the divergence of the styles (default: 0.03).")
def main(out: pathlib.Path, digits: pathlib.Path | None, instruments: pathlib.Path | None, only, **options) -> None:
    """Trains and judges the benchmarks whose data is given, and surf."""
    tables = {"digits": digits, "instruments": instruments, "surf": None}
    for name, table in tables.items():
        if only in (None, name) and (table is not None or name == "surf"):
            run(name, out, table, **options)


if __name__ == "__main__":
    main()
