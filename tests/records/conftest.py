"""Records folders that the tests of this room share; tests that change a folder build their own."""

import pytest
from support.tone_source import ToneSource, build

from keras_a2i import ImageConfig, Records
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.splits import SplitSpec


@pytest.fixture(scope="session")
def records_folder(tmp_path_factory):
    """Five sources of 9 training pairs and 3 held-out pairs each, with 2 labels and PNG images."""
    path = tmp_path_factory.mktemp("records")
    split = SplitSpec(kind="block", val_fraction=0.25, guard=0)
    build(path, ToneSource(n_sources=5), image=ImageConfig(size=16, raw=False), split=split)
    return path


@pytest.fixture
def records(records_folder):
    """A new object, which has decoded nothing yet."""
    return Records(records_folder)


@pytest.fixture
def damaged_folder(tmp_path):
    """24 training pairs, of which record 5 of the first shard is damaged."""
    build(tmp_path, ToneSource(n_sources=2), split=SplitSpec(kind="block", val_fraction=0))
    path = tmp_path / Manifest.read(tmp_path).shards[0].file
    # The id is inside the data of a record, away from its length.
    path.write_bytes(path.read_bytes().replace(b"tone0@5", b"tone0@X", 1))
    return tmp_path


@pytest.fixture
def opened_shards(monkeypatch):
    """The names of the shards that were opened for reading, in order."""
    import keras_a2i.records.split_reader as module

    opened, original = [], module.read_records
    monkeypatch.setattr(
        module, "read_records", lambda path, *a, **k: opened.append(path.name) or original(path, *a, **k)
    )
    return opened
