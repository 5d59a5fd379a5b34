"""Inspection: what it counts, its summary and its sheet, damage."""

import numpy as np
import pytest
import scipy.spatial
import soundfile
from click.testing import CliRunner
from PIL import Image
from support.tone_source import ToneSource, build

from keras_a2i import Records, inspect
from keras_a2i.cli.inspect import command
from keras_a2i.config import ImageConfig
from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.records import inspection
from keras_a2i.records.build import build_records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.records.tfrecord import read_records
from keras_a2i.sources.pair import Pair, PairKey, Plan, Unit


class OddSource:
    """Twelve pairs: images 0 to 3 are equal, 4 and 9 nearly, the others noise; pair 5 is silent."""

    def plan(self):
        return Plan((Unit("clip", tuple(PairKey(f"clip@{k}", "clip", float(k), "odd") for k in range(12))),))

    def read(self, unit):
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
        for k, key in enumerate(unit.keys):
            image = (
                np.full((16, 16, 3), 100, np.uint8) if k < 4 else noise[4] // 2 + (k == 9) if k in (4, 9) else noise[k]
            )
            waveform = rng.uniform(-0.1, 0.1, 16_000) * (k != 5)
            yield Pair(key=key, image=image, waveform=waveform.astype(np.float32))

    def describe(self):
        return {"kind": "odd"}


@pytest.mark.training
def test_inspect_counts_duplicates_still_frames_and_silence(tmp_path):
    build_records(
        [OddSource()], tmp_path, image=ImageConfig(size=16), split=SplitSpec(kind="block", guard=0), workers=1
    )
    told = []
    found = inspect(tmp_path, n_sheet=5, progress=lambda *values: told.append(values))
    assert told == [
        ("shard", 1, 2),
        ("shard", 2, 2),
        ("pair", 9, 12),
        ("pair", 12, 12),
        ("image", 12, 21),
        ("image", 21, 21),
    ]
    assert inspect(Records(tmp_path)).near_duplicates == 6
    assert found.counts == {"train": 9, "val": 3}
    assert repr(found) == "Inspection(9 train, 3 val; 0 damaged, 6 near-duplicates, 1 silent)"
    assert found.near_duplicates == 6
    assert found.leaked_duplicates == 1
    assert found.still_frames == 3
    assert found.silent == 1
    assert found.shared_sources == ["clip"] and found.damaged == [] and found.non_finite == 0
    decoded = [Records(tmp_path).decoded(split) for split in ("train", "val")]
    images = np.concatenate([split.images for split in decoded]).astype(float)
    np.testing.assert_allclose(found.pixel_mean, images.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.pixel_std, images.std(axis=(0, 1, 2)), rtol=1e-6)
    features = np.concatenate([split.features for split in decoded])
    assert found.feature_mean == pytest.approx(features.mean(), rel=1e-5)
    assert found.feature_std == pytest.approx(features.std(), rel=1e-4)
    assert (found.feature_min, found.feature_max) == (features.min(), features.max())
    assert found.sheet_images.shape == (5, 16, 16, 3)
    assert found.sheet_captions[0] == "clip@0" and found.sheet_captions[-1] == "clip@11"


def test_near_duplicates_are_those_within_two_grey_levels_of_another_image(monkeypatch):
    rng = np.random.default_rng(0)
    grey = rng.uniform(0, 255, (300, 256)).astype(np.float16)
    twins = rng.permutation(300)[:120].reshape(2, 60)
    grey[twins[0]] = grey[twins[1]] + rng.normal(0, rng.uniform(1, 3, (60, 1)), (60, 256))
    is_train = rng.random(300) < 0.7
    close = scipy.spatial.distance.cdist(grey.astype(float), grey.astype(float)) < 2.0 * 256**0.5
    np.fill_diagonal(close, False)
    expected = close.any(axis=1).mean(), close[~is_train][:, is_train].any(axis=1).mean()
    assert 0.1 < expected[0] < 0.35
    assert inspection._near_duplicates(grey, is_train, lambda *_: None) == pytest.approx(expected)
    monkeypatch.setattr(inspection, "_ROWS_AT_ONCE", 7)
    assert inspection._near_duplicates(grey, is_train, lambda *_: None) == pytest.approx(expected)
    monkeypatch.setattr(inspection, "MAX_COMPARED", 50)
    rows = np.unique(np.linspace(0, 299, 50).astype(int))
    assert inspection._near_duplicates(grey, is_train, lambda *_: None)[0] == pytest.approx(
        close[rows].any(axis=1).mean()
    )


def test_near_duplicates_of_many_images_are_estimated_and_said_to_be(records, monkeypatch):
    exact = inspect(records)
    leaked = f"{exact.leaked_duplicates} of them are held out"
    assert f"near-duplicates   {exact.near_duplicates} images; {leaked}" in str(exact)
    monkeypatch.setattr(inspection, "MAX_COMPARED", 12)
    found = inspect(records)
    assert "near-duplicates   about 60 images; about " in str(found) and exact.near_duplicates == 60


def test_inspect_silence_is_unknown_without_waveforms(tmp_path):
    build(tmp_path, ToneSource(n_sources=1), waveform=False)
    assert inspect(tmp_path).silent is None


def test_inspect_summary_and_sheet(records, tmp_path):
    found = inspect(records)
    assert str(found) == found.summary()
    for line in (
        "pairs             45 train, 15 val   (split: block)",
        "images            16 x 16, 3 channels, PNG",
        "features          104 = 8 frames x 13 MFCC of 1 s at 16000 Hz",
        "in two splits     5 sources: tone0, tone1, tone2 ... (expected with block)",
        "labels: 2",
        "  label0: 27 train, 9 val",
    ):
        assert line in found.summary().splitlines()
    assert "  ... and 4 more" in found.summary(top=1).splitlines()
    found.save_sheet(tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").size[0] > 500


def test_inspect_says_that_fitting_jpeg_files_keep_their_quality(tmp_path):
    rows = "audio,image\n"
    for number, size in enumerate((16, 32)):
        soundfile.write(tmp_path / f"{number}.wav", np.full(16_000, 0.1), 16_000)
        noise = np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.jpg", quality=30)
        rows += f"{number}.wav,{number}.jpg\n"
    (tmp_path / "pairs.csv").write_text(rows)
    image, split = ImageConfig(size=16, jpeg_quality=95), SplitSpec(val_fraction=0)
    manifest = build_records(tmp_path / "pairs.csv", tmp_path / "rec", image=image, split=split, workers=1)
    data = [each for shard in manifest.shards for each in read_records(tmp_path / "rec" / shard.file)]
    assert [(tmp_path / "0.jpg").read_bytes() in each for each in data] == [True, False]
    found = str(inspect(tmp_path / "rec"))
    assert "images            16 x 16, 3 channels, JPEG (quality 95, or that of fitting files)" in found


def test_inspect_rejects_numbers_out_of_range(records):
    with pytest.raises(UsageError, match=r"n_sheet must be 1 or more. Received: n_sheet=0"):
        inspect(records, n_sheet=0)
    with pytest.raises(UsageError, match=r"top must be 0 or more. Received: top=-1"):
        inspect(records).summary(top=-1)
    result = CliRunner().invoke(command, [str(records.path), "--top", "-1"])
    assert result.exit_code == 2 and "-1 is not in the range x>=0" in result.output


def test_inspect_reports_damage_and_counts_the_rest(damaged_folder):
    found = inspect(damaged_folder)
    assert found.counts == {"train": 23}
    assert "sha256" in found.damaged[0] and "record 5 of train-00000" in found.damaged[1]


def test_inspect_of_unreadable_records_is_an_error(tmp_path):
    manifest = build(tmp_path, ToneSource(n_sources=1), split=SplitSpec(kind="block", val_fraction=0))
    (tmp_path / manifest.shards[0].file).write_bytes(b"")
    with pytest.raises(
        RecordsError, match=r"No record in .* can be read. Build the records again, with overwrite=True"
    ):
        inspect(tmp_path)
