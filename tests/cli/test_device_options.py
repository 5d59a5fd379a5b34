"""The place of a process among several, and the process that waits for it."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from keras_a2i.cli.device_options import Place, join_group, take_place
from keras_a2i.errors import UsageError

NONE = {"devices": None, "coordinator": None, "num_processes": None, "process_id": None, "step_timeout": None}
CHILD = """
import os, sys, time
from keras_a2i.cli.supervisor import continue_in_child
continue_in_child("ended by {signal}")
print("child", os.getpid(), flush=True)
"""


def run(code):
    return subprocess.run([sys.executable, "-c", CHILD + code], capture_output=True, text=True, check=False)


def test_a_training_on_one_device_has_no_place():
    options = NONE | {"epochs": 3}
    assert take_place(options, has_seeds=True) is None and options == {"epochs": 3}
    assert join_group(None) is None


def test_the_options_are_taken_from_those_of_the_command():
    options = NONE | {"coordinator": "host:1", "num_processes": 2, "process_id": 0, "epochs": 3}
    assert take_place(options, has_seeds=False) == Place("host:1", 2, 0, None)
    assert options == {"epochs": 3}


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="--step-timeout needs --devices all or --coordinator"):
        take_place(NONE | {"step_timeout": 5.0}, has_seeds=False)
    with pytest.raises(UsageError, match=r"--seeds trains every run in one process.*Received: --num-processes"):
        take_place(NONE | {"num_processes": 2}, has_seeds=True)


def test_the_status_and_the_output_of_the_child_are_passed_on():
    done = run("sys.exit(3)")
    assert done.returncode == 3 and done.stdout.startswith("child") and done.stderr == ""


def test_an_abort_of_the_child_is_named():
    done = run("os.abort()")
    assert done.returncode == 1 and "Error: ended by SIGABRT" in done.stderr


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
