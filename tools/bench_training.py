"""Training steps and inference of the recipes, in turn, beside the same network in PyTorch and the machine's limits.

    python tools/bench_training.py [--recipe paper ...] [--size 64 ...] [--policy float32 ...] [--batch 64] [--steps 20]
        [--rounds 3] [--jit] [--steps-per-execution 1] [--host-data] [--inference] [--flop] [--peers] [--records FOLDER]
        [--no-kept-memory]

The backend is that of KERAS_BACKEND; on JAX and PyTorch neither TensorFlow nor records are needed. A row is a recipe at
an image size under a dtype policy, with its own batch size, objectives and optimizer, on random pairs that stay in the
device's memory, or with `--host-data` are sent to it at every step. The rounds go through all rows in turn, and each is
one epoch of `--steps` steps; the table has the median and the fastest and slowest round. `--inference` measures batches
of images from features or audio instead. `--flop` adds the floating-point operations of a step's convolutions and
matrix products, and how many times as long its fastest round takes as products of large matrices of as many, and as
these convolutions and products themselves, each alone on random numbers. `--peers` adds the paper's network in plain
PyTorch (eager; its GPU if there is one), a matrix product of 4096 x 4096 and a copy of memory. `--records` adds epochs
of the paper's recipe on records, with what reads them, and of the same in PyTorch as a notebook does it: PNG files that
Pillow opens one by one. Memory is kept for the next arrays, as the command `keras-a2i` does, or with `--no-kept-memory`
returned to the system.
"""

import argparse
import atexit
import dataclasses
import os
import pathlib
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_a2i.memory import keep_freed_memory
from keras_a2i.models.exemplar_generator import adapt_exemplars, find_exemplars
from keras_a2i.objectives import ImageAutoencoder, TrainingModel
from keras_a2i.recipes import get_recipe

LABELS = tuple("abcdefghij")


@dataclasses.dataclass
class Row:
    """What is measured: a function that runs `n_images` images and waits for the result."""

    name: str
    n_images: int
    run: Callable[[], Any]
    n_steps: int
    flop: float = 0.0
    alone: "Row | None" = None
    first_seconds: float = 0.0
    seconds: list[float] = dataclasses.field(default_factory=list)

    def measure(self) -> None:
        """Runs once; the first time, what is compiled is kept apart."""
        start = time.perf_counter()
        self.run()
        taken = time.perf_counter() - start
        if self.first_seconds:
            self.seconds.append(taken)
        else:
            self.first_seconds = taken
        if self.alone is not None:
            self.alone.measure()

    @property
    def step_seconds(self) -> list[float]:
        """Seconds per step of each round."""
        return [seconds / self.n_steps for seconds in self.seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", nargs="+", default=["paper", "features", "scenes", "exemplars"])
    parser.add_argument("--size", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--policy", nargs="+", default=["float32"])
    parser.add_argument("--batch", type=int, default=0, help="pairs per step; the default is the recipe's")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--steps-per-execution", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jit", action=argparse.BooleanOptionalAction, default=None, help="the default is Keras' own")
    parser.add_argument("--host-data", action="store_true")
    parser.add_argument("--inference", action="store_true")
    parser.add_argument("--flop", action="store_true", help="on TensorFlow, of training steps")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--records", help="records with images of the paper's features, such as of videos")
    parser.add_argument("--kept-memory", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    if args.kept_memory:
        keep_freed_memory()
    rows = _peers(args) if args.peers else []
    product = _matrix_product() if args.flop else None
    if product is not None:
        rows.append(product)
    if args.records:
        rows += _epochs(args.records)
    for recipe in args.recipe:
        for size in args.size:
            for policy in args.policy:
                make = inference_row if args.inference else training_row
                rows.append(make(recipe, size, policy, args))
    for _ in range(args.rounds + 1):
        for row in rows:
            row.measure()
    print(f"\n{keras.backend.backend()} on {_device()}, median of {args.rounds} rounds (fastest, slowest)")
    print("| | ms per step | images/s | first round, s | GFLOP | x the product | x its operations alone |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        step = [1e3 * seconds for seconds in row.step_seconds]
        rate = row.n_images / statistics.median(row.seconds)
        speed = f"{rate:,.0f}" if row.n_images else ""
        count = f"{row.flop / 1e9:.1f}" if row.flop else ""
        times = f"{min(step) / _limit(row, product):.2f}" if row.flop and product is not None else ""
        alone = f"{min(row.step_seconds) / min(row.alone.step_seconds):.2f}" if row.alone is not None else ""
        print(
            f"| {row.name} | {statistics.median(step):.2f} ({min(step):.2f}, {max(step):.2f}) | {speed} "
            f"| {row.first_seconds:.1f} | {count} | {times} | {alone} |",
            flush=True,
        )


def training_row(name: str, size: int, policy: str, args: argparse.Namespace) -> Row:
    """Returns an epoch of a recipe's training."""
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    recipe, model = _network(name, size)
    batch = args.batch or recipe.batch_size
    autoencoder = None
    if recipe.autoencoder_epochs:
        autoencoder = ImageAutoencoder(model.generator, len(LABELS), batch_size=batch)
    training = TrainingModel(
        model, recipe.make_objectives(batch_size=batch, seed=0), total_steps=10**6, autoencoder=autoencoder
    )
    jit = "auto" if args.jit is None else args.jit
    training.compile(
        optimizer=recipe.make_optimizer(10**6), jit_compile=jit, steps_per_execution=args.steps_per_execution
    )
    images, labels = _images(batch, size)
    pair = (_inputs(model, batch), (images, labels) if recipe.needs("labels") else images)
    if not args.host_data:
        pair = keras.tree.map_structure(keras.ops.convert_to_tensor, pair)

    data = _resident(pair) if keras.backend.backend() == "tensorflow" and not args.host_data else None

    def epoch() -> None:
        # Keras would warn that it can't shuffle.
        training.fit(data or _repeat(pair), steps_per_epoch=args.steps, epochs=1, verbose=0, shuffle=False)

    keras.config.set_dtype_policy("float32")
    name = f"`{name}`, {size} px, {policy}, steps of {batch}, {_millions(model)}"
    row = Row(name, batch * args.steps, epoch, args.steps)
    if args.flop:
        arithmetic = _arithmetic(training, pair)
        row.flop, row.alone = arithmetic.flop, Row(f"{name}, alone", 0, arithmetic.run, 1)
    return row


def _arithmetic(training: TrainingModel, pair: Any) -> Any:
    """Returns the convolutions and matrix products of a step of training on TensorFlow."""
    import tensorflow as tf
    from arithmetic_limit import Arithmetic

    training.optimizer.build(training.trainable_variables)
    arithmetic = Arithmetic(tf.function(lambda pair: training.train_step(pair)).get_concrete_function(pair))
    if arithmetic.left_out:
        raise RuntimeError(f"The shapes of these operations aren't known: {', '.join(arithmetic.left_out)}")
    return arithmetic


def _matrix_product() -> Row:
    """Returns products of matrices on TensorFlow."""
    import tensorflow as tf

    n, repeats = 2048, 8
    left = tf.random.normal((n, n))

    def products() -> None:
        for _ in range(repeats):
            result = left @ left
        _wait(result)

    return Row(f"product of {n} x {n} matrices", 0, products, repeats, flop=2.0 * n**3)


def _limit(row: Row, product: Row) -> float:
    """Milliseconds in which matrix products do the operations of a step."""
    return 1e3 * row.flop / product.flop * min(product.seconds) / product.n_steps


def inference_row(name: str, size: int, policy: str, args: argparse.Namespace) -> Row:
    """Returns batches of inference, whose images stay on the device."""
    keras.config.set_dtype_policy(policy)
    _, model = _network(name, size)
    batch = args.batch or 256
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, _inputs(model, batch))
    call = _compiled(model)

    def batches() -> None:
        for _ in range(args.steps):
            images = call(inputs)
        _wait(images)

    keras.config.set_dtype_policy("float32")
    row = Row(f"`{name}`, {size} px, {policy}, batches of {batch}", batch * args.steps, batches, args.steps)
    return row


def _network(name: str, size: int) -> tuple[Any, Any]:
    recipe = get_recipe(name)
    labels = LABELS if recipe.needs("labels") or recipe.task == "words" else ()
    model = recipe.build(image_size=size, labels=labels)
    parts = find_exemplars(model)
    if parts is not None:
        n = parts[0].n_exemplars
        adapt_exemplars(model, _images(n, size)[0], np.arange(n) % len(LABELS) if labels else None)
    return recipe, model


def _inputs(model: Any, batch: int) -> Any:
    """Returns random audio or features, with a reference image for a model that needs one."""
    shape = model.inputs[0].shape
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (batch, *shape[1:])).astype(np.float32)
    return (audio, _images(batch, model.image.size)[0]) if model.has_reference else audio


def _images(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    coarse = rng.uniform(-1, 1, (n, 16, 16, 3)).astype(np.float32)
    return np.kron(coarse, np.ones((size // 16, size // 16, 1), np.float32)), np.arange(n, dtype=np.int32) % len(LABELS)


def _repeat(pair: Any) -> Any:
    while True:
        yield pair


def _resident(pair: Any) -> Any:
    """Returns a data set of one pair without end, which `fit` leaves at once, as it does `Records.dataset`."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensors(pair).repeat().with_options(options)


def _compiled(model: keras.Model) -> Callable[[Any], Any]:
    """Returns the model as its backend runs it best."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        trainable = [v.value for v in model.trainable_variables]
        rest = [v.value for v in model.non_trainable_variables]
        run = jax.jit(lambda a, b, x: model.stateless_call(a, b, x, training=False)[0])
        return lambda x: run(trainable, rest, x)
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda x: model(x, training=False))
    import torch

    return torch.inference_mode()(lambda x: model(x, training=False))


def _wait(tensor: Any) -> None:
    """Waits until the device has computed a tensor, of which a single number is fetched."""
    float(keras.ops.convert_to_numpy(tensor[(0,) * len(tensor.shape)]))


def _millions(model: keras.Model) -> str:
    return f"{model.count_params() / 1e6:.2f} M parameters"


def _device() -> str:
    """Returns the name of the accelerator, or the number of cores."""
    if keras.backend.backend() == "jax":
        import jax

        kind = jax.devices()[0].device_kind
        if kind != "cpu":
            return kind
    elif keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores ({platform.machine()})"


def _peers(args: argparse.Namespace) -> list[Row]:
    """Returns the paper's network in plain PyTorch, a matrix product and a copy of memory."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = [] if args.inference else [_torch_training(device, size, args.steps) for size in args.size]
    n = 4096 if device == "cpu" else 8192
    left = torch.randn(n, n, device=device)
    source = torch.zeros(2**28 if device == "cuda" else 2**26, device=device)

    def product(dtype: Any) -> Callable[[], Any]:
        matrix = left.to(dtype)
        return lambda: _torch_wait([matrix @ matrix for _ in range(4)][-1])

    for dtype in (torch.float32, torch.bfloat16):
        name = f"PyTorch, product of {n} x {n} matrices, {dtype}, {2 * n**3 / 1e12:.3f} TFLOP each"
        rows.append(Row(name, 0, product(dtype), 4))
    name = f"PyTorch, copy of {source.numel() * 4 / 2**30:.2f} GiB"
    rows.append(Row(name, 0, lambda: _torch_wait([source.clone() for _ in range(4)][-1]), 4))
    return rows


def _epochs(folder: str) -> list[Row]:
    """Returns epochs of the paper's recipe on records, and in plain PyTorch on the same images as PNG files."""
    import keras_a2i as a2i

    records = a2i.Records(folder)
    recipe = get_recipe("paper")
    model = recipe.build(records.features, image_size=records.image.size, channels=records.image.channels)
    training = TrainingModel(model, recipe.make_objectives(batch_size=recipe.batch_size, seed=0), total_steps=10**6)
    training.compile(optimizer=recipe.make_optimizer(10**6), jit_compile="auto")
    data = records.dataset("train", recipe.batch_size)
    n, size = records.counts["train"], records.image.size
    steps = -(-n // recipe.batch_size)
    name = f"an epoch of `paper` on {n} pairs, {size} px"
    ours = Row(name, n, lambda: training.fit(data, epochs=1, shuffle=False, verbose=0), steps)
    torch_row = Row(f"{name} in PyTorch, PNG files one by one", n, _torch_epoch(records, recipe, model), steps)
    return [torch_row, ours]


def _torch_epoch(records: Any, recipe: Any, model: Any) -> Callable[[], Any]:
    import torch
    from bench_inference import torch_network

    decoded = records.decoded("train")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench_training"))
    atexit.register(shutil.rmtree, folder)
    for i, image in enumerate(decoded.images):
        Image.fromarray(image.squeeze()).save(folder / f"{i}.png")

    class Pairs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(decoded)

        def __getitem__(self, i: int) -> tuple[Any, Any]:
            with Image.open(folder / f"{i}.png") as opened:
                pixels = np.asarray(opened.convert("RGB"), np.float32)
            return torch.tensor(decoded.features[i]), torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)

    network = torch_network(model).train()
    optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate, betas=(recipe.beta_1, 0.999))
    loader = torch.utils.data.DataLoader(Pairs(), recipe.batch_size, shuffle=True)

    def epoch() -> None:
        for x, y in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(network(x), y) * recipe.batch_size
            loss.backward()
            optimizer.step()
            loss.item()

    return epoch


def _torch_wait(tensor: Any) -> None:
    tensor.flatten()[0].item()


def _torch_training(device: str, size: int, steps: int) -> Row:
    """Returns an epoch of the paper's network as the paper trains it: Adam, mean squared error, eager."""
    import torch
    from bench_inference import torch_network

    recipe, model = _network("paper", size)
    network = torch_network(model).train().to(device)
    optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate, betas=(recipe.beta_1, 0.999))
    batch = recipe.batch_size
    x = torch.from_numpy(_inputs(model, batch)).to(device)
    y = torch.from_numpy(_images(batch, size)[0]).permute(0, 3, 1, 2).contiguous().to(device)

    def epoch() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(network(x), y) * batch
            loss.backward()
            optimizer.step()
        loss.item()

    return Row(f"PyTorch eager, the paper's network, {size} px, steps of {batch}", batch * steps, epoch, steps)


if __name__ == "__main__":
    main()
