"""Keeping the log output of converters from the terminal."""

import contextlib
import logging
import os
import pathlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses what converters log, warn of, and write to stderr from native code."""
    saved = os.dup(2)
    with pathlib.Path(os.devnull).open("w") as null, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(null.fileno(), 2)
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
            os.dup2(saved, 2)
            os.close(saved)
