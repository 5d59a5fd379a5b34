"""Lines about transfers from and to object stores."""

import warnings

import pytest

from keras_a2i.cli import progress
from keras_a2i.remote.address import Address
from keras_a2i.remote.mirror import UploadWarning


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_long_transfer_is_told_every_few_seconds_and_a_short_one_isn_t(clock, capsys):
    lines, file = progress.TransferLines(), Address("s3", "bucket/a.mp4")
    for seconds, done in ((0, 0), (3, 20), (6, 40), (7, 45), (12, 80)):
        clock.now = 100.0 + seconds
        lines("fetching", file, done * 1_000_000, 100_000_000)
    for now in (120.0, 130.0):
        clock.now = now
        # A store that doesn't answer hasn't said how large the file is.
        lines("fetching", Address("s3", "bucket/b.mp4"), 0, 0)
    assert capsys.readouterr().err == (
        "fetching s3://bucket/a.mp4: 40 of 100 MB\nfetching s3://bucket/a.mp4: 80 of 100 MB\n"
    )


def test_upload_that_is_tried_again_is_told_in_a_sentence_and_other_warnings_as_ever(capsys):
    with progress.transfers_shown():
        for _ in range(2):
            warnings.warn("no network. The work continues", UploadWarning, stacklevel=1)
        with pytest.warns(RuntimeWarning, match="other"):
            warnings.warn("other", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == 2 * "Warning: no network. The work continues\n"


def test_short_work_leaves_no_line_where_it_is_asked_for(clock, capsys):
    line = progress.ProgressLine("pair", after=10.0)
    for seconds in (1, 9):
        clock.now = 100.0 + seconds
        line(seconds, 0, 20)
    line.close()
    assert capsys.readouterr().err == ""
    clock.now = 110.0
    line(10, 0, 20)
    line.close()
    assert "10/20 pairs, 1/s, 10 s left" in capsys.readouterr().err
