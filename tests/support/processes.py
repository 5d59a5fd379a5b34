"""Python code in a process of its own: for settings that can only be made before Keras or TensorFlow starts."""

import json
import os
import subprocess
import sys

LESS_GARBAGE_COLLECTION = "import gc; gc.set_threshold(200_000, 20, 100)\n"
"""Code for the start of a process, as in conftest.py: much of an import of TensorFlow is the search for garbage."""


def run_python(code, *arguments, backend="tensorflow", check=True):
    """Runs code with this process's import paths and a Keras backend.

    Returns:
        What it printed after "RESULT", read as JSON; with `check=False` the completed process.
    """
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, "-c", LESS_GARBAGE_COLLECTION + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if not check:
        return done
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.split("RESULT")[1])
