"""Whether sources hold grey images."""

import io

import numpy as np
import pytest
from PIL import Image
from support.video_clips import at, numbered, tone, write_clip

from keras_a2i.config import ImageConfig
from keras_a2i.media.sound_file import save_wav
from keras_a2i.sources.grey_images import are_grey
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.sources.pair import Dropped, Pair, PairKey, Plan, Unit

GREY = np.repeat(np.random.default_rng(0).integers(0, 255, (16, 16, 1)).astype(np.uint8), 3, axis=2)
COLOURED = GREY.copy()
COLOURED[3, 4] = (200, 190, 200)


class Images:
    """A source of the given images, each in a unit of its own; None is an input without an image."""

    def __init__(self, *images):
        self.images, self.read_units = images, []

    def plan(self):
        return Plan(tuple(Unit(str(i), (PairKey(str(i), str(i)),)) for i in range(len(self.images))))

    def read(self, unit):
        self.read_units.append(unit.name)
        image = self.images[int(unit.name)]
        yield Dropped(unit.name, "damaged") if image is None else Pair(key=unit.keys[0], image=image)


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=80)
    return file.getvalue()


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([GREY, GREY], True),
        ([GREY, jpeg(GREY)], True),
        ([GREY, None], True),
        ([GREY, COLOURED], False),
        ([COLOURED], False),
        ([None], False),
        ([], False),
    ],
)
def test_images_are_grey_if_no_pixel_has_a_colour(images, expected):
    assert are_grey([Images(*images)]) is expected


def test_one_coloured_source_among_grey_ones_is_enough():
    assert not are_grey([Images(GREY, GREY), Images(COLOURED)])


def test_images_are_spread_over_the_source_and_reading_stops_at_a_colour():
    source = Images(*[GREY] * 9, COLOURED)
    assert not are_grey([source], n_images=4)
    assert source.read_units == ["0", "3", "6", "9"]
    source = Images(COLOURED, *[GREY] * 9)
    assert not are_grey([source]) and source.read_units == ["0"]


def black_then_coloured(path, seconds, black):
    """A video of two images a second whose first seconds are black."""
    return write_clip(path, at(2, seconds), tone(seconds), pictures=lambda n: numbered(100) * (n >= 2 * black))


@pytest.mark.parametrize("name", ["long.mp4", "long.ts"])
def test_video_that_begins_black_is_coloured(tmp_path, name):
    path = black_then_coloured(tmp_path / name, 12, 8)
    (source,) = open_sources([str(path)], image=ImageConfig(size=16))
    assert are_grey([source], n_images=1) and not are_grey([source], n_images=4)


def test_one_image_of_each_of_many_videos_lies_in_its_middle(tmp_path):
    for number in range(3):
        black_then_coloured(tmp_path / f"{number}.mp4", 5, 2)
    sources = open_sources([str(tmp_path)], image=ImageConfig(size=16))
    assert not are_grey(sources, n_images=3)


def test_rows_in_the_middle_of_a_unit_are_read(tmp_path):
    save_wav(tmp_path / "a.wav", np.zeros(16_000, np.float32), 16_000)
    for name, image in (("grey", GREY), ("coloured", COLOURED)):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    rows = [f"{number}.wav,{'coloured' if number == 5 else 'grey'}.png" for number in range(10)]
    for number in range(10):
        (tmp_path / f"{number}.wav").hardlink_to(tmp_path / "a.wav")
    (tmp_path / "pairs.csv").write_text("\n".join(["audio,image", *rows]))
    sources = open_sources([str(tmp_path)], image=ImageConfig(size=16))
    assert not are_grey(sources, n_images=1)
