"""What a user names on the command line, and what it is taken for."""

import pathlib
import sys
import types

import numpy as np
import pytest
import soundfile
from PIL import Image

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.sources import recognise
from keras_a2i.sources.kaggle_scenes import KaggleScenesSource
from keras_a2i.sources.open_sources import open_source, open_sources
from keras_a2i.sources.pairs_csv import PairsCsvSource

CONFIG = {"features": FeatureConfig(), "image": ImageConfig(size=16)}
SCENES_HEADER = ",".join(["IMAGE", *(f"mfcc_{i + 1}" for i in range(104)), "CLASS1", "CLASS2"])


class _Videos:
    def __init__(self, paths, root, *, features, image):
        self.paths, self.root = [pathlib.Path(path).relative_to(root).as_posix() for path in paths], root


@pytest.fixture
def videos(monkeypatch):
    """A stand-in for the video source, so that what it is given can be seen."""
    module = types.ModuleType("keras_a2i.sources.video")
    module.VIDEO_SUFFIXES = (".mp4", ".mkv")
    module.VideoSource = _Videos
    module.find_videos = lambda folder: sorted(p for p in folder.rglob("*") if p.suffix in module.VIDEO_SUFFIXES)
    monkeypatch.setitem(sys.modules, "keras_a2i.sources.video", module)
    return module


@pytest.fixture
def folder(tmp_path, videos):
    (tmp_path / "clips" / "more").mkdir(parents=True)
    for name in ("a.mp4", "b.mkv", "more/c.mp4", "notes.txt"):
        (tmp_path / "clips" / name).write_bytes(b"x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "d.mp4").write_bytes(b"x")
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "pairs.csv").write_text("label,Audio,image\nsea,a.wav,a.png\n")
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "dataset.csv").write_text(SCENES_HEADER + "\n")
    return tmp_path


def _refused(spec, **options):
    with pytest.raises(SourceError) as error:
        open_source(spec, **CONFIG, **options)
    assert error.value.exit_status == 1
    return str(error.value)


def test_synthetic():
    for spec, n_pairs in {"synthetic:surf": 480, "synthetic:surf:12": 12}.items():
        assert open_source(spec, **CONFIG, seed=7).describe() == {"kind": "synthetic:surf", "pairs": n_pairs, "seed": 7}


@pytest.mark.parametrize(("spec", "csv"), [("pairs", "pairs.csv"), ("pairs/pairs.csv", "pairs.csv")])
def test_pairs(folder, spec, csv):
    source = open_source(folder / spec, **CONFIG, pad=False, long="drop")
    assert isinstance(source, PairsCsvSource)
    assert source.describe() == {"kind": "pairs", "name": csv, "pad": False, "long": "drop"}


def test_scenes(folder):
    (folder / "scenes" / "dataset.csv").rename(folder / "scenes" / "mine.csv")
    (folder / "scenes" / "dataset.csv").write_text(SCENES_HEADER.lower() + "\n")
    for spec, name in {
        "scenes": "dataset.csv",
        "scenes/dataset.csv": "dataset.csv",
        "scenes/mine.csv": "mine.csv",
    }.items():
        source = open_source(str(folder / spec), **CONFIG, classes=["BEACH"], exclude=["x*"])
        assert isinstance(source, KaggleScenesSource)
        assert source.describe() == {"kind": "scenes", "name": name, "classes": ["BEACH"], "exclude": ["x*"]}


def test_kaggle_scenes_are_fetched(folder, monkeypatch):
    monkeypatch.setattr(recognise, "fetch_kaggle_scenes", lambda: folder / "scenes")
    assert open_source("kaggle:scenes", **CONFIG).csv_path == folder / "scenes" / "dataset.csv"


def test_a_folder_of_videos_is_its_own_root(folder):
    source = open_source(folder / "clips", **CONFIG)
    assert (source.root, source.paths) == (folder / "clips", ["a.mp4", "b.mkv", "more/c.mp4"])


def test_a_video_file(folder, monkeypatch):
    monkeypatch.chdir(folder / "clips")
    source = open_source("a.mp4", **CONFIG)
    assert (source.root, source.paths) == (folder / "clips", ["a.mp4"])


def test_all_videos_are_one_source_where_the_first_stood(folder):
    specs = [folder / "pairs", folder / "clips" / "more", "synthetic:surf:4", folder / "other/d.mp4", folder / "clips"]
    pairs, videos, surf = open_sources(specs, **CONFIG)
    assert isinstance(pairs, PairsCsvSource)
    assert surf.describe()["pairs"] == 4
    assert videos.root == folder
    assert videos.paths == ["clips/more/c.mp4", "other/d.mp4", "clips/a.mp4", "clips/b.mkv"]


def test_the_real_video_source_takes_what_it_is_given(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    source = open_source(tmp_path, **CONFIG)
    assert type(source).__name__ == "VideoSource"
    assert [dropped.id for dropped in source.plan().dropped] == ["a.mp4"]


@pytest.mark.parametrize(
    ("options", "spec", "message"),
    [
        ({"classes": ["BEACH"]}, "clips", "--class can only be used with a scenes csv"),
        ({"classes": ["A"], "exclude": ["b*"]}, "pairs", "--class and --exclude can only be used"),
        ({"pad": False}, "scenes", "--short can only be used with a csv of pairs"),
        ({"long": "drop"}, "clips", "--long can only be used with a csv of pairs"),
    ],
)
def test_options_that_fit_no_source(folder, options, spec, message):
    with pytest.raises(UsageError, match=message):
        open_source(folder / spec, **CONFIG, **options)


def test_options_that_fit_one_of_several(folder):
    specs = [folder / "pairs", folder / "scenes", folder / "clips"]
    pairs, scenes, _ = open_sources(specs, **CONFIG, classes=["BEACH"], long="drop")
    assert (pairs.long, scenes.classes) == ("drop", ("BEACH",))


def test_one_spec_where_a_list_belongs():
    with pytest.raises(UsageError, match="Use open_source for one"):
        open_sources("synthetic:surf", **CONFIG)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("synthetic:srf", "Did you mean 'synthetic:surf'?"),
        ("synthetik:surf", "Did you mean 'synthetic:surf'?"),
        ("Synthetic:surf", "Did you mean 'synthetic:surf'?"),
        ("surf", "Did you mean 'synthetic:surf'?"),
        ("kaggle:scene", "Did you mean 'kaggle:scenes'?"),
        ("synthetic:surf:many", "takes a whole number of pairs N. Received: 'synthetic:surf:many'"),
        ("synthetic:surf:", "takes a whole number"),
        ("synthetic:surf:-3", "takes a whole number"),
        ("https://example.org/a.mp4", "is an address. Download it first"),
        ("", "must not be empty"),
        ("x" * 300, "File name too long"),
        ("nowhere/at/all.mp4", "nor does the folder 'nowhere/at'"),
    ],
)
def test_names_that_are_no_source(videos, spec, message):
    assert message in _refused(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("clip", "doesn't exist. Did you mean 'clips'? A SOURCE can be a video file"),
        ("clips/A.MP4", "Did you mean 'a.mp4'?"),
        ("pairs/pair.csv", "Did you mean 'pairs.csv'?"),
        ("clips/*.avi", "No file matches"),
        ("clips/notes.txt", "Videos end in one of .mkv, .mp4"),
        ("clips/zzz", "doesn't exist. A SOURCE can be"),
    ],
)
def test_near_misses(folder, spec, message):
    assert message in _refused(folder / spec)


def test_folders_and_files_that_need_something_more(tmp_path, videos):
    assert "It holds no files. A SOURCE can be" in _refused(tmp_path)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    assert "It holds images: say which sound goes with each in a pairs.csv" in _refused(tmp_path)
    assert "An image needs its sound: list both in a pairs.csv" in _refused(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 8000)
    assert "It holds sounds: say which picture goes with each in a pairs.csv" in _refused(tmp_path)
    assert "A sound needs its picture: list both in a pairs.csv" in _refused(tmp_path / "a.wav")
    (tmp_path / "mine.csv").write_text("a;b\n")
    assert f"To use a csv in it, name the file: '{tmp_path / 'mine.csv'}'" in _refused(tmp_path)
    assert "must have the columns audio,image, or IMAGE, mfcc_1" in _refused(tmp_path / "mine.csv")
    assert "Received: 'a;b'" in _refused(tmp_path / "mine.csv")
    (tmp_path / "records.json").write_text("{}")
    assert "These are records already" in _refused(tmp_path)
