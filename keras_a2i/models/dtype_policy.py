"""Keras' dtype policy, as a scope and in the configurations of models that build their layers themselves."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

DTYPE = "dtype"
"""The policy's key in a configuration, as in those of Keras' layers."""


@contextlib.contextmanager
def dtype_policy(policy: Any) -> Iterator[None]:
    """Sets Keras' dtype policy for a block.

    Args:
        policy: a name such as "mixed_float16", a policy, or the configuration of one.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.dtype_policies.get(policy))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def policy_config(model: keras.Model) -> dict[str, Any]:
    """Returns the part of a model's configuration that holds the policy under which its layers were built."""
    return {DTYPE: keras.dtype_policies.serialize(model.dtype_policy)}


def stored_policy(config: dict[str, Any]) -> Any:
    """Removes the policy from a model's configuration and returns it, for `dtype_policy`.

    Configurations of earlier versions hold none: their models are built in float32, whatever the global policy is.
    """
    return config.pop(DTYPE, "float32")
