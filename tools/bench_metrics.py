"""What the metrics cost: SSIM beside `tf.image.ssim`, every metric, and validation as a share of an epoch.

    python tools/bench_metrics.py [--rounds 7] [--epochs 3] [--size 256] [--batch-size 64]

All rows of a table are measured in turn, round by round, in one process, so that other load on the machine affects all
alike. Metrics are compiled by XLA; `tf.image.ssim` runs with and without.
"""

import statistics
import time
from collections.abc import Callable

import click
import keras
import numpy as np
import tensorflow as tf

from keras_a2i import metrics
from keras_a2i.losses import BatchScaledMSE
from keras_a2i.recipes.encoder_generator import encoder_generator

N_TRAIN, N_VAL, N_FEATURES = 360, 32, 104


def smooth_images(n: int, size: int, seed: int) -> np.ndarray:
    """Returns smooth images with noise, float32 (n, size, size, 3) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-1, 1, (n, 8, 8, 3)).astype(np.float32)
    smooth = tf.image.resize(coarse, (size, size), method="bicubic").numpy()
    return np.clip(smooth + 0.1 * rng.standard_normal(smooth.shape, dtype=np.float32), -1, 1)


def in_turn(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Returns the seconds of every function in every round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def table(title: str, seconds: dict[str, list[float]], base: str) -> None:
    """Prints medians, ranges and ratios to the median of the base."""
    of_base = statistics.median(seconds[base])
    click.echo(f"\n{title:36}{'median s':>10}{'from':>9}{'to':>9}{'ratio':>8}{'1/ratio':>9}")
    for name, values in seconds.items():
        median = statistics.median(values)
        click.echo(
            f"{name:36}{median:10.4f}{min(values):9.4f}{max(values):9.4f}{median / of_base:8.3f}{of_base / median:9.2f}"
        )


def bench_ssim(batch_size: int, size: int, rounds: int) -> None:
    """Compares the library's SSIM with that of TensorFlow on the same images."""
    real, generated = (tf.constant(smooth_images(batch_size, size, seed)) for seed in (0, 1))

    def tensorflow(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.image.ssim(x + 1, y + 1, max_val=2.0)

    metric = metrics.SSIM()

    def mean_by_the_class(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        metric.reset_state()
        metric.update_state(x, y)
        return metric.result()

    variants = {
        "tf.image.ssim": tf.function(tensorflow),
        "tf.image.ssim, XLA": tf.function(tensorflow, jit_compile=True),
        "ssim, XLA": tf.function(metrics.ssim, jit_compile=True),
        "SSIM, XLA": tf.function(mean_by_the_class, jit_compile=True),
    }
    values = {name: function(real, generated).numpy() for name, function in variants.items()}
    seconds = in_turn({name: lambda f=f: f(real, generated).numpy() for name, f in variants.items()}, rounds)
    table(f"SSIM of {batch_size} x {size} x {size} x 3", seconds, "tf.image.ssim")
    expected = values["tf.image.ssim"]
    for name, value in values.items():
        difference = np.abs(value - (expected if value.ndim else expected.mean())).max()
        click.echo(f"  largest difference of {'an image' if value.ndim else 'the mean'}, {name}: {difference:.1e}")


def bench_all(batch_size: int, size: int, rounds: int) -> None:
    """Compares every metric and convention with SSIM."""
    real, generated = (tf.constant(smooth_images(batch_size, size, seed)) for seed in (0, 1))
    variants = {name: tf.function(spec.function, jit_compile=True) for name, spec in metrics.METRICS.items()}
    seconds = in_turn({name: lambda f=f: f(real, generated).numpy() for name, f in variants.items()}, rounds)
    table(f"metrics of {batch_size} x {size} x {size} x 3", seconds, "ssim")


def bench_epoch(batch_size: int, size: int, epochs: int) -> None:
    """Compares an epoch of the paper's network with the validation of a sample of held-out pairs."""
    features = np.random.default_rng(0).standard_normal((N_TRAIN + N_VAL, N_FEATURES)).astype(np.float32)
    images = smooth_images(N_TRAIN + N_VAL, size, 0)
    pairs = tf.data.Dataset.from_tensor_slices((features, images))
    train, val = (part.batch(batch_size).prefetch(2) for part in (pairs.take(N_TRAIN), pairs.skip(N_TRAIN)))
    model = encoder_generator("paper", n_features=N_FEATURES, image_size=size)
    scores = [metrics.SSIM(), metrics.HistogramSimilarity()]
    model.compile(keras.optimizers.Adam(0.0625, 0.5), BatchScaledMSE(batch_size), metrics=scores, jit_compile=False)
    plain = encoder_generator("paper", n_features=N_FEATURES, image_size=size)
    plain.compile(keras.optimizers.Adam(0.0625, 0.5), BatchScaledMSE(batch_size), jit_compile=False)
    variants = {
        f"epoch, {N_TRAIN} images": lambda: plain.fit(train, epochs=1, shuffle=False, verbose=0),
        f"validation, {N_VAL} images": lambda: model.evaluate(val, verbose=0),
    }
    seconds = in_turn(variants, epochs)
    table(f"recipe paper, {size} pixels, batch {batch_size}", seconds, next(iter(variants)))


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Measurements of each metric.")
@click.option("--epochs", default=3, show_default=True, help="Measurements of each epoch.")
@click.option("--size", default=256, show_default=True, help="Height and width of the images in pixels.")
@click.option("--batch-size", default=64, show_default=True, help="Images per batch.")
def main(rounds: int, epochs: int, size: int, batch_size: int) -> None:
    """Measure the metrics and print medians and ratios."""
    bench_ssim(batch_size, size, rounds)
    bench_all(batch_size, size, rounds)
    bench_epoch(batch_size, size, epochs)


if __name__ == "__main__":
    main()
