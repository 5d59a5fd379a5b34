"""Memory that the process keeps for the next arrays."""

import os
import platform
import subprocess
import sys

import pytest

from keras_a2i import memory
from keras_a2i.memory import keep_freed_memory

_FILL = """
import resource
import threading

from keras_a2i.memory import keep_freed_memory

print(keep_freed_memory())


def fill(n_bytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(n_bytes)
    block[::4096] = bytes(n_bytes // 4096)
    del block
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


"""
_TWICE = """
fill(64 << 20)
fill(64 << 20)
"""
_IN_TWO_THREADS = """
filled, ended = threading.Event(), threading.Event()
threading.Thread(target=lambda: (fill(16 << 20), filled.set(), ended.wait())).start()
filled.wait()
second = threading.Thread(target=fill, args=(16 << 20,))
second.start()
second.join()
ended.set()
"""
_glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library isn't glibc")


def _run(script, **variables):
    """Runs a script without the machine's own settings; returns the words that it prints."""
    environment = {name: value for name, value in os.environ.items() if name not in memory._USERS_OWN} | variables
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return done.stdout.split()


def _page_faults(script, **variables):
    """Whether memory was kept, and the page faults of filling memory once and again."""
    kept, first, second = _run(_FILL + script, **variables)
    return kept == "True", int(first), int(second)


@_glibc_only
def test_second_large_array_causes_no_page_faults():
    kept, first, second = _page_faults(_TWICE)
    assert kept and second < 100 < first


@_glibc_only
def test_choice_of_the_user_stands():
    # The threshold is that of the C library, which returns every large array to the system.
    kept, first, second = _page_faults(_TWICE, MALLOC_TRIM_THRESHOLD_="131072")
    assert not kept and second > first / 2


@_glibc_only
def test_thread_reuses_memory_that_another_has_freed():
    kept, first, second = _page_faults(_IN_TWO_THREADS)
    assert kept and second < 100 < first


@pytest.mark.parametrize("module", ["keras_a2i.cli.main", "keras_a2i.training.job_process"])
def test_commands_and_trainings_in_processes_of_their_own_keep_memory(module):
    script = f"""
import os
import {module} as module


def keep():
    os.write(1, b"kept")
    os._exit(0)


module.keep_freed_memory = keep
module.main()
"""
    assert _run(script) == ["kept"]


@pytest.mark.parametrize(("system", "library"), [("Darwin", "glibc"), ("Linux", ""), ("Windows", "")])
def test_other_c_libraries_are_left_alone(monkeypatch, system, library):
    monkeypatch.setattr(memory.platform, "system", lambda: system)
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: (library, ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("nothing must be called"))
    assert not keep_freed_memory()
