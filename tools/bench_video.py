"""Times reading pairs from videos against a plain decoding pass over the same files, and checks the frames chosen.

    python tools/bench_video.py FOLDER [--workers 2] [--rounds 3]

Both run on as many processes, the longest file first, in turns. "plain" decodes every frame and every piece of sound
and does nothing with them; "read" is VideoSource.read; "pairs" adds the PNG and the features. Then every
picture is compared with the frame that a separate decoding pass finds nearest the middle of its second.
"""

import argparse
import concurrent.futures
import multiprocessing
import pathlib
import resource
import statistics
import time

import av
import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.features.mfcc import mfcc
from keras_a2i.media.image import encode_image
from keras_a2i.media.video_frames import FrameShaper
from keras_a2i.sources.pair import Dropped, Unit
from keras_a2i.sources.video import VideoSource, find_videos

FEATURES, IMAGE = FeatureConfig(), ImageConfig()


def plain(source: VideoSource, root: pathlib.Path, unit: Unit) -> int:
    """Decodes a file; returns the number of frames of picture and sound."""
    with av.open(root / unit.name) as container:
        for stream in (container.streams.video[0], container.streams.audio[0]):
            stream.thread_type = "NONE"
        return sum(1 for _ in container.decode(container.streams.video[0], container.streams.audio[0]))


def read(source: VideoSource, root: pathlib.Path, unit: Unit) -> int:
    """Reads the pairs of a file; returns their number."""
    return sum(not isinstance(result, Dropped) for result in source.read(unit))


def pairs(source: VideoSource, root: pathlib.Path, unit: Unit) -> int:
    """Reads the pairs of a file with their PNG and features; returns their number."""
    waveforms = []
    for result in source.read(unit):
        if not isinstance(result, Dropped):
            encode_image(result.image, IMAGE)
            waveforms.append(result.waveform)
    if waveforms:
        mfcc(np.stack(waveforms), FEATURES)
    return len(waveforms)


def check(source: VideoSource, root: pathlib.Path, unit: Unit) -> tuple[int, int, float]:
    """Pairs, those whose picture is the nearest frame bit by bit, and that frame's largest distance in frames."""
    path = root / unit.name
    with av.open(path) as container:
        stream = container.streams.video[0]
        begin = min(s.start_time * s.time_base for s in (stream, container.streams.audio[0]))
        times = {frame.pts: float(frame.pts * stream.time_base - begin) for frame in container.decode(stream)}
    ticks, seconds = np.array(list(times)), np.array(list(times.values()))
    order = np.argsort(ticks)
    ticks, seconds = ticks[order], seconds[order]
    nearest = {
        k: int(np.argmin(np.abs(seconds - (k + 0.5)) - 1e-9 * (seconds < k + 0.5))) for k in range(len(unit.keys))
    }
    wanted, pictures = {int(ticks[n]) for n in nearest.values()}, {}
    with av.open(path) as container:
        stream = container.streams.video[0]
        shaper = FrameShaper(IMAGE, stream.sample_aspect_ratio)
        for frame in container.decode(stream):
            if frame.pts in wanted:
                pictures[frame.pts] = shaper(frame)
    good, n_pairs, frame_duration = 0, 0, float(np.median(np.diff(seconds)))
    for k, result in enumerate(source.read(unit)):
        if not isinstance(result, Dropped):
            n_pairs += 1
            good += np.array_equal(result.image, pictures[int(ticks[nearest[k]])])
    distance = max(abs(seconds[n] - (k + 0.5)) for k, n in nearest.items())
    return n_pairs, good, distance / frame_duration


def peak_memory(_: int) -> float:
    """MiB of this process at its largest."""
    time.sleep(0.2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    source = VideoSource(find_videos(options.folder), options.folder, features=FEATURES, image=IMAGE)
    units = sorted(source.plan().units, key=lambda unit: -unit.cost)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.workers, mp_context=context) as pool:

        def everywhere(task):
            futures = [pool.submit(task, source, options.folder, unit) for unit in units]
            return [future.result() for future in futures]

        everywhere(pairs)
        seconds = {task.__name__: [] for task in (plain, read, pairs)}
        for number in range(options.rounds):
            for task in (plain, read, pairs):
                start = time.perf_counter()
                total = sum(everywhere(task))
                seconds[task.__name__].append(time.perf_counter() - start)
                print(
                    f"round {number + 1}  {task.__name__:5}  {seconds[task.__name__][-1]:6.2f} s  {total} items",
                    flush=True,
                )
        for name in ("read", "pairs"):
            ratios = [a / b for a, b in zip(seconds[name], seconds["plain"], strict=True)]
            print(f"{name} / plain: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"peak memory of a process: {max(pool.map(peak_memory, range(4 * options.workers))):.0f} MiB")
        n_pairs, good, distances = zip(*everywhere(check), strict=True)
    print(f"nearest frame, bit by bit: {sum(good)} of {sum(n_pairs)}; at most {max(distances):.2f} frames off")


if __name__ == "__main__":
    main()
