"""A page for browsers: a static folder with the model as TFLite, its runtime, and HTML and JavaScript of ours.

The runtime is the npm package @litertjs/core, LiteRT compiled to WebAssembly (Apache-2.0). It isn't part of this
repository: it is copied from an installed package, whose files must be those that the page was tested with.
"""

import dataclasses
import hashlib
import importlib.resources
import json
import pathlib
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.exporters.formats import FORMATS, Format, Limits, ServedModel, option, register
from keras_a2i.exporters.tflite import TFLiteFormat, TFLiteOptions
from keras_a2i.media.json_file import write_json
from keras_a2i.models.label_calibration import LabelCalibration
from keras_a2i.models.model_file import ModelMetadata, read_metadata

if TYPE_CHECKING:
    import keras

RUNTIME, RUNTIME_VERSION = "@litertjs/core", "2.5.3"
RUNTIME_FILES = {
    "litert_wasm_internal.js": "68efb69f770e3f76aff36a377de629ca496c131b86ac0f0f4b592a1543a898eb",
    "litert_wasm_internal.wasm": "7280cf4471774867e385e6c3cd53e2b45e2975b80fea338fff4ef359b0865614",
    "litert_wasm_compat_internal.js": "4d8f894b7883654fd6e8439730aa41e79ceaab7d19184fc4f1f0b0f1a2a2c8a5",
    "litert_wasm_compat_internal.wasm": "5255c8ad06eabdbd2522cdebf6b22fc10faf74625c23a49b9e072570cd1fa41c",
}
"""sha256 of the runtime's files that a page needs, which lie in the npm package's folder `wasm`: one build with relaxed
SIMD, and one for browsers without it."""
CDN = "cdn"
"""In place of a folder: browsers load the runtime from `CDN_ADDRESS`, and run it only if its sha256 is right."""
CDN_ADDRESS = f"https://cdn.jsdelivr.net/npm/{RUNTIME}@{RUNTIME_VERSION}/wasm/"
PAGE_FILES = ("index.html", "page.css", "stage.js", "page.js", "audio.js", "resample.js", "capture.js", "worker.js")
MODEL_FILE, DESCRIPTION = "model.tflite", "model.json"
CONTENT = (*PAGE_FILES, MODEL_FILE, DESCRIPTION, *(f"runtime/{name}" for name in RUNTIME_FILES))
"""Every file of a page's folder, which lacks the runtime's if that comes from the CDN."""
_KIND = "keras-a2i page"
# What the page's content security policy allows, and what it must allow for a runtime that is loaded, checked and run.
_POLICY = ("script-src 'self' 'wasm-unsafe-eval'", "connect-src 'self'")
_CDN_POLICY = ("script-src 'self' blob: 'wasm-unsafe-eval'", "connect-src 'self' https://cdn.jsdelivr.net")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WebOptions(TFLiteOptions):
    """Options of a page: those of its `.tflite` file, without integer inputs, and the runtime.

    Attributes:
        runtime: folder of the installed npm package @litertjs/core 2.5.3, or "cdn".
    """

    runtime: str | None = option(
        None,
        f"Folder of the npm package {RUNTIME} {RUNTIME_VERSION}, such as node_modules/{RUNTIME}, or {CDN}: browsers "
        "load it from cdn.jsdelivr.net.",
        type=str,
    )


@register
class WebFormat(Format):
    """A folder with index.html that any web server can serve: audio to images within the visitor's browser.

    It holds the model as TFLite with the input "waveform", a description as JSON, the runtime, and the page. From one
    image to the next it fades; with the option `latents` in the space of latent vectors.
    """

    id = "web"
    title = "Web page"
    suffix = None
    input = "waveform"
    Options = WebOptions

    def __init__(self) -> None:
        self._tflite = TFLiteFormat()

    def check(self, options: WebOptions) -> None:
        """Refuses integer inputs and outputs, and a runtime that isn't the expected one."""
        if options.integer_io:
            raise UsageError(
                "integer_io must be left out with format='web': the page computes with float32. Received: "
                "integer_io=True"
            )
        self._tflite.check(options)
        check_runtime(options.runtime)

    def check_model(self, metadata: ModelMetadata, options: WebOptions) -> None:
        """Refuses a model with a reference image."""
        _refuse_reference(metadata)

    def needs_calibration(self, options: WebOptions) -> bool:
        """With int8."""
        return self._tflite.needs_calibration(options)

    def attempts(self, options: WebOptions) -> Any:
        """As for a TFLite file."""
        return self._tflite.attempts(options)

    def limits(self, options: WebOptions) -> Limits:
        """As for a TFLite file."""
        return self._tflite.limits(options)

    def write(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        metadata: ModelMetadata,
        options: WebOptions,
        calibration: np.ndarray | None = None,
    ) -> None:
        """Writes the folder."""
        path.mkdir()
        self._tflite.write(model, path / MODEL_FILE, metadata, options, calibration)
        write_page(path, metadata, options.runtime)

    def can_load(self, path: pathlib.Path) -> bool:
        """Whether a folder holds a page: its description and its model."""
        return all((path / name).is_file() for name in ("index.html", DESCRIPTION, MODEL_FILE))

    def load(self, path: pathlib.Path, threads: int = 1) -> tuple[ServedModel, ModelMetadata]:
        """Loads the folder's `.tflite` file by LiteRT, without TensorFlow."""
        return self._tflite.load(path / MODEL_FILE, threads)

    def is_export(self, path: pathlib.Path) -> bool:
        """Whether a folder holds an exported page and nothing else."""
        if not path.is_dir() or _read_description(path).get("kind") != _KIND:
            return False
        files = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
        return files <= set(CONTENT)

    def notes(self, path: pathlib.Path, options: WebOptions) -> list[str]:
        """Says how to open the page."""
        return [
            f"open it with keras-a2i demo {path}, or serve the folder from any web server; the microphone needs https, "
            "except on localhost"
        ]


def write_page(folder: pathlib.Path, metadata: ModelMetadata, runtime: str | pathlib.Path | None) -> None:
    """Writes everything of a page except the model itself, which lies in `model.tflite`.

    Args:
        folder: an existing folder.
        metadata: of the model, whose input is a waveform as float32.
        runtime: folder of the npm package, or "cdn".

    Raises:
        UsageError: if the runtime isn't the expected one.
    """
    source = check_runtime(runtime)
    page = importlib.resources.files("keras_a2i.exporters").joinpath("page")
    for name in PAGE_FILES:
        (folder / name).write_bytes(page.joinpath(name).read_bytes())
    if source is None:
        _allow_cdn(folder / "index.html")
    else:
        (folder / "runtime").mkdir()
        for name in RUNTIME_FILES:
            shutil.copyfile(source / name, folder / "runtime" / name)
    write_json(
        folder / DESCRIPTION,
        {
            "kind": _KIND,
            "model": MODEL_FILE,
            "samples": metadata.n_inputs,
            "sample_rate": metadata.features.sample_rate,
            "image_size": metadata.image.size,
            "channels": metadata.image.channels,
            "labels": list(metadata.labels),
            "style_units": metadata.style_units,
            "calibration": dataclasses.asdict(metadata.calibration or LabelCalibration()),
            "license": metadata.license,
            "runtime": f"{RUNTIME} {RUNTIME_VERSION} (Apache-2.0)",
            "runtime_address": "runtime/" if source else CDN_ADDRESS,
            "runtime_sha256": {} if source else RUNTIME_FILES,
        },
    )


def missing_files(folder: pathlib.Path) -> list[str]:
    """Returns what an exported page lacks of the files that it needs."""
    description = _read_description(folder)
    needed = (*PAGE_FILES, MODEL_FILE, DESCRIPTION) if description.get("runtime_sha256") else CONTENT
    return [name for name in needed if not (folder / name).is_file()]


def check_runtime(runtime: str | pathlib.Path | None) -> pathlib.Path | None:
    """Returns the folder of the runtime's files within the folder of an npm package, or None for the CDN.

    Raises:
        UsageError: if there is no such folder, or a file in it differs from the one of the pinned version.
    """
    wanted = f"the folder of the npm package {RUNTIME} {RUNTIME_VERSION}, which runs the model in the browser"
    how = (
        f"Run npm install {RUNTIME}@{RUNTIME_VERSION} and name node_modules/{RUNTIME}, or name {CDN} for browsers to "
        "load it from cdn.jsdelivr.net"
    )
    if str(runtime) == CDN:
        return None
    if runtime is None:
        raise UsageError(f"runtime must be {wanted}. Received: runtime=None. {how}")
    if not pathlib.Path(runtime).is_dir():
        raise UsageError(f"runtime must be {wanted}. Received: {runtime}, which is no folder. {how}")
    folder = pathlib.Path(runtime) / "wasm"
    for name, digest in RUNTIME_FILES.items():
        if not (folder / name).is_file():
            raise UsageError(f"runtime must be {wanted}. Received: {runtime}, which lacks wasm/{name}. {how}")
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise UsageError(
                f"runtime must be {wanted}. Received: {runtime}, whose wasm/{name} is another file (sha256 "
                f"{found[:12]} in place of {digest[:12]}). {how}"
            )
    return folder


def copy_model(model: pathlib.Path, folder: pathlib.Path) -> ModelMetadata:
    """Copies a `.tflite` file into a page's folder, without TensorFlow; returns its metadata.

    Raises:
        ModelError: if the file's input isn't a waveform as float32.
    """
    shutil.copyfile(model, folder / MODEL_FILE)
    _, metadata = FORMATS["tflite"].load(folder / MODEL_FILE)
    _refuse_reference(metadata)
    known = read_metadata(folder / MODEL_FILE) is not None
    if not known or metadata.input != "waveform" or metadata.quantization:
        received = "integers" if metadata.quantization else metadata.input if known else "no configurations"
        raise ModelError(
            f"The model of a page must accept a waveform as float32. Received: {model.name}, which has {received}. "
            "Export it again with input='waveform'"
        )
    return metadata


def _refuse_reference(metadata: ModelMetadata) -> None:
    if metadata.reference:
        raise UsageError(
            "The model of a page must accept audio alone. Received: a model with a reference image, such as the recipe "
            "talking trains. Export it as tflite or saved-model, or show it with keras-a2i live --reference"
        )


def _allow_cdn(index: pathlib.Path) -> None:
    text = index.read_text(encoding="utf-8")
    for own, cdn in zip(_POLICY, _CDN_POLICY, strict=True):
        text = text.replace(own, cdn, 1)
    index.write_text(text, encoding="utf-8", newline="\n")


def _read_description(folder: pathlib.Path) -> dict[str, Any]:
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return description if isinstance(description, dict) else {}
