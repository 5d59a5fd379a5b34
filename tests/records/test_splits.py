"""Splits: fractions, guard gap, stability, the user's own file, errors."""

import pytest

from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.records.splits import SplitSpec, assign_splits
from keras_a2i.sources.pair import PairKey


def keys_of(sources, seconds, split=""):
    return [PairKey(f"{s}@{k}", s, float(k), split=split) for s in sources for k in range(seconds)]


def assign(keys, **options):
    spec = SplitSpec(**options).resolve(keys)
    return assign_splits(keys, spec, duration=1.0)


def count(splits, split):
    return sum(1 for value in splits.values() if value == split)


def test_block_holds_out_the_last_part_behind_a_guard():
    splits = assign(keys_of(["beach", "beach2"], 240), kind="block", val_fraction=0.25, guard=2)
    for source in ("beach", "beach2"):
        assert splits[f"{source}@177"] == "train"
        assert f"{source}@178" not in splits and f"{source}@179" not in splits
        assert splits[f"{source}@180"] == "val"
    assert (count(splits, "train"), count(splits, "val")) == (356, 120)


def test_block_without_guard_leaves_nothing_out():
    splits = assign(keys_of(["a"], 240), kind="block", val_fraction=0.25, guard=0)
    assert (count(splits, "train"), count(splits, "val")) == (180, 60)


def test_random_is_stratified_as_in_the_paper():
    keys = keys_of(["beach", "beach2"], 240)
    splits = assign(keys, kind="random", val_fraction=0.25)
    assert (count(splits, "train"), count(splits, "val")) == (360, 120)
    assert sum(1 for name, split in splits.items() if split == "val" and name.startswith("beach@")) == 60
    assert splits == assign(list(reversed(keys)), kind="random", val_fraction=0.25)
    assert splits != assign(keys, kind="random", val_fraction=0.25, seed=1)


def test_random_keeps_its_fraction_where_every_source_has_one_pair():
    keys = [PairKey(str(i), str(i)) for i in range(100)]
    assert count(assign(keys, kind="random", val_fraction=0.2), "val") == 20


def test_source_holds_out_whole_sources():
    keys = keys_of([f"speaker{i}" for i in range(8)], 10)
    splits = assign(keys, kind="source", val_fraction=0.25)
    held_out = {name.split("@")[0] for name, split in splits.items() if split == "val"}
    assert len(held_out) == 2 and count(splits, "val") == 20
    # The two that sha256sum sorts first: the same everywhere, for ever.
    assert held_out == {"speaker0", "speaker1"}


def test_holdout_by_name():
    splits = assign(keys_of(["george", "jackson", "lucas"], 5), kind="source", holdout=("lucas",))
    assert {name.split("@")[0] for name, split in splits.items() if split == "val"} == {"lucas"}
    with pytest.raises(UsageError, match=r"must exist. Received: 'lukas'; there is lucas"):
        assign(keys_of(["george", "lucas"], 5), kind="source", holdout=("lukas",))


def test_the_kind_is_chosen_from_the_pairs():
    assert SplitSpec().resolve(keys_of(["a"], 5)).kind == "block"
    assert SplitSpec().resolve([PairKey("a", "a"), PairKey("b", "b")]).kind == "source"
    assert SplitSpec().resolve(keys_of(["a"], 5, split="val")).kind == "column"
    assert SplitSpec(holdout=("a",)).resolve(keys_of(["a"], 5)).kind == "source"
    assert SplitSpec(file="x.csv").resolve(keys_of(["a"], 5)).kind == "file"


def test_a_fraction_of_zero_trains_on_everything():
    splits = assign(keys_of(["a"], 3), kind="block", val_fraction=0)
    assert set(splits.values()) == {"train"} and len(splits) == 3


def test_split_file(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("id,split\na@0,train\na@2,test\n")
    assert assign(keys_of(["a"], 4), file=str(path)) == {"a@0": "train", "a@2": "test"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,split\na@0,train\n", "needs the columns id,split. Received: .'name', 'split'."),
        ("id,split\nb@7,train\n", "1 unknown ids in split.csv, such as 'b@7'; the pairs are named like 'a@0'"),
        ("id,split\na@0,training\n", "must be one of train, val, test. Received: 'training' for 'a@0'"),
        ("id,split\na@0,val\n", "leaves none"),
    ],
)
def test_split_file_errors(tmp_path, text, message):
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises((UsageError, RecordsError), match=message):
        assign(keys_of(["a"], 4), file=str(path))


def test_a_missing_split_file():
    with pytest.raises(UsageError, match=r"The split file nowhere.csv can't be read"):
        assign(keys_of(["a"], 4), file="nowhere.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "fair"}, "must be one of block, source"),
        ({"val_fraction": 1.0}, r"lie in \[0, 1\). Received: 1.0"),
        ({"guard": -1.0}, "guard gap must lie"),
        ({"kind": "block", "holdout": ("a",)}, "go with the split 'source'"),
        ({"kind": "block", "file": "x"}, "goes without another split"),
        ({"kind": "file"}, "needs a csv"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(UsageError, match=message):
        SplitSpec(**options)


def test_too_few_pairs():
    with pytest.raises(RecordsError, match="leaves none"):
        assign(keys_of(["a"], 3), kind="block", val_fraction=0.5, guard=5)
    with pytest.raises(RecordsError, match="holds nothing out of so few pairs"):
        assign(keys_of(["a"], 1), kind="block", val_fraction=0.25)
