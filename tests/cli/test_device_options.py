"""The place of a process among several, and the process that waits for it."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from keras_a2i.cli.device_options import join_group, take_place
from keras_a2i.errors import UsageError
from keras_a2i.training.process_place import ProcessPlace, configured_backend, find_place

NONE = {"devices": None, "coordinator": None, "num_processes": None, "process_id": None, "step_timeout": None}
CHILD = """
import os, sys, time
from keras_a2i.cli.supervisor import continue_in_child
continue_in_child("ended by {signal}")
print("child", os.getpid(), flush=True)
"""


def in_slurm(monkeypatch):
    for name in ("JOB_ID", "STEP_NODELIST", "NTASKS", "PROCID", "LOCALID"):
        monkeypatch.setenv(f"SLURM_{name}", "4")


def run(code):
    return subprocess.run([sys.executable, "-c", CHILD + code], capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def on_jax(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")


def test_a_training_on_one_device_has_no_place():
    options = NONE | {"epochs": 3}
    assert take_place(options, has_seeds=True) == (None, {}) and options == {"epochs": 3}
    assert join_group(None) is None


def test_the_options_are_taken_from_those_of_the_command(monkeypatch):
    options = NONE | {"coordinator": "host:1", "num_processes": 2, "process_id": 0, "epochs": 3}
    assert take_place(options, has_seeds=False) == (ProcessPlace(2, "host:1", 0), {"devices": "all"})
    assert options == {"epochs": 3}
    in_slurm(monkeypatch)
    together = {"devices": "all", "step_timeout": 5.0}
    assert take_place(NONE | together, has_seeds=False) == (ProcessPlace(4), together)


@pytest.mark.parametrize("given", [{"devices": "all"}, {"coordinator": "host:1", "num_processes": 1, "process_id": 0}])
def test_a_script_may_compute_one_process_and_keep_the_timeout_of_steps(given):
    place, arguments = take_place(NONE | given | {"step_timeout": 5.0}, has_seeds=False)
    assert place is not None and place.n_processes == 1
    assert arguments == {"devices": "all", "step_timeout": 5.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_timeout": 5.0}, "--step-timeout needs the options of several processes: --coordinator.*without them"),
        ({"process_id": 1}, r"must be given together \(--coordinator.*Received: None, None, 1"),
        ({"num_processes": 2, "devices": "all"}, "must be given together.*Received: None, 2, None"),
        ({"coordinator": "host:1"}, "must be given together.*Received: 'host:1', None, None"),
    ],
)
def test_options_without_effect_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        take_place(NONE | options, has_seeds=False)


def test_options_of_several_processes_are_refused_with_seeds_and_on_other_backends(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match=r"--seeds trains every run in one process.*Received: --num-processes"):
        take_place(NONE | {"num_processes": 2}, has_seeds=True)
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"needs Keras' JAX backend.*Received: tensorflow. Install JAX"):
        take_place(NONE | {"devices": "all"}, has_seeds=False)
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    assert take_place(NONE | {"devices": "all"}, has_seeds=False) == (ProcessPlace(), {"devices": "all"})


@pytest.mark.parametrize(("is_writable", "folder"), [(True, "home"), (False, "/tmp")])
def test_the_backend_is_read_where_keras_reads_it(tmp_path, monkeypatch, is_writable, folder):
    """Keras reads /tmp/.keras where the home folder can't be written to."""
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.delenv("KERAS_HOME", raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setattr(os, "access", lambda path, mode: is_writable)
    read = []
    monkeypatch.setattr(pathlib.Path, "read_text", lambda own, **_: read.append(own) or '{"backend": "torch"}')
    assert configured_backend() == "torch"
    assert read == [tmp_path / folder / ".keras" / "keras.json"]


def test_the_tasks_of_a_slurm_step_are_several_processes_but_those_of_hand_are_not_mixed_with_them(monkeypatch):
    in_slurm(monkeypatch)
    assert find_place() == ProcessPlace(4)
    with pytest.raises(UsageError, match=r"must be given together.*Received: None, None, 1"):
        find_place(process_id=1)
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert find_place() == ProcessPlace()


def test_the_status_and_the_output_of_the_child_are_passed_on():
    done = run("sys.exit(3)")
    assert done.returncode == 3 and done.stdout.startswith("child") and done.stderr == ""


def test_an_abort_of_the_child_is_named():
    done = run("os.abort()")
    assert done.returncode == 1 and "Error: ended by SIGABRT" in done.stderr


@pytest.mark.training
def test_sigterm_is_passed_on_and_a_killed_parent_ends_the_child():
    code = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\ntime.sleep(60)"
    for number, status in ((signal.SIGTERM, 7), (signal.SIGKILL, -signal.SIGKILL)):
        parent = subprocess.Popen([sys.executable, "-c", CHILD + code], stdout=subprocess.PIPE, text=True)
        child = int(parent.stdout.readline().split()[1])
        time.sleep(0.2)
        parent.send_signal(number)
        assert parent.wait(30) == status
        deadline = time.monotonic() + 30
        while _is_running(child):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
