"""Inference times of every export format and of the Keras model, beside PyTorch running the same network.

    python tools/bench_inference.py RUN [--threads 1 2] [--batches 1 64] [--rounds 5]

RUN is a run folder (its records are used for int8). Each row is the median of rounds that go through all rows in turn,
so that a busy moment of the machine affects them all; the spread is from the fastest to the slowest round. PyTorch
receives features, as the paper's network does: the rows of waveforms compute the features as well.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

FORMS = [("features", "none"), ("waveform", "none"), ("waveform", "float16"), ("waveform", "int8")]
_CALLS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--files", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        _measure(args.run, args.files, args.one, args.batches, args.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = pathlib.Path(folder)
        _export(args.run, files)
        for threads in args.threads:
            # One process per number of threads: neither TensorFlow nor PyTorch changes it once it runs.
            command = [sys.executable, __file__, str(args.run), "--one", str(threads), "--files", folder]
            command += ["--rounds", str(args.rounds), "--batches", *map(str, args.batches)]
            subprocess.run(command, check=True)


def _export(run: pathlib.Path, files: pathlib.Path) -> None:
    from keras_a2i import export

    for input_, quantize in FORMS:
        done = export(run, files / f"{input_}-{quantize}.tflite", input=input_, quantize=quantize)
        found = done.agreement
        print(
            f"{input_} {quantize}: {done.size / 1e6:.2f} MB, max {found.max:.2g}, mean {found.mean:.2g}, "
            f"SSIM {found.ssim:.4f} on {done.compared_on}"
        )


def _measure(run: pathlib.Path, files: pathlib.Path, threads: int, batches: list[int], rounds: int) -> None:
    import tensorflow as tf
    import torch

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    torch.set_num_threads(threads)
    from keras_a2i.exporters.tflite import TFLiteFormat
    from keras_a2i.models.frontend import with_frontend
    from keras_a2i.models.model_file import load_model

    model, metadata = load_model(run / "model.keras")
    network = torch_network(model)
    with_audio = with_frontend(model, metadata.features)
    runs = {"PyTorch eager, features": ("features", lambda x: network(torch.from_numpy(x)))}
    runs["Keras (tf.function), features"] = ("features", tf.function(lambda x: model(x, training=False)))
    runs["Keras (tf.function), waveform"] = ("waveform", tf.function(lambda x: with_audio(x, training=False)))
    for input_, quantize in FORMS:
        runs[f"TFLite {quantize}, {input_}"] = (
            input_,
            TFLiteFormat().load(files / f"{input_}-{quantize}.tflite", threads)[0],
        )
    rng = np.random.default_rng(0)
    for batch in batches:
        inputs = {
            "features": rng.normal(0, 15, (batch, metadata.features.n_features)).astype(np.float32),
            "waveform": rng.uniform(-0.3, 0.3, (batch, metadata.features.n_samples)).astype(np.float32),
        }
        times = _times(runs, inputs, max(2, _CALLS // batch), rounds)
        reference = np.median(times["PyTorch eager, features"])
        size = metadata.image.size
        print(
            f"\n{threads} thread(s), batch {batch}, {size} px: median ms per batch (fastest, slowest round), x PyTorch"
        )
        for name, values in times.items():
            low, middle, high = np.min(values) * 1e3, np.median(values) * 1e3, np.max(values) * 1e3
            print(f"| {name} | {middle:.2f} | {low:.2f} to {high:.2f} | {reference / np.median(values):.2f} |")


def _times(runs: dict, inputs: dict[str, np.ndarray], calls: int, rounds: int) -> dict[str, list[float]]:
    import torch

    times: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name, (input_, run) in runs.items():
                taken = []
                for _ in range(calls):
                    start = time.perf_counter()
                    run(inputs[input_])
                    taken.append(time.perf_counter() - start)
                if turn:
                    times[name].append(float(np.median(taken)))
    return times


def torch_network(model):
    """Returns the same network in PyTorch, with its weights; it knows the layers of the recipes only."""
    import keras
    import torch

    steps = []
    for layer in model.layers:
        kind = type(layer).__name__
        weights = [torch.from_numpy(w) for w in layer.get_weights()]
        if kind == "Dense":
            step = torch.nn.Linear(*layer.kernel.shape)
            step.weight.data, step.bias.data = weights[0].T.contiguous(), weights[1]
        elif kind == "Conv2DTranspose":
            stride = layer.strides[0]
            step = torch.nn.ConvTranspose2d(layer.kernel.shape[3], layer.filters, 2 * stride, stride, stride // 2)
            step.weight.data, step.bias.data = weights[0].permute(3, 2, 0, 1).contiguous(), weights[1]
        elif kind == "BatchNormalization":
            step = torch.nn.BatchNorm2d(len(weights[0]), eps=layer.epsilon)
            step.weight.data, step.bias.data, step.running_mean, step.running_var = weights
        elif kind == "LayerNormalization":
            step = torch.nn.LayerNorm(len(weights[0]), eps=layer.epsilon)
            step.weight.data, step.bias.data = weights
        elif kind == "LeakyReLU":
            step = torch.nn.LeakyReLU(layer.negative_slope)
        elif kind == "Reshape":
            height, width, channels = layer.output.shape[1:]
            step = _to_map(height, width, channels)
        elif kind == "Activation" and layer.activation is keras.activations.tanh:
            step = torch.nn.Tanh()
        elif kind in ("InputLayer", "Dropout", "GaussianNoise", "Normalization", "Activation", "Rescaling"):
            # Scaling a hundred features costs nothing beside the rest.
            continue
        else:
            raise SystemExit(f"No PyTorch form of the layer {layer.name} ({kind})")
        steps.append(step)
    return torch.nn.Sequential(*steps).eval()


def _to_map(height: int, width: int, channels: int):
    import torch

    class ToMap(torch.nn.Module):
        def forward(self, x):
            return x.reshape(-1, height, width, channels).permute(0, 3, 1, 2).contiguous()

    return ToMap()


if __name__ == "__main__":
    main()
