"""The frames of a video as a player shows them: the one on the screen at each of many moments (PyAV)."""

import itertools
import pathlib
from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from keras_a2i.errors import SourceError
from keras_a2i.media.video_file import VideoFile, import_av, open_video
from keras_a2i.media.video_frames import display_matrix, settle_colour, turn


def has_frames(path: pathlib.Path) -> bool:
    """Returns whether a file that FFmpeg opens has a video track that can be decoded; a cover isn't one.

    Raises:
        SourceError: if the file can't be opened, or has no audio track.
        MissingPackageError: if PyAV isn't installed.
    """
    with open_video(path, audio_only=True) as file:
        return file.video is not None


def shown_frames(path: pathlib.Path, times: Iterable[Fraction], height: int) -> Generator[np.ndarray, None, None]:
    """Yields the frame that a player shows at each time, in constant memory.

    Before the first frame it is the first one, after the last frame the last one. Time 0 is the start of the file's
    earliest track, as for its audio.

    Args:
        path: a video with a video track and an audio track.
        times: seconds, ascending.
        height: pixels that a frame is scaled to (Lanczos), in the proportions of its display, before it is turned.

    Yields:
        uint8 (height, width, 3), upright.

    Raises:
        SourceError: if the file can't be opened, lacks a track, or no frame can be decoded.
        MissingPackageError: if PyAV isn't installed.
    """
    with open_video(path) as file:
        frames = _frames(file)
        shown = next(frames, None)
        if shown is None:
            raise SourceError(f"{path.name} has no frame that can be decoded")
        following, image, of = next(frames, None), None, None
        for time in times:
            while following is not None and _time(following, file) <= time:
                shown, following = following, next(frames, None)
            if image is None or of is not shown:
                image, of = _to_array(shown, height, file.video.sample_aspect_ratio), shown
            yield image


def _time(frame: Any, file: VideoFile) -> Fraction:
    return frame.pts * file.video.time_base - file.origin


def _frames(file: VideoFile) -> Iterator[Any]:
    """Yields the decoded frames in the order of their display; damaged ones and those without a time are skipped."""
    av, last = import_av(), None
    for packet in itertools.chain(file.packets(file.video, troubles=[]), [None]):
        try:
            frames = file.video.decode(packet)
        except av.FFmpegError:
            continue
        for frame in frames:
            frame.pts = frame.dts if frame.pts is None else frame.pts
            if frame.pts is not None and not frame.is_corrupt and (last is None or frame.pts > last):
                last = frame.pts
                yield frame


def _to_array(frame: Any, height: int, pixel_aspect: Fraction | None) -> np.ndarray:
    aspect = float(pixel_aspect) if pixel_aspect and 0.05 < pixel_aspect < 20 else 1.0
    width = max(1, round(frame.width * aspect * height / frame.height))
    settle_colour(frame)
    rgb = frame.reformat(width, height, "rgb24", interpolation="LANCZOS", dst_color_range="JPEG")
    return np.ascontiguousarray(turn(rgb.to_ndarray(), display_matrix(frame)))
