"""Csv files of clips over a folder of fourteen-second videos, and what their pairs must be."""

from fractions import Fraction

import numpy as np
from support.video_clips import IMAGE, RATE, at, nearest, number_of, tone

from keras_a2i.config import FeatureConfig
from keras_a2i.sources.open_sources import open_sources

FPS, SECONDS = 10, 14
TIMES = at(FPS, SECONDS)
IDS = [f"video-{i:04d}_" for i in range(10)]
NONE = [f"absent{i:05d}" for i in range(10)]
FEATURES = FeatureConfig()

AUDIOSET = f"""# Segments csv created Sun Mar  5 10:54:25 2017
# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=3
# YTID, start_seconds, end_seconds, positive_labels
{IDS[0]}, 2.000, 12.000, "/m/09x0r,/t/dd00088"
{IDS[1]}, 0.500, 3.000, "/m/0cmf2"
"""


def opened(home, text, name="clips.csv", **options):
    (home / name).write_text(text)
    image = options.pop("image", IMAGE)
    (source,) = open_sources([home / name], features=FEATURES, image=image, **options)
    return source


def results_of(source):
    return [result for unit in source.plan().units for result in source.read(unit)]


def assert_cut(pair, start, k):
    """The pair is second k of the cut that begins at `start`."""
    middle = Fraction(str(start)) + k + Fraction(1, 2)
    assert number_of(pair.image) == nearest(TIMES, middle)
    first = round(Fraction(str(start)) * RATE) + k * RATE
    np.testing.assert_allclose(pair.waveform, tone(SECONDS)[first : first + RATE, 0], atol=1e-3)
