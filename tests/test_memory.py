"""Memory that the process keeps for the next arrays."""

import os
import platform
import subprocess
import sys

import pytest

from keras_a2i import memory
from keras_a2i.memory import keep_freed_memory

_FILL_TWICE = """
import resource
from keras_a2i.memory import keep_freed_memory

print(keep_freed_memory())
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    block[::4096] = bytes(len(block) // 4096)
    del block
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _fill_twice(**variables):
    done = subprocess.run(
        [sys.executable, "-c", _FILL_TWICE], capture_output=True, text=True, env=os.environ | variables
    )
    kept, first, second = done.stdout.split()
    return kept == "True", int(first), int(second)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library isn't glibc")
def test_second_large_array_causes_no_page_faults():
    kept, first, second = _fill_twice()
    assert kept and second < 100 < first
    # The user's own choice stands: that of the C library is to map every large array anew.
    kept, first, second = _fill_twice(MALLOC_TRIM_THRESHOLD_="131072")
    assert not kept and second > first / 2


@pytest.mark.parametrize(("system", "library"), [("Darwin", ""), ("Linux", ""), ("Windows", "")])
def test_other_c_libraries_are_left_alone(monkeypatch, system, library):
    monkeypatch.setattr(memory.platform, "system", lambda: system)
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: (library, ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("nothing must be called"))
    assert not keep_freed_memory()
