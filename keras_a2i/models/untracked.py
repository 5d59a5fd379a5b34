"""Values that Keras must not track."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Untracked:
    """An attribute of a layer or a model whose layers belong to another: tracked twice, they would be saved twice."""

    value: Any
