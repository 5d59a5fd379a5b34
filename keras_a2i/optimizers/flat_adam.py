"""Adam over one vector that holds all variables, for networks of many small ones."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.objectives.replicas import n_replicas


@keras.saving.register_keras_serializable("keras_a2i")
class FlatAdam(keras.optimizers.Optimizer):
    """Adam, or AdamW with a weight decay, whose moments are two vectors for all variables together.

    Keras' Adam adds about forty operations to TensorFlow's graph for every variable: half of the graph of a network of
    two hundred small ones, and half of the time until its first step. Here, the gradients are concatenated, one update
    is computed, and its parts are assigned: four to seven operations for every variable. The weights are the same,
    except that `global_clipnorm` sums in another order.

    Use Keras' Adam on JAX and PyTorch, which fuse its updates, and under `tf.distribute` with several replicas.

    Args:
        learning_rate: a float, or a schedule of Keras.
        beta_1: decay of the mean of the gradients, in [0, 1).
        beta_2: decay of the mean of the squared gradients, in [0, 1).
        epsilon: added to the root of the mean of the squared gradients.
        weight_decay: decoupled weight decay of AdamW, which is multiplied by the learning rate; None for Adam.
        global_clipnorm: upper bound of the norm of all gradients together; None doesn't clip.
        use_ema: average the weights over the steps; `finalize_variable_values` assigns the averages.
        ema_momentum: decay of the average per step.
        name: name of the optimizer.

    Raises:
        UsageError: if variables are of a type other than float32, at `build`.

    Reference:
        Kingma and Ba, "Adam: a method for stochastic optimization", 2015; Loshchilov and Hutter, "Decoupled weight
        decay regularization", 2019; flattened as by `optax.flatten`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        name: str = "flat_adam",
    ):
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            name=name,
        )
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.built: bool = False
        self._positions: dict[int, int] = {}

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the moments, and the average of the weights.

        Args:
            variables: all variables that `apply` will ever receive, in their order there.
        """
        if self.built:
            return
        others = sorted({str(variable.dtype) for variable in variables} - {"float32"})
        if others:
            raise UsageError(f"The variables of FlatAdam must be float32. Received: {', '.join(others)}")
        # Extended and not assigned: Keras would take an assigned list for variables of the optimizer.
        self._trainable_variables.extend(variables)
        self._sizes = [math.prod(variable.shape) for variable in variables]
        self._positions = {id(variable): index for index, variable in enumerate(variables)}
        n = sum(self._sizes)
        self._momentum = self.add_variable((n,), dtype="float32", name="momentum")
        self._velocity = self.add_variable((n,), dtype="float32", name="velocity")
        if self.use_ema:
            self._average = self.add_variable((n,), dtype="float32", name="average")
        self.built = True

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        """Updates the variables that have gradients; the other variables and their moments are not changed.

        Args:
            grads: one gradient for each variable, or None.
            trainable_variables: the variables, some or all of those that the optimizer was built with, in that order.
        """
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        with keras.name_scope(self.name, caller=self):
            self.build(variables)
            given = {
                self._positions[id(variable)]: grad
                for grad, variable in zip(grads, variables, strict=True)
                if grad is not None
            }
            if given:
                self._update(given)
        self.iterations.assign_add(1)
        return self.iterations

    def _update(self, grads: dict[int, Any]) -> None:
        """One step of Adam for the variables at the given positions."""
        chosen = sorted(grads)
        gradient = _flatten([grads[position] for position in chosen])
        if self.global_clipnorm:
            norm = ops.sqrt(ops.sum(ops.square(gradient)))
            gradient = gradient * (self.global_clipnorm / ops.maximum(norm, self.global_clipnorm))
        old_momentum, old_velocity = self._select(self._momentum, chosen), self._select(self._velocity, chosen)
        momentum = old_momentum + (gradient - old_momentum) * (1 - self.beta_1)
        velocity = old_velocity + (ops.square(gradient) - old_velocity) * (1 - self.beta_2)
        self._replace(self._momentum, momentum, chosen)
        self._replace(self._velocity, velocity, chosen)

        rate = ops.cast(self.learning_rate, "float32")
        step = ops.cast(self.iterations + 1, "float32")
        correction = ops.sqrt(1 - ops.power(self.beta_2, step)) / (1 - ops.power(self.beta_1, step))
        values = _flatten([self._trainable_variables[position] for position in chosen])
        if self.weight_decay:
            values = values - values * self.weight_decay * rate
        values = values - momentum * (rate * correction) / (ops.sqrt(velocity) + self.epsilon)
        self._assign(values, chosen)
        if self.use_ema:
            self._update_average(values, chosen)

    def _update_average(self, values: Any, chosen: list[int]) -> None:
        if len(chosen) < len(self._trainable_variables):
            values = _flatten(self._trainable_variables)
        kept = self.ema_momentum * ops.cast(ops.not_equal(self.iterations, 0), "float32")
        self._average.assign(kept * self._average + (1 - kept) * values)

    def _select(self, vector: Any, chosen: list[int]) -> Any:
        """The parts of a vector that belong to the variables at some positions."""
        if len(chosen) == len(self._sizes):
            return ops.convert_to_tensor(vector)
        parts = _split(vector, self._sizes)
        return ops.concatenate([parts[position] for position in chosen])

    def _replace(self, vector: Any, values: Any, chosen: list[int]) -> None:
        """Assigns the parts of a vector that belong to the variables at some positions."""
        if len(chosen) < len(self._sizes):
            parts = list(_split(vector, self._sizes))
            new = _split(values, [self._sizes[position] for position in chosen])
            for position, value in zip(chosen, new, strict=True):
                parts[position] = value
            values = ops.concatenate(parts)
        vector.assign(values)

    def _assign(self, values: Any, chosen: Sequence[int]) -> None:
        """Assigns the parts of a vector to the variables at some positions."""
        parts = _split(values, [self._sizes[position] for position in chosen])
        for position, value in zip(chosen, parts, strict=True):
            variable = self._trainable_variables[position]
            value = ops.reshape(value, variable.shape)
            constraint = getattr(variable, "constraint", None)
            variable.assign(value if constraint is None else constraint(value))

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Assigns the averages to the variables, if there are any."""
        if self.use_ema:
            self._assign(ops.convert_to_tensor(self._average), range(len(self._trainable_variables)))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        names = ("name", "learning_rate", "weight_decay", "global_clipnorm", "use_ema", "ema_momentum")
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {name: config[name] for name in names} | own


def _flatten(tensors: Sequence[Any]) -> Any:
    return ops.concatenate([ops.reshape(ops.convert_to_tensor(tensor), (-1,)) for tensor in tensors])


def _split(vector: Any, sizes: Sequence[int]) -> Any:
    return ops.split(vector, np.cumsum(sizes)[:-1].tolist()) if len(sizes) > 1 else [vector]


def make_adam(learning_rate: Any, **options: Any) -> keras.optimizers.Optimizer:
    """Returns Adam, or AdamW for a weight decay, in the form that suits the backend: `FlatAdam` on TensorFlow.

    Args:
        learning_rate: a float, or a schedule of Keras.
        **options: those of `FlatAdam`.
    """
    if keras.backend.backend() == "tensorflow" and n_replicas() == 1:
        return FlatAdam(learning_rate, **options)
    return (keras.optimizers.AdamW if options.get("weight_decay") else keras.optimizers.Adam)(learning_rate, **options)
