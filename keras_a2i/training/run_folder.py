"""The run folder: everything one training leaves behind, and what it needs to go on."""

import csv
import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.media.json_file import write_json

if TYPE_CHECKING:
    import keras

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """`config.json`: everything needed to run the training again.

    Attributes:
        recipe: the recipe's values (`Recipe.to_dict`), overrides applied.
        records: the records folder as it was given.
        fingerprint: of those records.
        epochs, batch_size: of this run.
        seed: of initial weights, order and dropout.
        jit: whether XLA compiles the steps.
        precision: Keras dtype policy.
        early_stop: epochs without a better val_loss before stopping, or None.
        best: keep the weights of the best val_loss instead of the last ones.
        n_parameters: trainable parameters of the model that is kept.
        command: what was typed.
        versions: of the libraries.
        pictures: folder of pictures without sound, or None.
    """

    recipe: dict[str, Any]
    records: str
    fingerprint: str
    epochs: int
    batch_size: int
    seed: int
    jit: bool
    precision: str
    early_stop: int | None
    best: bool
    n_parameters: int
    command: str
    versions: dict[str, str]
    pictures: str | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more. Received: {getattr(self, name)}")
        if self.early_stop is not None and self.early_stop < 1:
            raise UsageError(f"early_stop must be 1 epoch or more. Received: {self.early_stop}")
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}. Received: {self.precision!r}")


class RunFolder:
    """Paths and small files of a run.

    Args:
        path: the folder; made by `create`.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self.model = self.path / "model.keras"
        self.image_encoder = self.path / "image_encoder.keras"
        self.history = self.path / "history.csv"
        self.samples = self.path / "samples"
        self.tensorboard = self.path / "tensorboard"
        self.state = self.path / "state"
        self._variables = self.state / "variables.npz"
        self._config = self.path / "config.json"

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run, finished or not."""
        return self._config.is_file()

    def create(self, config: RunConfig) -> None:
        """Makes the folders and writes `config.json`."""
        for folder in (self.path, self.samples, self.state):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(self._config, dataclasses.asdict(config))

    def read_config(self) -> RunConfig:
        """Reads `config.json`.

        Raises:
            ModelError: if there is none, or it isn't one of this version.
        """
        try:
            return RunConfig(**json.loads(self._config.read_text(encoding="utf-8")))
        except FileNotFoundError:
            what = "holds none" if self.path.is_dir() else "doesn't exist"
            raise ModelError(
                f"A run folder holds a config.json, as made by keras-a2i fit. Received: {self.path}, which {what}"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
            raise ModelError(f"{self._config} isn't a run configuration of this version: {error}") from error

    def write_image_encoder(self, encoder: "keras.Model") -> None:
        """Writes `image_encoder.keras`, whole or not at all."""
        temporary = self.image_encoder.with_name(".image_encoder.tmp.keras")
        encoder.save(temporary)
        temporary.replace(self.image_encoder)

    def read_state(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """What `write_state` wrote last: values and variables, both empty where there is nothing to go on from."""
        if not self._variables.is_file():
            return {}, []
        with np.load(self._variables, allow_pickle=False) as arrays:
            variables = [arrays[f"arr_{i}"] for i in range(len(arrays) - 1)]
            return json.loads(str(arrays["values"])), variables

    def write_state(self, values: dict[str, Any], variables: list[np.ndarray]) -> None:
        """Writes where the training stands, whole or not at all."""
        temporary = self._variables.with_suffix(".tmp.npz")
        np.savez(temporary, *variables, values=np.array(json.dumps(values)))
        temporary.replace(self._variables)

    def read_history(self) -> list[dict[str, float]]:
        """The rows of `history.csv`, one an epoch; [] where there is none."""
        if not self.history.is_file():
            return []
        with self.history.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [row | {"epoch": int(row["epoch"])} for row in rows]

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Writes `history.csv` anew, whole or not at all."""
        if not rows:
            self.history.unlink(missing_ok=True)
            return
        temporary = self.history.with_suffix(".csv.tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(self.history)
