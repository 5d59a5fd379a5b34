"""A training on all devices of a `ProcessGroup`: one model replicated on every device, each with its share of a batch.

The first process plans the training, sends its configuration and weights to the others, and has a copy of the model on
one of its own devices: the values of every epoch, sample sheets and checkpoints are made from that copy, which is
updated at the end of an epoch. The others only train. The loss is that of the whole batch, so that the number of
processes and devices changes nothing but the order of summation.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.models.dtype_policy import dtype_policy
from keras_a2i.models.label_calibration import LabelCalibration
from keras_a2i.models.model_file import load_model
from keras_a2i.models.stored_model import local_model
from keras_a2i.objectives import TrainingModel
from keras_a2i.records.records import Records
from keras_a2i.training.callbacks import assign_variables, variable_values
from keras_a2i.training.early_end import records_read
from keras_a2i.training.interruption import Interruption
from keras_a2i.training.networks import (
    Epoch,
    build_autoencoder,
    build_network,
    build_training_model,
    compile_training,
    training_data,
)
from keras_a2i.training.process_group import ProcessGroup
from keras_a2i.training.run_folder import RunConfig, RunFolder, read_recipe
from keras_a2i.training.watchdog import Watchdog

STEP_TIMEOUT = 300.0
"""Seconds without a step after which a process ends."""


class SharedFit:
    """Trains a copy of a model on all devices of a group.

    Args:
        group: the processes.
        local: the compiled model of this process; it has the same weights in all of them.
        config: the configuration of the run.
        records: the records, of which this process reads its own parts.
        cache: as for `Records.dataset`.
        step_timeout: seconds without a step after which the process ends.

    Raises:
        UsageError: if the batches can't be divided among the devices, or the parts among the processes.
    """

    def __init__(
        self,
        group: ProcessGroup,
        local: TrainingModel,
        config: RunConfig,
        records: Records,
        cache: bool | str | int,
        step_timeout: float,
    ):
        self.group, self.local, self.config, self.records = group, local, config, records
        self._cache, self._step_timeout = cache, step_timeout
        self.distribution = group.distribution()
        recipe = read_recipe(config)
        # Variables of all processes must begin with the same values.
        keras.utils.set_random_seed(config.seed)
        with self.distribution.scope():
            self.model = TrainingModel.from_config(local.get_config())
            compile_training(self.model, recipe, jit_compile=True)
            assign_variables(self.model, variable_values(local))
        self._recipe = recipe

    def fit(self, epoch: Epoch, callbacks: Sequence[keras.callbacks.Callback] = (), verbose: str | int = 0) -> None:
        """Trains from `epoch.value` to the last epoch.

        Args:
            epoch: the number of the current epoch, which is kept up to date.
            callbacks: run in the first process, on its own copy of the model; the others are given none.
            verbose: as for `keras.Model.fit`.

        Raises:
            ProcessesError: if another process is lost.
        """
        group, first_epoch = self.group, epoch.value
        assert self.config.data_parts is not None
        data = training_data(
            *(self.local, self._recipe, self.config, self.records, epoch, self._cache),
            parts=group.parts_of(self.config.data_parts),
        )
        watchdog, interruption = Watchdog(self._step_timeout, group.end), Interruption()
        watching = watchdog.watching() if group.n_processes > 1 else contextlib.nullcontext()
        with (
            self.distribution.scope(),
            group.losses_named(),
            records_read(),
            watching,
            interruption.noted(),
        ):
            self.model.fit(
                data,
                initial_epoch=first_epoch,
                epochs=self.config.epochs,
                callbacks=[
                    keras.callbacks.LambdaCallback(on_epoch_begin=epoch.set),
                    *(watchdog, interruption),
                    keras.callbacks.TerminateOnNaN(),
                    _OnCopy(group, self.local, callbacks),
                ],
                shuffle=False,
                verbose=verbose if group.is_first else 0,
            )


def check_parts(training_model: TrainingModel, config: RunConfig, *, is_shared: bool) -> None:
    """Raises a UsageError unless a training can be divided into the parts of its run, and among processes.

    Args:
        training_model: the compiled model.
        config: the configuration of the run.
        is_shared: whether a copy of the model is made for every device.
    """
    model: Any = training_model.model
    n_parts = config.data_parts or 1
    if n_parts > 1 and getattr(model, "has_reference", False):
        raise UsageError(
            "A model with a reference image must be trained with data_parts=1: another image of the source may lie in "
            f"another part. Received: data_parts={n_parts}"
        )
    if any(objective.needs_neighbours for objective in training_model.objectives) and config.batch_size // n_parts % 2:
        raise UsageError(
            "An objective that compares neighbours in time needs an even number of pairs of every part in a batch. "
            f"Received: batch_size={config.batch_size}, data_parts={n_parts}"
        )
    if is_shared:
        try:
            TrainingModel.from_config(training_model.get_config())
        except (NotImplementedError, TypeError, ValueError) as error:
            raise UsageError(
                "A model that is trained on several devices is built for them from its configuration: custom layers, "
                "losses and objectives must be registered with keras.saving.register_keras_serializable and have a "
                f"get_config. Received: {error}"
            ) from error


class _OnCopy(keras.callbacks.Callback):
    """Runs callbacks on the copy of the model in the first process; all processes stop where one of them says so."""

    def __init__(self, group: ProcessGroup, local: TrainingModel, callbacks: Sequence[keras.callbacks.Callback]):
        super().__init__()
        self._group, self._local = group, local
        self._callbacks = keras.callbacks.CallbackList(list(callbacks), model=local)

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self._callbacks.set_params(params)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._local.stop_training = False
        self._run("on_train_begin", logs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._run("on_epoch_begin", epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._run("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._run("on_train_batch_end", batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._group.is_first:
            with alone():
                assign_variables(self._local, variable_values(self.model))
            self._run("on_epoch_end", epoch, logs)
        if self._group.agree(bool(self._local.stop_training)):
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._run("on_train_end", logs)

    def _run(self, event: str, *args: Any) -> None:
        if self._callbacks.callbacks:
            with alone():
                getattr(self._callbacks, event)(*args)


def send_start(group: ProcessGroup, config: RunConfig, epoch: int, trained: TrainingModel, records: Records) -> None:
    """Sends what the other processes need to train along; they are in `train_along`."""
    group.send(_header(config, records, epoch=epoch), [*records.feature_statistics(), *variable_values(trained)])


def send_result(group: ProcessGroup, model: AudioToImage) -> None:
    """Sends the weights that are kept to the other processes, which return the same model."""
    group.send(_calibration(model), _weights(model))


def send_finished(group: ProcessGroup, config: RunConfig, model: AudioToImage, records: Records) -> None:
    """Sends a model to the other processes, in `train_along`, where no epoch is left to train."""
    header = _header(config, records, epoch=None) | _calibration(model)
    group.send(header, [*records.feature_statistics(), *_weights(model)])


def train_along(
    group: ProcessGroup,
    folder: RunFolder,
    records: Records,
    cache: bool | str | int,
    model: AudioToImage | None,
    objectives: Sequence[Any] | None,
    step_timeout: float,
) -> AudioToImage:
    """Trains as the first process says, and writes nothing.

    Args:
        group: the processes; this one isn't the first.
        folder: the run folder, which is read only where a custom model is resumed that the caller didn't pass.
        records: the records, equal to those of the first process.
        cache: as for `Records.dataset`.
        model, objectives: own ones, as passed to `fit` in the first process.
        step_timeout: as for `SharedFit`.

    Returns:
        The model with the weights that the first process keeps.

    Raises:
        ProcessesError: if the first process stops before the training, or a process is lost.
        UsageError: if the records differ from those of the first process.
    """
    with group.failures_sent():
        header, (mean, std, *values) = group.receive()
        if header["fingerprint"] != records.fingerprint:
            raise UsageError(
                "All processes must read the same records. Received: "
                f"{records.path}, which differs from the records of the first process"
            )
        config = RunConfig(**header["config"])
        recipe = read_recipe(config)
        keras.utils.set_random_seed(config.seed)
        with dtype_policy(config.dtype_policy):
            if model is None and config.own_model:
                model, _ = load_model(local_model(str(folder.location / folder.model.name)))
            network = build_network(recipe, records, (mean, std)) if model is None else model
            network.recipe = recipe.name
            if header["epoch"] is None:
                return _with_weights(network, header, values)
            autoencoder = build_autoencoder(network, recipe, config, records.labels, objectives)
            local = build_training_model(network, autoencoder, recipe, config, records.counts["train"], objectives)
            assign_variables(local, values)
            SharedFit(group, local, config, records, cache, step_timeout).fit(Epoch(header["epoch"]))
        return _with_weights(network, *group.receive())


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Undoes the distribution for a while: what is computed concerns this process alone."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _header(config: RunConfig, records: Records, *, epoch: int | None) -> dict[str, Any]:
    return {"config": dataclasses.asdict(config), "fingerprint": records.fingerprint, "epoch": epoch}


def _weights(model: AudioToImage) -> list[np.ndarray]:
    return [np.array(variable.numpy()) for variable in model.variables]


def _calibration(model: AudioToImage) -> dict[str, Any]:
    return {"calibration": None if model.calibration is None else dataclasses.asdict(model.calibration)}


def _with_weights(model: AudioToImage, header: dict[str, Any], values: Sequence[np.ndarray]) -> AudioToImage:
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
    calibration = header["calibration"]
    model.calibration = None if calibration is None else LabelCalibration(**calibration)
    return model
