"""What a spec is recognised as, the options of sources, and the messages for what isn't a source."""

import dataclasses
import pickle

import numpy as np
import pytest
import soundfile
from PIL import Image

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.sources import kaggle_scenes
from keras_a2i.sources.kaggle_scenes import KaggleScenesSource
from keras_a2i.sources.open_sources import all_options, open_sources
from keras_a2i.sources.pair import Plan
from keras_a2i.sources.pairs_csv import PairsCsvSource
from keras_a2i.sources.registry import (
    SOURCE_TYPES,
    SourceOptions,
    SourceType,
    list_options,
    option,
    register_source,
)
from keras_a2i.sources.video import VideoSource

CONFIG = {"features": FeatureConfig(), "image": ImageConfig(size=16)}
SCENES_HEADER = ",".join(["IMAGE", *(f"mfcc_{i + 1}" for i in range(104)), "CLASS1", "CLASS2"])


@pytest.fixture
def folder(tmp_path):
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


def open_one(spec, **options):
    (source,) = open_sources([spec], **CONFIG, **options)
    return source


def video_names(source):
    assert isinstance(source, VideoSource)
    return [dropped.id for dropped in source.plan().dropped]


def refused(spec, **options):
    with pytest.raises(SourceError) as error:
        open_one(spec, **options)
    assert error.value.exit_status == 1
    return str(error.value)


@pytest.mark.parametrize(("spec", "n_pairs"), [("synthetic:surf", 480), ("synthetic:surf:12", 12)])
def test_open_sources_of_surf_has_the_number_of_pairs_and_the_seed(spec, n_pairs):
    description = {"kind": "synthetic:surf", "has_audio": True, "continuous": True, "pairs": n_pairs, "seed": 7}
    assert open_one(spec, seed=7).describe() == description


@pytest.mark.parametrize("spec", ["pairs", "pairs/pairs.csv"])
def test_open_sources_of_a_table_of_pairs_or_its_folder(folder, spec):
    source = open_one(folder / spec, short="skip", long="skip")
    assert isinstance(source, PairsCsvSource)
    description = {"kind": "pairs", "name": "pairs.csv", "has_audio": True, "short": "skip", "long": "skip"}
    assert source.describe() == description


@pytest.mark.parametrize(
    ("spec", "name"),
    [("scenes", "dataset.csv"), ("scenes/dataset.csv", "dataset.csv"), ("scenes/mine.csv", "mine.csv")],
)
def test_open_sources_of_the_kaggle_scenes(folder, spec, name):
    (folder / "scenes" / "mine.csv").write_text(SCENES_HEADER.lower() + "\n")
    source = open_one(str(folder / spec), classes=["BEACH"], exclude=["x*"])
    assert isinstance(source, KaggleScenesSource)
    options = {"classes": ["BEACH"], "exclude": ["x*"]}
    assert source.describe() == {"kind": "kaggle-scenes", "name": name, "has_audio": False, **options}


def test_open_sources_fetches_the_kaggle_scenes(folder, monkeypatch):
    monkeypatch.setattr(kaggle_scenes, "fetch_kaggle_scenes", lambda: folder / "scenes")
    assert open_one("kaggle:scenes").csv_path == folder / "scenes" / "dataset.csv"


def test_open_sources_of_a_folder_of_videos_has_it_as_root(folder):
    source = open_one(folder / "clips")
    assert source.root == folder / "clips" and video_names(source) == ["a.mp4", "b.mkv", "more/c.mp4"]


def test_open_sources_of_a_relative_video_file(folder, monkeypatch):
    monkeypatch.chdir(folder / "clips")
    source = open_one("a.mp4")
    assert source.root == folder / "clips" and video_names(source) == ["a.mp4"]


def test_open_sources_merges_all_videos_at_the_place_of_the_first(folder):
    specs = [folder / "pairs", folder / "clips" / "more", "synthetic:surf:4", folder / "other/d.mp4", folder / "clips"]
    pairs, videos, surf = open_sources(specs, **CONFIG)
    assert isinstance(pairs, PairsCsvSource) and surf.describe()["pairs"] == 4
    assert videos.root == folder
    assert video_names(videos) == ["clips/more/c.mp4", "other/d.mp4", "clips/a.mp4", "clips/b.mkv"]


def test_open_sources_has_one_name_for_a_video_however_it_is_spelled(folder, monkeypatch):
    monkeypatch.chdir(folder / "clips")
    source = open_sources([".", "../clips", "more/../a.mp4", folder / "other" / ".." / "clips" / "more"], **CONFIG)[0]
    assert source.root == folder / "clips" and video_names(source) == ["a.mp4", "b.mkv", "more/c.mp4"]


def test_open_sources_follows_a_link_before_it_goes_up(folder):
    (folder / "clips" / "link").symlink_to(folder / "other", target_is_directory=True)
    source = open_one(folder / "clips" / "link" / ".." / "other" / "d.mp4")
    assert source.root == (folder / "other").resolve() and video_names(source) == ["d.mp4"]


def test_open_sources_without_configurations_uses_the_default_ones(folder):
    (source,) = open_sources([folder / "pairs"])
    assert (source.features, source.image) == (FeatureConfig(), ImageConfig())


@pytest.mark.parametrize(
    ("options", "spec", "message"),
    [
        (
            {"classes": ["BEACH"]},
            "clips",
            r"^classes can only be used with the Kaggle scenes .*No given source is one$",
        ),
        (
            {"classes": ["A"], "exclude": ["b*"]},
            "pairs",
            "^classes and exclude can only be used with the Kaggle scenes",
        ),
        ({"short": "skip"}, "scenes", "^short can only be used with a csv of pairs"),
        ({"long": "skip"}, "clips", "^long can only be used with a csv of pairs"),
        (
            {"embedding_name": "CLAP"},
            "clips",
            r"^embedding_name can only be used with a csv of embeddings .* or a \.npz",
        ),
    ],
)
def test_options_that_no_source_uses_are_refused(folder, options, spec, message):
    with pytest.raises(UsageError, match=message):
        open_one(folder / spec, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"pad": False},
            "^The options of sources are id_files, crop_size, short, long, embedding_name, .*Received: pad$",
        ),
        ({"short": "cut"}, """^short must be "pad" or "skip". Received: short='cut'$"""),
        ({"classes": "BEACH"}, "^classes must be a list of texts. Received: classes='BEACH'$"),
    ],
)
def test_options_that_are_invalid_are_refused(folder, options, message):
    with pytest.raises(UsageError, match=message):
        open_sources([folder / "pairs", folder / "scenes"], **CONFIG, **options)


def test_options_with_their_default_value_are_accepted(folder):
    given = open_one(folder / "clips", short="pad", long="start", classes=[], exclude=(), embedding_name="", seed=3)
    assert given.describe() == open_one(folder / "clips").describe()


def test_audio_settings_that_no_source_uses_are_refused(tmp_path):
    np.savez(tmp_path / "v.npz", embeddings=np.zeros((2, 3)), images=np.zeros((2, 16, 16), np.uint8))
    with pytest.raises(UsageError, match=r"^sample_rate can only be used with videos or .* or synthetic"):
        open_sources([tmp_path / "v.npz"], features=FeatureConfig(sample_rate=8_000))


def test_options_that_one_of_several_sources_uses_are_accepted(folder):
    specs = [folder / "pairs", folder / "scenes", folder / "clips"]
    pairs, scenes, _ = open_sources(specs, **CONFIG, classes=["BEACH"], long="skip")
    assert (pairs.options.long, scenes.classes) == ("skip", ("BEACH",))


def test_one_spec_instead_of_a_list_is_refused():
    with pytest.raises(UsageError, match=r"specs must be a list. Received: 'a\.mp4'. Pass \['a\.mp4'\]"):
        open_sources("a.mp4", **CONFIG)


def test_every_source_type_has_its_texts_and_options():
    assert list(SOURCE_TYPES) == [
        "videos",
        "avspeech",
        "vggsound",
        "audioset",
        "pairs",
        "embeddings-csv",
        "embeddings-npz",
        "kaggle-scenes",
        "surf",
        "faces",
    ]
    for source_type in SOURCE_TYPES.values():
        assert source_type.title and source_type.usage and source_type.details
        assert all(option.help.endswith(".") and option.flag for option in list_options(source_type.options))
    assert list(all_options()) == [
        "id_files",
        "crop_size",
        "short",
        "long",
        "embedding_name",
        "classes",
        "exclude",
        "seed",
    ]


def test_a_source_of_ones_own_is_opened_with_its_options():
    @dataclasses.dataclass(frozen=True)
    class NoiseOptions(SourceOptions):
        loudness: float = option(0.5, "RMS of the noise.")

    class NoiseSource:
        def __init__(self, loudness, features, image):
            self.loudness, self.features, self.image = loudness, features, image

        def plan(self):
            return Plan(())

    @register_source
    class Noise(SourceType):
        id, title, usage, names, options = "noise", "noise", "noise:", ("noise:",), NoiseOptions

        def recognises(self, spec):
            return spec.text == "noise:"

        def open(self, specs, options, *, features, image):
            return NoiseSource(options.loudness, features, image)

    try:
        source = open_one("noise:", loudness=0.25)
        assert (source.loudness, source.image) == (0.25, CONFIG["image"])
        assert "noise:" in refused("synthetic:nothing")
    finally:
        del SOURCE_TYPES["noise"]


def test_opened_sources_are_picklable(folder):
    specs = [folder / "pairs", folder / "scenes", folder / "clips", "synthetic:surf:4"]
    for source in open_sources(specs, **CONFIG):
        assert pickle.loads(pickle.dumps(source)).describe() == source.describe()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("synthetic:srf", "Did you mean 'synthetic:surf'?"),
        ("synthetik:surf", "Did you mean 'synthetic:surf'?"),
        ("Synthetic:surf", "Did you mean 'synthetic:surf'?"),
        ("surf", "Did you mean 'synthetic:surf'?"),
        ("kaggle:scene", "Did you mean 'kaggle:scenes'?"),
        ("https://example.org/a.mp4", "is an address. Download it first"),
        ("", "must not be empty"),
        ("x" * 300, "File name too long"),
        ("nowhere/at/all.mp4", "nor does the folder 'nowhere/at'"),
    ],
)
def test_names_that_are_no_source_arerefused(spec, message):
    assert message in refused(spec)


@pytest.mark.parametrize("number", ["many", "", "-3"])
def test_number_of_pairs_that_is_none_is_a_usage_error(number):
    with pytest.raises(UsageError, match=rf"must be a whole number of pairs. Received: 'synthetic:surf:{number}'"):
        open_one(f"synthetic:surf:{number}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("clip", "doesn't exist. Did you mean 'clips'? A source can be a video file"),
        ("clips/A.MP4", "Did you mean 'a.mp4'?"),
        ("pairs/pair.csv", "Did you mean 'pairs.csv'?"),
        ("clips/*.avi", "No file matches"),
        ("clips/notes.txt", "Videos end in one of .3gp, .avi"),
        ("clips/zzz", "doesn't exist. A source can be"),
    ],
)
def test_near_misses_are_suggested(folder, spec, message):
    assert message in refused(folder / spec)


def test_folders_and_files_that_lack_something_are_told_what(tmp_path):
    assert "It holds no files. A source can be" in refused(tmp_path)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    assert "It holds images: list the audio of each file in a pairs.csv" in refused(tmp_path)
    assert "An image needs its audio: list both in a pairs.csv" in refused(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 8000)
    assert "It holds audio: list the image of each file in a pairs.csv" in refused(tmp_path)
    assert "An audio file needs its image: list both in a pairs.csv" in refused(tmp_path / "a.wav")
    (tmp_path / "mine.csv").write_text("a;b\n")
    assert f"To use a csv in it, name the file: '{tmp_path / 'mine.csv'}'" in refused(tmp_path)
    assert "must have the columns audio,image, or embedding,image, or IMAGE, mfcc_1" in refused(tmp_path / "mine.csv")
    assert "Received: 'a;b'" in refused(tmp_path / "mine.csv")
    (tmp_path / "records.json").write_text("{}")
    assert "These are records already" in refused(tmp_path)
