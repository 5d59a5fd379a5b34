"""Fixtures for the tests of sources."""

from fractions import Fraction

import pytest
from support.clip_tables import FPS, IDS, SECONDS, TIMES
from support.video_clips import tone, write_clip


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """Fourteen seconds of ten frames a second with a keyframe every two seconds; the colour tells the frame."""
    path = tmp_path_factory.mktemp("video") / "video.mkv"
    sound = tone(SECONDS)
    return write_clip(path, TIMES, sound, sound_codec="flac", time_base=Fraction(1, FPS), tags={"gop_size": 20})


@pytest.fixture
def home(tmp_path, video):
    """A folder of whole videos; a csv belongs beside `videos`."""
    (tmp_path / "set" / "videos").mkdir(parents=True)
    for id in IDS:
        (tmp_path / "set" / "videos" / f"{id}.mkv").symlink_to(video)
    return tmp_path / "set"
