"""Which vectors of a csv become pairs, and why others don't."""

import numpy as np
import pytest
from support.vector_files import FEATURES, IMAGE, read_all, source_of, write_vector_files

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import RecordsError, SourceError
from keras_a2i.records.build import build_records
from keras_a2i.sources import vectors as vectors_module
from keras_a2i.sources.embeddings_csv import EmbeddingsCsvSource
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.sources.pair import Dropped
from keras_a2i.sources.vectors import read_vector, split_reference


@pytest.fixture
def folder(tmp_path):
    return write_vector_files(tmp_path / "data")


def test_every_kind_of_reference_is_read_as_its_vector_and_id(folder):
    cells = ["one.npy", "many.npy:3", "some.npz:x", "some.npz:b:2", "some.npz:rows:1"]
    source = source_of(folder, "embedding,image\n" + "".join(f"{cell},a.png\n" for cell in cells))
    pairs = read_all(source)
    archive = np.load(folder / "some.npz")
    expected = [np.load(folder / "one.npy"), np.load(folder / "many.npy")[3], archive["x"], archive["b:2"]]
    for pair, vector in zip(pairs, [*expected, archive["rows"][1]], strict=True):
        assert pair.features.dtype == np.float32 and pair.waveform is None
        np.testing.assert_array_equal(pair.features, vector.astype(np.float32))
    assert [pair.key.id for pair in pairs] == [pair.key.source_id for pair in pairs] == cells
    assert source.plan().features == FeatureConfig(embedding=8)
    assert source.describe() == {"kind": "embeddings", "name": "pairs.csv", "has_audio": False}


def test_a_shared_file_is_opened_once(folder, monkeypatch):
    opened, load_file = [], np.load
    monkeypatch.setattr(vectors_module.np, "load", lambda path, **o: opened.append(path) or load_file(path, **o))
    rows = "".join(f"{name}:{i % n},{'ab'[i // n]}.png\n" for name, n in (("many.npy", 5), ("some.npz:rows", 3))
                   for i in range(2 * n))  # fmt: skip
    assert len(read_all(source_of(folder, "embedding,image\n" + rows))) == 16
    assert [path.name for path in opened] == ["many.npy", "some.npz"]


def test_numbers_in_the_csv_are_vectors_with_ids_from_images(folder):
    text = "image,embedding_2,Embedding_1,source\na.png,2,1,s\nb.png,4,3,s\na.png,6,5e0,\n"
    first, second, third = read_all(source_of(folder, text))
    np.testing.assert_array_equal([p.features for p in (first, second, third)], [[1, 2], [3, 4], [5, 6]])
    assert second.key.id == "b.png" and (second.key.source_id, second.key.time) == ("s", 1.0)
    # An image that rows share: told apart by the vector, whatever the order, and one source.
    assert first.key.id.startswith("a.png|") and third.key.source_id == "a.png"
    again = read_all(source_of(folder, "image,embedding_1,embedding_2\na.png,5,6\na.png,1,2\n"))
    assert {pair.key.id for pair in again} == {first.key.id, third.key.id}


def test_an_audio_column_beside_embeddings_is_not_read(folder):
    (folder / "pairs.csv").write_text("audio,embedding,image\nnowhere.wav,one.npy,a.png\n")
    (source,) = open_sources([folder], features=FEATURES, image=IMAGE)
    assert isinstance(source, EmbeddingsCsvSource)
    assert [pair.key.id for pair in read_all(source)] == ["one.npy"]


def test_bad_rows_are_dropped_and_the_first_readable_vector_sets_the_length(folder):
    np.save(folder / "nan.npy", np.array([1.0, np.nan]))
    np.save(folder / "huge.npy", np.array([1e300]))
    np.save(folder / "long.npy", np.zeros(16_385))
    np.save(folder / "empty.npy", np.zeros((2, 0)))
    np.save(folder / "text.npy", np.array(["a"]))
    np.save(folder / "pickle.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "short.npy", np.zeros(7))
    (folder / "torn.npy").write_bytes((folder / "many.npy").read_bytes()[:-8])
    (folder / "torn.npz").write_bytes((folder / "some.npz").read_bytes()[:-8])
    reasons = {
        "nan.npy": "nan.npy holds NaN or infinite numbers",
        "huge.npy": "huge.npy holds NaN or infinite numbers",
        "long.npy": "long.npy must have the shape (d,) with 1 to 16384 numbers per vector. Received: shape (16385,)",
        "empty.npy:0": "empty.npy:0 must have the shape (d,) with 1 to 16384 numbers per vector. Received: shape (0,)",
        "text.npy": "text.npy must hold real numbers. Received: dtype <U1",
        "pickle.npy": "pickle.npy must be a .npy file of numbers, whole and without Python objects",
        "torn.npy:0": "torn.npy must be a .npy file of numbers, whole and without Python objects",
        "torn.npz:x": "torn.npz must be a .npz file, as numpy.savez writes it",
        "gone.npy": "gone.npy doesn't exist",
        "many.npy": "many.npy must have the shape (d,) with 1 to 16384 numbers per vector. Received: shape (5, 8). "
        "Name one of its rows: many.npy:ROW",
        "many.npy:5": "many.npy:5: a row must be one of an array (rows, numbers). Received: shape (5, 8)",
        "many.npy:-1": "many.npy:-1: a row must be one of an array (rows, numbers). Received: shape (5, 8)",
        "one.npy:0": "one.npy:0: a row must be one of an array (rows, numbers). Received: shape (8,)",
        "some.npz": "some.npz:KEY must name one of its arrays: x, b:2, rows. Received: ''",
        "some.npz:y": "some.npz:KEY must name one of its arrays: x, b:2, rows. Received: 'y'",
    }
    later = {"short.npy": "short.npy has 7 numbers; embeddings here have 8"}
    lines = "".join(f"{cell},a.png\n" for cell in [*reasons, "one.npy", *later])
    source = source_of(folder, f"embedding,image\n{lines}some.npz:x,gone.png\n")
    assert source.plan().features.embedding == 8 and source.plan().dropped == ()
    found = {item.id: item.reason for item in read_all(source) if isinstance(item, Dropped)}
    assert found == {**reasons, **later, "some.npz:x": "gone.png doesn't exist"}
    # Nothing readable at all: no length to write down, and every reason is named.
    nothing = source_of(folder, "embedding,image\nnan.npy,a.png\ngone.npy,b.png\n")
    with pytest.raises(RecordsError, match=r"Received none: nan.npy holds NaN.*; gone.npy doesn't"):
        build_records([nothing], folder / "rec", image=IMAGE, workers=1)
    # A length that the caller expects.
    wanted = source_of(folder, "embedding,image\none.npy,a.png\nshort.npy,a.png\n", FeatureConfig(embedding=7))
    dropped, pair = read_all(wanted)
    assert dropped.reason == "one.npy has 8 numbers; embeddings here have 7" and pair.key.id == "short.npy"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("../one.npy", "the embedding path leads out of the csv's folder"),
        ("/data/one.npy", "the embedding path is absolute"),
        ("C:\\one.npy", "the embedding path is absolute"),
        ("", "an embedding must be file.npy, file.npy:ROW, file.npz:KEY or file.npz:KEY:ROW"),
        ("one.csv", "an embedding must be file.npy"),
        ("./one.npy", "the same embedding and image as line 2"),
    ],
)
def test_cells_that_name_no_vector_are_dropped(folder, cell, reason):
    plan = source_of(folder, f"embedding,image\none.npy,a.png\n{cell},a.png\n").plan()
    (dropped,) = plan.dropped
    assert dropped.id == "pairs.csv line 3" and reason in dropped.reason
    assert split_reference("a.npy:b.npz:3") == ("a.npy", "b.npz:3")


def test_links_that_leave_the_folder_are_never_read(folder):
    np.save(folder.parent / "secret.npy", np.zeros(8))
    (folder / "link.npy").symlink_to(folder.parent / "secret.npy")
    pair, dropped = read_all(source_of(folder, "embedding,image\none.npy,a.png\nlink.npy,a.png\n"))
    assert pair.key.id == "one.npy" and "a link that leads out of the csv's folder" in dropped.reason


@pytest.mark.training
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,embedding_0,embedding_1\na.png,1,2\n", "embedding_1, embedding_2 and so on without a gap"),
        ("image,embedding,embedding_1\na.png,one.npy,2\n", "either a column embedding or embedding_1"),
        ("image,embedding,split\na.png,one.npy,validation\n", "line 2: split must be train, val, test"),
        ("image,embedding\n", "holds no rows"),
        (",".join(["image", *(f"embedding_{i}" for i in range(1, 16_386))]) + "\n", "at most 16384 numbers"),
    ],
)
def test_unusable_csv_is_refused(folder, text, message):
    with pytest.raises(SourceError, match=message):
        source_of(folder, text).plan()


def test_cells_that_are_not_numbers_are_dropped(folder):
    text = "image,embedding_1,embedding_2\na.png,1,x\nb.png,1,\na.png,inf,1\na.png,1,2\n"
    plan = source_of(folder, text).plan()
    number, infinite = "a value of the embedding isn't a number", "a value of the embedding is NaN or infinite"
    assert [item.reason for item in plan.dropped] == [number, number, infinite]
    assert [key.id for unit in plan.units for key in unit.keys] == ["a.png"]


def test_an_array_too_large_to_unpack_is_refused(folder, monkeypatch):
    monkeypatch.setattr(vectors_module, "MAX_BYTES", 300)
    with pytest.raises(SourceError, match=r"at most 300 bytes. Received: some.npz:rows, 320"):
        read_vector(folder / "some.npz", "rows:0")
    assert len(read_vector(folder / "many.npy", "0")) == 8
