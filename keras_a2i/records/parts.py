"""Parts of a split: groups of whole shards, one for every process of a training on several machines."""

import dataclasses
from collections.abc import Sequence

from keras_a2i.errors import UsageError
from keras_a2i.records.manifest import Shard


@dataclasses.dataclass(frozen=True)
class Part:
    """One of several parts of a split, which depend on the shards alone.

    Args:
        index: number of this part, from 0 to `count` - 1.
        count: number of parts, 1 or more.

    Raises:
        UsageError: if there is no such part.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UsageError(f"A part must be one of 0 to count - 1. Received: index={self.index}, count={self.count}")

    def select(self, shards: Sequence[Shard]) -> list[Shard]:
        """Returns the shards of this part, in their own order; the parts have about as many pairs.

        Raises:
            UsageError: if there are fewer shards than parts.
        """
        if len(shards) < self.count:
            raise UsageError(
                f"A split must have a shard for every part. Received: {self.count} parts of the split "
                f"{shards[0].split!r}, which has {len(shards)} shards. Divide it into fewer parts"
            )
        sizes = [0] * self.count
        own = []
        # The largest first, each to the part that is smallest so far.
        for number in sorted(range(len(shards)), key=lambda number: -shards[number].count):
            part = sizes.index(min(sizes))
            sizes[part] += shards[number].count
            if part == self.index:
                own.append(number)
        return [shards[number] for number in sorted(own)]
