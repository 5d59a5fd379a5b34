"""Precision, recall and the Fréchet distance against references, and every constructed fraud against all figures."""

import dataclasses

import numpy as np
import pytest
import scipy.linalg
from sklearn.metrics import pairwise_distances
from support.evaluation_pairs import evidence_of, make_pairs, measured, real_of
from support.image_frauds import blurred, checkered, repeated, speckled

import keras_a2i.evaluation.evaluate  # noqa: F401  It registers the measures.
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.datasets.surf import SurfSource
from keras_a2i.evaluation.frechet import frechet_distance, principal_components
from keras_a2i.evaluation.measures import MEASURES
from keras_a2i.evaluation.realism_measures import precision_of, train_image_encoder
from keras_a2i.media.audio_folder import FolderClips
from keras_a2i.metrics import sharpness


def normal_with(mean, covariance, n=50, seed=0):
    """Vectors whose sample mean and sample covariance are exactly these."""
    noise = np.random.default_rng(seed).standard_normal((n, len(mean)))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_equals_its_closed_form():
    first = normal_with([0.0, 0.0, 0.0], np.diag([1.0, 4.0, 9.0]))
    second = normal_with([1.0, 0.0, 2.0], np.diag([4.0, 4.0, 1.0]), n=80, seed=1)
    # |m|^2 + the sum of (a - b)^2 over the standard deviations a and b.
    assert frechet_distance(first, second) == pytest.approx(5 + 1 + 0 + 4)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, first + 3) == pytest.approx(27)
    assert frechet_distance(first[:, :1], second[:, :1]) == pytest.approx(1 + 1)


@pytest.mark.parametrize("n", [200, 5])
def test_frechet_distance_equals_scipy_s_matrix_root(n):
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal((n, 8)) @ rng.standard_normal((8, 8)), rng.standard_normal((200, 8)) + 0.5
    covariances = [np.cov(vectors, rowvar=False) for vectors in (first, second)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.square(first.mean(axis=0) - second.mean(axis=0)).sum() + np.trace(sum(covariances) - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


def test_principal_components_are_those_of_the_singular_values():
    vectors = np.random.default_rng(3).standard_normal((30, 6)) * [1, 5, 2, 4, 3, 0.5]
    mean, axes = principal_components(vectors, 3)
    _, _, expected = np.linalg.svd(vectors - vectors.mean(axis=0))
    np.testing.assert_allclose(np.abs(axes.T), np.abs(expected[:3]), atol=1e-9)
    np.testing.assert_allclose(mean, vectors.mean(axis=0))
    assert principal_components(vectors, 10)[1].shape == (6, 6)


def test_precision_equals_scikit_learn_s_distances():
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(50, 6)), 1.3 * rng.normal(size=(30, 6))
    radii = np.sort(pairwise_distances(real), axis=1)[:, 5]
    expected = (pairwise_distances(other, real) <= radii).any(axis=1).mean()
    assert 0 < precision_of(real, other) == expected < 1
    # Swapped, it is recall: images of one mode cover few of two.
    modes = np.concatenate([real, real + 100])
    assert precision_of(modes, real) == 1 and precision_of(real, modes) == 0.5


@pytest.fixture(scope="module")
def shores():
    """Training, held-out and further pairs of rendered images, 40 of each, and an encoder that isn't trained."""
    source = SurfSource(120, features=FeatureConfig(), image=ImageConfig(size=32))
    images = np.stack([pair.image for unit in source.plan().units for pair in source.read(unit)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_a2i.evaluation.realism_measures.train_network", lambda *_, **__: None)
        encoder = train_image_encoder(np.zeros((1, 32, 32, 3)), seed=0)
    return [*(dataclasses.replace(make_pairs(40), images=images[i::3]) for i in range(3)), encoder]


@pytest.mark.training
def test_every_fraud_is_exposed_by_a_figure_and_real_images_by_none(shores):
    train, held_out, others, encoder = shores
    real = real_of(others)

    def exposed_by(images):
        """Figures that are worse than those of real images by more than half."""
        evidence = evidence_of(images, held_out, train, cache={"_image_encoder": encoder})
        found = {name: MEASURES[name].function(evidence) for name in ("density", "coverage", "precision", "recall")}
        names = {name for name, value in found.items() if value.value < 0.5 * value.reference}
        ratios = {name: MEASURES[name].function(evidence) for name in ("frechet", "speckle", "memorisation")}
        limits = {"frechet": 3, "speckle": 2}
        names |= {name for name, limit in limits.items() if ratios[name].value > limit * ratios[name].reference}
        names |= {"memorisation"} if ratios["memorisation"].value < 0.1 else set()
        level = np.mean(sharpness(real, images))
        return names | ({"sharpness"} if not 0.5 < level < 2 else set())

    assert exposed_by(real) == set()
    assert exposed_by(blurred(real)) == {"sharpness"}
    assert exposed_by(speckled(real)) >= {"speckle"}
    assert exposed_by(checkered(real)) >= {"speckle"}
    assert exposed_by(repeated(real)) >= {"coverage", "recall", "frechet"}
    assert exposed_by(real_of(train)) == {"memorisation"}
    noise = np.random.default_rng(0).uniform(-1, 1, real.shape).astype(np.float32)
    assert exposed_by(noise) >= {"density", "coverage", "precision", "frechet", "speckle"}


def test_frechet_measure_is_relative_and_states_the_number_of_images(shores):
    train, held_out, others, encoder = shores

    def frechet(images, pairs=held_out):
        return measured("frechet", images, pairs, train=train, cache={"_image_encoder": encoder})

    found = frechet(real_of(others))
    assert found.value < 0.15 and found.reference < 0.15
    assert "40 generated and 40 real images; reference: 40 training images" in found.explanation
    assert frechet(real_of(held_out)).value == pytest.approx(0, abs=1e-6)
    same = dataclasses.replace(held_out, images=held_out.images[:1].repeat(40, axis=0))
    assert frechet(real_of(same), same) == "all real held-out images have the same features"
    assert "40 training" in measured("frechet", real_of(others), held_out)


def test_realism_on_foreign_audio_is_beside_that_on_own_audio(shores):
    train, held_out, others, encoder = shores
    noise = np.random.default_rng(0).uniform(-1, 1, (40, 32, 32, 3)).astype(np.float32)
    # The model generates noise for every second foreign clip.
    images = np.where(np.arange(40)[:, None, None, None] % 2 == 1, noise, real_of(others))
    clips = FolderClips("other", np.arange(40.0, dtype=np.float32)[:, None], 40, [])
    options = {
        "to_inputs": lambda x: x,
        "predict_fn": lambda x: images[x[:, 0].astype(int)],
        "foreign": clips,
        "cache": {"_image_encoder": encoder},
    }
    precision = measured("precision-foreign", real_of(others), held_out, train=train, **options)
    assert precision.value == pytest.approx(precision.reference / 2, abs=0.05) and precision.reference > 0.9
    ratio = precision.value / precision.reference
    assert f"{ratio:.2f} of the reference" in precision.explanation and "40 clips of other" in precision.explanation
    density = measured("density-foreign", real_of(others), held_out, train=train, **options)
    assert density.value == pytest.approx(density.reference / 2, abs=0.1)
    assert measured("precision-foreign", real_of(others), held_out, train=train) == "the records hold no audio"
