"""A process that waits for the one that works, and says in a sentence what happened where that one can't.

JAX aborts a process whose peers are lost, from C++ and with a stack trace; no exception of Python is raised.
"""

import os
import signal
import sys
import threading
import time

from keras_a2i.cli.terminal import echo

_SECONDS_BETWEEN_LOOKS = 1.0


def continue_in_child(message: str) -> None:
    """Returns in a child process; this process waits for it and exits with its status.

    It must be called before libraries with threads are imported. Where processes can't be forked, it does nothing.

    Args:
        message: what is said if a signal ends the child, such as the abort of a library; {signal} is its name.
    """
    if not hasattr(os, "fork"):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        # Signals to the group of processes, as from a terminal, reach the parent alone, which passes them on once.
        os.setsid()
        threading.Thread(target=_end_with, args=(parent,), daemon=True, name="parent").start()
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, frame: os.kill(child, received))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        echo(f"Error: {message.format(signal=signal.Signals(-code).name)}", err=True)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _end_with(parent: int) -> None:
    """Ends this process when its parent has ended, such as by SIGKILL, which nothing can pass on."""
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)
