"""Makes tests/golden/seed_network.npz: what the paper's network gives in PyTorch for weights that the test draws too.

python tools/make_golden.py      (needs torch)
"""

import pathlib
import sys

import numpy as np
import torch
from torch import nn

TESTS = pathlib.Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from seed_weights import draw_features, draw_weights, sample  # noqa: E402

SIZES = (32, 256)


class SeedNetwork(nn.Module):
    """The paper's encoder and generator, holding Keras weights."""

    def __init__(self, weights: list[list[np.ndarray]]):
        super().__init__()
        dense = [arrays for arrays in weights if arrays[0].ndim == 2]
        self.encoder = nn.Sequential()
        for arrays in dense:
            self.encoder.extend([_dense(*arrays), nn.LeakyReLU(0.2)])
        self.generator = nn.Sequential()
        for arrays in weights[len(dense) :]:
            if len(arrays) == 2:
                self.generator.append(_doubling(*arrays))
            else:
                self.generator.extend([_batch_norm(*arrays), nn.LeakyReLU(0.2)])
        self.generator.append(nn.Tanh())

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        latent = self.encoder(features)
        return latent, self.generator(latent[:, :, None, None])


def _dense(kernel: np.ndarray, bias: np.ndarray) -> nn.Module:
    return _fill(nn.Linear(*kernel.shape), weight=kernel.T, bias=bias)


def _doubling(kernel: np.ndarray, bias: np.ndarray) -> nn.Module:
    outputs, inputs = kernel.shape[2:]
    layer = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    return _fill(layer, weight=kernel.transpose(3, 2, 0, 1), bias=bias)


def _batch_norm(gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> nn.Module:
    return _fill(nn.BatchNorm2d(len(gamma)), weight=gamma, bias=beta, running_mean=mean, running_var=variance)


def _fill(layer: nn.Module, **arrays: np.ndarray) -> nn.Module:
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(layer, name).copy_(torch.from_numpy(np.ascontiguousarray(array)))
    return layer


def main() -> None:
    golden = {}
    for size in SIZES:
        rng = np.random.default_rng(size)
        network = SeedNetwork(draw_weights(rng, size))
        features = torch.from_numpy(draw_features(rng))
        for mode in ("infer", "train"):
            network.train(mode == "train")
            with torch.no_grad():
                latent, pictures = network(features)
            golden[f"{mode}_{size}"] = sample(pictures.permute(0, 2, 3, 1).numpy())
        golden[f"latent_{size}"] = latent.numpy()
    path = TESTS / "golden" / "seed_network.npz"
    np.savez_compressed(path, **golden)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
