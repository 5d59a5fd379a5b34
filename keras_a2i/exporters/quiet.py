"""Keeping the log output of converters from the terminal."""

import contextlib
import logging
import os
import pathlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses what converters log, warn of, and write to stderr from native code.

    Errors that they log, with tracebacks, are suppressed too: what is wrong is raised, or is in what they return. The
    level below which the application disabled logging is restored.
    """
    level = logging.root.manager.disable
    saved = os.dup(2)
    with pathlib.Path(os.devnull).open("w") as null, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(null.fileno(), 2)
        logging.disable(max(level, logging.ERROR))
        try:
            yield
        finally:
            logging.disable(level)
            os.dup2(saved, 2)
            os.close(saved)
