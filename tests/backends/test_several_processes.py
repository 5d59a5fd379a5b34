"""Trainings in two processes on JAX: the losses of one process, what each of them reads, and lost or hanging peers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from support.tone_source import ToneSource, build
from support.training_runs import SMALL

import keras_a2i as a2i
from keras_a2i.records.splits import SplitSpec
from keras_a2i.training.run_folder import RunFolder

pytestmark = [
    pytest.mark.backend,
    pytest.mark.training,
    pytest.mark.usefixtures("untrained"),
    pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras distributes trainings on JAX alone"),
]

PROCESS = """
import json
import sys

import numpy as np

import keras_a2i as a2i
from keras_a2i.records import split_reader

coordinator, number, records, run, options = *sys.argv[1:5], json.loads(sys.argv[5])
group = a2i.join_processes(coordinator, 2, int(number), timeout=60)
read, opened = split_reader.read_records, set()


def note(path, *args, **kwargs):
    # Features are read for their statistics, single rows for samples; whole shards are read by the data set.
    if not kwargs and "train" in path.name:
        opened.add(path.name)
    return read(path, *args, **kwargs)


split_reader.read_records = note
a2i.Records.feature_statistics = lambda self: (np.zeros(104, "float32"), np.ones(104, "float32"))
model = a2i.fit(records, run, devices="all", verbose=0, **options)
total = float(sum(np.abs(weight).sum() for weight in model.get_weights()))
print("RESULT" + json.dumps({"opened": sorted(opened), "total": total}), flush=True)
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones") / "records"
    build(folder, ToneSource(n_sources=8, seconds=12), split=SplitSpec(kind="block", val_fraction=0.25, guard=0))
    return folder


@pytest.fixture
def plain_statistics(monkeypatch):
    """As in `PROCESS`, where they are left out so that only the reading of the data set is seen."""
    values = np.zeros(104, np.float32), np.ones(104, np.float32)
    monkeypatch.setattr(a2i.Records, "feature_statistics", lambda self: values)


OPTIONS = {"recipe": "features", "settings": SMALL, "batch_size": 8}


def start(records, run, code=PROCESS, **options):
    """Starts two processes, the first one first."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, address, str(number), str(records), str(run), json.dumps(OPTIONS | options)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]


def end(process):
    """Returns exit status, what the process printed after RESULT, and its errors."""
    out, errors = process.communicate(timeout=120)
    result = json.loads(out.split("RESULT")[1]) if "RESULT" in out else None
    return process.returncode, result, errors


def wait_for_epoch(run, epoch):
    deadline = time.monotonic() + 90
    while len(RunFolder(run).read_history()) < epoch:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def losses(run):
    return [[row[name] for name in ("loss", "val_loss", "val_mse")] for row in RunFolder(run).read_history()]


def test_two_processes_have_the_losses_of_one(records, tmp_path, plain_statistics):
    processes = start(records, tmp_path / "two", epochs=3)
    (status, first, errors), (status_1, second, errors_1) = map(end, processes)
    assert status == status_1 == 0, errors + errors_1
    one = a2i.fit(records, tmp_path / "one", epochs=3, data_parts=2, verbose=0, **OPTIONS)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-5)
    # Both return the model that the first one keeps, and that is in the run folder.
    assert first["total"] == second["total"]
    kept = a2i.load(tmp_path / "two").model
    assert first["total"] == pytest.approx(sum(np.abs(weight).sum() for weight in kept.get_weights()), rel=1e-6)
    for ours, theirs in zip(one.get_weights(), kept.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    # Each has read its own half of the shards, and nothing of the other's.
    shards = {shard.file for shard in a2i.Records(records).manifest.shards_of("train")}
    assert set(first["opened"]) | set(second["opened"]) == shards
    assert not set(first["opened"]) & set(second["opened"])


def test_a_killed_process_ends_the_other_and_the_run_resumes_with_one(records, tmp_path, plain_statistics):
    run = tmp_path / "run"
    first, second = start(records, run, epochs=5000)
    wait_for_epoch(run, 2)
    second.kill()
    status, _, errors = end(first)
    end(second)
    assert status == 1
    assert "another process ended" in errors and "Start all processes again, with --resume" in errors
    saved = len(RunFolder(run).read_history())
    resumed = saved + 1
    a2i.fit(records, run, resume=True, epochs=resumed, verbose=0)
    assert RunFolder(run).read_config().finished
    assert len(losses(run)) == resumed
    assert np.isfinite(losses(run)).all()


def test_a_lost_first_process_ends_the_other(records, tmp_path):
    first, second = start(records, tmp_path / "run", epochs=5000)
    wait_for_epoch(tmp_path / "run", 1)
    first.kill()
    # JAX aborts it, or it ends by itself, whichever comes first.
    assert end(second)[0] in (1, -signal.SIGABRT)
    end(first)


def test_a_hanging_process_ends_the_other_within_the_stated_time(records, tmp_path):
    run = tmp_path / "run"
    first, second = start(records, run, epochs=5000, step_timeout=3.0)
    wait_for_epoch(run, 1)
    second.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    status, _, errors = end(first)
    second.kill()
    end(second)
    # The limit is six times as long where the last step was the end of an epoch.
    assert status == 1 and time.monotonic() - stopped < 60
    assert re.search(r"no step ended within (3|18) seconds: another process hangs or was lost", errors)
    assert "is saved in" in errors and (run / "state" / "variables.npz").is_file()


def test_the_others_name_the_reason_why_the_first_stops(records, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    (status, _, errors), (status_1, _, errors_1) = map(end, start(records, tmp_path / "run", epochs=1))
    assert status == status_1 == 1
    assert "The run must be written to a new or empty folder" in errors
    assert "The first process stopped: The run must be written to a new or empty folder" in errors_1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_one_process_on_two_devices_has_the_losses_of_one_device(records, tmp_path):
    code = PROCESS.replace("group = a2i.join_processes(coordinator, 2, int(number), timeout=60)\n", "")
    code = 'import os\nos.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"\n' + code
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = ["", "0", str(records), str(tmp_path / "two"), json.dumps(OPTIONS | {"epochs": 2})]
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        values = np.zeros(104, np.float32), np.ones(104, np.float32)
        patch.setattr(a2i.Records, "feature_statistics", lambda self: values)
        a2i.fit(records, tmp_path / "one", epochs=2, data_parts=1, verbose=0, **OPTIONS)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-5)


def test_a_finished_run_is_returned_by_all_processes(records, tmp_path, plain_statistics):
    a2i.fit(records, tmp_path / "run", epochs=1, data_parts=2, verbose=0, **OPTIONS)
    code = PROCESS.replace('devices="all", verbose=0, **options', 'devices="all", verbose=0, resume=True')
    (status, first, errors), (status_1, second, errors_1) = map(end, start(records, tmp_path / "run", code))
    assert status == status_1 == 0, errors + errors_1
    assert first["total"] == second["total"] and first["opened"] == second["opened"] == []


def test_an_address_without_a_first_process_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    code = "import keras_a2i as a2i, sys\na2i.join_processes(sys.argv[1], 2, 1, timeout=1)"
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code, address], env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"must be reachable within 1 seconds. Received: {address}" in done.stderr


def test_a_process_with_other_records_ends_both(records, tmp_path):
    other = tmp_path / "other"
    build(other, ToneSource(n_sources=7, seconds=12), split=SplitSpec(kind="block", val_fraction=0.25, guard=0))
    code = PROCESS.replace(
        "model = a2i.fit(records, run", f"model = a2i.fit([records, {str(other)!r}][int(number)], run"
    )
    started = time.monotonic()
    (status, _, errors), (status_1, _, errors_1) = map(end, start(records, tmp_path / "run", code, epochs=5000))
    assert status in (1, -signal.SIGABRT) and status_1 == 1
    assert "All processes must read the same records" in errors_1
    assert time.monotonic() - started < 90, errors


def test_a_second_training_that_is_refused_ends_both(records, tmp_path):
    code = PROCESS + '\na2i.fit(records, run, devices="all", verbose=0, **options)\n'
    (status, first, errors), (status_1, second, errors_1) = map(end, start(records, tmp_path / "run", code, epochs=1))
    assert status == status_1 == 1 and first["total"] == second["total"]
    assert "holds a run already" in errors
    assert "The first process stopped" in errors_1 and "holds a run already" in errors_1
