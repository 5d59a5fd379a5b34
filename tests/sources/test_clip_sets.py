"""AVSpeech, VGGSound and AudioSet over a folder of videos: the pairs of their rows, cut exactly, and their records."""

import collections
import itertools
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from support.clip_tables import AUDIOSET, FEATURES, FPS, IDS, NONE, SECONDS, TIMES, assert_cut, opened, results_of
from support.video_clips import IMAGE, RATE, at, nearest, number_of, tone, write_clip

from keras_a2i import Records
from keras_a2i.config import ImageConfig
from keras_a2i.errors import UsageError
from keras_a2i.records.build import build_records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.sources.pair import Dropped, Pair


def avspeech_rows():
    """90 rows of 2 to 4 s in ten videos with the ten digits of the start that a csv of AVSpeech has."""
    rng = np.random.default_rng(3)
    for i in range(90):
        start = round(float(rng.uniform(0, 9.9)), 6)
        yield IDS[i % 10], start, round(start + float(rng.uniform(2, 4)), 6), *rng.uniform(0, 1, 2).round(6).tolist()


@pytest.mark.training
def test_a_hundred_rows_are_cut_exactly_and_those_without_a_file_are_counted(home, tmp_path):
    rows = list(avspeech_rows())
    lines = [",".join(map(str, row)) for row in rows]
    for i, id in enumerate(NONE):
        lines.insert(7 * i + 3, f"{id},1.0,5.0,0.5,0.5")
    source = opened(home, "\n".join(lines) + "\n", "avspeech_train.csv", crop_size=1.0)
    manifest = build_records(source, tmp_path / "rec", workers=1, split=SplitSpec(val_fraction=0.3))
    reason = (
        "10 of 100 rows without a video in 'set' or below: absent00000_1_5 (line 4), absent00001_1_5 (line 11), "
        "absent00002_1_5 (line 18) and 7 more"
    )
    assert manifest.dropped == [["avspeech_train.csv", reason]]
    expected = {
        f"{id}_{start:.12g}_{end:.12g}@{k}": (start, k) for id, start, end, *_ in rows for k in range(int(end - start))
    }
    pairs = results_of(source)
    assert sum(manifest.counts.values()) == len(expected) == len(pairs)
    for pair in pairs:
        start, k = expected.pop(pair.key.id)
        middle = Fraction(str(start)) + k + Fraction(1, 2)
        assert number_of(pair.image) == nearest(TIMES, middle)
        # Starts have six decimals: the sample is the nearest one.
        first = round(Fraction(str(start)) * RATE)
        np.testing.assert_allclose(pair.waveform, tone(SECONDS)[first + k * RATE :][:RATE, 0], atol=1e-3)
        assert pair.key.source_id == pair.key.id[:11] and pair.key.time == pytest.approx(start + k, abs=1e-6)
        assert pair.origin == f"videos/{pair.key.source_id}.mkv"
    assert not expected
    # Whole videos are held out.
    assert manifest.split == {"kind": "source", "val_fraction": 0.3}
    sides = {id: set(splits) for id, splits in manifest.source_counts.items()}
    assert set(sides) == set(IDS) and collections.Counter(map(frozenset, sides.values())) == {
        frozenset({"train"}): 7,
        frozenset({"val"}): 3,
    }
    assert manifest.sources == [
        {
            "kind": "avspeech",
            "name": "avspeech_train.csv",
            "has_audio": True,
            "continuous": True,
            "id_files": "whole",
            "crop_size": 1.0,
        }
    ]


@pytest.mark.training
def test_records_do_not_depend_on_who_reads_and_are_complete_after_an_interruption(home, tmp_path):
    text = "\n".join(",".join(map(str, row)) for row in itertools.islice(avspeech_rows(), 40))
    one = build_records(opened(home, text), tmp_path / "one", workers=1)
    with ThreadPoolExecutor(3) as executor:
        three = build_records(pickle.loads(pickle.dumps(opened(home, text))), tmp_path / "three", executor=executor)
    assert [shard.sha256 for shard in one.shards] == [shard.sha256 for shard in three.shards]
    assert len(one.shards) > 2

    def interrupted(done, dropped, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_records(opened(home, text), tmp_path / "two", workers=1, progress=interrupted)
    begun = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "two").rglob("*.tfrecord")}
    assert begun
    two = build_records(opened(home, text), tmp_path / "two", workers=1)
    assert [shard.sha256 for shard in one.shards] == [shard.sha256 for shard in two.shards]
    times = {path.stat().st_mtime_ns for path in (tmp_path / "two").rglob("*.tfrecord")}
    assert set(begun.values()) <= times
    assert build_records(opened(home, text), tmp_path / "two", workers=1).fingerprint == one.fingerprint


@pytest.mark.training
def test_two_processes_give_the_same_bytes_as_one(home, tmp_path):
    text = "\n".join(",".join(map(str, row)) for row in avspeech_rows())
    one, two = (build_records(opened(home, text), tmp_path / str(n), workers=n) for n in (1, 2))
    assert [shard.sha256 for shard in one.shards] == [shard.sha256 for shard in two.shards]


def test_units_are_picklable_and_hold_their_own_clips_only(home):
    source = opened(home, "\n".join(",".join(map(str, row)) for row in avspeech_rows()))
    plan = source.plan()
    assert all(32 <= len(unit.keys) < 36 for unit in plan.units[:-1])
    assert [sum(clip.n_pairs for clip in unit.clips) for unit in plan.units] == [len(unit.keys) for unit in plan.units]
    assert plan.units[0].name == "clips.csv lines 1-12" and len({unit.name for unit in plan.units}) == len(plan.units)
    copy = pickle.loads(pickle.dumps(plan.units[1]))
    assert len(pickle.dumps(copy)) < 8_000
    for one, other in zip(source.read(plan.units[1]), source.read(copy), strict=True):
        assert one.key == other.key
        np.testing.assert_array_equal(one.image, other.image)


def test_some_pairs_of_a_unit_are_those_of_all(home):
    source = opened(home, f"{IDS[0]},1,5,0.5,0.5\n{IDS[1]},0,2,0.5,0.5\n{IDS[2]},3,7,0.5,0.5\n")
    (unit,) = source.plan().units
    every = list(source.read(unit))
    for positions in ([0], [1, 3, 6], [2, 3, 4, 9]):
        for position, pair in zip(positions, source.read_at(unit, positions), strict=True):
            assert pair.key == every[position].key == unit.keys[position]
            np.testing.assert_array_equal(pair.image, every[position].image)


def test_what_the_images_and_labels_depend_on_is_another_build(home, tmp_path, video):
    text = f"{IDS[0]},1,singing,train\n{IDS[1]},1,singing,train\n"
    stamps = [opened(home, text).plan().units[0].stamp for _ in range(2)]
    stamps.append(opened(home, text.replace("singing", "howling", 1)).plan().units[0].stamp)
    (home / "videos" / f"{IDS[1]}.mkv").unlink()
    shutil.copy(video, home / "videos" / f"{IDS[1]}.mkv")
    os.utime(home / "videos" / f"{IDS[1]}.mkv", ns=(1, 1))
    stamps.append(opened(home, text).plan().units[0].stamp)
    faces = [f"{IDS[0]},1,3,0.5,0.5\n", f"{IDS[0]},1,3,0.5,0.4\n"]
    stamps += [opened(home, face).plan().units[0].stamp for face in faces]
    assert stamps[0] == stamps[1] and len(set(stamps)) == 5
    for face, size, same in ((faces[0], 0.5, True), (faces[1], 0.5, False), (faces[0], 0.4, False)):
        source = opened(home, face, crop_size=size)
        if same:
            build_records(source, tmp_path / "rec", workers=1, split=SplitSpec(val_fraction=0))
        else:
            with pytest.raises(UsageError, match="which holds records of other input or options"):
                build_records(source, tmp_path / "rec", workers=1, split=SplitSpec(val_fraction=0))


@pytest.mark.parametrize("size", [0.25, 0.5])
def test_images_of_avspeech_show_the_square_round_the_face(tmp_path, size):
    """A mark moves one pixel a frame to the right; its place at the middle of the clip is what the row states."""

    def marked(n):
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[18:26, 8 + n : 16 + n] = 255
        return picture

    options = {"codec": "ffv1", "pix_fmt": "bgr0", "sound_codec": "flac", "time_base": Fraction(1, FPS)}
    write_clip(tmp_path / f"{IDS[0]}.mkv", at(FPS, 4), tone(4), pictures=marked, **options)
    # Frame 15 is at the middle of the clip: the mark's centre is at (12 + 15 + 1, 22) and one pixel beyond.
    source = opened(tmp_path, f"{IDS[0]},1.1,2.1,{28 / 64},{22 / 48}\n", crop_size=size, image=ImageConfig(size=16))
    ((pair,),) = [results_of(source)]
    weights = pair.image[..., 0].astype(float)
    places = (np.arange(16) + 0.5) * 48 * size / 16 - 24 * size
    assert weights.sum(axis=0) @ places / weights.sum() == pytest.approx(0, abs=0.05)
    assert weights.sum(axis=1) @ places / weights.sum() == pytest.approx(0, abs=0.05)
    assert weights.sum() / 255 == pytest.approx((8 * 16 / (48 * size)) ** 2, rel=0.05)


def test_vggsound_has_ten_seconds_a_row_and_its_own_split(home, tmp_path):
    text = f'{IDS[0]},2,"dog barking, howling",train\n{IDS[1]},3,singing,test\n{IDS[2]},0,singing,TRAIN\n'
    source = opened(home, text, "vggsound.csv")
    pairs = results_of(source)
    assert [pair.key.id for pair in pairs[:2]] == [f"{IDS[0]}_2_12@0", f"{IDS[0]}_2_12@1"]
    assert [len([p for p in pairs if p.key.source_id == id]) for id in IDS[:3]] == [10, 10, 10]
    for pair in pairs:
        assert_cut(pair, {IDS[0]: 2, IDS[1]: 3, IDS[2]: 0}[pair.key.source_id], int(pair.key.id.partition("@")[2]))
    assert {(p.key.source_id, p.key.label, p.key.split) for p in pairs} == {
        (IDS[0], "dog barking, howling", "train"),
        (IDS[1], "singing", "test"),
        (IDS[2], "singing", "train"),
    }
    manifest = build_records(source, tmp_path / "rec", workers=1)
    assert manifest.split == {"kind": "column"} and manifest.counts == {"test": 10, "train": 20}
    assert manifest.label_counts == {"dog barking, howling": {"train": 10}, "singing": {"test": 10, "train": 10}}
    assert Records(tmp_path / "rec").counts["test"] == 10
    # A part of its training videos for use while training; its test pairs stay as they are.
    three = build_records(source, tmp_path / "three", workers=1, split=SplitSpec(val_fraction=0.5))
    assert three.split == {"kind": "column", "val_fraction": 0.5}
    assert three.counts == {"test": 10, "train": 10, "val": 10} and three.source_counts[IDS[1]] == {"test": 10}
    other = build_records(source, tmp_path / "other", workers=1, split=SplitSpec(kind="source"))
    assert other.counts == {"train": 20, "val": 10}


def test_audioset_has_the_first_label(home):
    source = opened(home, AUDIOSET, "balanced_train_segments.csv")
    pairs = results_of(source)
    assert [pair.key.id for pair in pairs[8:]] == [
        f"{IDS[0]}_2_12@8",
        f"{IDS[0]}_2_12@9",
        *(f"{IDS[1]}_0.5_3@{k}" for k in (0, 1)),
    ]
    assert [pair.key.label for pair in pairs] == ["/m/09x0r"] * 10 + ["/m/0cmf2"] * 2
    assert [pair.key.time for pair in pairs[-2:]] == [0.5, 1.5]
    for pair in pairs:
        assert_cut(pair, 2 if pair.key.source_id == IDS[0] else 0.5, int(pair.key.id.partition("@")[2]))
    assert source.describe()["kind"] == "audioset" and "crop_size" not in source.describe()


def test_clips_that_are_cut_already_are_read_from_their_beginning(tmp_path, video):
    for name in ("aaaaaaaaaaa_000120.mkv", "bbbbbbbbbbb_30000_40000.mkv", "ccccccccccc_30.000_40.000.mkv"):
        (tmp_path / name).symlink_to(video)
    text = "aaaaaaaaaaa,120,singing,train\nbbbbbbbbbbb,30,singing,train\nccccccccccc,30,singing,test\n"
    pairs = results_of(opened(tmp_path, text))
    assert [pair.key.id for pair in pairs[::10]] == [
        "aaaaaaaaaaa_120_130@0",
        "bbbbbbbbbbb_30_40@0",
        "ccccccccccc_30_40@0",
    ]
    assert [pair.key.time for pair in pairs[:3]] == [120, 121, 122]
    for i, pair in enumerate(pairs):
        assert_cut(pair, 0, i % 10)


def test_files_named_by_the_id_alone_are_whole_or_cut_as_the_option_says(tmp_path, video):
    (tmp_path / "aaaaaaaaaaa.mkv").symlink_to(video)
    text = "aaaaaaaaaaa,120.5,123.5,0.5,0.5\n"
    reason = (
        "aaaaaaaaaaa.mkv lasts 14.00 s, and the clip begins at 120.5 s. If files named after the id alone are clips "
        "that are cut already, say so (id_files='cut', --id-files cut)"
    )
    assert results_of(opened(tmp_path, text)) == [Dropped(f"aaaaaaaaaaa_120.5_123.5@{k}", reason) for k in range(3)]
    pairs = results_of(opened(tmp_path, text, id_files="cut"))
    assert [pair.key.time for pair in pairs] == [120.5, 121.5, 122.5]
    for k, pair in enumerate(pairs):
        assert_cut(pair, 0, k)
    with pytest.raises(UsageError, match=r"""id_files must be "whole" or "cut". Received: id_files='short'"""):
        opened(tmp_path, text, id_files="short")


def test_a_cut_file_belongs_to_one_row(tmp_path, video):
    (tmp_path / "aaaaaaaaaaa_9_12.mkv").symlink_to(video)
    (tmp_path / "bbbbbbbbbbb.mkv").symlink_to(video)
    text = (
        "aaaaaaaaaaa,9.2,12.1,0.5,0.5\naaaaaaaaaaa,9.4,12.3,0.5,0.5\nbbbbbbbbbbb,1,3,0.5,0.5\nbbbbbbbbbbb,2,4,0.5,0.5\n"
    )
    plan = opened(tmp_path, text).plan()
    reason = "aaaaaaaaaaa_9_12.mkv could be the clip of other rows too"
    assert plan.dropped == (Dropped("clips.csv line 1", reason), Dropped("clips.csv line 2", reason))
    assert sum(len(unit.keys) for unit in plan.units) == 4
    plan = opened(tmp_path, text, id_files="cut").plan()
    assert [drop.id for drop in plan.dropped] == [f"clips.csv line {n}" for n in (1, 2, 3, 4)]


def test_a_damaged_file_drops_its_own_pairs(home, tmp_path):
    (home / "videos" / f"{IDS[1]}.mkv").unlink()
    (home / "videos" / f"{IDS[1]}.mkv").write_bytes(b"no video" * 99)
    results = results_of(opened(home, "".join(f"{id},1,4,0.5,0.5\n" for id in IDS[:3])))
    assert [isinstance(result, Pair) for result in results] == [True] * 3 + [False] * 3 + [True] * 3
    assert [r.id for r in results[3:6]] == [f"{IDS[1]}_1_4@{k}" for k in range(3)]
    assert results[3].reason.startswith(f"{IDS[1]}.mkv can't be opened as a video")


def test_a_clip_at_the_end_of_its_video_has_the_pairs_that_there_are(home):
    pairs = results_of(opened(home, f"{IDS[0]},11,singing,train\n{IDS[1]},0,singing,train\n"))
    for k, pair in enumerate(pairs[:3]):
        assert_cut(pair, 11, k)
    assert pairs[3:10] == [
        Dropped(f"{IDS[0]}_11_21@{k}", "it has no audio: the audio track ends at 14.00 s") for k in range(3, 10)
    ]


def test_several_sets_of_one_folder_go_together(home, tmp_path):
    texts = {
        "avspeech.csv": f"{IDS[0]},1,4,0.5,0.5\n",
        "vggsound.csv": f"{IDS[1]},1,singing,train\n",
        "eval.csv": AUDIOSET,
    }
    for name, text in texts.items():
        (home / name).write_text(text)
    sources = open_sources([home / name for name in texts], features=FEATURES, image=IMAGE, crop_size=0.3)
    assert [source.describe()["kind"] for source in sources] == ["avspeech", "vggsound", "audioset"]
    assert sources[0].describe()["crop_size"] == 0.3
    manifest = build_records(sources, tmp_path / "rec", workers=1, split=SplitSpec(kind="source"))
    assert sum(manifest.counts.values()) == 25 and set(manifest.source_counts) == {IDS[0], IDS[1]}


def test_one_video_alone_is_split_by_blocks(home, tmp_path):
    manifest = build_records(opened(home, f"{IDS[0]},0,13,0.5,0.5\n"), tmp_path / "rec", workers=1)
    assert manifest.split["kind"] == "block" and set(manifest.counts) == {"train", "val"}
