"""The recipe for who names none: chosen by what the records hold."""

import pathlib

from keras_a2i.records.manifest import Manifest
from keras_a2i.records.resplit import read_keys

DEFAULT = "default"
MANY = 1_000
"""Training pairs from which an encoder knows enough to stand still while the generator learns on."""


def choose_recipe(records: str | pathlib.Path) -> str:
    """Name of the recipe that suits records best.

    Returns:
        "features" where they hold no sound, "words-adversarial" where one source (a speaker, say) has pairs of several
        labels, else "scenes", or "scenes-many" where there are `MANY` training pairs.
    """
    manifest = Manifest.read(records)
    if not manifest.waveform:
        return "features"
    labels: dict[str, set[str]] = {}
    for key, _ in read_keys(records):
        labels.setdefault(key.source_id, set()).add(key.label)
    if any(len(names) > 1 for names in labels.values()):
        return "words-adversarial"
    return "scenes-many" if manifest.counts["train"] >= MANY else "scenes"
