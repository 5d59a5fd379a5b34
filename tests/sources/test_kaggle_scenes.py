"""The Kaggle scenes folder, on a small one made here in its layout."""

import csv
import pickle
import sys
import types

import numpy as np
import pytest
from PIL import Image

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ConfigError, MissingPackageError, SourceError, UsageError
from keras_a2i.sources.kaggle_scenes import KaggleScenesSource, fetch_kaggle_scenes
from keras_a2i.sources.pair import Dropped, Pair

FEATURES = FeatureConfig()
IMAGE = ImageConfig(size=16, raw=False)
NAMES = [f"mfcc_{i + 1}" for i in range(104)]


def _row(image, class2="BEACH", class1="OUTDOORS", first=0.0):
    return [image, *(first + i / 8 for i in range(104)), class1, class2]


def _write(folder, rows, header=("IMAGE", *NAMES, "CLASS1", "CLASS2"), pictures=True):
    with (folder / "dataset.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    for i, row in enumerate(rows if pictures else []):
        path = folder / row[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (i, 7, 9)).save(path)
    return folder


@pytest.fixture
def folder(tmp_path):
    rows = [
        _row("images/beach/beach0.png", first=1.5),
        _row("images/beach/beach1.png", first=2.5),
        _row("images/beach/beach30.png"),
        _row("images/beach2/beach7.png"),
        _row("images/beach3/beach2.png"),
        _row("images/city/london_12.png", "CITY"),
        _row("images/class/room.png", "CLASSROOM", "INDOORS"),
        _row("images/class/hall.png", "CLASSROOM", "INDOORS"),
    ]
    return _write(tmp_path, rows)


def _source(folder, **options):
    return KaggleScenesSource(folder, features=options.pop("features", FEATURES), image=IMAGE, **options)


def _keys(source):
    return [key for unit in source.plan().units for key in unit.keys]


def _read(source):
    return [item for unit in source.plan().units for item in source.read(unit)]


def test_keys_are_derived_from_the_file_names(folder):
    keys = {key.id: (key.source_id, key.time, key.label) for key in _keys(_source(folder))}
    assert keys == {
        "images/beach/beach0.png": ("beach/beach", 0.0, "BEACH"),
        "images/beach/beach1.png": ("beach/beach", 1.0, "BEACH"),
        "images/beach/beach30.png": ("beach/beach", 30.0, "BEACH"),
        "images/beach2/beach7.png": ("beach2/beach", 7.0, "BEACH"),
        "images/beach3/beach2.png": ("beach3/beach", 2.0, "BEACH"),
        "images/city/london_12.png": ("city/london", 12.0, "CITY"),
        "images/class/room.png": ("class/room", 0.0, "CLASSROOM"),
        "images/class/hall.png": ("class/hall", 0.0, "CLASSROOM"),
    }


def test_pairs_hold_the_features_and_the_files_own_bytes(folder):
    items = _read(_source(folder))
    assert all(isinstance(item, Pair) and item.waveform is None for item in items)
    np.testing.assert_array_equal(items[1].features, (2.5 + np.arange(104) / 8).astype(np.float32))
    assert items[1].features.dtype == np.float32
    assert items[1].image == (folder / "images/beach/beach1.png").read_bytes()


def test_classes_match_either_column_in_any_case(folder):
    assert len(_keys(_source(folder, classes=["beach"]))) == 5
    assert len(_keys(_source(folder, classes=["City", "indoors"]))) == 3
    with pytest.raises(UsageError, match=r"class 'BEECH'\. Classes: BEACH, CITY, CLASSROOM, INDOORS, OUTDOORS"):
        _source(folder, classes=["BEECH"]).plan()


@pytest.mark.parametrize("glob", ["beach3*", "images/beach3/*", "beach3/*", "*/beach2.png", "beach2.png"])
def test_exclude_matches_folders_and_not_frames_with_the_same_number(folder, glob):
    kept = [key.id for key in _keys(_source(folder, classes=["BEACH"], exclude=[glob]))]
    assert kept == [
        "images/beach/beach0.png",
        "images/beach/beach1.png",
        "images/beach/beach30.png",
        "images/beach2/beach7.png",
    ]


def test_globs_that_match_nothing_or_everything_are_refused(folder):
    with pytest.raises(UsageError, match=r"matches 'beech\*'. Folders: beach/, beach2/, beach3/, city/, class/"):
        _source(folder, exclude=["beech*"]).plan()
    with pytest.raises(UsageError, match="must leave a row"):
        _source(folder, exclude=["*"]).plan()


def test_unusable_rows_are_dropped(tmp_path):
    bad = [_row(f"images/a/a{i}.png") for i in range(4)]
    bad[0][1], bad[1][50], bad[2][104], bad[3][3] = "NaN", "inf", "loud", ""
    rows = [
        _row("images/b/b0.png"),
        *bad,
        _row("b/b0.png"),
        _row("../b1.png"),
        _row("/etc/b2.png"),
        _row("images/b/b3.png", first=1e39),
    ]
    plan = _source(_write(tmp_path, rows, pictures=False)).plan()
    remedy = "Put the csv into a folder above its files, or copy the files"
    assert [dropped.reason for dropped in plan.dropped] == [
        "an mfcc value is NaN or infinite",
        "an mfcc value is NaN or infinite",
        "an mfcc value isn't a number",
        "an mfcc value isn't a number",
        "the same IMAGE as line 2",
        f"the IMAGE path leads out of the csv's folder. {remedy}",
        f"the IMAGE path is absolute; it must be relative to the csv's folder. {remedy}",
        "an mfcc value is NaN or infinite",
    ]
    assert plan.dropped[0].id == "dataset.csv line 3"
    assert [key.id for unit in plan.units for key in unit.keys] == ["images/b/b0.png"]


def test_missing_damaged_and_linked_images_drop_their_own_pair(folder):
    (folder / "images/beach/beach0.png").unlink()
    (folder / "images/beach/beach1.png").write_bytes(b"nothing")
    secret = folder.parent / "secret.png"
    Image.new("RGB", (16, 16)).save(secret)
    (folder / "images/beach/beach30.png").unlink()
    (folder / "images/beach/beach30.png").symlink_to(secret)
    items = _read(_source(folder))
    assert items[0] == Dropped("images/beach/beach0.png", "images/beach/beach0.png doesn't exist")
    assert items[1].reason == "beach1.png isn't a PNG or JPEG image"
    assert items[2].reason.startswith(
        "images/beach/beach30.png is a link that leads out of the csv's folder. Put the csv"
    )
    assert all(isinstance(item, Pair) for item in items[3:])


@pytest.mark.parametrize(
    ("named", "stored"), [("beach/beach0.png", "images/beach"), ("images/beach/beach0.png", "beach")]
)
def test_images_are_found_with_and_without_the_prefix(tmp_path, named, stored):
    _write(tmp_path, [_row(named)], pictures=False)
    (tmp_path / stored).mkdir(parents=True)
    Image.new("RGB", (16, 16), (1, 2, 3)).save(tmp_path / stored / "beach0.png")
    (pair,) = _read(_source(tmp_path))
    assert pair.image == (tmp_path / stored / "beach0.png").read_bytes()
    assert pair.key.source_id == "beach/beach"


def test_images_without_a_folder_or_a_name_have_a_source(tmp_path):
    _write(tmp_path, [_row("images/12.png"), _row("sea4.png")])
    assert [(key.source_id, key.time) for key in _keys(_source(tmp_path))] == [("images", 12.0), ("sea", 4.0)]


def test_features_that_do_not_fit_the_columns_are_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="n_features=80 for 104 columns"):
        _source(folder, features=FeatureConfig(n_mfcc=10)).plan()


def test_unusable_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"dataset\.csv can't be read"):
        _source(tmp_path).plan()
    _write(tmp_path, [], pictures=False)
    with pytest.raises(SourceError, match="holds no rows"):
        _source(tmp_path).plan()
    _write(tmp_path, [], header=("IMAGE", *NAMES, "CLASS1"))
    with pytest.raises(SourceError, match="Missing: class2"):
        _source(tmp_path).plan()
    _write(tmp_path, [], header=("IMAGE", *NAMES[:50], *NAMES[51:], "CLASS1", "CLASS2"))
    with pytest.raises(SourceError, match="mfcc_1, mfcc_2 and so on without a gap"):
        _source(tmp_path).plan()


def test_units_have_64_rows_and_are_read_in_other_processes(tmp_path):
    _write(tmp_path, [_row(f"images/s/s{i}.png") for i in range(70)])
    source = _source(tmp_path, classes=["BEACH"], exclude=["s/s69.png"])
    units = source.plan().units
    assert [len(unit.keys) for unit in units] == [64, 5]
    assert source.plan().units == units
    source, unit = pickle.loads(pickle.dumps((source, units[1])))
    assert [pair.key.id for pair in source.read(unit)] == [f"images/s/s{i}.png" for i in range(64, 69)]
    assert source.describe() == {
        "kind": "kaggle-scenes",
        "has_audio": False,
        "name": "dataset.csv",
        "classes": ["BEACH"],
        "exclude": ["s/s69.png"],
    }
    Image.new("RGB", (32, 32)).save(tmp_path / "images/s/s2.png")
    assert [new.stamp != old.stamp for new, old in zip(source.plan().units, units, strict=True)] == [True, False]


class _Refused(Exception):
    pass


@pytest.fixture
def kagglehub(monkeypatch):
    """A stand-in with kagglehub's two names used here; the real one needs the network."""
    module, exceptions = types.ModuleType("kagglehub"), types.ModuleType("kagglehub.exceptions")
    for name in ("BackendError", "CredentialError", "DataCorruptionError", "UnauthenticatedError"):
        setattr(exceptions, name, type(name, (_Refused,), {}))
    module.exceptions = exceptions
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    monkeypatch.setitem(sys.modules, "kagglehub.exceptions", exceptions)
    return module


def test_fetch_kaggle_scenes_finds_the_csv(folder, kagglehub):
    handles = []
    nested = folder / "versions" / "1"
    nested.mkdir(parents=True)
    (folder / "dataset.csv").rename(nested / "dataset.csv")
    kagglehub.dataset_download = lambda handle: handles.append(handle) or str(folder)
    assert fetch_kaggle_scenes() == nested
    assert handles == ["birdy654/scene-classification-images-and-audio"]


def test_fetch_kaggle_scenes_without_network_account_or_csv_is_refused(tmp_path, kagglehub):
    for error in (ConnectionError("no route"), kagglehub.exceptions.UnauthenticatedError()):

        def fail(handle, error=error):
            raise error

        kagglehub.dataset_download = fail
        with pytest.raises(SourceError, match="Download it manually from https"):
            fetch_kaggle_scenes()
    kagglehub.dataset_download = lambda handle: str(tmp_path)
    with pytest.raises(SourceError, match=r"came without dataset\.csv"):
        fetch_kaggle_scenes()


def test_fetch_kaggle_scenes_without_kagglehub_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingPackageError, match=r"keras-a2i\[data\]"):
        fetch_kaggle_scenes()
