"""The manifest: reading, counts, verification of shards."""

import dataclasses
import json

import pytest
from support.tone_source import build

from keras_a2i.config import ImageConfig
from keras_a2i.errors import RecordsError
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.splits import SplitSpec


def test_manifest_read_rejects_other_files(tmp_path):
    with pytest.raises(RecordsError, match=r"A records folder must hold a records.json"):
        Manifest.read(tmp_path)
    (tmp_path / "records.json").write_text("{}")
    with pytest.raises(RecordsError, match="isn't a manifest of this version"):
        Manifest.read(tmp_path)
    (tmp_path / "records.json").write_text('{"schema_version": 99}')
    with pytest.raises(RecordsError, match=r"schema version 2. Received: 99"):
        Manifest.read(tmp_path)


def test_manifest_without_the_field_raw_is_of_png(tmp_path):
    build(tmp_path, image=ImageConfig(size=16, raw=False))
    values = json.loads((tmp_path / "records.json").read_text())
    del values["image"]["raw"]
    (tmp_path / "records.json").write_text(json.dumps(values))
    assert Manifest.read(tmp_path).image.encoding == "PNG"


def test_verify_names_shards_that_differ(tmp_path):
    manifest = build(tmp_path)
    first, second, third = (tmp_path / shard.file for shard in manifest.shards[:3])
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    third.write_bytes(b"x" + third.read_bytes()[1:])
    told = []
    problems = manifest.verify(tmp_path, lambda *values: told.append(values))
    assert told == [(number + 1, len(manifest.shards)) for number in range(len(manifest.shards))]
    assert [p.split(" ", 1)[1].split(" ")[0] for p in problems] == ["is", "has", "has"]
    assert "sha256" in problems[2]


def test_manifest_counts_pairs_by_source_split_and_label(tmp_path):
    manifest = build(tmp_path)
    assert manifest.pair_counts["tone1"] == {"train": {"label1": 7}, "val": {"label1": 3}}
    assert manifest.source_counts["tone1"] == {"train": 7, "val": 3}
    assert manifest.label_counts == {"label0": {"train": 14, "val": 6}, "label1": {"train": 7, "val": 3}}
    assert manifest.labels_per_source == {"tone0": {"label0": 10}, "tone1": {"label1": 10}, "tone2": {"label0": 10}}
    assert manifest.label_names == ("label0", "label1")
    assert manifest.unseen_labels == [] and manifest.split_warning == ""


def test_manifest_warns_where_most_sources_are_too_short_to_be_divided(tmp_path):
    manifest = build(tmp_path, split=SplitSpec(kind="block", guard=0))
    assert manifest.split_warning == ""
    counts = {f"short{i}": {"train": {"": 3}} for i in range(9)} | {"long": {"train": {"": 10}, "val": {"": 4}}}
    shards = [
        dataclasses.replace(shard, count=37 if shard.split == "train" else 4)
        for split in ("train", "val")
        for shard in manifest.shards_of(split)[:1]
    ]
    few = dataclasses.replace(manifest, pair_counts=counts, shards=tuple(shards))
    assert few.split_warning.startswith("Warning: only 4 of 41 pairs are held out, since most sources are too short")


def test_manifest_warns_of_labels_without_training_pairs(tmp_path):
    manifest = build(tmp_path, split=SplitSpec(kind="source", holdout=("tone1",)))
    assert manifest.unseen_labels == ["label1"]
    assert manifest.split_warning == (
        "Warning: 1 of 2 labels have no training pair: label1. Choose a split that has every label in both parts: "
        "source, random, or a column split"
    )
    only_held_out = {
        source: {"val": splits["val"]} for source, splits in manifest.pair_counts.items() if "val" in splits
    }
    shards = tuple(shard for shard in manifest.shards if shard.split == "val")
    assert dataclasses.replace(manifest, pair_counts=only_held_out, shards=shards).split_warning == ""
