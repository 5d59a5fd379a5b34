"""Builds keras-a2i-runtime: the package keras_a2i of this checkout, with the dependencies of an exported model alone.

pip can't subtract dependencies, so an installation without TensorFlow and Keras is a distribution of its own. Install
one of keras-a2i and keras-a2i-runtime, not both: they hold the same package.
"""

import pathlib
import re
import shutil

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).resolve().parents[2]
# A distribution's licence must lie within its own folder.
shutil.copyfile(ROOT / "LICENSE", pathlib.Path(__file__).with_name("LICENSE"))
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "keras_a2i" / "version.py").read_text())[1]

setup(
    name="keras-a2i-runtime",
    version=VERSION,
    description="keras-a2i without TensorFlow: images, videos and live pages from an exported audio-to-image model",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"": "../..", "keras_a2i.saved_models": "../../saved_models"},
    packages=[*find_packages(str(ROOT), include=["keras_a2i*"]), "keras_a2i.saved_models"],
    package_data={
        "keras_a2i": ["py.typed"],
        "keras_a2i.exporters": ["page/*"],
        "keras_a2i.saved_models": ["*/model.tflite", "*/card.md", "*/held_out.png"],
        "keras_a2i.serving": ["*.html", "*.js"],
    },
    install_requires=[
        "numpy>=1.26",
        "pillow>=10.3",
        "click>=8.1",
        "soundfile>=0.13",
        "soxr>=0.5",
        "ai-edge-litert>=1.2",
    ],
    extras_require={
        "video": ["av>=15"],
        "live": ["sounddevice>=0.5"],
        "onnx": ["onnxruntime>=1.19"],
        "remote": ["fsspec>=2024.12", "s3fs>=2024.12"],
    },
    entry_points={"console_scripts": ["keras-a2i = keras_a2i.cli.main:main"]},
)
