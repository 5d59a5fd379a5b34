"""The processes that train one model together, on one machine or several.

Keras distributes a training on its JAX backend alone, so everything that names JAX is in this module: how the processes
find each other, which devices they have, and the two messages that they exchange, an object from the first process to
all others and a decision of the first. The PyTorch backend's data parallelism, which Keras announces, needs a second
implementation of `ProcessGroup` and nothing else.
"""

import atexit
import contextlib
import io
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_a2i.errors import KerasA2IError, ProcessesError, UsageError
from keras_a2i.training.process_place import ProcessPlace, check_backend, find_place

CONNECT_SECONDS = 300
"""How long a process waits for the others at the start."""
_LOST = re.compile(r"gloo|nccl|coordination service|distributed service|connection (closed|reset)|socket closed", re.I)


class ProcessGroup:
    """The processes of one training, this one among them.

    Args:
        process_id: number of this process, from 0.
        n_processes: number of processes.

    Attributes:
        process_id, n_processes: as given.
        on_end: called before `end` ends this process, to save what it can.
    """

    def __init__(self, process_id: int = 0, n_processes: int = 1):
        self.process_id, self.n_processes = process_id, n_processes
        self.on_end: Callable[[], str] = lambda: ""
        self._are_waiting = self._is_told = self._is_broken = False

    @property
    def is_first(self) -> bool:
        """Whether this process plans the training, scores it and writes the run folder."""
        return self.process_id == 0

    @property
    def n_devices(self) -> int:
        """Number of devices of all processes."""
        return len(keras.distribution.list_devices())

    def distribution(self) -> keras.distribution.DataParallel:
        """Returns the distribution of batches, which every process reads its own share of, over all devices."""
        return keras.distribution.DataParallel(devices=keras.distribution.list_devices(), auto_shard_dataset=False)

    def parts_of(self, n_parts: int) -> range:
        """Returns the numbers of the parts of the training pairs that this process reads.

        Raises:
            UsageError: if the processes can't have as many parts each.
        """
        share, rest = divmod(n_parts, self.n_processes)
        if rest or not share:
            raise UsageError(
                "data_parts must be a multiple of the number of processes. "
                f"Received: data_parts={n_parts} with {self.n_processes} processes"
            )
        return range(self.process_id * share, (self.process_id + 1) * share)

    def check_batch_size(self, batch_size: int) -> None:
        """Raises a UsageError unless batches of that size can be divided among the devices."""
        if batch_size % self.n_devices:
            smaller = max(self.n_devices, batch_size - batch_size % self.n_devices)
            raise UsageError(
                f"batch_size must be a multiple of the number of devices, here {self.n_devices}. Received: "
                f"batch_size={batch_size}. Choose {smaller}, for example"
            )

    def send(self, header: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
        """Sends a JSON object and arrays from the first process to all others, each of which waits in `receive`."""
        self._are_waiting = False
        if self.n_processes > 1:
            buffer = io.BytesIO()
            np.savez(buffer, *arrays, header=np.array(json.dumps(header)))
            self._exchange(buffer.getvalue())

    def receive(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Returns what the first process sends.

        Raises:
            ProcessesError: if the first process sends the reason why it stops, or is lost.
        """
        found: list[bytes] = []
        _call_in_thread(lambda: found.append(self._exchange(b"")))
        with np.load(io.BytesIO(found[0]), allow_pickle=False) as loaded:
            header = json.loads(str(loaded["header"]))
            arrays = [loaded[f"arr_{i}"] for i in range(len(loaded) - 1)]
        if "error" in header:
            self._is_told = True
            raise ProcessesError(f"The first process stopped: {header['error']}")
        return header, arrays

    def agree(self, decision: bool) -> bool:
        """Returns the decision of the first process in all processes."""
        if self.n_processes == 1:
            return decision
        return bool(self._broadcast(np.array(decision)))

    @contextlib.contextmanager
    def failures_sent(self) -> Iterator[None]:
        """Sends the reason why the first process stops to the others where they wait in `receive`.

        Whoever stops at another moment breaks the group off: its process ends without waiting for the others, which
        thereby notice.
        """
        self.note_waiting()
        try:
            yield
        except BaseException as error:
            if self._are_waiting and not self._is_broken:
                self._is_told = True
                self.send({"error": str(error) or "it was interrupted"})
            elif not self._is_told:
                self._is_broken = self.n_processes > 1
            raise

    def note_waiting(self) -> None:
        """Notes that the other processes wait in `receive`, or will after what they are doing."""
        self._are_waiting = self.is_first and self.n_processes > 1

    @contextlib.contextmanager
    def losses_named(self) -> Iterator[None]:
        """Raises a ProcessesError where a step fails because another process was lost."""
        try:
            yield
        except BaseException as error:
            self._is_broken = self.n_processes > 1
            is_own = isinstance(error, KerasA2IError) or not isinstance(error, Exception)
            if self.n_processes == 1 or is_own or not _LOST.search(str(error)):
                raise
            raise ProcessesError(self.lost("another process ended")) from error

    def lost(self, what: str) -> str:
        """Returns the sentence about a training that can't continue, and how it is resumed."""
        try:
            saved = self.on_end()
        # Whatever prevents saving, such as a full disk, doesn't prevent the end.
        except Exception as error:
            saved = f"The last epoch couldn't be saved ({_first_line(error)})"
        advice = "Start all processes again, with --resume where the first has saved an epoch"
        return f"A training needs all of its {self.n_processes} processes. Received: {what}. {saved or advice}"

    def end(self, what: str) -> None:
        """Ends this process at once, with one sentence and exit status 1, from any thread.

        JAX waits without end for a process that is lost, in code that no exception of Python reaches.
        """
        self._is_broken = True
        try:
            print(f"Error: {self.lost(what)}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)

    def leave(self, status: int = 1) -> None:
        """Ends this process with a status where the training was broken off, since JAX would wait for the others."""
        if self._is_broken:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _exchange(self, data: bytes) -> bytes:
        """Returns the bytes of the first process in all processes."""
        with self.losses_named():
            # JAX's integers have 32 bits.
            whole, rest = self._broadcast(np.array(divmod(len(data), 1 << 30), np.int32)).tolist()
            size = (whole << 30) + rest
            values = np.frombuffer(data, np.uint8) if self.is_first else np.zeros(size, np.uint8)
            return self._broadcast(values).tobytes()

    def _broadcast(self, values: np.ndarray) -> np.ndarray:
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.broadcast_one_to_all(values))


_group: list[ProcessGroup] = []
_is_connecting = threading.Event()


def current_group() -> ProcessGroup:
    """Returns the group that this process joined, or one of this process alone.

    Raises:
        UsageError: if Keras doesn't run on JAX.
    """
    check_backend(keras.backend.backend())
    _hide_gpus_from_tensorflow()
    # A group of one isn't kept: the processes may still be joined.
    return _group[0] if _group else ProcessGroup()


def join_processes(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: int = CONNECT_SECONDS,
) -> ProcessGroup:
    """Connects this process with the others that train the same model, before Keras computes anything.

    All processes must call this function with the same coordinator. Arguments that are None are taken from the
    environment: from JAX's variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, which Kubeflow's
    JAX runtime sets, or from those of a SLURM step of several tasks (`srun`). Without such variables, the group
    consists of this process only.

    Args:
        coordinator: HOST:PORT of the first process; the port must be free on its machine.
        num_processes: number of processes.
        process_id: index of this process, from 0; 0 is the first process.
        timeout: seconds to wait for the other processes.

    Returns:
        The group; a later call returns the same group.

    Raises:
        UsageError: if Keras doesn't run on JAX, or an argument is missing or out of range.
        ProcessesError: if the other processes can't be reached in time.
    """
    check_backend(keras.backend.backend())
    if _group:
        return _group[0]
    place = find_place(coordinator, num_processes, process_id)
    return _keep(ProcessGroup() if place.n_processes == 1 else _connect(place, timeout))


def leave_broken(status: int) -> None:
    """Ends this process with a status where its group was broken off; the last thing that a command does."""
    if _is_connecting.is_set():
        os._exit(status)
    for group in _group:
        group.leave(status)


def _keep(group: ProcessGroup) -> ProcessGroup:
    _hide_gpus_from_tensorflow()
    _group.append(group)
    return group


def _connect(place: ProcessPlace, timeout: int) -> ProcessGroup:
    import jax

    address = place.coordinator
    if address is not None and place.process_id != 0:
        _wait_for_port(address, timeout)
    # Its handler would take SIGTERM from the command.
    jax.config.update("jax_enable_preemption_service", False)
    _is_connecting.set()
    try:
        _call_in_thread(
            lambda: jax.distributed.initialize(
                coordinator_address=address,
                num_processes=None if address is None else place.n_processes,
                process_id=place.process_id,
                initialization_timeout=timeout,
            )
        )
    except (RuntimeError, ValueError) as error:
        where = address or "those of the SLURM step"
        raise ProcessesError(
            f"The processes of a training must reach each other within {timeout} seconds. Received: {where}, without "
            f"an answer from all of {place.n_processes} processes ({_first_line(error)})"
        ) from error
    _is_connecting.clear()
    group = ProcessGroup(jax.process_index(), jax.process_count())
    # Called before JAX's own, which waits for all processes.
    atexit.register(group.leave)
    # Connects the devices now, while all processes are here: later, they wait half a minute for the slowest.
    with group.losses_named():
        group._broadcast(np.array(0))
    return group


def _wait_for_port(address: str, timeout: float) -> None:
    """Waits until the first process listens: JAX aborts a process that can't reach it."""
    host, _, port = address.rpartition(":")
    until = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except (OSError, OverflowError, UnicodeError) as error:
            if time.monotonic() > until:
                raise ProcessesError(
                    f"The first process must be reachable within {timeout:g} seconds. Received: {address} ({error}). "
                    "Start it with --process-id 0, and check address, port and firewall"
                ) from error
        time.sleep(0.5)


def _call_in_thread(function: Callable[[], None]) -> None:
    """Calls a function that waits outside Python, so that Ctrl-C interrupts this thread nevertheless."""
    errors: list[Exception] = []

    def call() -> None:
        try:
            function()
        # Raised again in the thread that waits.
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True, name="connect")
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if errors:
        raise errors[0]


def _hide_gpus_from_tensorflow() -> None:
    """Leaves the memory of the GPUs to JAX; TensorFlow only reads the records."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))[:200]
