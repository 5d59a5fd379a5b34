"""Building on a Dask cluster: a real scheduler and real workers, which are killed."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from support.dask_cluster import DaskCluster
from support.tone_source import ToneSource, build

from keras_a2i.errors import ClusterError, RecordsError
from keras_a2i.records import cluster as cluster_module
from keras_a2i.records.cluster import Cluster

distributed = pytest.importorskip("distributed", reason="distributed (extra cluster) isn't installed")
pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler with two workers; a test that adds another one kills it, too."""
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"), n_workers=2)
    yield cluster
    cluster.close()


@pytest.fixture
def client(cluster):
    """A client of the cluster, to look at it."""
    with distributed.Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


def build_there(out, cluster, source, **options):
    return build(out, source, workers=None, scheduler=cluster.address, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill_when_finished(out, count, processes):
    """Kills processes once `count` tasks are finished."""

    def kill():
        wait_until(lambda: len(list(out.glob(".build/0*.json"))) >= count)
        for process in processes:
            process.send_signal(signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


def test_cluster_build_has_the_bytes_of_the_local_build(tmp_path, cluster, client, monkeypatch):
    source = ToneSource(n_sources=9, broken=("tone1@2", "tone8@0"))
    local, states = build(tmp_path / "local", source), []
    out, submit, in_flight = tmp_path / "there", distributed.Client.submit, []

    def counting_submit(*arguments, **options):
        in_flight.append(1 + len(in_flight) - len(list(out.glob(".build/0*.json"))))
        return submit(*arguments, **options)

    monkeypatch.setattr(distributed.Client, "submit", counting_submit)
    monkeypatch.chdir(tmp_path)
    there = build_there(pathlib.Path("there"), cluster, source, progress=lambda *state: states.append(state))
    assert there == local and contents(out) == contents(tmp_path / "local")
    assert sorted(local.dropped) == [["tone1@2", "broken on purpose"], ["tone8@0", "broken on purpose"]]
    assert states[-1] == (sum(local.counts.values()), 2, sum(local.counts.values()) + 2)
    # Two tasks per thread at once, and no more.
    assert len(in_flight) == 8 and max(in_flight) == 4
    loaded = client.run(eval, "'tensorflow' in __import__('sys').modules")
    assert list(loaded.values()) == [False, False]


def test_strict_stops_the_cluster_build_at_a_bad_input(tmp_path, cluster):
    message = r"tone1@2: broken on purpose. The build stops at it \(strict=True, --strict\)"
    with pytest.raises(RecordsError, match=message):
        build_there(tmp_path, cluster, ToneSource(broken=("tone1@2",)), strict=True)
    assert not list(tmp_path.glob(".build/*.tmp"))


def test_interrupted_build_frees_the_cluster_and_resumes(tmp_path, cluster, client):
    def interrupt(done, dropped, total):
        if list(tmp_path.glob(".build/0*.json")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_there(tmp_path, cluster, ToneSource(n_sources=8, seconds=64, pause=0.01), progress=interrupt)
    finished = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob(".build/0*.tfrecord")}
    assert finished
    # What was running ends, although Dask itself can't stop it.
    wait_until(lambda: not any(client.call_stack().values()) and not list(tmp_path.glob(".build/*.tmp")), seconds=20)
    assert not any(client.processing().values())
    build_there(tmp_path, cluster, ToneSource(n_sources=8, seconds=64))
    assert set(finished.values()) <= {path.stat().st_mtime_ns for path in tmp_path.glob("*.tfrecord")}


def test_worker_with_other_versions_is_named(tmp_path, cluster, client, monkeypatch):
    code = "import keras_a2i.version\nkeras_a2i.version.__version__ = '0.0.9'\n"
    (tmp_path / "sitecustomize.py").write_text(code)
    known = set(client.scheduler_info()["workers"])
    process = cluster.add_worker(PYTHONPATH=os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    try:
        client.wait_for_workers(3, timeout=60)
        (other,) = set(client.scheduler_info()["workers"]) - known
        message = rf"must have the versions of this process. Received: the worker {other} with keras-a2i 0.0.9 \(here"
        with pytest.raises(ClusterError, match=message):
            build_there(tmp_path / "out", cluster, ToneSource())
        assert not (tmp_path / "out").exists()
        # A worker that joins after the check refuses its first task.
        monkeypatch.setattr(Cluster, "check_versions", lambda self: None)
        with pytest.raises(ClusterError, match=message):
            build_there(tmp_path / "out", cluster, ToneSource(n_sources=8, pause=0.02))
    finally:
        process.kill()
        wait_until(lambda: len(client.scheduler_info()["workers"]) == 2)


def test_worker_without_the_input_or_the_folder_is_named(tmp_path, cluster, monkeypatch):
    """The workers are on this machine: the client here names what only it would have."""
    with monkeypatch.context() as patch:
        patch.setattr(cluster_module, "_paths", lambda tasks: ["/nowhere/a.mp4"])
        with pytest.raises(
            ClusterError, match=r"Received: the worker tcp://.*, which can't read /nowhere/a.mp4. Share"
        ):
            build_there(tmp_path / "out", cluster, ToneSource())
    with monkeypatch.context() as patch:
        patch.setattr(cluster_module, "mark_path", lambda folder, build: folder / "elsewhere.tmp")
        with pytest.raises(ClusterError, match=rf"which can't read {tmp_path}/out/.build. Share both folders"):
            build_there(tmp_path / "out", cluster, ToneSource())
    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "_check_folders", lambda *_: None)
        patch.setattr(cluster_module, "finish_task", lambda *_: pathlib.Path("/nowhere").stat())
        with pytest.raises(ClusterError, match=r"the worker tcp://.*, whose shards aren't in .*out/.build. Share both"):
            build_there(tmp_path / "out", cluster, ToneSource())


def test_killed_worker_leaves_the_bytes_as_they_are(tmp_path, cluster, client):
    process = cluster.add_worker()
    client.wait_for_workers(3, timeout=60)
    kill_when_finished(tmp_path / "there", 1, [process])
    build_there(tmp_path / "there", cluster, ToneSource(n_sources=8, pause=0.04))
    assert process.wait() == -signal.SIGKILL
    build(tmp_path / "local", ToneSource(n_sources=8))
    assert contents(tmp_path / "there") == contents(tmp_path / "local")


def test_build_resumes_after_its_workers_and_its_scheduler_are_lost(tmp_path, cluster, monkeypatch):
    source, slow = ToneSource(n_sources=8), ToneSource(n_sources=8, pause=0.02)
    out = tmp_path / "there"
    monkeypatch.setattr(cluster_module, "WORKER_SECONDS", 0.5)
    monkeypatch.setattr(cluster_module, "_SECONDS_BETWEEN_COUNTS", 0.2)
    other = DaskCluster(tmp_path, n_workers=1)
    try:
        with distributed.Client(other.address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        kill_when_finished(out, 1, other.workers)
        no_worker = rf"The Dask scheduler {other.address} must have a worker. Received: none for 0.5 s. Start one"
        with pytest.raises(ClusterError, match=no_worker):
            build_there(out, other, slow)
        with pytest.raises(ClusterError, match=no_worker):
            build_there(out, other, slow)
        monkeypatch.undo()
        other.add_worker()
        kill_when_finished(out, 3, [other.scheduler])
        with pytest.raises(
            ClusterError, match=rf"{other.address} was lost. Finished shards are kept: run the same bui"
        ):
            build_there(out, other, slow)
    finally:
        other.close()
    finished = {path.stat().st_mtime_ns for path in out.glob(".build/0*.tfrecord")}
    assert len(list(out.glob(".build/0*.json"))) >= 3 and not (out / "records.json").exists()
    shutil.copytree(out, tmp_path / "here")
    build_there(out, cluster, source)
    build(tmp_path / "here", source)
    build(tmp_path / "local", source)
    assert contents(out) == contents(tmp_path / "here") == contents(tmp_path / "local")
    assert finished <= {path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash isn't installed")
def test_script_for_slurm_builds_records(tmp_path):
    """SLURM's srun is replaced by one that starts its command here."""
    script = pathlib.Path(__file__).parents[2] / "examples" / "cluster.sbatch"
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "activate").write_text(f"PATH={binaries}:$PATH")
    for name, call in {
        "srun": 'exec "$@"',
        "dask": f'exec {sys.executable} -m dask "$@"',
        "python": f'exec {sys.executable} "$@"',
        "keras-a2i": f'exec {sys.executable} -c "from keras_a2i.cli.main import main; main()" "$@"',
    }.items():
        (binaries / name).write_text(f"#!/bin/sh\n{call}\n")
        (binaries / name).chmod(0o755)
    paths = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"VENV": str(binaries.parent), "SLURM_JOB_ID": "7", "PYTHONPATH": paths}
    command = ["bash", script, "synthetic:surf:8", "--image-size", "16", "--channels", "3", "--out", "records"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "records: 6 pairs (4 train, 2 val)" in done.stdout, done.stderr
    assert not list(tmp_path.glob("scheduler-*")) and (tmp_path / "records" / "records.json").is_file()
