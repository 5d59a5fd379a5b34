"""A report that nobody measured, for tests of how reports are shown, saved and compared."""

import numpy as np
from PIL import Image

from keras_a2i.evaluation.report import Report
from keras_a2i.evaluation.report_data import (
    ContenderScores,
    Example,
    FactorRecovery,
    Gain,
    HeldOut,
    Interval,
    LabelAccuracy,
    Leak,
    MeasureResult,
    MetricInfo,
    Retrieval,
)

N_PAIRS = 120
LABELS = ("breaking", "calm", "spray", "barrel")


def image_of(rng, size=256):
    """A smooth random image, which compresses about as a photograph does."""
    coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC), dtype=np.int16)
    return np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def scores(rng, id, title, kind, explanation, ssim, mse):
    values = {
        "ssim": np.clip(rng.normal(ssim, 0.08, N_PAIRS), 0, 1).tolist(),
        "mse": np.abs(rng.normal(mse, 0.02, N_PAIRS)).tolist(),
        "sharpness": rng.normal(0.4 + ssim, 0.1, N_PAIRS).tolist(),
        "hss": rng.normal(0.9993, 1e-5, N_PAIRS).tolist(),
    }
    means = {metric: float(np.mean(row)) for metric, row in values.items()}
    return ContenderScores(id=id, title=title, kind=kind, explanation=explanation, means=means, values=values)


def gain(against, metric, mean, low, high, p_value, over="sources"):
    return Gain(
        against=against,
        metric=metric,
        mean=mean,
        intervals=[Interval(over=over, n=12, low=low, high=high, p_value=p_value)],
    )


def make_report(seed=0, **changes):
    """A report with every part in it."""
    rng = np.random.default_rng(seed)
    titles = ("real", "generated", "mean of the source")
    examples = [
        Example(
            id=f"surf_{10 * i + j:03d}@{4.2 * j:.2f}s",
            group=group,
            score=0.6 - 0.1 * i + 0.01 * j,
            images={title: image_of(rng) for title in titles},
        )
        for i, group in enumerate(("best", "median", "worst"))
        for j in range(4)
    ]
    swapped = ("real", "own audio", "audio of surf_031", "audio of surf_077")
    examples += [
        Example(id=f"surf_{i}", group="swapped", score=0.5, images={title: image_of(rng) for title in swapped})
        for i in range(3)
    ]
    ids = [f"surf@{i}" for i in range(N_PAIRS)]
    labels = [LABELS[i % 4] for i in range(N_PAIRS)]
    values = {
        "model": "runs/surf-default",
        "records": "records/surf",
        "split": "val",
        "n_pairs": N_PAIRS,
        "n_sources": 6,
        "level": "follows",
        "verdict": [
            "The generated images are closer to the real ones than any image made without audio (p < 0.001).",
            "With shuffled audio the gain is gone, so it comes from the audio.",
        ],
        "metrics": [
            MetricInfo(id="ssim", title="SSIM", convention="Gaussian window 11, sigma 1.5.", better="higher"),
            MetricInfo(id="mse", title="MSE", convention="Images in [-1, 1].", better="lower"),
            MetricInfo(id="sharpness", title="Sharpness", convention="Laplacian variance, relative.", better="one"),
            MetricInfo(id="hss", title="HSS (paper)", convention="256³ histogram.", better="higher", degenerate=True),
        ],
        "contenders": [
            scores(rng, "model", "model", "model", "runs/surf-default", 0.52, 0.06),
            scores(rng, "shuffled", "shuffled audio", "control", "The model with another pair's audio.", 0.41, 0.1),
            scores(rng, "silence", "silence", "control", "The model with silence.", 0.38, 0.11),
            scores(rng, "training-mean", "mean of all", "baseline", "Mean of the training images.", 0.4, 0.1),
            scores(rng, "source-mean", "mean of the source", "baseline", "Mean of the source's images.", 0.45, 0.09),
            scores(rng, "nearest-audio", "nearest audio", "audio-baseline", "Image with the nearest MFCC.", 0.44, 0.1),
            scores(rng, "nearest-image", "nearest image", "ceiling", "The nearest training image.", 0.71, 0.03),
        ],
        "gains": [
            gain("source-mean", "ssim", 0.0712, 0.052, 0.0913, 0.0002),
            gain("shuffled", "ssim", 0.1103, 0.088, 0.1312, 0.0002),
            gain("source-mean", "mse", 0.0021, -0.0011, 0.0048, 0.21),
            gain("shuffled", "mse", -0.0121, -0.0211, -0.0048, 0.0131, over="blocks"),
        ],
        "leak": Leak(within=2.0, count=0, total=N_PAIRS),
        "retrieval": Retrieval(r1=0.1417, r5=0.3583, chance_r1=1 / 120, chance_r5=5 / 120),
        "labels": LabelAccuracy(
            generated=0.7412,
            shuffled=0.2105,
            real=0.9083,
            most_frequent=0.25,
            by_label={"breaking": 0.91, "calm": 0.83, "spray": 0.55, "barrel": 0.42},
            named=dict(zip(ids, ["calm" if i < 40 else name for i, name in enumerate(labels)], strict=True)),
        ),
        "factors": [
            FactorRecovery(name="wave height", measure="R2", generated=0.63, real=0.94),
            FactorRecovery(name="phase", measure="R2", generated=-0.08, real=0.9),
            FactorRecovery(name="day or night", measure="accuracy", generated=0.97, real=1.0),
        ],
        "measures": [
            MeasureResult(
                id="swapped",
                title="accuracy for swapped audio",
                better="higher",
                value=0.874,
                reference=0.5,
                explanation="nearer to the audio it received",
            )
        ],
        "skipped": {"variety": "the model generates one image of an audio"},
        "paper": {"SSIM": (0.5513, 0.4987), "HSS": (0.8, 0.9993)},
        "notes": ["The images are a made-up stand-in, not the paper's data."],
        "held_out": HeldOut(
            ids=ids,
            labels=labels,
            sources=[f"surf-{i // 20}" for i in range(N_PAIRS)],
            times=[float(i % 20) for i in range(N_PAIRS)],
            ranks=[1.0 + i % 7 for i in range(N_PAIRS)],
        ),
        "examples": examples,
        "command": "keras-a2i evaluate runs/surf-default records/surf --split val",
        "configuration": "0123456789ab",
        "environment": {"machine": "Linux x86_64", "threads": "2"},
        "versions": {"keras_a2i": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.0"},
    }
    return Report(**values | changes)
