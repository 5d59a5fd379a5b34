"""Makes Keras know the library's classes as soon as both are imported.

`import keras_a2i` imports no Keras. Yet `keras.saving.load_model` must find the layers, metrics and objectives of a
file in a process that has imported nothing else: Keras looks classes up among those that are registered, and
registering means importing them.
"""

import contextlib
import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from typing import Any

from keras_a2i.errors import BackendError

_MODULES = ("layers", "losses", "metrics", "objectives", "optimizers")
"""The modules of the package whose import registers classes with Keras."""


def register() -> None:
    """Imports every module that registers classes; each of `_MODULES` calls it at its end."""
    for module in _MODULES:
        importlib.import_module(f"keras_a2i.{module}")
    for module in importlib.import_module("keras_a2i.models").CLASS_MODULES:
        # One that is being imported just now registers its class when it is complete.
        if module not in sys.modules:
            importlib.import_module(module)


def register_with_keras() -> None:
    """Registers the classes now if Keras is imported, else when it will be."""
    if sys.modules.get("keras") is not None:
        register()
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())


class _KerasFinder:
    """Finds Keras as Python does, and has `register` called after its import."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: Any) -> None:
                try:
                    execute(module)
                except (ImportError, ValueError) as error:
                    # The next attempt is to end, or to register, like this one.
                    sys.meta_path.insert(0, self)
                    _explain(error)
                    raise
                # If one of the modules imports Keras itself, it isn't complete yet and registers at its end.
                if not any(f"keras_a2i.{name}" in sys.modules for name in _MODULES):
                    with contextlib.suppress(ImportError):
                        register()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _explain(error: Exception) -> None:
    """Raises a sentence about the backend if that is what Keras couldn't import."""
    config = sys.modules.get("keras.src.backend.config")
    if config is not None and "keras.src.backend" not in sys.modules:
        raise BackendError(config.backend(), error) from error
