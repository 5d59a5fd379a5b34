"""Pairs listed in a csv: which rows become pairs, and what becomes of the others."""

import gc
import os
import pickle
import tracemalloc
import unicodedata

import numpy as np
import pytest
import soundfile
from PIL import Image

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media import audio_excerpts
from keras_a2i.media.audio import stream_audio
from keras_a2i.sources.pair import Dropped, Pair
from keras_a2i.sources.pairs_csv import PairsCsvSource

FEATURES = FeatureConfig(sample_rate=8_000, duration=0.5)
IMAGE = ImageConfig(size=16, raw=False)


def _tone(n_samples):
    return (0.5 * np.sin(np.arange(n_samples) * 0.3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "data"
    (home / "wav").mkdir(parents=True)
    (home / "png").mkdir()
    for name, n_samples in {"a": 4000, "short": 1000, "long": 6000}.items():
        soundfile.write(home / "wav" / f"{name}.wav", _tone(n_samples), 8000, subtype="FLOAT")
    for i, name in enumerate("ab"):
        Image.new("RGB", (16, 16), (10 * i, 20, 30)).save(home / "png" / f"{name}.png")
    return home


def _source(folder, text, name="pairs.csv", **options):
    data = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(data)
    return PairsCsvSource(folder / name, features=FEATURES, image=IMAGE, **options)


def _keys(source):
    return [key for unit in source.plan().units for key in unit.keys]


def _read(source):
    return [item for unit in source.plan().units for item in source.read(unit)]


def test_rows_are_read_in_order(folder):
    source = _source(folder, "image,audio\npng/b.png,wav/a.wav\npng/a.png,wav/short.wav\n")
    first, second = _read(source)
    assert isinstance(first, Pair)
    assert first.key.id == first.key.source_id == first.origin == "wav/a.wav"
    np.testing.assert_array_equal(first.waveform, _tone(4000))
    assert first.image == (folder / "png/b.png").read_bytes()
    assert first.features is None
    np.testing.assert_array_equal(second.waveform, np.pad(_tone(1000), (0, 3000)))


def test_columns_may_have_any_order_case_and_number(folder):
    text = (
        "\ufeffNotes, Split ,Label,Audio,IMAGE,time,source\r\n"
        '"a, b",VAL,sea,wav/a.wav,png/a.png,2.5,tape\r\n\r\n'
        ",,,wav\\long.wav,./png/b.png\r\n"
    )
    first, second = _keys(_source(folder, text))
    assert (first.id, first.source_id, first.time, first.label, first.split) == ("wav/a.wav", "tape", 2.5, "sea", "val")
    assert (second.id, second.source_id, second.time, second.label, second.split) == (
        "wav/long.wav",
        "wav/long.wav",
        0.0,
        "",
        "",
    )


def test_quoted_line_breaks_blank_rows_and_empty_trailing_cells_keep_the_lines(folder):
    text = (
        ',,\n\naudio,image,label\r\n"wav/a.wav","png/a.png","two\r\nlines"\n , \n\n'
        'wav/b.wav,png/b.png,"say ""a, b""",,,\n'
        "wav/c.wav\nwav/d.wav,png/d.png,NA\n"
    )
    plan = _source(folder, text).plan()
    (unit,) = plan.units
    assert [key.label for key in unit.keys] == ["two\r\nlines", 'say "a, b"', "NA"]
    assert unit.name == "pairs.csv lines 5-10"
    assert plan.dropped == (Dropped("pairs.csv line 9", "the image path is empty"),)


@pytest.mark.training
@pytest.mark.parametrize("rows", [10_000, 30_000])
def test_rows_beyond_a_chunk_keep_their_lines(folder, rows):
    text = "audio,image\n" + "".join(f"wav/{i}.wav,png/a.png\n" for i in range(rows)) + "wav/0.wav,png/a.png\n"
    plan = _source(folder, text).plan()
    assert plan.dropped == (Dropped(f"pairs.csv line {rows + 2}", "the same audio and image as line 2"),)
    assert [key.id for unit in plan.units for key in unit.keys] == [f"wav/{i}.wav" for i in range(rows)]


def test_time_counts_the_rows_of_a_source(folder):
    rows = [("a", "one"), ("b", "two"), ("c", "one"), ("d", "one"), ("e", "two")]
    text = "audio,image,source\n" + "".join(f"{audio}.wav,x.png,{source}\n" for audio, source in rows)
    assert [key.time for key in _keys(_source(folder, text))] == [0.0, 0.0, 0.5, 1.0, 0.5]


def test_ids_of_audio_with_several_images_are_independent_of_the_order(folder):
    rows = ["wav/a.wav,png/a.png", "wav/a.wav,png/b.png", "wav/long.wav,png/b.png"]
    forward = _keys(_source(folder, "\n".join(["audio,image", *rows])))
    backward = _keys(_source(folder, "\n".join(["audio,image", *rows[::-1]]), "other.csv"))
    assert [key.id for key in forward] == ["wav/a.wav|png/a.png", "wav/a.wav|png/b.png", "wav/long.wav"]
    assert {key.id for key in forward} == {key.id for key in backward}
    assert {key.source_id for key in forward} == {"wav/a.wav", "wav/long.wav"}


def test_short_and_long_audio_is_padded_cut_or_skipped(folder):
    text = "audio,image\n" + "".join(f"wav/{name}.wav,png/a.png\n" for name in ("a", "short", "long"))
    start = _source(folder, text)
    np.testing.assert_array_equal(_read(start)[2].waveform, _tone(6000)[:4000])
    strict = _source(folder, text, short="skip", long="skip")
    kept, short, long = _read(strict)
    assert isinstance(kept, Pair)
    assert short == Dropped("wav/short.wav", "wav/short.wav lasts 0.125 s, less than 0.5 s")
    assert long == Dropped("wav/long.wav", "wav/long.wav is longer than 0.5 s")
    description = {"kind": "pairs", "name": "pairs.csv", "has_audio": True}
    assert start.describe() == {**description, "short": "pad", "long": "start"}
    assert strict.describe() == {**description, "short": "skip", "long": "skip"}
    with pytest.raises(UsageError, match=r"""long must be "start" or "skip"\. Received: long='middle'"""):
        _source(folder, text, long="middle")
    with pytest.raises(UsageError, match=r"""short must be "pad" or "skip"\. Received: short='drop'"""):
        _source(folder, text, short="drop")


def test_a_file_that_cannot_be_used_drops_its_own_pair(folder):
    (folder / "png/bad.png").write_bytes(b"no picture")
    (folder / "wav/bad.wav").write_bytes(b"no sound")
    names = ["wav/a.wav,png/bad.png", "wav/bad.wav,png/a.png", "wav/gone.wav,png/a.png", "wav/long.wav,png"]
    items = _read(_source(folder, "\n".join(["audio,image", *names, "wav/short.wav,png/a.png"])))
    assert [item.reason for item in items[:4]] == [
        "bad.png isn't a PNG or JPEG image",
        "bad.wav can't be read as audio: Format not recognised.",
        "wav/gone.wav doesn't exist",
        "png isn't a file",
    ]
    assert [item.id for item in items[:4]] == ["wav/a.wav", "wav/bad.wav", "wav/gone.wav", "wav/long.wav"]
    assert isinstance(items[4], Pair)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("../secret.wav", "leads out of the csv's folder"),
        ("wav/../../secret.wav", "leads out of the csv's folder"),
        ("..\\secret.wav", "leads out of the csv's folder"),
        ("{out}/secret.wav", "is absolute"),
        ("C:\\secret.wav", "is absolute"),
        ("//host/share/secret.wav", "is absolute"),
        ("\\\\host\\share\\secret.wav", "is absolute"),
        ("", "is empty"),
        ("a\0.wav", "is not a path"),
    ],
)
def test_paths_that_leave_the_folder_are_never_read(folder, cell, reason):
    soundfile.write(folder.parent / "secret.wav", _tone(4000), 8000)
    cell = cell.format(out=folder.parent)
    plan = _source(folder, f"audio,image\n{cell},png/a.png\nwav/a.wav,png/a.png\n").plan()
    (dropped,) = plan.dropped
    assert dropped.id == "pairs.csv line 2"
    assert reason in dropped.reason
    assert "secret" not in dropped.reason
    assert [key.id for unit in plan.units for key in unit.keys] == ["wav/a.wav"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_digit_before_a_colon_is_no_drive(folder):
    (folder / "wav/a.wav").rename(folder / "1:30.wav")
    (pair,) = _read(_source(folder, "audio,image\n1:30.wav,png/a.png\n"))
    assert isinstance(pair, Pair)


def test_links_that_leave_the_folder_are_never_read(folder):
    soundfile.write(folder.parent / "secret.wav", _tone(4000), 8000)
    (folder / "linked").symlink_to(folder.parent)
    (folder / "wav/link.wav").symlink_to(folder.parent / "secret.wav")
    (folder / "wav/inside.wav").symlink_to(folder / "wav/a.wav")
    (folder / "wav/loop.wav").symlink_to("loop.wav")
    rows = [f"{name},png/a.png" for name in ("linked/secret.wav", "wav/link.wav", "wav/loop.wav", "wav/inside.wav")]
    items = _read(_source(folder, "\n".join(["audio,image", *rows])))
    remedy = "Put the csv into a folder above its files, or copy the files"
    assert [item.reason for item in items[:3]] == [
        f"linked/secret.wav is a link that leads out of the csv's folder. {remedy}",
        f"wav/link.wav is a link that leads out of the csv's folder. {remedy}",
        "wav/loop.wav doesn't exist",
    ]
    np.testing.assert_array_equal(items[3].waveform, _tone(4000))


def test_repeated_rows_are_dropped(folder):
    plan = _source(folder, "audio,image\nwav/a.wav,png/a.png\nwav/a.wav,png/b.png\n./wav/a.wav,png/a.png\n").plan()
    assert plan.dropped == (Dropped("pairs.csv line 4", "the same audio and image as line 2"),)
    assert sum(len(unit.keys) for unit in plan.units) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pairs.csv is empty"),
        ("\n\n", "pairs.csv is empty"),
        ("audio,image\n", "holds no rows"),
        ("audio;image\na;b\n", r"columns audio, image, separated by commas\. Missing: audio, image\. .*'audio;image'"),
        ("audio,label\na,b\n", "Missing: image"),
        ("audio,image,Audio\na,b,c\n", r"different names\. Received twice: \['audio'\]"),
        ("audio,image\na.wav,b.png,c\n", r"line 2: .*one cell for each of the 2 columns\. Received: 3"),
        ('audio,image\na.wav,"b.png\nc.wav,d.png\n', "well-formed csv file: the quoted cell that begins in row 2"),
        ("audio,image\na.wav,b.png,,,,,,,,,,,,c\n", r"line 2: .*one cell for each of the 2 columns\. Received: 14"),
        ("audio,image\n\n\na.wav,b.png,c,\n", r"line 4: .*one cell for each of the 2 columns\. Received: 3"),
        ('audio,image,x\na.wav,b.png,"1\r\n2\n3"\nc.wav,d.png,e,f\n', r"line 5: .*the 3 columns\. Received: 4"),
        ("audio,image\na\xe9.wav,b.png\n".encode("latin-1"), "UTF-8"),
        ("audio,image\na.wav,b.png\n".encode("utf-16"), "UTF-8"),
        ("audio,image,time\na.wav,b.png,0\na2.wav,b.png,1:30\n", r"pairs.csv, line 3: time must be .*'1:30'"),
        ("audio,image,time\na.wav,b.png,nan\n", "line 2: time must be"),
        ("audio,image,time\na.wav,b.png,-1\n", "line 2: time must be"),
        ("audio,image,split\na.wav,b.png,validation\n", r"line 2: split must be train, val, test.*'validation'"),
    ],
)
def test_unusable_csv_is_refused(folder, text, message):
    with pytest.raises(SourceError, match=message):
        _source(folder, text).plan()


def test_missing_csv_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"pairs\.csv can't be read: No such file"):
        PairsCsvSource(tmp_path / "pairs.csv", features=FEATURES, image=IMAGE).plan()


def test_units_are_runs_of_64_rows_with_stamps(folder):
    source = _source(folder, "audio,image\n" + "".join(f"wav/{i}.wav,png/a.png\n" for i in range(150)))
    units = source.plan().units
    assert [len(unit.keys) for unit in units] == [64, 64, 22]
    assert [unit.cost for unit in units] == [64.0, 64.0, 22.0]
    assert units[1].name == "pairs.csv lines 66-129"
    assert source.plan().units == units
    soundfile.write(folder / "wav/70.wav", _tone(4000), 8000)
    changed = [new.stamp != old.stamp for new, old in zip(source.plan().units, units, strict=True)]
    assert changed == [False, True, False]


def test_units_are_read_in_another_process_and_refused_after_a_change(folder):
    source = _source(folder, "audio,image\nwav/a.wav,png/a.png\n")
    (unit,) = source.plan().units
    source, unit = pickle.loads(pickle.dumps((source, unit)))
    assert isinstance(next(source.read(unit)), Pair)
    (folder / "pairs.csv").write_text("audio,image\nwav/long.wav,png/a.png\n")
    os.utime(folder / "pairs.csv", (1, 1))
    with pytest.raises(SourceError, match="changed while it was being read"):
        next(source.read(unit))


def test_audio_that_breaks_off_within_the_clip_is_noted(folder):
    soundfile.write(folder / "wav/whole.wav", _tone(3000), 8000)
    data = (folder / "wav/whole.wav").read_bytes()
    (folder / "wav/part.wav").write_bytes(data[: 44 + 4000])
    whole, part = _read(_source(folder, "audio,image\nwav/whole.wav,png/a.png\nwav/part.wav,png/a.png"))
    assert whole.note == "" and part.note == "part.wav breaks off at 0.2 s; its header states 0.4 s"
    np.testing.assert_array_equal(part.waveform[:2000], whole.waveform[:2000])
    assert not part.waveform[2000:].any()


def test_file_name_in_the_other_unicode_form_is_found(folder):
    (folder / "wav" / unicodedata.normalize("NFD", "é.wav")).write_bytes((folder / "wav/a.wav").read_bytes())
    (folder / "wav" / unicodedata.normalize("NFC", "ü.wav")).write_bytes((folder / "wav/a.wav").read_bytes())
    names = [unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "ü")]
    text = "audio,image\n" + "".join(f"wav/{name}.wav,png/a.png\n" for name in names)
    assert all(isinstance(item, Pair) for item in _read(_source(folder, text)))


@pytest.mark.training
def test_a_plan_holds_a_few_bytes_of_every_row(folder):
    _source(folder, "audio,image\na,b\n", "first.csv").plan()
    rows = 10_000
    lines = (f"audio/speaker{i // 500:05d}/{i:08d}.wav,images/speaker{i // 500:05d}/{i:08d}.png" for i in range(rows))
    source = _source(folder, "audio,image,label\n" + "".join(f"{line},label{i % 20}\n" for i, line in enumerate(lines)))
    gc.collect()
    tracemalloc.start()
    try:
        plan = source.plan()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(len(unit.keys) for unit in plan.units) == rows
    assert held / rows < 150


def test_repeated_rows_are_found_wherever_they_are(folder):
    rows = [f"{i % 9_000}.wav,{i % 3}.png" for i in range(20_000)]
    plan = _source(folder, "audio,image\n" + "\n".join(rows)).plan()
    ids = [key.id for unit in plan.units for key in unit.keys]
    assert ids == [f"{i}.wav" for i in range(9_000)]
    assert [item.id for item in plan.dropped] == [f"pairs.csv line {i + 2}" for i in range(9_000, 20_000)]
    assert plan.dropped[0].reason == "the same audio and image as line 2"
    assert plan.dropped[-1].reason == f"the same audio and image as line {19_999 - 18_000 + 2}"


@pytest.mark.parametrize("between", [0, 9_000])
def test_a_repeated_row_is_dropped_whatever_its_other_cells_hold(folder, between):
    others = "".join(f"{i}.wav,a.png,,\n" for i in range(between))
    text = f"audio,image,time,split\na.wav,a.png,1,\n{others}a.wav,a.png,never,\na.wav,a.png,,where\n"
    plan = _source(folder, text).plan()
    assert [item.reason for item in plan.dropped] == ["the same audio and image as line 2"] * 2
    with pytest.raises(SourceError, match=f"line {between + 5}: time must be a number of seconds, 0 or more"):
        _source(folder, text + "a.wav,b.png,never,\n").plan()


def test_a_row_counts_in_its_source_whether_the_source_is_named_or_its_own_audio(folder):
    text = "audio,image,source,time\na.wav,1.png,,\nb.wav,2.png,a.wav,\nc.wav,3.png,a.wav,7\nd.wav,4.png,a.wav,\n"
    assert [(key.source_id, key.time) for key in _keys(_source(folder, text))] == [
        ("a.wav", 0.0),
        ("a.wav", 0.5),
        ("a.wav", 7.0),
        ("a.wav", 1.5),
    ]


@pytest.fixture
def recording(folder):
    """Two seconds of noise at 16 kHz, twice the rate of the features, and an image of its own for each of 9 rows."""
    soundfile.write(folder / "wav/tape.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 32_000), 16_000)
    for i in range(9):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(folder / f"{i}.png")
    return np.concatenate(list(stream_audio(folder / "wav/tape.wav", 8_000)))


def _excerpts(times):
    return "audio,image,time\n" + "".join(f"wav/tape.wav,{i}.png,{time}\n" for i, time in enumerate(times))


def test_rows_that_share_audio_at_different_times_are_excerpts_that_begin_there(folder, recording):
    times = [0, 0.25, 0.25, 1.4, 1.9, 0.1, 2, 1e9, 0.3]
    items = _read(_source(folder, _excerpts(times)))
    for item, time in zip(items, times, strict=True):
        assert item.key.time == time if time < 2 else isinstance(item, Dropped)
        if time < 2:
            expected = recording[round(time * 8_000) :][:4_000]
            np.testing.assert_array_equal(item.waveform, np.pad(expected, (0, 4_000 - len(expected))))
    assert items[6].message == "wav/tape.wav|6.png: wav/tape.wav lasts 2.000 s; its excerpt would begin at 2 s"
    assert items[7].reason.endswith("would begin at 1000000000 s")
    kept, skipped = _read(_source(folder, _excerpts([0, 1.9]), short="skip"))
    assert kept.note == "" and skipped.reason == "wav/tape.wav from 1.9 s lasts 0.100 s, less than 0.5 s"
    assert {item.reason for item in _read(_source(folder, _excerpts([0, 1.9]), long="skip"))} == {
        "wav/tape.wav is longer than 0.5 s"
    }


def test_excerpts_in_ascending_order_are_read_in_one_pass(folder, recording, monkeypatch):
    opened = []
    monkeypatch.setattr(
        audio_excerpts, "stream_audio", lambda path, *a: opened.append(path.name) or stream_audio(path, *a)
    )
    assert len(_read(_source(folder, _excerpts([0, 0.5, 0.7, 1.4, 1.9])))) == 5 and opened == ["tape.wav"]
    _read(_source(folder, _excerpts([0.5, 0])))
    assert len(opened) == 3


@pytest.mark.parametrize("times", [["", "", ""], ["3", "3", "3"], ["", "7", ""]])
def test_rows_that_share_audio_without_different_times_begin_with_the_file(folder, recording, times):
    for item in _read(_source(folder, _excerpts(times))):
        np.testing.assert_array_equal(item.waveform, recording[:4_000])


def test_a_row_without_time_among_excerpts_is_dropped(folder, recording):
    plan = _source(folder, _excerpts(["0", "", "1"]) + "wav/a.wav,0.png,\nwav/tape.wav,0.png,\n").plan()
    assert plan.dropped == (
        Dropped("pairs.csv line 3", "it needs a time, since other rows of the same audio state different times"),
        Dropped("pairs.csv line 6", "the same audio and image as line 2"),
    )
    assert [key.id for unit in plan.units for key in unit.keys][-1] == "wav/a.wav"


def test_the_stamp_of_excerpts_changes_with_their_times(folder, recording):
    stamps = [_source(folder, _excerpts(times)).plan().units[0].stamp for times in ([0, 1], [0, 1.5], [1, 1], [2, 2])]
    assert len(set(stamps)) == 3 and stamps[2] == stamps[3]


def test_excerpts_of_a_damaged_recording_are_noted_where_it_breaks_off(folder, recording):
    data = (folder / "wav/tape.wav").read_bytes()
    (folder / "wav/tape.wav").write_bytes(data[: 44 + 32_000])
    whole, part, behind, again = _read(_source(folder, _excerpts([0.2, 0.8, 1.5, 0])))
    assert whole.note == again.note == "" and part.note == "tape.wav breaks off at 1.0 s; its header states 2.0 s"
    assert behind.reason == "wav/tape.wav lasts 1.000 s; its excerpt would begin at 1.5 s"
    (folder / "wav/tape.wav").write_bytes(b"no sound")
    assert [item.reason for item in _read(_source(folder, _excerpts([0, 1])))] == [
        "tape.wav can't be read as audio: Format not recognised."
    ] * 2
