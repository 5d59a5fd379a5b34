"""Splits: fractions, guard gap, stability, the user's own file, errors."""

import math

import pytest

from keras_a2i.errors import RecordsError, SourceError, UsageError
from keras_a2i.records.splits import LEFT_OUT, SPLITS, SplitSpec, as_split_spec, assign_splits
from keras_a2i.sources.pair import PairKey
from keras_a2i.sources.pair_keys import PairKeys


def keys_of(sources, seconds, split=""):
    return [PairKey(f"{s}@{k}", s, float(k), split=split) for s in sources for k in range(seconds)]


def assign(keys, **options):
    columns = PairKeys.of(keys)
    places = assign_splits(columns, SplitSpec(**options).resolve(columns), duration=1.0)
    return {key.id: SPLITS[place] for key, place in zip(keys, places, strict=True) if place != LEFT_OUT}


def kind_of(keys, **options):
    return SplitSpec(**options).resolve(PairKeys.of(keys)).kind


def count(splits, split):
    return sum(1 for value in splits.values() if value == split)


def test_split_block_holds_out_the_last_part_behind_a_guard():
    splits = assign(keys_of(["beach", "beach2"], 240), kind="block", val_fraction=0.25, guard=2)
    for source in ("beach", "beach2"):
        assert splits[f"{source}@177"] == "train"
        assert f"{source}@178" not in splits and f"{source}@179" not in splits
        assert splits[f"{source}@180"] == "val"
    assert (count(splits, "train"), count(splits, "val")) == (356, 120)


def test_split_block_of_interleaved_small_sources_follows_its_definition():
    keys = [PairKey(f"{i}", f"source{i * i % 13}", float(i * 31 % 50)) for i in range(200)]
    expected, seen, taken = {}, 0, 0
    for source in dict.fromkeys(key.source_id for key in keys):
        group = sorted((key for key in keys if key.source_id == source), key=lambda key: key.time)
        seen += len(group)
        held_out, taken = round(0.3 * seen) - taken, round(0.3 * seen)
        start = group[len(group) - held_out].time if held_out else math.inf
        expected |= {key.id: "val" for key in group if key.time >= start}
        trained = [key for key in group if key.time + 1 <= start - 3]
        if held_out < len(group) and not trained:
            trained = group
        expected |= {key.id: "train" for key in trained}
    assert assign(keys, kind="block", val_fraction=0.3, guard=3) == expected


def test_split_block_trains_on_sources_that_are_too_short_to_be_divided():
    splits = assign([*keys_of(["long"], 24), *keys_of(["short"], 4)], kind="block", val_fraction=0.25, guard=3)
    assert {splits[f"short@{second}"] for second in range(4)} == {"train"}
    assert [splits.get(f"long@{second}") for second in (14, 15, 17, 18)] == ["train", None, None, "val"]
    splits = assign([*keys_of(["long"], 24), *keys_of(["short"], 8)], kind="block", val_fraction=0.25, guard=3)
    assert [splits.get(f"short@{second}") for second in range(8)] == ["train"] * 3 + [None] * 3 + ["val"] * 2


def test_split_block_of_short_sources_alone_holds_out_what_it_can():
    splits = assign([*keys_of(["a"], 2), *keys_of(["b"], 2)], kind="block", val_fraction=0.25, guard=60)
    assert splits == {"a@0": "train", "a@1": "train", "b@1": "val"}


def test_split_block_without_guard_leaves_nothing_out():
    splits = assign(keys_of(["a"], 240), kind="block", val_fraction=0.25, guard=0)
    assert (count(splits, "train"), count(splits, "val")) == (180, 60)


def test_split_random_is_stratified_as_in_the_paper():
    keys = keys_of(["beach", "beach2"], 240)
    splits = assign(keys, kind="random", val_fraction=0.25)
    assert (count(splits, "train"), count(splits, "val")) == (360, 120)
    assert sum(1 for name, split in splits.items() if split == "val" and name.startswith("beach@")) == 60
    assert splits == assign(list(reversed(keys)), kind="random", val_fraction=0.25)
    assert splits != assign(keys, kind="random", val_fraction=0.25, seed=1)


def test_split_random_keeps_its_fraction_with_one_pair_per_source():
    keys = [PairKey(str(i), str(i)) for i in range(100)]
    assert count(assign(keys, kind="random", val_fraction=0.2), "val") == 20


def test_split_source_holds_out_whole_sources():
    keys = keys_of([f"speaker{i}" for i in range(8)], 10)
    splits = assign(keys, kind="source", val_fraction=0.25)
    held_out = {name.split("@")[0] for name, split in splits.items() if split == "val"}
    assert len(held_out) == 2 and count(splits, "val") == 20
    # The two that sha256sum sorts first, on every machine.
    assert held_out == {"speaker0", "speaker1"}


def test_split_holdout_names_the_held_out_sources():
    splits = assign(keys_of(["george", "jackson", "lucas"], 5), kind="source", holdout=("lucas",))
    assert {name.split("@")[0] for name, split in splits.items() if split == "val"} == {"lucas"}
    with pytest.raises(UsageError, match=r"holdout must name existing sources. Received: 'lukas'. There is lucas"):
        assign(keys_of(["george", "lucas"], 5), kind="source", holdout=("lukas",))


def test_split_kind_is_chosen_by_the_pairs():
    assert kind_of(keys_of(["a"], 5)) == "block"
    assert kind_of([PairKey("a", "a"), PairKey("b", "b")]) == "source"
    assert kind_of(keys_of(["a"], 5, split="val")) == "column"
    assert kind_of(keys_of(["a"], 5), holdout=("a",)) == "source"
    assert kind_of(keys_of(["a"], 5), file="x.csv") == "file"
    for sources, kind in ((["a"], "block"), (["a", "b"], "source")):
        assert SplitSpec().resolve(PairKeys.of(keys_of(sources, 5)), by_source=True).kind == kind


def test_split_fraction_of_zero_trains_on_everything():
    splits = assign(keys_of(["a"], 3), kind="block", val_fraction=0)
    assert set(splits.values()) == {"train"} and len(splits) == 3


def test_split_file_is_followed(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("id,split\na@0,train\na@2,test\n")
    assert assign(keys_of(["a"], 4), file=str(path)) == {"a@0": "train", "a@2": "test"}


def test_given_splits_without_val_hold_out_whole_training_sources_on_request(tmp_path):
    keys = [*keys_of([f"speaker{i}" for i in range(8)], 3, split="train"), *keys_of(["other"], 3, split="test")]
    assert set(assign(keys).values()) == {"train", "test"}
    splits = assign(keys, val_fraction=0.25)
    # The two that sha256sum sorts first, as in a split by sources.
    assert {name.split("@")[0] for name, split in splits.items() if split == "val"} == {"speaker0", "speaker1"}
    assert (count(splits, "train"), count(splits, "val"), count(splits, "test")) == (18, 6, 3)
    path = tmp_path / "split.csv"
    path.write_text("id,split\n" + "".join(f"{key.id},{key.split}\n" for key in keys))
    assert assign(keys, file=str(path), val_fraction=0.25) == splits
    with pytest.raises(
        UsageError, match=r"val_fraction must be left out where the given splits hold val. Received: val"
    ):
        assign([*keys, *keys_of(["more"], 1, split="val")], val_fraction=0.25)
    with pytest.raises(RecordsError, match="The split 'column' leaves none"):
        assign(keys[:3], val_fraction=0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,split\na@0,train\n", "can't be used: split.csv must have the columns id, split, .*'name', 'split'"),
        ("id,split\nb@7,train\n", "1 unknown ids in split.csv, such as 'b@7'. The ids look like 'a@0'"),
        ("id,split\n\na@0,training\n", "split.csv, line 3: split must be train, val, test or empty.*'training'"),
        ("id,split\na@0,val\n", "leaves none"),
        ("id,split\na@0,val\na@1,train\na@0,train\n", "split.csv, lines 2 and 4: an id must .* two for 'a@0'"),
        ("id,split\na@0,val,train\n", "split.csv, line 2: a row must have one cell for each of the 2 columns"),
    ],
)
def test_split_file_rejects_bad_content(tmp_path, text, message):
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises((UsageError, RecordsError, SourceError), match=message):
        assign(keys_of(["a"], 4), file=str(path))


def test_split_file_may_be_written_as_any_other_csv(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("\ufeffNote, ID,Split\n,a@0, TRAIN\n\n,a@0,train\n,a@1\n,a@2,Val\n", encoding="utf-8")
    assert assign(keys_of(["a"], 4), file=str(path)) == {"a@0": "train", "a@2": "val"}


def test_split_file_that_is_missing_is_an_error():
    with pytest.raises(SourceError, match=r"The split file can't be used: nowhere.csv can't be read: No such file"):
        assign(keys_of(["a"], 4), file="nowhere.csv")


def test_kind_of_a_split_may_be_passed_by_position():
    assert SplitSpec("random", seed=3) == SplitSpec(kind="random", seed=3)
    with pytest.raises(TypeError):
        SplitSpec("random", 0.5)
    assert as_split_spec(None) == SplitSpec() and as_split_spec("source") == SplitSpec(kind="source")
    spec = SplitSpec(guard=1)
    assert as_split_spec(spec) is spec


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "fair"}, "kind of a split must be one of block, source"),
        ({"val_fraction": 1.0}, r"val_fraction must lie in \[0, 1\). Received: 1.0"),
        ({"guard": -1.0}, "guard must lie"),
        ({"kind": "block", "holdout": ("a",)}, "holdout must go with kind='source'"),
        ({"kind": "block", "file": "x"}, "file must go with kind='file'"),
        ({"kind": "file"}, "file must be a csv"),
        ({"file": "x", "holdout": ("a",)}, r"holdout must be left out with file. Received: holdout=\('a',\), file='x'"),
        ({"holdout": ("a",), "val_fraction": 0.9}, "val_fraction must be left out with holdout, .* val_fraction=0.9"),
        (
            {"holdout": ("a",), "guard": 2},
            "guard must be left out, or go with kind='block'. .*guard=2 with the kind 'so",
        ),
        ({"kind": "random", "guard": 0}, "guard must be left out, or .*guard=0 with the kind 'random'"),
        ({"file": "x", "guard": 1.5}, "guard must be left out, or .*guard=1.5 with the kind 'file'"),
        ({"file": "x", "seed": 3}, "seed must be left out, or go with kind='random'. .*seed=3 with the kind 'file'"),
    ],
)
def test_split_rejects_options_out_of_range(options, message):
    with pytest.raises(UsageError, match=message):
        SplitSpec(**options)


def test_options_of_another_kind_than_the_pairs_decide_are_refused():
    alone = PairKeys.of([PairKey("a", "a"), PairKey("b", "b")])
    for options, message in (
        ({"guard": 1.0}, "guard=1.0 with the kind 'source'"),
        ({"seed": 0}, "seed=0 with the kind"),
    ):
        with pytest.raises(UsageError, match=message):
            SplitSpec(**options).resolve(alone)
    block = SplitSpec().resolve(PairKeys.of(keys_of(["a"], 5)))
    assert block.to_dict() == {"kind": "block", "val_fraction": 0.25, "guard": 2.0}
    assert SplitSpec(kind="random").resolve(alone).to_dict() == {"kind": "random", "val_fraction": 0.25, "seed": 0}
    assert SplitSpec(holdout=("a",)).resolve(alone).to_dict() == {"kind": "source", "holdout": ("a",)}


def test_split_of_too_few_pairs_is_an_error():
    with pytest.raises(RecordsError, match="leaves none"):
        assign(keys_of(["a"], 3), kind="block", val_fraction=0.5, guard=5)
    with pytest.raises(RecordsError, match="At least one held-out pair is needed"):
        assign(keys_of(["a"], 1), kind="block", val_fraction=0.25)


@pytest.mark.parametrize(
    ("options", "n", "message"),
    [
        ({"holdout": ("a",)}, 3, r"training pair .* none. Leave out one or more of holdout \(--holdout\)$"),
        ({"kind": "column"}, 3, "training pair .* none. Mark rows as train in the column split of the csv$"),
        ({"kind": "column", "val_fraction": 0.5}, 3, r"training .*Choose a smaller val_fraction .* or add data$"),
        (
            {"kind": "source", "val_fraction": 0.5},
            3,
            r"training .*Choose a smaller val_fraction .*fraction\) or add data$",
        ),
        (
            {"kind": "block", "guard": 60},
            3,
            r"training .*Choose a smaller val_fraction .*, a smaller guard \(--guard\), hold out whole sources .* or",
        ),
        (
            {"kind": "block", "guard": 0, "val_fraction": 0.01},
            3,
            r"held-out .*Choose a larger val_fraction .*n\), hold out whole sources .* or add data, or",
        ),
    ],
)
def test_split_without_pairs_on_one_side_names_what_it_is_made_of(options, n, message):
    split = ("train" if options.get("val_fraction") else "val") if options.get("kind") == "column" else ""
    with pytest.raises(RecordsError, match=message):
        assign(keys_of(["a"], n, split=split), **options)


def test_split_file_without_training_pairs_says_where_to_mark_them(tmp_path):
    (tmp_path / "split.csv").write_text("id,split\na@0,val\n")
    with pytest.raises(RecordsError, match=r"The split .file. leaves none. Mark ids as train in the split file$"):
        assign(keys_of(["a"], 4), file=str(tmp_path / "split.csv"))
