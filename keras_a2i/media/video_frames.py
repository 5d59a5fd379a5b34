"""The frames of a video: choosing the one at the middle of every clip, and converting it to a square image."""

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from keras_a2i.config import ImageConfig

# Values of FFmpeg's AVColorSpace that libswscale has matrices for; it refuses frames with others.
_UNKNOWN, _RGB, _MATRICES = 2, 0, {1, 4, 5, 6, 7, 9}


class FramePicker:
    """Chooses, from frames in the order of presentation, the one nearest the middle of every clip.

    Of two frames at the same distance the earlier one is chosen. Where no frame is near, it is the one that is being
    shown then: the last one before, unless frames after it were lost. Times are exact, in whole parts of a tick, so
    that rounding never decides between two frames.

    Args:
        n_clips: number of clips.
        origin: tick of the stream's clock at which time 0 lies.
        step: ticks per clip.
        tolerance: largest distance of a frame from the middle, in ticks.
        shaper: converts a chosen frame to an image.

    Attributes:
        decided: number of clips whose frame is known.
    """

    def __init__(self, n_clips: int, origin: Fraction, step: Fraction, tolerance: Fraction, shaper: "FrameShaper"):
        self.decided = 0
        self._n_clips = n_clips
        self._parts = 2 * math.lcm(origin.denominator, step.denominator)
        self._origin, self._step = int(origin * self._parts), int(step * self._parts)
        self._tolerance = tolerance * self._parts
        self._shaper = shaper
        self._last: Any = None
        self._packets: dict[int, tuple[int | None, int]] = {}
        self._shown: list[int | None] = []
        self._image: tuple[int, np.ndarray] | None = None
        self._chosen: dict[int, tuple[int, np.ndarray] | None] = {}
        self._taken = 0

    def rank(self, pts: int) -> tuple[int, tuple[int, int]]:
        """Returns the clip that a frame lies in, and its rank among the frames of that clip: the lowest is chosen."""
        k = (pts * self._parts - self._origin) // self._step
        return k, (self._distance(pts, k), pts)

    def is_near(self, rank: tuple[int, int]) -> bool:
        """Returns whether a frame of that rank lies within the tolerance."""
        return rank[0] <= self._tolerance

    def push(self, frame: Any) -> None:
        """Accepts the next decoded frame; one that is out of order is ignored."""
        last = self._last
        if last is not None and frame.pts <= last.pts:
            return
        while self.decided < self._n_clips and frame.pts * self._parts >= self._middle(self.decided):
            k = self.decided
            later = last is None or self._distance(frame.pts, k) < self._distance(last.pts, k)
            self._choose(frame if later and (last is None or self._is_close(frame, k)) else last)
        self._last = frame

    def add_packet(self, pts: int) -> None:
        """Notes the time stamp of a packet, before its frame is decoded: the frame may be lost."""
        k = (pts * self._parts - self._origin) // self._step
        before, last = self._packets.get(k, (None, pts))
        if pts * self._parts <= self._middle(k):
            before = pts if before is None else max(before, pts)
        self._packets[k] = before, max(last, pts)

    def shown_at(self, k: int) -> int | None:
        """Returns the tick of the packet that is being shown at the middle of clip k, once it has been decided."""
        return self._shown[k] if k < len(self._shown) else None

    def finish(self) -> None:
        """Chooses the last frame for the remaining clips: the track has ended, and it stays on the screen."""
        while self.decided < self._n_clips:
            self._choose(self._last)

    def take(self, k: int) -> tuple[int, np.ndarray] | None:
        """Returns (tick, image) of clip k and forgets it; None if no frame is near enough."""
        self._taken = k + 1
        return self._chosen.pop(k, None)

    def _choose(self, frame: Any) -> None:
        k = self.decided
        self._shown.append(self._find_shown(k))
        if frame is not None and k >= self._taken and (self._is_close(frame, k) or self._is_shown(frame, k)):
            if self._image is None or self._image[0] != frame.pts:
                image = self._shaper(frame)
                self._image = None if image is None else (frame.pts, image)
            self._chosen[k] = self._image
        self.decided += 1

    def _is_close(self, frame: Any, k: int) -> bool:
        return self._distance(frame.pts, k) <= self._tolerance

    def _is_shown(self, frame: Any, k: int) -> bool:
        return frame.pts * self._parts <= self._middle(k) and self._shown[k] in (frame.pts, None)

    def _find_shown(self, k: int) -> int | None:
        """The latest packet that isn't after the middle of clip k; clips are asked for in order."""
        earlier = [self._packets.pop(j)[1] for j in [j for j in self._packets if j < k]]
        before = self._packets[k][0] if k in self._packets else None
        known = [pts for pts in (*earlier, before, self._shown[-1] if self._shown else None) if pts is not None]
        return max(known, default=None)

    def next_middle(self, pts: int) -> Fraction:
        """Returns the tick at which the first clip whose middle isn't before `pts` has its middle."""
        k = -((self._origin + self._step // 2 - pts * self._parts) // self._step)
        return Fraction(self._middle(max(0, k)), self._parts)

    def _middle(self, k: int) -> int:
        return self._origin + self._step * (2 * k + 1) // 2

    def _distance(self, pts: int, k: int) -> int:
        return abs(pts * self._parts - self._middle(k))


@dataclasses.dataclass(frozen=True, slots=True)
class Crop:
    """A square part of a frame; where it would reach beyond the border, it is moved into the frame.

    Attributes:
        x, y: its centre as shares of the width and the height of the frame as it is displayed, 0 to 1.
        size: its side as a share of the frame's shorter side, above 0 and up to 1.
    """

    x: float
    y: float
    size: float


class FrameShaper:
    """Converts a decoded frame to the square image of a pair: crop, pixel aspect, colour, size, orientation.

    libswscale does all of it at once (Lanczos, accurate rounding, full chroma): 1.7 ms of CPU per 720p frame instead of
    13 ms for a conversion and Pillow's Lanczos, with a PSNR of 45 to 56 dB between the two. Colour matrix and range
    are the frame's own; unknown ones are assumed to be BT.601 and limited, FFmpeg's convention.

    Args:
        config: size and channels of the image.
        pixel_aspect: width of a pixel divided by its height; None if unknown.
        crop: the part that the image shows, to the nearest even pixel; None for the largest centred square.
    """

    def __init__(self, config: ImageConfig, pixel_aspect: Fraction | None, crop: Crop | None = None):
        self._config, self._crop = config, crop
        self._aspect = float(pixel_aspect) if pixel_aspect and 0.05 < pixel_aspect < 20 else 1.0
        self._form: tuple[Any, ...] | None = None
        self._graph: Any = None

    def __call__(self, frame: Any) -> np.ndarray | None:
        """Returns uint8 (size, size, channels), or None if the frame claims a form that FFmpeg can't convert."""
        from av import FFmpegError

        settle_colour(frame)
        try:
            image = self._shape(frame)
        except FFmpegError:
            self._form = None
            return None
        image = turn(image, display_matrix(frame))
        if self._config.channels == 1:
            image = np.asarray(Image.fromarray(image).convert("L"))
        return np.ascontiguousarray(image).reshape(self._config.shape)

    def _shape(self, frame: Any) -> np.ndarray:
        form = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, self._centre(frame))
        if form != self._form:
            self._form, self._graph = form, self._build(frame)
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()

    def _centre(self, frame: Any) -> tuple[float, float] | None:
        """The centre of the crop as shares of the width and height of the frame as it is stored."""
        if self._crop is None:
            return None
        swapped, mirrored_x, mirrored_y = _parts_of_turn(display_matrix(frame))
        x = 1 - self._crop.x if mirrored_x else self._crop.x
        y = 1 - self._crop.y if mirrored_y else self._crop.y
        return (y, x) if swapped else (x, y)

    def _build(self, frame: Any) -> Any:
        from av.filter import Graph

        graph, size = Graph(), self._config.size
        if hasattr(graph, "threads"):
            graph.threads = 1
        side = min(frame.width * self._aspect, frame.height) * (self._crop.size if self._crop else 1)
        width, height = max(1, round(side / self._aspect)), max(1, round(side))
        # Even offsets: the colour planes of most formats have half the resolution.
        left, top = (frame.width - width) // 4 * 2, (frame.height - height) // 4 * 2
        if (centre := self._centre(frame)) is not None:
            left, top = _offset(frame.width, width, centre[0]), _offset(frame.height, height, centre[1])
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
        )
        graph.link_nodes(
            source,
            graph.add("crop", f"{width}:{height}:{left}:{top}:exact=1"),
            graph.add("scale", f"{size}:{size}:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"),
            graph.add("format", "pix_fmts=gbrp"),
            graph.add("buffersink"),
        )
        graph.configure()
        return graph


def _offset(whole: int, part: int, centre: float) -> int:
    """The even offset of a part within the whole that brings its centre nearest to a share of the whole."""
    exact = min(max(centre * whole - part / 2, 0), whole - part)
    return 2 * math.ceil(exact / 2 - 0.5)


def settle_colour(frame: Any) -> None:
    """Marks as unknown what libswscale refuses; the transfer curve and the primaries aren't converted anyway."""
    if frame.colorspace not in _MATRICES and not (frame.colorspace == _RGB and frame.format.is_rgb):
        frame.colorspace = _UNKNOWN
    for tag in ("color_trc", "color_primaries"):
        if hasattr(frame, tag):
            setattr(frame, tag, _UNKNOWN)


def display_matrix(frame: Any) -> np.ndarray | None:
    """Returns the 3 x 3 matrix of how a frame is turned for display; None if the file states none."""
    data = frame.side_data.get("DISPLAYMATRIX")
    return None if data is None else np.frombuffer(bytes(data), np.int32, 9).reshape(3, 3)


def turn(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Rotates and mirrors an image (height, width, channels) by multiples of 90 degrees, following a display matrix.

    Reference:
        FFmpeg's libavutil/display.h (rows are where the x and the y axis are mapped to; y points down).
    """
    swapped, mirrored_x, mirrored_y = _parts_of_turn(matrix)
    if swapped:
        image = image.transpose(1, 0, 2)
    return image[:: -1 if mirrored_y else 1, :: -1 if mirrored_x else 1]


def _parts_of_turn(matrix: np.ndarray | None) -> tuple[bool, bool, bool]:
    """Whether a display matrix swaps the axes, and whether it then mirrors x and y."""
    if matrix is None:
        return False, False, False
    (a, b), (c, d) = matrix[0, :2].tolist(), matrix[1, :2].tolist()
    swapped = math.hypot(a, d) < math.hypot(b, c)
    if swapped:
        a, d = c, b
    return swapped, a < 0, d < 0
