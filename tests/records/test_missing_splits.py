"""Records without a split that a caller needs or names."""

import dataclasses

import pytest

from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.recipes.default_recipe import choose_recipe


def _of_splits(records, *splits):
    shard = records.manifest.shards[0]
    shards = [dataclasses.replace(shard, split=split) for split in splits]
    records.manifest = dataclasses.replace(records.manifest, shards=shards)
    return records


@pytest.mark.parametrize(
    ("splits", "split", "message"),
    [
        (("train",), "val", r"no split val. Build the records with val_fraction above 0 \(--val-fraction\)$"),
        (("train",), "foo", r"no split foo. Build the records with val_fraction above 0 \(--val-fraction\)$"),
        (("train", "test"), "val", r"no split val. Build .*--val-fraction\), or choose the split test \(--split\)$"),
        (("train", "test", "val"), "foo", r"one of \['test', 'val'\] in these records. Received: 'foo'. Choose one"),
        (("val",), "train", r"no split train. Build the records with pairs for training$"),
    ],
)
def test_require_split_states_the_remedy(records, splits, split, message):
    with pytest.raises(UsageError, match=f"^An evaluation compares.*{message}") as error:
        _of_splits(records, *splits).require_split(split, "An evaluation compares", is_choice=split != "train")
    assert isinstance(error.value, RecordsError) and error.value.exit_status == 2


def test_records_that_only_others_may_choose_a_split_of(records):
    with pytest.raises(RecordsError, match=r"^A sweep compares. Received: .*, which has no split val. .*fraction\)$"):
        _of_splits(records, "train", "test").require_split("val", "A sweep compares")
    _of_splits(records, "train").require_split("train", "A training reads")


def test_records_without_training_pairs_have_no_recipe(records):
    with pytest.raises(RecordsError, match=r"^A training needs training pairs. Received: .*, which has no split train"):
        choose_recipe(_of_splits(records, "val"))
