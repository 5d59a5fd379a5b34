"""The version of the library and of those it stands on."""

import contextlib
import importlib.metadata
import platform

__version__ = "0.1.0"


def library_versions(*packages: str) -> dict[str, str]:
    """Versions of Python, of this library and of the packages named that are installed."""
    versions = {"python": platform.python_version(), "keras-a2i": __version__}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
