"""Vectors and images in one NumPy archive."""

import numpy as np
import pytest
from PIL import Image
from support.vector_files import FEATURES, IMAGE, read_all

from keras_a2i.errors import SourceError
from keras_a2i.records.build import build_records
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.embeddings_npz import EmbeddingsNpzSource

COLOURS = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220], [220, 220, 30]], np.uint8)


def test_archive_of_vectors_and_images_is_built(tmp_path):
    kinds, vectors = np.arange(8) % 4, np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32)
    images = np.broadcast_to(COLOURS[kinds][:, None, None], (8, 20, 16, 3))
    vectors[5, 0] = np.nan
    np.savez(tmp_path / "v.npz", embeddings=vectors, images=images, labels=kinds, sources=np.array(list("aabbccdd")),
             times=np.arange(8) / 2)  # fmt: skip
    source = EmbeddingsNpzSource(tmp_path / "v.npz", features=FEATURES, image=IMAGE)
    split = SplitSpec(kind="source", holdout=("d",))
    manifest = build_records([source], tmp_path / "rec", image=IMAGE, split=split, workers=1)
    assert manifest.counts == {"train": 5, "val": 2}
    assert manifest.dropped == [["v.npz:5", "v.npz:5 holds NaN or infinite numbers"]]
    assert source.describe() == {"kind": "embeddings", "name": "v.npz", "has_audio": False}
    held_out = Records(tmp_path / "rec").decoded("val")
    np.testing.assert_array_equal(held_out.features, vectors[6:])
    assert (held_out.images == COLOURS[kinds[6:]][:, None, None]).all()
    assert held_out.labels.tolist() == ["2", "3"] and held_out.times.tolist() == [3.0, 3.5]
    # Images by their paths, relative to the archive.
    Image.new("L", (16, 16), 7).save(tmp_path / "a.png")
    np.savez(tmp_path / "p.npz", embeddings=vectors[:3], images=np.array(["a.png", "../a.png", "b.png"]))
    pair, outside, missing = read_all(EmbeddingsNpzSource(tmp_path / "p.npz", features=FEATURES, image=IMAGE))
    assert (pair.image == 7).all() and pair.key.source_id == "p.npz:0"
    assert "leads out of" in outside.reason and missing.reason == "b.png doesn't exist"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 16, 16), np.uint8)}, "must have the arrays embeddings and images. Received: images"),
        ({"embeddings": np.zeros(4), "images": np.zeros((4, 16, 16), np.uint8)}, r"must be numbers \(n, d\)"),
        ({"embeddings": np.zeros((2, 4)), "images": np.zeros((2, 16, 16))}, "images in v.npz must be 2 paths as text"),
        ({"embeddings": np.zeros((2, 4)), "images": np.array(["a"])}, r"must be 2 paths.*Received: shape \(1,\)"),
        (
            {"embeddings": np.zeros((1, 4)), "images": np.array(["a"]), "labels": np.zeros(1)},
            "labels in v.npz must be 1 texts or whole numbers",
        ),
        ({"embeddings": np.zeros((1, 4)), "images": np.array(["a"]), "times": np.array([-1])}, "times in v.npz must"),
        (
            {"embeddings": np.zeros((1, 4)), "images": np.array(["a"]), "splits": np.array(["x"])},
            "split must be train, val, test or empty",
        ),
        ({"embeddings": np.zeros((1, 4)), "images": np.array([{}], object)}, "v.npz:images must be an array, whole"),
    ],
)
def test_unusable_archive_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(SourceError, match=message):
        EmbeddingsNpzSource(tmp_path / "v.npz", features=FEATURES, image=IMAGE).plan()
