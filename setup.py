"""Adds the shipped models, whose folder lies beside the package, to the distribution. The rest is in setup.cfg."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["keras_a2i*"]), "keras_a2i.saved_models"],
    package_dir={"keras_a2i.saved_models": "saved_models"},
)
