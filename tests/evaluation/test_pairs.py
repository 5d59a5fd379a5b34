"""Pairs by row number: read from the shards when asked for, equal to those in memory."""

import numpy as np
import pytest
from support.tone_source import ToneSource, build

from keras_a2i.errors import CorruptRecordError, RecordsError
from keras_a2i.evaluation import pairs as pairs_module
from keras_a2i.evaluation.pairs import read_pairs, thumbnails, thumbnails_of
from keras_a2i.records.splits import SplitSpec
from keras_a2i.spread import spread_rows


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records") / "tones"
    build(folder, ToneSource(n_sources=3, seconds=20))
    return folder


def test_stored_pairs_equal_those_in_memory(records, monkeypatch):
    kept = read_pairs(records, "train", "waveform")
    monkeypatch.setattr(pairs_module, "MEMORY_BUDGET", 0)
    stored = read_pairs(records, "train", "waveform")
    assert isinstance(kept.images, np.ndarray) and not isinstance(stored.images, np.ndarray)
    assert stored.images.shape == kept.images.shape and stored.inputs.shape == (len(kept), 16_000)
    rows = np.array([7, 0, len(kept) - 1, 7])
    np.testing.assert_array_equal(stored.images[rows], kept.images[rows])
    np.testing.assert_array_equal(stored.inputs[rows], kept.inputs[rows])
    assert stored.ids.tolist() == kept.ids.tolist() and stored.factors == kept.factors


def test_pairs_are_ordered_by_source_and_time_and_hold_what_was_built(records):
    pairs = read_pairs(records, "train")
    order = np.lexsort((pairs.times, pairs.sources))
    assert (order == np.arange(len(pairs))).all()
    for row in (0, 5, len(pairs) - 1):
        assert pairs.ids[row] == f"{pairs.sources[row]}@{int(pairs.times[row])}"
        assert (pairs.images[[row]] == int(10 * pairs.times[row]) % 256).all()
        pitch = 200 + 40 * pairs.times[row] + 300 * int(pairs.sources[row][4:])
        spectrum = np.abs(np.fft.rfft(pairs.waveforms[np.array([row])][0]))
        assert spectrum.argmax() == pitch == pairs.factors[row]["pitch"]


def test_waveform_input_needs_stored_waveforms(tmp_path):
    build(tmp_path, ToneSource(n_sources=1), waveform=False)
    assert read_pairs(tmp_path, "train").waveforms is None
    with pytest.raises(RecordsError, match="must hold waveforms for a model whose input is a waveform"):
        read_pairs(tmp_path, "train", "waveform")


def test_damaged_record_is_named(tmp_path):
    build(tmp_path, ToneSource(n_sources=1, seconds=20), split=SplitSpec(kind="block", guard=0))
    shard = next(tmp_path.glob("train*.tfrecord"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    with pytest.raises(CorruptRecordError, match=f"of {shard.name}"):
        read_pairs(tmp_path, "train")


def test_thumbnails_in_chunks_equal_those_in_one_piece(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (150, 64, 64, 3), dtype=np.uint8)
    whole = thumbnails(pairs_module.scaled(images))
    np.testing.assert_allclose(whole[3, 1, 2], pairs_module.scaled(images[3, 2:4, 4:6]).mean(axis=(0, 1)), atol=1e-6)
    monkeypatch.setattr(pairs_module, "rows_that_fit", lambda images: 64)
    np.testing.assert_array_equal(thumbnails_of(images), whole)
    np.testing.assert_array_equal(thumbnails_of(images, rows=np.array([9, 2])), whole[[9, 2]])


def test_spread_rows_are_even_and_at_most_as_many():
    assert spread_rows(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread_rows(101, 5).tolist() == [0, 25, 50, 75, 100]
