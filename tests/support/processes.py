"""Python code in a process of its own: for settings that can only be made before Keras or TensorFlow starts."""

import json
import os
import subprocess
import sys


def run_python(code, *arguments, backend="tensorflow", check=True):
    """Runs code with this process's import paths and a Keras backend.

    Returns:
        What it printed after "RESULT", read as JSON; with `check=False` the completed process.
    """
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    # As in conftest.py: most of a short training is tracing, and much of that the search for garbage.
    code = "import gc\ngc.set_threshold(200_000, 20, 100)\n" + code
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if not check:
        return done
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.split("RESULT")[1])
