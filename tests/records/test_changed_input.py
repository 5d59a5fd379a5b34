"""What has changed since records were built is noticed: files, and what a csv says of its pairs."""

import unicodedata

import pytest
from PIL import Image
from support.video_clips import at, numbered, tone, write_clip

from keras_a2i.config import ImageConfig
from keras_a2i.errors import UsageError
from keras_a2i.media.sound_file import save_wav
from keras_a2i.records.build import build_records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.files import TableFiles

OPTIONS = {"image": ImageConfig(size=16), "split": SplitSpec(kind="source", val_fraction=0.5), "workers": 1}
REFUSED = r"holds records of other input or options \(or files have changed since, or an earlier version of keras-a2i"


def write_video(path, first):
    return write_clip(path, at(5, 2), tone(2), pictures=lambda n: numbered(first + n))


def test_changed_video_is_another_build(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for number, name in enumerate(("a.mp4", "b.mp4")):
        write_video(folder / name, 100 * number)
    before = build_records(folder, tmp_path / "records", **OPTIONS)
    assert build_records(folder, tmp_path / "records", **OPTIONS) == before
    write_video(folder / "b.mp4", 300)
    with pytest.raises(UsageError, match=REFUSED):
        build_records(folder, tmp_path / "records", **OPTIONS)
    after = build_records(folder, tmp_path / "records", overwrite=True, **OPTIONS)
    assert sum(one.sha256 != other.sha256 for one, other in zip(before.shards, after.shards, strict=True)) == 1


@pytest.mark.parametrize("change", [("one", "two"), ("s0", "s9"), ("0.5", "0.7")], ids=["label", "source", "time"])
def test_changed_cell_of_a_csv_is_another_build(tmp_path, change):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name in "ab":
        save_wav(folder / f"{name}.wav", tone(1.0)[:, 0], 16_000)
        Image.new("RGB", (16, 16), (10, 0, 0)).save(folder / f"{name}.png")
    text = "audio,image,label,source,time,split\na.wav,a.png,one,s0,0.5,train\nb.wav,b.png,x,s1,0,val\n"
    options = OPTIONS | {"split": SplitSpec(kind="column")}
    (folder / "pairs.csv").write_text(text)
    before = build_records(folder, tmp_path / "records", **options)
    (folder / "pairs.csv").write_text(text.replace(*change))
    with pytest.raises(UsageError, match=REFUSED):
        build_records(folder, tmp_path / "records", **options)
    after = build_records(folder, tmp_path / "records", overwrite=True, **options)
    assert [shard.sha256 for shard in after.shards] != [shard.sha256 for shard in before.shards]


def test_stamp_of_a_table_finds_files_in_the_other_form_of_their_names(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é.wav") for form in ("NFC", "NFD"))
    stamps = []
    for data in (b"1", b"22"):
        (tmp_path / decomposed).write_bytes(data)
        stamps += [TableFiles(tmp_path / "pairs.csv").stamp([name]) for name in (composed, decomposed)]
    assert stamps[0] == stamps[1] != stamps[2] == stamps[3]
