"""The run folder: what a training writes, and what it needs to be resumed; on the disk or in an object store."""

import contextlib
import csv
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import AddressNotFoundError, ModelError, RemoteError, UsageError
from keras_a2i.media.durable import written_whole
from keras_a2i.media.folder_lock import LOCK_FILE, folder_lock
from keras_a2i.media.json_file import write_json
from keras_a2i.media.value_types import check_types
from keras_a2i.models.model_file import AUDIO_TOKEN
from keras_a2i.remote.address import Address, as_location
from keras_a2i.remote.mirror import Mirror
from keras_a2i.remote.store import find_kind, list_names, read_bytes

if TYPE_CHECKING:
    import keras

    from keras_a2i.recipes.recipe import Recipe

SCORES = ("mse", "ssim", "histogram_similarity")
"""Scores of held-out images after every epoch: in the history as val_mse and so on."""
HIGHER_IS_BETTER = ("val_ssim", "val_histogram_similarity")
IMAGE_TO_AUDIO = "image-to-audio"
OTHER_FITS = {
    IMAGE_TO_AUDIO: "fit_image_to_audio (keras-a2i fit-image-to-audio --resume)",
    AUDIO_TOKEN: "fit_audio_token (keras-a2i fit-audio-token --resume)",
}
"""Names of the recipes in the runs of functions beside `fit`, and what resumes such a run."""
AUTO = "auto"
"""`jit_compile` that uses XLA where the steps are measured to be shorter with it."""
CLEARLY_FASTER = 0.95
"""Part of the duration without XLA that a step with it must not exceed to be chosen: measured durations vary."""
PLAIN, XLA = "plain", "xla"
"""Keys of `RunConfig.step_milliseconds`: without XLA, with it."""
DTYPE_POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
REPORT_FILES = ("report.json", "report.html", "per_pair.csv")
"""What `evaluate` writes into a run folder."""
CARD_FILE = "card.md"
"""What `write_card` writes into a run folder, of the report."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """`config.json`: everything needed to repeat the training.

    Attributes:
        recipe: `Recipe.to_dict`, with its settings applied.
        own_model: whether a custom model was trained in place of the recipe's network.
        objectives: configurations of custom objectives, or None for the recipe's.
        records: the path of the records folder.
        fingerprint: that of those records.
        epochs, batch_size: of this run.
        seed: random seed of weights, shuffling and dropout.
        monitor: the held-out value that `patience` and `restore_best_weights` compare.
        highest_is_best: whether the highest `monitor` is the best, for that of a custom metric; None for others, whose
            names say it.
        patience: epochs without a better `monitor` before the training stops, or None.
        restore_best_weights: whether the weights of the best `monitor` are kept instead of the last.
        jit_compile: whether XLA compiles the steps, "auto" for what is faster by `step_milliseconds`, or None for the
            default: no; on JAX, yes.
        dtype_policy: Keras dtype policy.
        image_folder: folder of images without audio, or None.
        n_parameters: trainable parameters of the model.
        step_milliseconds: for "auto", how long a step takes without XLA ("plain") and with it ("xla").
        command: the command line.
        versions: versions of the libraries.
        data_parts: parts that the training pairs are divided into, one or several for each of the processes that train
            together; None for a training that may end an epoch with a smaller batch.
        finished: whether the training reached its end and `model.keras` is its result.
    """

    recipe: dict[str, Any]
    records: str
    fingerprint: str
    epochs: int
    batch_size: int
    monitor: str
    own_model: bool = False
    objectives: list[dict[str, Any]] | None = None
    seed: int = 0
    highest_is_best: bool | None = None
    patience: int | None = None
    restore_best_weights: bool = False
    jit_compile: bool | str | None = None
    dtype_policy: str = "float32"
    image_folder: str | None = None
    data_parts: int | None = None
    n_parameters: int = 0
    step_milliseconds: dict[str, float] = dataclasses.field(default_factory=dict)
    command: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    finished: bool = False

    @property
    def uses_xla(self) -> bool:
        """Whether steps on TensorFlow and PyTorch are compiled, by what was measured where `jit_compile` is "auto"."""
        return bool(self.jit_compile) if self.jit_compile != AUTO else is_faster_with_xla(self.step_milliseconds)

    def make_objectives(self) -> list[Any] | None:
        """Builds the custom objectives again, or returns None for the recipe's."""
        import keras

        if self.objectives is None:
            return None
        return [keras.saving.deserialize_keras_object(values) for values in self.objectives]

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more. Received: {name}={getattr(self, name)}")
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"patience must be 1 epoch or more. Received: patience={self.patience}")
        if self.data_parts is not None and self.data_parts < 1:
            raise UsageError(f"data_parts must be 1 or more. Received: data_parts={self.data_parts}")
        if self.jit_compile not in (None, True, False, AUTO):
            raise UsageError(f"jit_compile must be True, False or 'auto'. Received: jit_compile={self.jit_compile!r}")
        if self.dtype_policy not in DTYPE_POLICIES:
            raise UsageError(
                f"dtype_policy must be one of {', '.join(DTYPE_POLICIES)}. Received: dtype_policy={self.dtype_policy!r}"
            )


def is_faster_with_xla(step_milliseconds: Mapping[str, float]) -> bool:
    """Whether steps were measured to be clearly shorter with XLA; no where it can't compile them."""
    return XLA in step_milliseconds and step_milliseconds[XLA] < CLEARLY_FASTER * step_milliseconds[PLAIN]


class RunFolder:
    """Paths and small files of a run.

    A run in an object store is written locally. Its `config.json` is uploaded first, what was written since after every
    `write_state` (a failure is then a warning), and `model.keras` before the `config.json` of the finished run.

    Args:
        path: the folder, which `create` makes; or an address such as "s3://bucket/run".

    Attributes:
        location: the folder as it was given, for messages.
        path: where it is written: the folder, or a local one while the run is `opened`.
    """

    def __init__(self, path: str | pathlib.Path | Address):
        self.location = location = as_location(path)
        self._mirror: Mirror | None = None
        if isinstance(location, Address):
            # The state before the last is for a disk that breaks off in writing; a store shows whole objects only.
            self._mirror = Mirror(
                location, last=("model.keras", "config.json"), skipped=("state/variables.previous.npz",)
            )
            self.path = self._mirror.folder
        else:
            self.path = location
        self.model = self.path / "model.keras"
        self.image_encoder = self.path / "image_encoder.keras"
        self.history = self.path / "history.csv"
        self.samples = self.path / "samples"
        self.tensorboard = self.path / "tensorboard"
        self.state = self.path / "state"
        self._variables = self.state / "variables.npz"
        self._previous = self.state / "variables.previous.npz"
        self._config = self.path / "config.json"

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run, finished or not."""
        if isinstance(self.location, Address):
            return self._config.is_file() or find_kind(self.location / self._config.name) == "file"
        return self._config.is_file()

    @contextlib.contextmanager
    def opened(self, *, resume: bool) -> Iterator[None]:
        """Locks the folder for writing. Of a run in an object store that is resumed, everything is fetched first.

        Raises:
            LockedError: if another process is writing into it.
            RemoteError: if the store can't be read, or what was written last can't be uploaded at the end.
        """
        if self._mirror is None:
            with folder_lock(self.path):
                yield
            return
        with self._mirror.opened():
            if resume:
                self._mirror.pull()
            yield

    def release(self) -> None:
        """Gives up the lock of a run in an object store, before this process is ended from another thread.

        The lock of a folder on the disk ends with its process.
        """
        if self._mirror is not None:
            self._mirror.release()

    def check_start(self, *, resume: bool, overwrite: bool) -> None:
        """Checks that a run may be started or resumed here, before the lock, which creates the folder.

        Raises:
            UsageError: if both are asked for, there is no run to resume, or a new one may not be written here.
        """
        if resume and overwrite:
            raise UsageError(
                "resume and overwrite are mutually exclusive. Received: resume=True, overwrite=True. Choose one"
            )
        if resume:
            self.read_config()
        else:
            self.check_free(overwrite=overwrite)

    def check_free(self, *, overwrite: bool, is_locked: bool = False) -> None:
        """Checks that a new run may be written here.

        Args:
            overwrite: whether a run may be replaced.
            is_locked: whether the folder is locked by this process. Otherwise the files of a folder with a lock aren't
                looked at: the lock tells better who is writing them.

        Raises:
            UsageError: if the path is a file, or a folder of other files, or holds a run and `overwrite` is False.
        """
        if self.path.is_file() or (isinstance(self.location, Address) and find_kind(self.location) == "file"):
            raise UsageError(f"The run must be written to a folder. Received: the file {self.location}")
        exists = self.exists
        if exists and not overwrite:
            raise UsageError(
                f"{self.location} holds a run already. Resume it (resume=True, --resume), replace it "
                "(overwrite=True, --overwrite), or choose another folder"
            )
        if isinstance(self.location, Address):
            names = list_names(self.location)
        else:
            names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        if not exists and names - {LOCK_FILE} and (is_locked or LOCK_FILE not in names):
            raise UsageError(
                f"The run must be written to a new or empty folder. Received: {self.location}, which holds other files"
            )

    def clear(self) -> None:
        """Removes what an earlier run wrote here, and the report and the card of its model, which is no more.

        Its `config.json` stays until `create` replaces it.
        """
        for path in (self.state, self.samples, self.tensorboard):
            shutil.rmtree(path, ignore_errors=True)
        about_model = (self.path / name for name in (*REPORT_FILES, CARD_FILE))
        files = (self.model, self.history, self.image_encoder, *about_model)
        for path in files:
            path.unlink(missing_ok=True)
        if self._mirror is not None:
            folders = (f"{path.name}/" for path in (self.state, self.samples, self.tensorboard))
            self._mirror.remove([*folders, *(path.name for path in files)])

    def create(self, config: RunConfig) -> None:
        """Creates the folders and writes `config.json`, first: other folders alone would be taken for other files."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self._config, dataclasses.asdict(config))
        for folder in (self.samples, self.state):
            folder.mkdir(exist_ok=True)
        if self._mirror is not None:
            self._mirror.push()

    def read_config(self) -> RunConfig:
        """Reads `config.json`.

        Raises:
            ModelError: if there is none, or it isn't one of this version.
        """
        try:
            config = RunConfig(**json.loads(self._read_config_text()))
            check_types(config)
            return config
        except (FileNotFoundError, AddressNotFoundError):
            what = "holds none" if self.path.is_dir() or isinstance(self.location, Address) else "doesn't exist"
            raise ModelError(
                f"A run folder must hold a config.json, as written by fit. Received: {self.location}, which {what}"
            ) from None
        except RemoteError:
            raise
        except (ValueError, TypeError, RecursionError) as error:
            name = self.location / self._config.name
            raise ModelError(f"{name} isn't a run configuration of this version: {error}") from error

    def _read_config_text(self) -> str:
        if isinstance(self.location, Address) and not self._config.is_file():
            return read_bytes(self.location / self._config.name).decode("utf-8")
        return self._config.read_text(encoding="utf-8")

    def write_image_encoder(self, encoder: "keras.Model") -> None:
        """Writes `image_encoder.keras`, whole or not at all."""
        with written_whole(self.image_encoder, temporary=".image_encoder.tmp.keras") as temporary:
            encoder.save(temporary)

    def read_state(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Returns the values and variables that `write_state` wrote last, both empty if there is nothing to resume.

        Where that state is damaged, it is the one before it.

        Raises:
            ModelError: if neither of them can be read.
        """
        reasons = []
        for path in (self._variables, self._previous):
            try:
                with np.load(path, allow_pickle=False) as arrays:
                    variables = [arrays[f"arr_{i}"] for i in range(len(arrays) - 1)]
                    return dict(json.loads(str(arrays["values"]))), variables
            except FileNotFoundError:
                continue
            # NumPy parses headers as Python: a damaged one raises whatever Python does.
            except Exception as error:
                reasons.append(f"{path.name}: {error}")
        if reasons:
            raise ModelError(
                f"The state of a run must be readable to resume it. Received: {self.state} with damaged files "
                f"({'; '.join(reasons)}). Start the run again with overwrite=True (--overwrite)"
            )
        return {}, []

    def write_state(self, values: dict[str, Any], variables: list[np.ndarray]) -> None:
        """Writes the state of the training, whole or not at all, and keeps the one before it."""
        with written_whole(self._variables, temporary="variables.tmp.npz") as temporary:
            np.savez(temporary, *variables, values=np.array(json.dumps(values)))
            if self._variables.is_file():
                self._variables.replace(self._previous)
        if self._mirror is not None:
            self._mirror.push(required=False)

    def read_history(self) -> list[dict[str, float]]:
        """Returns the rows of `history.csv`, one per epoch; [] if there is none.

        Raises:
            ModelError: if the file is damaged.
        """
        if not self.history.is_file():
            return []
        try:
            with self.history.open(newline="", encoding="utf-8") as file:
                rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
            return [row | {"epoch": int(row["epoch"])} for row in rows]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            raise ModelError(
                f"history.csv must hold a row of numbers for every epoch. Received: {self.history} ({error})"
            ) from error

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Replaces `history.csv`, whole or not at all."""
        if not rows:
            self.history.unlink(missing_ok=True)
            return
        with (
            written_whole(self.history) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


def read_recipe(config: RunConfig) -> "Recipe":
    """Returns the recipe of a run.

    Raises:
        ModelError: if `config.json` holds none of this version.
        UsageError: if it is a run that another function trains, such as `fit_image_to_audio`.
    """
    from keras_a2i.recipes.recipe import Recipe

    name = config.recipe.get("name")
    if name in OTHER_FITS:
        raise UsageError(f"This run is resumed by {OTHER_FITS[name]}. Received: one of the recipe {name!r}")
    try:
        return Recipe.from_dict(config.recipe)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"recipe in config.json isn't a recipe of this version: {error}") from error
