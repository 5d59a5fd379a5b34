"""What the metrics cost: SSIM beside `tf.image.ssim`, every metric, and held-out scores as a share of an epoch.

    python tools/bench_metrics.py [--rounds 7] [--epochs 3] [--size 256] [--batch-size 64]

All of one table are measured in turn, round by round, in one process, so that what else the machine does hits all
alike. Metrics are compiled by XLA, as while training; `tf.image.ssim` runs with and without.
"""

import statistics
import time
from collections.abc import Callable

import click
import keras
import numpy as np
import tensorflow as tf

from keras_a2i import metrics
from keras_a2i.objectives import TrainingModel
from keras_a2i.recipes import get_recipe
from keras_a2i.training.callbacks import HeldOutScores
from keras_a2i.training.trainer import MIN_SCORED

TRAIN, VAL, N_FEATURES = 360, 120, 104


def random_images(n: int, size: int, seed: int) -> np.ndarray:
    """Smooth pictures with noise, float32 (n, size, size, 3) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-1, 1, (n, 8, 8, 3)).astype(np.float32)
    smooth = tf.image.resize(coarse, (size, size), method="bicubic").numpy()
    return np.clip(smooth + 0.1 * rng.standard_normal(smooth.shape, dtype=np.float32), -1, 1)


def in_turn(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each function in each round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def table(title: str, seconds: dict[str, list[float]], base: str) -> None:
    """Prints medians, ranges and how many times the base's median each takes."""
    of_base = statistics.median(seconds[base])
    click.echo(f"\n{title:36}{'median s':>10}{'from':>9}{'to':>9}{'ratio':>8}{'1/ratio':>9}")
    for name, values in seconds.items():
        median = statistics.median(values)
        click.echo(
            f"{name:36}{median:10.4f}{min(values):9.4f}{max(values):9.4f}{median / of_base:8.3f}{of_base / median:9.2f}"
        )


def compiled(function: Callable, jit: bool = True) -> Callable:
    return tf.function(function, jit_compile=jit)


def bench_ssim(batch_size: int, size: int, rounds: int) -> None:
    """Our SSIM beside TensorFlow's, on the same images."""
    real, generated = (tf.constant(random_images(batch_size, size, seed)) for seed in (0, 1))

    def tensorflow(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.image.ssim(x + 1, y + 1, max_val=2.0)

    metric = metrics.SSIM()

    def mean_by_the_class(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        metric.reset_state()
        metric.update_state(x, y)
        return metric.result()

    variants = {
        "tf.image.ssim": compiled(tensorflow, jit=False),
        "tf.image.ssim, XLA": compiled(tensorflow),
        "ssim, XLA": compiled(metrics.ssim),
        "SSIM, XLA": compiled(mean_by_the_class),
    }
    values = {name: function(real, generated).numpy() for name, function in variants.items()}
    seconds = in_turn({name: lambda f=f: f(real, generated).numpy() for name, f in variants.items()}, rounds)
    table(f"SSIM of {batch_size} x {size} x {size} x 3", seconds, "tf.image.ssim")
    expected = values["tf.image.ssim"]
    for name, value in values.items():
        difference = np.abs(value - (expected if value.ndim else expected.mean())).max()
        click.echo(f"  largest difference of {'an image' if value.ndim else 'the mean'}, {name}: {difference:.1e}")


def bench_all(batch_size: int, size: int, rounds: int) -> None:
    """Every metric and convention."""
    real, generated = (tf.constant(random_images(batch_size, size, seed)) for seed in (0, 1))
    functions = {f"ssim {c}": lambda x, y, c=c: metrics.ssim(x, y, c) for c in ("gaussian", "uniform", "paper")}
    for convention in ("channel", "joint", "paper"):
        name = f"histogram_similarity {convention}"
        functions[name] = lambda x, y, c=convention: metrics.histogram_similarity(x, y, convention=c)
    for name in ("psnr", "sharpness", "spectral_texture", "low_luminance_error", "scaled_mse"):
        functions[name] = getattr(metrics, name)
    variants = {name: compiled(function) for name, function in functions.items()}
    seconds = in_turn({name: lambda f=f: f(real, generated).numpy() for name, f in variants.items()}, rounds)
    table(f"metrics of {batch_size} x {size} x {size} x 3", seconds, "ssim gaussian")


def bench_epoch(batch_size: int, size: int, epochs: int) -> None:
    """An epoch of recipe "paper" with and without the scores of held-out images."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((TRAIN + VAL, N_FEATURES)).astype(np.float32)
    images = random_images(TRAIN + VAL, size, 0)
    pairs = tf.data.Dataset.from_tensor_slices((features, images))
    train = pairs.take(TRAIN).batch(batch_size).prefetch(2)
    scored = max(MIN_SCORED, TRAIN // 16)
    held_out = features[TRAIN : TRAIN + scored], images[TRAIN : TRAIN + scored]
    recipe = get_recipe("paper")
    network = recipe.build(n_features=N_FEATURES, image_size=size)
    model = TrainingModel(network, recipe.make_objectives(batch_size=batch_size))
    model.compile(recipe.make_optimizer(1_000), jit_compile=False)
    x, y = next(iter(train))

    def epoch(*callbacks: keras.callbacks.Callback) -> None:
        model.fit(train, epochs=1, shuffle=False, verbose=0, callbacks=list(callbacks))

    scores = HeldOutScores(network.predict_on_batch, *held_out, held_out[1])
    variants = {
        f"epoch, {TRAIN} images": epoch,
        f"epoch, {scored} held-out images scored": lambda: epoch(scores),
        "one training step": lambda: model.train_on_batch(x, y),
    }
    seconds = in_turn(variants, epochs)
    table(f"recipe paper, {size} pixels, batch {batch_size}", seconds, next(iter(variants)))


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Measurements of each metric.")
@click.option("--epochs", default=3, show_default=True, help="Measurements of each epoch.")
@click.option("--size", default=256, show_default=True, help="Pixels per side.")
@click.option("--batch-size", default=64, show_default=True)
def main(rounds: int, epochs: int, size: int, batch_size: int) -> None:
    """Measure and print medians and ratios."""
    bench_ssim(batch_size, size, rounds)
    bench_all(batch_size, size, rounds)
    bench_epoch(batch_size, size, epochs)


if __name__ == "__main__":
    main()
