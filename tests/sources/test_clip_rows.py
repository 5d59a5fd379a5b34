"""The csv files of AVSpeech, VGGSound and AudioSet: how they are recognised, and which rows are refused."""

import re
import sys

import pytest
from support.clip_tables import AUDIOSET, IDS, NONE, opened

from keras_a2i.errors import MissingPackageError, RecordsError, SourceError, UsageError
from keras_a2i.records.build import build_records
from keras_a2i.sources.pair import Dropped

BAD_ROWS = {
    "aaaaaaaaaaa,5,5,0.5,0.5": "end must be after start. Received: start=5 and end=5",
    "aaaaaaaaaaa,5,4.25,0.5,0.5": "end must be after start. Received: start=5 and end=4.25",
    "aaaaaaaaaaa,-1,4,0.5,0.5": "start must be a number of seconds, 0 or more. Received: '-1'",
    "aaaaaaaaaaa,nan,4,0.5,0.5": "start must be a number of seconds, 0 or more. Received: 'nan'",
    "aaaaaaaaaaa,1,inf,0.5,0.5": "end must be a number of seconds, 0 or more. Received: 'inf'",
    "aaaaaaaaaaa,1,four,0.5,0.5": "end must be a number of seconds, 0 or more. Received: 'four'",
    "aaaaaaaaaaa,1,4,1.2,0.5": "x must be a share of the frame, 0 to 1. Received: '1.2'",
    "aaaaaaaaaaa,1,4,0.5,-0.1": "y must be a share of the frame, 0 to 1. Received: '-0.1'",
    "aaaaaaaaaaa,1,4,0.5": "y must be a share of the frame, 0 to 1. Received: ''",
    "aaaaaaaaaaa,1,4,0.5,0.5,7": "a row must have 5 cells. Received: 6. Put quotes around a cell that contains a comma",
    "short,1,4,0.5,0.5": "id must be a YouTube id: 11 letters, digits, - or _. Received: 'short'",
    f"{IDS[0]},1,1.9,0.5,0.5": "the clip lasts 0.90 s; a pair has 1 s",
    f"{IDS[0]},1.0,4.0,0.5,0.5": "the same clip as line 1",
}


def test_rows_that_cannot_be_used_are_named_by_their_lines(home):
    good = "".join(f"{id},1,4,0.5,0.5\n" for id in IDS[:2])
    text = good + "\n# a comment\n" + "\n".join(BAD_ROWS) + f"\n{IDS[2]},1,4,0.5,0.5\n" + f"{IDS[3]},1,4,0,1\n" * 20
    plan = opened(home, text).plan()
    dropped = plan.dropped[: len(BAD_ROWS)]
    assert [drop.reason for drop in dropped] == list(BAD_ROWS.values())
    assert [drop.id for drop in dropped] == [f"clips.csv line {5 + n}" for n in range(len(BAD_ROWS))]
    assert {drop.reason for drop in plan.dropped[len(BAD_ROWS) :]} == {"the same clip as line 19"}
    assert [key.id for unit in plan.units for key in unit.keys] == [f"{id}_1_4@{k}" for id in IDS[:4] for k in range(3)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("aaaaaaaaaaa,1,singing", "split must be train, val or test. Received: ''"),
        ("aaaaaaaaaaa,1,singing,dev", "split must be train, val or test. Received: 'dev'"),
        ("aaaaaaaaaaa,1,dogs, cats,train", "a row must have 4 cells. Received: 5. Put quotes around"),
        ("aaaaaaaaaaa,x,singing,train", "start must be a number of seconds, 0 or more. Received: 'x'"),
    ],
)
def test_bad_rows_of_vggsound_are_named(home, row, reason):
    (dropped,) = opened(home, f"{IDS[0]},1,singing,train\n{IDS[1]},1,singing,val\n{row}\n").plan().dropped
    assert dropped.id == "clips.csv line 3" and dropped.reason.startswith(reason)


def test_bad_rows_of_audioset_are_named(home):
    text = AUDIOSET + f'{IDS[2]}, 1.000, 2.000, "dogs"\n{IDS[3]}, 3.000, 2.000, "/m/0cmf2"\n{IDS[4]}, 3.000\n'
    dropped = opened(home, text + f"{IDS[5]},0,10,/m/0cmf2,/m/09x0r\n").plan().dropped
    assert dropped == (
        Dropped("clips.csv line 6", "labels must begin with the id of a label such as /m/09x0r. Received: 'dogs'"),
        Dropped("clips.csv line 7", "end must be after start. Received: start=3 and end=2"),
        Dropped("clips.csv line 8", "labels must begin with the id of a label such as /m/09x0r. Received: ''"),
    )


def test_strict_stops_at_the_first_row_without_a_file_or_with_a_bad_value(home, tmp_path):
    rows = [f"{id},1,4,0.5,0.5" for id in [*IDS[:4], NONE[0]]]
    with pytest.raises(
        RecordsError,
        match=r"^clips\.csv: 1 of 5 rows without a video in 'set' or below: absent00000_1_4 \(line 5\)\. The",
    ):
        build_records(opened(home, "\n".join(rows)), tmp_path / "rec", workers=1, strict=True)
    with pytest.raises(
        RecordsError, match=r"^clips\.csv line 5: x must be a share of the frame.*\(strict=True, --strict\)"
    ):
        build_records(
            opened(home, "\n".join([*rows[:4], f"{IDS[4]},1,4,2,0.5"])), tmp_path / "rec", workers=1, strict=True
        )
    assert not (tmp_path / "rec").exists()
    manifest = build_records(opened(home, "\n".join(rows[:4])), tmp_path / "rec", workers=1, strict=True)
    assert sum(manifest.counts.values()) == 12 and manifest.dropped == []


def test_a_csv_of_which_no_row_has_a_file_is_an_error(home, tmp_path):
    message = (
        r"^Rows of clips\.csv must have their videos in the folder 'set' or below\. Received: 10 of 10 rows without a "
        r"video \(absent00000_1_4 \(line 1\), .* and 7 more\), and 10 videos named after YouTube ids, none of which "
        r"belongs to a row\. "
        r"Name a whole video ID\.mp4, and a clip that is cut already ID_START_END\.mp4$"
    )
    source = opened(home, "".join(f"{id},1,4,0.5,0.5\n" for id in NONE))
    with pytest.raises(SourceError, match=message):
        build_records(source, tmp_path / "rec", workers=1)
    assert not (tmp_path / "rec").exists()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"{IDS[0]},1,4,0.5,0.5\n", "avspeech"),
        (f"{IDS[0]},4,4.5,0.5,0.5\n", "avspeech"),  # two equal cells, which column names can't be
        (f"{IDS[0]},30,3,train\n", "vggsound"),  # a label that is a number
        (f'\ufeff{IDS[0]},30,"a, b",Test\r\n', "vggsound"),
        (AUDIOSET, "audioset"),
        (f'{IDS[0]}, 1, 4, "/t/dd00088"\n', "audioset"),
        ("id,start,end,x,y\n" + f"{IDS[0]},1,4,0.5,0.5\n{IDS[1]},1,4,0.5,0.5\n", "avspeech"),
    ],
)
def test_csv_is_recognised_by_its_rows(home, text, kind):
    assert opened(home, text).describe()["kind"] == kind


HINT = (
    "Line 1 begins with a YouTube id: without column names, rows must be all id,start,end,x,y (AVSpeech), or all "
    "id,start,label,split (VGGSound), or all id,start,end,labels (AudioSet)"
)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"{IDS[0]},1,4\n", True),
        (f"{IDS[0]},1,4,0.5,7\n", True),
        (f"{IDS[0]},1,4,dogs\n", True),
        (f"{IDS[0]},1,4,0.3,0.5\n" + f"{IDS[0]},1,dogs,train\n", True),  # neither the one nor the other
        ("beach,1,4,0.5,0.6\n", False),
        ("a;b\n", False),
    ],
)
def test_csv_of_other_rows_is_refused(home, text, hint):
    with pytest.raises(SourceError, match=r"^clips\.csv must have the columns audio,image, or .* Received: ") as error:
        opened(home, text)
    assert str(error.value).endswith(HINT) == hint


def test_equal_cells_of_rows_that_are_no_clips_are_explained(home):
    message = r"^The columns of clips\.csv must have different names\. Received twice: \['5'\]\. "
    with pytest.raises(SourceError, match=message + re.escape(HINT)):
        opened(home, f"{IDS[0]},5,5,0.5,0.4\n")


def test_crop_size_is_of_avspeech_alone_and_a_share(home):
    with pytest.raises(
        UsageError, match=r"^crop_size can only be used with AVSpeech's csv \(id,start,end,x,y\)\. No given"
    ):
        opened(home, f"{IDS[0]},1,singing,train\n", crop_size=0.5)
    for size in (0, 1.5, -1, float("nan")):
        with pytest.raises(UsageError, match=r"^crop_size must be a share above 0 and up to 1\. Received: crop_size="):
            opened(home, f"{IDS[0]},1,4,0.5,0.5\n", crop_size=size)


def test_plan_without_pyav_names_the_extra(home, monkeypatch):
    source = opened(home, f"{IDS[0]},1,4,0.5,0.5\n")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"keras-a2i\[video\]"):
        source.plan()
