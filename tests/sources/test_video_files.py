"""Videos that break off, are damaged, miss a track or a header: what can be read is, the rest is named."""

import os
import pathlib
import pickle
import struct
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from support.video_clips import IMAGE, RATE, at, nearest, number_of, numbered, read, tone, write_clip

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import MissingPackageError, UsageError
from keras_a2i.media import video_decode
from keras_a2i.media.audio import stream_audio
from keras_a2i.media.packet_clock import PacketClock
from keras_a2i.media.suffixes import VIDEO_SUFFIXES
from keras_a2i.records.build import build_records
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.pair import Dropped, Pair
from keras_a2i.sources.video import VideoSource, find_videos


def test_unusable_files_are_dropped(tmp_path):
    write_clip(tmp_path / "mute.mp4", at(10, 2))
    write_clip(tmp_path / "blind.mp4", None, tone(2))
    write_clip(tmp_path / "short.mkv", at(10, Fraction(6, 10)), tone(0.6), sound_codec="flac")
    (tmp_path / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    (tmp_path / "empty.mkv").write_bytes(b"")
    whole = write_clip(tmp_path / "whole.mp4", at(10, 2), tone(2)).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    names = ["mute.mp4", "blind.mp4", "short.mkv", "garbage.mp4", "empty.mkv", "half.mp4", "gone.mp4"]
    paths = [tmp_path / name for name in names]
    plan = VideoSource(paths, tmp_path, features=FeatureConfig(), image=IMAGE).plan()
    assert plan.units == ()
    assert [drop.id for drop in plan.dropped] == names
    reasons = [drop.reason for drop in plan.dropped]
    assert reasons[0] == "mute.mp4 has no audio track"
    assert reasons[1] == "blind.mp4 has no video track"
    assert reasons[2].startswith("short.mkv lasts 0.6") and reasons[2].endswith("a clip has 1 s")
    opened = [f"{name} can't be opened as a video: " for name in names[3:]]
    assert all(reason.startswith(start) for reason, start in zip(reasons[3:], opened, strict=True))
    assert not any(str(tmp_path) in reason for reason in reasons)


def test_cover_is_not_a_video_track(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        audio, cover = out.add_stream("aac", rate=RATE, layout="mono"), out.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic.value
        frame = av.AudioFrame.from_ndarray(tone(2).T.astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = RATE
        out.mux(audio.encode(frame))
        out.mux(cover.encode(av.VideoFrame.from_ndarray(numbered(1), format="rgb24")))
        out.mux([*audio.encode(None), *cover.encode(None)])
    assert read(path) == [Dropped("song.mp4", "song.mp4 has no video track, only a cover")]


@pytest.mark.training
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_file_that_breaks_off_has_the_pairs_before(tmp_path, name):
    options = {"movflags": "faststart"} if name == "clip.mp4" else {}
    sound_codec = "aac" if name == "clip.mp4" else "flac"
    path = write_clip(tmp_path / name, at(30, 8), tone(8), sound_codec=sound_codec, options=options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    results = read(path)
    assert len(results) == 8
    n_pairs = sum(isinstance(result, Pair) for result in results)
    assert 2 <= n_pairs <= 6
    for k, result in enumerate(results):
        if k < n_pairs:
            assert number_of(result.image) == 30 * k + 15
        else:
            assert "ends at" in result.reason or "could be read" in result.reason


def test_damage_in_the_middle_drops_only_some_clips(tmp_path):
    path = write_clip(
        tmp_path / "clip.mkv", at(30, 8), tone(8), sound_codec="flac", options={"cluster_time_limit": "500"}
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3_000] = np.random.default_rng(1).bytes(3_000)
    path.write_bytes(data)
    results = read(path)
    assert [result.id if isinstance(result, Dropped) else result.key.id for result in results] == [
        f"clip.mkv@{k}" for k in range(8)
    ]
    assert [number_of(result.image) for result in results[:3]] == [15, 45, 75]
    np.testing.assert_allclose(results[1].waveform, tone(8)[RATE : 2 * RATE, 0], atol=1e-3)


def test_file_that_vanishes_after_planning_is_dropped(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", at(10, 2), tone(2))
    source = VideoSource([path], tmp_path, features=FeatureConfig(), image=IMAGE)
    (unit,) = source.plan().units
    path.unlink()
    assert [drop.id for drop in source.read(unit)] == ["clip.mp4@0", "clip.mp4@1"]


@pytest.mark.parametrize("name", ["clip.ts", "clip.mkv"])
def test_duration_and_start_are_found_without_the_header(tmp_path, name):
    sound = tone(3.1)
    start, codec, live = (10, "mpeg2video", {}) if name == "clip.ts" else (0, "libx264", {"live": "1"})
    times = [start + time for time in at(25, Fraction(31, 10))]
    path = write_clip(
        tmp_path / name, times, sound, codec=codec, time_base=Fraction(1, 25), sound_start=start, options=live
    )
    with av.open(str(path)) as clip:
        assert clip.start_time >= 9_900_000 if name == "clip.ts" else clip.duration is None
        start = Fraction(clip.start_time, 1_000_000)  # with the priming of AAC the sound starts before the picture
    results = read(path)
    assert [number_of(pair.image) for pair in results] == [nearest(times, start + k + Fraction(1, 2)) for k in range(3)]


def test_skipping_frames_changes_nothing(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", at(30, 5), tone(5))
    skipped, reader = read(path), video_decode.VideoDecoder.__iter__
    asked = []

    def spoiled(self):
        asked.append(self._skip)
        for k, second in enumerate(reader(self)):
            if self._skip and k == 2:
                raise video_decode.InexactSkipError
            yield second

    monkeypatch.setattr(video_decode.VideoDecoder, "__iter__", spoiled)
    plain = read(path)
    assert asked == [True, False]
    assert len(plain) == len(skipped) == 5
    for one, other in zip(plain, skipped, strict=True):
        assert one.key == other.key
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.waveform, other.waveform)


@pytest.mark.training
def test_tracks_far_apart_are_not_held_in_memory(tmp_path, monkeypatch):
    path = write_clip(
        tmp_path / "clip.mkv",
        at(10, 8),
        tone(8),
        sound_codec="flac",
        sound_first=True,
        options={"max_interleave_delta": "1"},
    )
    assert [number_of(pair.image) for pair in read(path)] == [10 * k + 5 for k in range(8)]
    monkeypatch.setattr(video_decode, "MAX_SKEW", 3.5)
    results = read(path)
    assert [isinstance(result, Pair) for result in results] == [False] * 4 + [True] * 4
    assert [number_of(pair.image) for pair in results[4:]] == [45, 55, 65, 75]
    reason = "no frame could be read, and none follows in the next 3.5 s of the file"
    assert results[0].reason == f"no frame within 0.25 s of 0.50 s: {reason}"


def test_video_that_is_reached_twice_yields_its_pairs_once(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", at(10, 2), tone(2))
    (tmp_path / "another.mkv").symlink_to(path)
    (tmp_path / "sub").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone.mkv").symlink_to(tmp_path / "nothing.mkv")
    names = ["another.mkv", "clip.mkv", "gone.mkv", "sub/clip.mkv"]
    plan = VideoSource([tmp_path / name for name in names], tmp_path, features=FeatureConfig(), image=IMAGE).plan()
    assert [unit.name for unit in plan.units] == ["clip.mkv"]
    reason = "the same file as clip.mkv. Pass each file once"
    assert plan.dropped[0] == Dropped("another.mkv", reason) and plan.dropped[2] == Dropped("sub/clip.mkv", reason)
    assert plan.dropped[1].reason.startswith("gone.mkv can't be opened as a video")


def test_find_videos_lists_visible_files_by_suffix(tmp_path):
    for name in ("b.MP4", "a/z.webm", "a/notes.txt", ".hidden.mp4", ".cache/x.mp4", "a.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in find_videos(tmp_path)] == ["a.mkv", "a/z.webm", "b.MP4"]
    assert {".mp4", ".mkv", ".webm", ".mov", ".avi"} <= set(VIDEO_SUFFIXES)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])
def test_some_clips_of_a_video_are_those_of_all(tmp_path, name):
    path = write_clip(tmp_path / name, at(10, 6), tone(6), tags={"gop_size": 5})
    source = VideoSource([path], tmp_path, features=FeatureConfig(), image=IMAGE)
    (unit,) = source.plan().units
    every = list(source.read(unit))
    for positions in ([0], [1, 2, 5], [4]):
        for position, pair in zip(positions, source.read_at(unit, positions), strict=True):
            assert pair.key == every[position].key == unit.keys[position]
            np.testing.assert_array_equal(pair.image, every[position].image)
    path.unlink()
    assert [drop.id for drop in source.read_at(unit, [1, 3])] == [f"{name}@1", f"{name}@3"]


def test_source_is_picklable_and_its_names_are_relative(tmp_path):
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / "c.mp4", at(10, 2), tone(2))
    source = VideoSource([tmp_path / "in" / "c.mp4"], tmp_path, features=FeatureConfig(), image=IMAGE)
    (unit,) = source.plan().units
    copy = pickle.loads(pickle.dumps(source))
    assert [pair.key.id for pair in copy.read(unit)] == ["in/c.mp4@0", "in/c.mp4@1"]
    assert source.describe() == {"kind": "videos", "has_audio": True, "continuous": True, "files": 1}
    with pytest.raises(UsageError, match=r"Every video must lie within the folder in\. Received: c\.mp4"):
        VideoSource([pathlib.Path("/elsewhere/c.mp4")], tmp_path / "in", features=FeatureConfig(), image=IMAGE)


def test_plan_without_pyav_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    source = VideoSource([tmp_path / "c.mp4"], tmp_path, features=FeatureConfig(), image=IMAGE)
    with pytest.raises(
        MissingPackageError, match=r"Reading video files and audio such as m4a needs the package av.*keras-a2i\[video\]"
    ):
        source.plan()


@pytest.mark.parametrize("seconds", [2, 4])
def test_clock_that_restarts_continues(tmp_path, seconds):
    parts = [
        write_clip(
            tmp_path / f"{n}.ts",
            at(10, seconds),
            (1 + n) * tone(seconds),
            pictures=lambda k, n=n: numbered(k + 100 * n),
        )
        for n in (0, 1)
    ]
    (tmp_path / "joined.ts").write_bytes(b"".join(path.read_bytes() for path in parts))
    pairs = read(tmp_path / "joined.ts")
    assert [number_of(pair.image) // 100 for pair in pairs[: 2 * seconds]] == [0] * seconds + [1] * seconds
    # The audio of generate is that of the records, sample by sample.
    streamed = np.concatenate(list(stream_audio(tmp_path / "joined.ts", RATE)))
    for k, pair in enumerate(pairs[: 2 * seconds]):
        np.testing.assert_array_equal(streamed[k * RATE : (k + 1) * RATE], pair.waveform)
    loudness = [np.abs(pair.waveform[3000:-3000]).mean() for pair in pairs[: 2 * seconds]]
    assert loudness[-1] > 1.8 * loudness[0]


@pytest.mark.parametrize(("name", "codec"), [("far.mkv", "mpeg4"), ("far.ts", "mpeg2video")])
def test_clock_that_jumps_far_ahead_has_no_gap(tmp_path, name, codec):
    whole = write_clip(tmp_path / "whole.mkv", at(25, 4), tone(4), codec=codec, time_base=Fraction(1, 25))
    with av.open(str(whole)) as clip, av.open(str(tmp_path / name), "w") as out:
        streams = [out.add_stream_from_template(stream) for stream in clip.streams]
        for packet in clip.demux():
            if packet.size:
                if packet.pts * packet.time_base >= 2:
                    ahead = round(20_000 / packet.time_base)
                    packet.pts, packet.dts = packet.pts + ahead, packet.dts + ahead
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    results = read(tmp_path / name)
    assert len(results) in (4, 5) and all(isinstance(result, Pair) for result in results[:4])
    assert [number_of(pair.image) // 25 for pair in results[:4]] == [0, 1, 2, 3]
    troubles = []
    streamed = np.concatenate(list(stream_audio(tmp_path / name, RATE, troubles.append)))
    assert len(streamed) < 5 * RATE and "the clock jumps ahead by 20,000 s" in troubles[0]


def test_damaged_time_stamp_moves_nothing(tmp_path):
    whole = write_clip(
        tmp_path / "whole.mkv", at(10, 4), tone(4), codec="mpeg4", sound_codec="flac", time_base=Fraction(1, 10)
    )
    with av.open(str(whole)) as clip, av.open(str(tmp_path / "a.nut"), "w") as out:
        streams = [out.add_stream_from_template(stream) for stream in clip.streams]
        packets = [packet for packet in clip.demux() if packet.size]
        for packet in packets:
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
    expected = read(tmp_path / "a.nut")

    def damage(self, packets):
        for packet in packets:
            if packet.stream.type == "audio" and packet.dts is not None and 1.5 < packet.dts * packet.time_base < 1.6:
                packet.pts, packet.dts = 0, 0
            yield packet

    clock = PacketClock.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PacketClock, "__call__", lambda self, packets: clock(self, damage(self, packets)))
        found = read(tmp_path / "a.nut")
    assert [number_of(pair.image) for pair in found] == [number_of(pair.image) for pair in expected]
    for k in (0, 2):
        np.testing.assert_array_equal(found[k].waveform, expected[k].waveform)


def test_duration_in_a_header_is_not_trusted(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", at(10, 2), tone(2), sound_codec="flac")
    data = bytearray(path.read_bytes())
    at_duration = data.index(b"\x44\x89\x88") + 3
    data[at_duration : at_duration + 8] = struct.pack(">d", 86_400_000.0)
    path.write_bytes(data)
    assert len(read(path)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes")
def test_file_name_that_is_not_utf8_is_escaped_and_built(tmp_path):
    whole = write_clip(tmp_path / "good.mp4", at(10, 3), tone(3))
    os.link(os.fsencode(whole), os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    os.link(whole, tmp_path / "red\x1b[31m.mp4")
    options = {"image": IMAGE, "split": SplitSpec(kind="random"), "workers": 1}
    manifest = build_records(str(tmp_path), tmp_path / "records", **options)
    names = {"good.mp4", "caf\\xe9.mp4", "red\\x1b[31m.mp4"}
    assert set(manifest.source_counts) == names and sum(manifest.counts.values()) == 9
    assert Manifest.read(tmp_path / "records") == manifest
    assert set(Records(tmp_path / "records").decoded("train").sources) <= names
    (tmp_path / os.fsdecode(b"bad\xff.mp4")).write_bytes(b"nothing")
    again = build_records(str(tmp_path), tmp_path / "again", **options)
    assert again.dropped[0][0] == "bad\\xff.mp4" and Manifest.read(tmp_path / "again").dropped[0][0] == "bad\\xff.mp4"


def test_source_of_some_units_reads_them_and_is_small(tmp_path, monkeypatch):
    """It is what a process that reads these units is sent."""
    first = write_clip(tmp_path / "a.mp4", at(10, 2), tone(2))
    (tmp_path / "b").mkdir()
    second = write_clip(tmp_path / "b" / "c.mp4", at(10, 2), tone(2))
    monkeypatch.chdir(tmp_path)
    missing = [pathlib.Path("b") / f"{number:04}.mp4" for number in range(1000)]
    paths = [pathlib.Path("a.mp4"), *missing, pathlib.Path("b") / "c.mp4"]
    source = VideoSource(paths, pathlib.Path(), features=FeatureConfig(), image=IMAGE)
    units = source.plan().units
    assert [unit.name for unit in units] == ["a.mp4", "b/c.mp4"]
    assert source.paths == [first.absolute(), second.absolute()]
    selected = pickle.loads(pickle.dumps(source.select(units[1:])))
    # Another process may have another working directory.
    monkeypatch.chdir("/")
    assert selected.paths == [second.absolute()] and len(pickle.dumps(selected)) < 2000
    pairs, expected = list(selected.read(units[1])), list(source.read(units[1]))
    assert len(pairs) == 2 and all(np.array_equal(a.image, b.image) for a, b in zip(pairs, expected, strict=True))
