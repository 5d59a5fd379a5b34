"""Which video file is whose clip: the names that downloaders write, and the folders in which they lie."""

from typing import NamedTuple

import pytest

from keras_a2i.errors import SourceError
from keras_a2i.sources.clip_files import ClipFiles

ID, OTHER = "dQw4w9WgXcQ", "-_-_-_-_-_-"


class Wanted(NamedTuple):
    id: str
    start: float
    end: float


def found(folder, start=30.0, end=40.0, id=ID, *, by_start=True, id_is_clip=False):
    """The file of a clip, and whether it is cut already."""
    files = ClipFiles(folder)
    (file,) = files.find([Wanted(id, start, end)], by_start=by_start, id_is_clip=id_is_clip)
    return None if file is None else (files.paths[file.number], file.is_clip)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "name", [f"{ID}.mp4", f"{ID}.WEBM", f"A title: [not] this [{ID}].mkv", f"videos/train/{ID}.mp4", f"[{ID}].mp4"]
)
def test_whole_video(tmp_path, name):
    assert found(touch(tmp_path, name)) == (name, False)


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("ID_30_40.mp4", 30, 40),
        ("ID_30.0_40.0.mp4", 30, 40),
        ("ID_30.000_40.000.mkv", 30, 40),
        ("ID_000030_000040.mp4", 30, 40),
        ("ID_30-40.mp4", 30, 40),
        ("ID-30-40.mp4", 30, 40),
        ("ID_30000_40000.mp4", 30, 40),
        ("ID_0_10000.mp4", 0, 10),
        ("ID_030000_040000.mp4", 30, 40),
        ("ID_9.680000_15.120000.mp4", 9.68, 15.12),
        ("ID_9.68_15.12.mp4", 9.68, 15.12),
        ("ID_9680_15120.mp4", 9.68, 15.12),
        ("ID_9.6_15.1.mp4", 9.68, 15.12),
        ("ID_9.7_15.1.mp4", 9.68, 15.12),
        ("ID_9_15.mp4", 9.68, 15.12),
        ("ID_10_15.mp4", 9.68, 15.12),
        ("ID_90567_93567.mp4", 90.566667, 93.566667),
        ("ID_90566_93566.mp4", 90.566667, 93.566667),
    ],
)
def test_clip_that_is_cut_already(tmp_path, name, start, end):
    name = name.replace("ID", ID)
    assert found(touch(tmp_path, name), start, end, by_start=False) == (name, True)


@pytest.mark.parametrize("name", ["ID_30.mp4", "ID_000030.mp4", "ID_30.0.mp4", "ID-30.mp4"])
def test_clip_named_by_its_start_alone(tmp_path, name):
    name = name.replace("ID", ID)
    assert found(touch(tmp_path, name)) == (name, True)
    assert found(tmp_path, by_start=False) is None


@pytest.mark.parametrize(
    "name",
    [
        "ID_31_41.mp4",  # another clip
        "ID_30_41.mp4",
        "ID_29_39.mp4",
        "ID_30.1_40.1.mp4",
        "ID_30_40_50.mp4",
        "ID_30_40_crop.mp4",
        "ID_30000.mp4",  # the start alone is in seconds
        "IDx.mp4",
        "xID.mp4",
        "ID.f137.mp4",  # yt-dlp's video before it is joined with its audio
        "ID.txt",
        "ID.mp4.part",
        ".ID.mp4",
        ".trash/ID.mp4",
        "-_-_-_-_-_-.mp4",
    ],
)
def test_file_that_is_not_the_clip(tmp_path, name):
    assert found(touch(tmp_path, name.replace("ID", ID))) is None


def test_an_id_with_dashes_and_digits_is_not_taken_for_times(tmp_path):
    touch(tmp_path, "-_12_34_-56.mp4", "-_12_34_-56_7_8.mp4")
    assert found(tmp_path, 7, 8, "-_12_34_-56") == ("-_12_34_-56.mp4", False)
    assert found(tmp_path, 7, 8, "-_12_34_-56", id_is_clip=True) == ("-_12_34_-56_7_8.mp4", True)


def test_whole_video_is_preferred_then_the_most_exact_name_then_the_first(tmp_path):
    touch(tmp_path, f"a/{ID}_9_15.mp4", f"b/{ID}_9.68_15.12.mp4", f"c/{ID}_9.680_15.120.mp4")
    assert found(tmp_path, 9.68, 15.12) == (f"b/{ID}_9.68_15.12.mp4", True)
    touch(tmp_path, f"z/{ID}.webm", f"z/{ID}.mp4")
    assert found(tmp_path, 9.68, 15.12) == (f"z/{ID}.mp4", False)


def test_files_named_by_the_id_alone_can_be_the_clips(tmp_path):
    assert found(touch(tmp_path, f"{ID}.mp4"), id_is_clip=True) == (f"{ID}.mp4", True)
    touch(tmp_path, f"z/{ID}_30_40.mp4")
    assert found(tmp_path, id_is_clip=True) == (f"z/{ID}_30_40.mp4", True)
    assert found(tmp_path, 50, 60, id_is_clip=True) == (f"{ID}.mp4", True)


def test_folders_are_walked_once_through_links_and_sorted(tmp_path):
    home = touch(tmp_path / "set", f"b/{ID}_1_2.mp4", f"a/{ID}_3_4.mp4", f"{ID}_5_6.mp4")
    far = touch(tmp_path / "far", f"{OTHER}.mp4")
    (home / "c").symlink_to(far, target_is_directory=True)
    (home / "loop").symlink_to(home, target_is_directory=True)
    (home / f"{ID}_7_8.mp4").symlink_to(far / f"{OTHER}.mp4")
    (home / f"{ID}_9_10.mp4").symlink_to(far / "gone.mp4")
    (home / f"{ID}_11_12.mp4").mkdir()
    assert list(ClipFiles(home).paths) == [
        f"{ID}_5_6.mp4",
        f"{ID}_7_8.mp4",
        f"a/{ID}_3_4.mp4",
        f"b/{ID}_1_2.mp4",
        f"c/{OTHER}.mp4",
    ]


def test_many_ids_are_found_together(tmp_path):
    ids = [f"video{i:06d}" for i in range(50)]
    files = ClipFiles(touch(tmp_path, *(f"{id}.mp4" for id in ids[::-1])))
    wanted = [Wanted(id, 0, 1) for id in [*ids, "video999999", "video000007"]]
    results = list(files.find(wanted, by_start=False, id_is_clip=False))
    assert [result and files.paths[result.number] for result in results] == [
        *(f"{id}.mp4" for id in ids),
        None,
        "video000007.mp4",
    ]


def test_empty_and_missing_folders(tmp_path):
    assert found(tmp_path) is None and len(ClipFiles(tmp_path).paths) == 0
    with pytest.raises(SourceError, match="The folder 'gone' can't be read: No such file or directory"):
        ClipFiles(tmp_path / "gone")
