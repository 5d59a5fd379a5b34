"""The configurations of a build: those that its sources were opened with, and the split that fits all of them."""

import dataclasses

import numpy as np
import pytest
from support.tone_source import ToneSource, build

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import UsageError
from keras_a2i.records.build import build_records
from keras_a2i.records.inspection import inspect
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.sources.pair import Plan

IMAGE, FEATURES = ImageConfig(size=16), FeatureConfig(sample_rate=8_000)


def test_build_without_configurations_uses_those_of_the_sources(tmp_path):
    sources = open_sources(["synthetic:surf:4"], features=FEATURES, image=IMAGE)
    build_records(sources, tmp_path / "rec", workers=1)
    manifest = Manifest.read(tmp_path / "rec")
    assert (manifest.features, manifest.image) == (FEATURES, IMAGE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": ImageConfig(size=32)}, r"^image must be .*size=32.* for the source 'synthetic:surf', .*size=16"),
        ({"features": FeatureConfig()}, r"^features must be .*sample_rate=16000.*sample_rate=8000.*Pass the same to"),
    ],
)
def test_build_with_another_configuration_than_the_sources_is_refused(tmp_path, options, message):
    sources = open_sources(["synthetic:surf:4"], features=FEATURES, image=IMAGE)
    with pytest.raises(UsageError, match=message):
        build_records(sources, tmp_path / "rec", workers=1, **options)
    assert not (tmp_path / "rec").exists()


def test_build_of_sources_with_different_configurations_is_refused(tmp_path):
    (small,) = open_sources(["synthetic:surf:4"], image=IMAGE)
    (large,) = open_sources(["synthetic:surf:6"], image=ImageConfig(size=32))
    with pytest.raises(UsageError, match="image must be the configuration that every source was opened with"):
        build_records([small, large], tmp_path / "rec", workers=1)


def test_build_of_a_source_that_states_no_configuration_uses_the_given_one(tmp_path):
    manifest = build_records([ToneSource()], tmp_path / "rec", image=IMAGE, workers=1)
    assert manifest.image == IMAGE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": 0.25}, r"split must be a SplitSpec, one of its kinds \(block, source, .*Received: split=0.25"),
        ({"split": "randomly"}, "kind of a split must be one of block, source, random, .* Received: 'randomly'"),
        ({"split": "file"}, "file must be a csv with the columns id,split where kind='file'. Received: None"),
        ({"image": 64}, "image must be of the class ImageConfig, or None. Received: image=64"),
        ({"features": {}}, "features must be of the class FeatureConfig, or None. Received: features={}"),
        ({"workers": -5}, r"workers must be None \(one per core\), or 1 or more. Received: workers=-5"),
        ({"workers": 0}, "workers must be None"),
        ({"workers": 1.5}, "workers must be None"),
        ({"workers": 2, "executor": object()}, "workers must be left out with executor, .* Received: workers=2"),
        (
            {"sources": (each for each in [ToneSource()])},
            r"sources must be a list of source objects \(with plan, read,",
        ),
        ({"sources": [None]}, "sources must be a list .* Received: None"),
    ],
)
def test_build_rejects_arguments(tmp_path, arguments, message):
    with pytest.raises(UsageError, match=message):
        build_records(**{"sources": [ToneSource()], "out": tmp_path / "rec", **arguments})
    assert not (tmp_path / "rec").exists()


@pytest.mark.parametrize("kind", ["source", "random"])
def test_build_with_a_kind_of_split_equals_that_with_its_split_spec(tmp_path, kind):
    short, whole = (build(tmp_path / str(i), split=split) for i, split in enumerate((kind, SplitSpec(kind=kind))))
    assert short.split == SplitSpec(kind=kind, seed=0 if kind == "random" else None, val_fraction=0.25).to_dict()
    assert short == whole and short.counts["val"] == {"source": 12, "random": 9}[kind]


class SplitTones(ToneSource):
    """Tones whose pairs state the split val or train, but for the first of each source."""

    def plan(self):
        plan = super().plan()
        units = [
            dataclasses.replace(
                unit,
                keys=tuple(
                    dataclasses.replace(key, id=f"split{key.id}", split="" if k == 0 else "val" if k < 3 else "train")
                    for k, key in enumerate(unit.keys)
                ),
            )
            for unit in plan.units
        ]
        return dataclasses.replace(plan, units=tuple(units))


@pytest.mark.parametrize("kind", [None, "column"])
def test_build_where_only_some_sources_state_splits_is_refused(tmp_path, kind):
    sources = [SplitTones(n_sources=1), ToneSource(n_sources=1)]
    message = (
        r"^split must be chosen where only some sources .* Received: tone \(such as 'splittone0@0'\) with splits and "
        r"tone \(such as 'tone0@0'\) without. Choose block, source or random"
    )
    with pytest.raises(UsageError, match=message):
        build_records(sources, tmp_path / "rec", image=IMAGE, workers=1, split=SplitSpec(kind=kind))
    assert not (tmp_path / "rec").exists()


def test_inspect_says_why_pairs_are_in_no_split(tmp_path):
    build_records([SplitTones(n_sources=2)], tmp_path / "column", image=IMAGE, workers=1)
    assert "2 pairs in no split (without a value in the column split)" in str(inspect(tmp_path / "column"))
    (tmp_path / "split.csv").write_text("id,split\ntone0@1,train\ntone0@2,val\n")
    split = SplitSpec(file=str(tmp_path / "split.csv"))
    build_records([ToneSource(n_sources=1, seconds=4)], tmp_path / "file", image=IMAGE, workers=1, split=split)
    assert "2 pairs in no split (missing from the split file)" in str(inspect(tmp_path / "file"))
    build_records([ToneSource(n_sources=1)], tmp_path / "block", image=IMAGE, workers=1)
    assert "2 pairs in no split (guard gaps)" in str(inspect(tmp_path / "block"))


@dataclasses.dataclass(frozen=True)
class TimedSource(ToneSource):
    """The first pairs of each of some tones, at other times."""

    times: tuple[float, ...] = ()

    def plan(self):
        units = [
            dataclasses.replace(
                unit,
                keys=tuple(
                    dataclasses.replace(key, time=time) for key, time in zip(unit.keys, self.times, strict=False)
                ),
            )
            for unit in super().plan().units
        ]
        return Plan(tuple(units))


@pytest.mark.parametrize(
    ("times", "received"),
    [((1.7e9, 1.7e9 + 1), "1700000000 and 1700000001"), ((5, 20_000_001, 20_000_000), "20000000 and 20000001")],
)
def test_build_of_times_that_records_cannot_tell_apart_is_refused(tmp_path, times, received):
    message = f"Times of a source must differ in float32.* Received: {received} in 'tone0'. Count the seconds"
    with pytest.raises(UsageError, match=message):
        build_records([TimedSource(n_sources=1, times=times)], tmp_path / "rec", image=IMAGE, workers=1)
    assert not (tmp_path / "rec").exists()


@pytest.mark.parametrize("times", [(0.3, 0.1 + 0.2), (3, 3, 3), (1e5, 1e5 + 0.1), (1.7e9,), (1.7e9, 1.7e9 + 256)])
def test_build_of_times_that_are_equal_or_differ_when_stored_is_not_refused(tmp_path, times):
    split = SplitSpec(kind="random", val_fraction=0)
    source = TimedSource(n_sources=2, times=times)
    build_records([source], tmp_path / "rec", image=IMAGE, workers=1, split=split)
    stored = Records(tmp_path / "rec").table("train").times
    np.testing.assert_array_equal(stored, np.float32(times * 2))
