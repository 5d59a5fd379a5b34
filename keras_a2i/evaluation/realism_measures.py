"""Measures of the images by themselves: copies of training images, realism and diversity."""

import keras
import numpy as np

from keras_a2i.evaluation.frechet import frechet_distance, principal_components
from keras_a2i.evaluation.measures import Evidence, Value, measure, shared
from keras_a2i.evaluation.pairs import MEMORY_BUDGET, chunks_of, thumbnails_of
from keras_a2i.evaluation.train_network import train_network
from keras_a2i.models.dtype_policy import dtype_policy
from keras_a2i.models.image_encoder import image_encoder
from keras_a2i.models.prediction import predict_eagerly
from keras_a2i.spread import spread_rows

N_NEIGHBOURS = 5
MIN_TRAIN, MIN_HELD_OUT = 40, 20
_MAX_ROWS = 1000
N_FEATURES = 64
FRECHET_COMPONENTS = 16
"""Numbers to which features are reduced: a covariance of all 64 takes more images than most splits hold."""
FEATURE_STEPS = 400
_REFERENCE = "reference: training images"
TOO_FEW = f"it needs at least {MIN_TRAIN} training and {MIN_HELD_OUT} held-out pairs"


@measure("memorisation", "memorisation ratio", better="one")
def memorisation(evidence: Evidence) -> Value | str:
    """Median distance of generated to the nearest training images, relative to that among training images.

    Distances are root mean squares over thumbnails of 32 pixels. Near 0 the model copies training images. Of very many
    images a part is used, spread evenly.
    """
    if len(evidence.train) < 3:
        return "it needs at least three training pairs"
    train = train_thumbnails(evidence)
    flat = train.reshape(len(train), -1)
    own = spread_rows(len(flat), _MAX_ROWS)
    between = np.median(_nearest_distances(flat[own], flat, leave_out=own))
    if between == 0:
        return "most training images have an identical copy in the training set"
    rows = spread_rows(len(evidence.held_out), _MAX_ROWS)
    generated, real = (
        np.median(_nearest_distances(images[rows].reshape(len(rows), -1), flat))
        for images in (evidence.generated_thumbnails, evidence.real_thumbnails)
    )
    words = (
        f"median distance to the nearest training image {generated:.3f}, among training images {between:.3f}; "
        "reference: real images"
    )
    return Value(generated / between, real / between, words)


@measure("density", "density")
def density(evidence: Evidence) -> Value | str:
    """How many real held-out images have a generated one as near as their own neighbours, relative to 5 each.

    Features of a small image encoder that is trained on the training images; beside it, training images in place of
    generated ones.

    Reference:
        Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020.
    """
    if too_few(evidence):
        return TOO_FEW
    real, *others = image_features(evidence)
    generated, train = (density_of(real, other) for other in others)
    return Value(generated, train, f"realism, features of an image encoder, k = {N_NEIGHBOURS}; {_REFERENCE}")


@measure("coverage", "coverage")
def coverage(evidence: Evidence) -> Value | str:
    """Share of real held-out images with a generated one as near as their own neighbours; as `density`."""
    if too_few(evidence):
        return TOO_FEW
    real, *others = image_features(evidence)
    generated, train = (neighbourhoods(real, other).any(axis=1).mean() for other in others)
    return Value(generated, train, f"diversity, features of an image encoder, k = {N_NEIGHBOURS}; {_REFERENCE}")


@measure("precision", "precision")
def precision(evidence: Evidence) -> Value | str:
    """Share of generated images within the distance of a real image's 5th neighbour; features as of `density`.

    Beside it training images in place of generated ones.

    Reference:
        Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", arXiv:1904.06991.
    """
    if too_few(evidence):
        return TOO_FEW
    real, *others = image_features(evidence)
    generated, train = (precision_of(real, other) for other in others)
    return Value(generated, train, f"realism: share among real images, k = {N_NEIGHBOURS}; {_REFERENCE}")


@measure("recall", "recall")
def recall(evidence: Evidence) -> Value | str:
    """Share of real held-out images within the distance of a generated image's 5th neighbour; as `precision`."""
    if too_few(evidence):
        return TOO_FEW
    real, *others = image_features(evidence)
    generated, train = (precision_of(other, real) for other in others)
    words = f"diversity: share of real images among generated ones, k = {N_NEIGHBOURS}; {_REFERENCE}"
    return Value(generated, train, words)


@measure("frechet", "Fréchet distance", better="lower")
def frechet(evidence: Evidence) -> Value | str:
    """Fréchet distance of generated and real held-out images, relative to the variance of the real ones.

    Features as of `density`, reduced to their 16 principal components. Beside it the distance of equally many training
    images, which isn't 0: few images bias the distance upwards.

    Reference:
        See `frechet_distance`.
    """
    if too_few(evidence):
        return TOO_FEW
    real, generated, train = image_features(evidence)
    mean, axes = principal_components(train, FRECHET_COMPONENTS)
    real, generated, train = ((features - mean) @ axes for features in (real, generated, train))
    scale = real.var(axis=0, ddof=1).sum()
    if scale <= 1e-9 * train.var(axis=0).sum():
        return "all real held-out images have the same features"
    words = (
        f"relative to the variance of real images, {axes.shape[1]} components of the features, "
        f"{len(generated):,} generated and {len(real):,} real images; reference: {len(train):,} training images"
    )
    return Value(frechet_distance(real, generated) / scale, frechet_distance(real, train) / scale, words)


def density_of(real: np.ndarray, other: np.ndarray) -> float:
    """The density of images with features `other` (m, d) among real ones with features `real` (n, d)."""
    near = neighbourhoods(real, other)
    return float(near.sum() / (N_NEIGHBOURS * near.shape[1]))


def precision_of(real: np.ndarray, other: np.ndarray) -> float:
    """The share of images with features `other` (m, d) in the neighbourhood of an image of `real` (n, d)."""
    return float(neighbourhoods(real, other).any(axis=0).mean())


def neighbourhoods(real: np.ndarray, other: np.ndarray, k: int = N_NEIGHBOURS) -> np.ndarray:
    """Whether `other` images lie within the distance of a real image's k-th nearest real neighbour.

    Args:
        real: features (n, d).
        other: features (m, d).
        k: number of neighbours, below n.

    Returns:
        bool (n, m).
    """
    among = _distances(real, real)
    np.fill_diagonal(among, np.inf)
    radii = np.partition(among, k - 1, axis=1)[:, k - 1]
    return _distances(real, other) <= radii[:, None]


def too_few(evidence: Evidence) -> bool:
    return len(evidence.train) < MIN_TRAIN or len(evidence.held_out) < MIN_HELD_OUT


@shared
def train_thumbnails(evidence: Evidence) -> np.ndarray:
    """Thumbnails of the training images, or of as many as fit the memory budget, float32 (n, size, size, channels)."""
    images = evidence.train.images
    each = 4 * int(np.prod(evidence.real_thumbnails.shape[1:]))
    return thumbnails_of(images, rows=spread_rows(len(images), MEMORY_BUDGET // each))


@shared
def _image_encoder(evidence: Evidence) -> keras.Model:
    return train_image_encoder(train_thumbnails(evidence), evidence.seed)


@shared
def image_features(evidence: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, float64 (n, 64) each, of real held-out, of generated and, for comparison, of training images."""
    train = train_thumbnails(evidence)
    rows = spread_rows(len(evidence.held_out), _MAX_ROWS)
    return (
        features_of(evidence, evidence.real_thumbnails[rows]),
        features_of(evidence, evidence.generated_thumbnails[rows]),
        features_of(evidence, train[spread_rows(len(train), len(rows))]),
    )


def features_of(evidence: Evidence, thumbnails: np.ndarray) -> np.ndarray:
    """Features, float64 (n, 64), of thumbnails (n, size, size, channels) by the encoder of training images."""
    images = thumbnails.astype(np.float32, copy=False)
    return predict_eagerly(_image_encoder(evidence), images).astype(np.float64)


def train_image_encoder(images: np.ndarray, seed: int) -> keras.Model:
    """Trains the library's image encoder as half of an autoencoder.

    Args:
        images: float32 (n, size, size, channels) in [-1, 1], size 16 or 32.
        seed: of the initial weights and the order.

    Returns:
        A model from images to features (batch, 64).
    """
    keras.utils.set_random_seed(seed)
    layers, (size, channels) = keras.layers, images.shape[2:]
    with dtype_policy("float32"):
        encoder = image_encoder(size, channels, N_FEATURES)
    decoder = [layers.Dense(4 * 4 * 64, activation="relu", dtype="float32")]
    decoder.append(layers.Reshape((4, 4, 64), dtype="float32"))
    layout = {"strides": 2, "padding": "same", "data_format": "channels_last", "dtype": "float32"}
    for filters in (32, 16)[: size // 16]:
        decoder.append(layers.Conv2DTranspose(filters, 4, activation="relu", **layout))
    decoder.append(layers.Conv2DTranspose(channels, 4, **layout))
    autoencoder = keras.Sequential([encoder, *decoder])
    train_network(autoencoder, "mse", images, images, FEATURE_STEPS)
    return encoder


def _nearest_distances(images: np.ndarray, known: np.ndarray, leave_out: np.ndarray | None = None) -> np.ndarray:
    """The root mean square difference of each image (n, d) to its nearest one of `known`, but for row `leave_out`."""
    found, squares = [], np.square(known).sum(axis=1)
    for rows in chunks_of(len(images)):
        distances = squares - 2 * images[rows] @ known.T
        if leave_out is not None:
            distances[np.arange(len(rows)), leave_out[rows]] = np.inf
        # Exact for the nearest one: squares of nearly equal images cancel.
        found.append(np.square(images[rows] - known[distances.argmin(axis=1)]).mean(axis=1))
    return np.sqrt(np.concatenate(found))


def _distances(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Euclidean distances (n, m)."""
    squares = np.square(rows).sum(axis=1)[:, None] + np.square(columns).sum(axis=1) - 2 * rows @ columns.T
    return np.sqrt(np.maximum(squares, 0))
