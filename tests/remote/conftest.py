"""A server of the S3 protocol on this machine, a store in memory, and a folder of copies of each test's own."""

import logging
import uuid
from typing import Any, NamedTuple

import pytest

from keras_a2i.cache_folder import CACHE_VARIABLE

MISSING = "fsspec, s3fs and moto (extra test) aren't all installed"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """The folder of local copies."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    return folder


@pytest.fixture
def memory():
    """The address of a folder in a store that this process keeps in memory."""
    memory = pytest.importorskip("fsspec.implementations.memory", reason=MISSING)
    yield f"memory://{uuid.uuid4().hex}"
    memory.MemoryFileSystem.store.clear()
    memory.MemoryFileSystem.pseudo_dirs[:] = [""]


class Bucket(NamedTuple):
    """A bucket of the server, and a client that isn't the one of the library."""

    address: str
    client: Any

    @property
    def name(self):
        return self.address.removeprefix("s3://")

    def put(self, folder, prefix):
        """Uploads the files of a folder of the disk."""
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes())

    def read(self, key):
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def keys(self, prefix=""):
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix).get("Contents", [])
        return [item["Key"] for item in found]


@pytest.fixture(scope="session")
def server():
    """A running server, whose address and credentials are in the environment; yields a client."""
    pytest.importorskip("s3fs", reason=MISSING)
    moto = pytest.importorskip("moto.server", reason=MISSING)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    # One line for every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    _, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "user",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield pytest.importorskip("boto3", reason=MISSING).client("s3")
    server.stop()


@pytest.fixture
def bucket(server):
    """A new bucket."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    server.create_bucket(Bucket=name)
    return Bucket(f"s3://{name}", server)
