"""The recipe of a training that names none: chosen by what the records hold."""

from keras_a2i.records.records import Records

MANY = 1_000
"""Minimum number of training pairs for the recipe that freezes the encoder early."""


def choose_recipe(records: Records) -> str:
    """Returns the name of the recipe that suits records best; reads the manifest only.

    Returns:
        "features" for records without audio, "words-adversarial" where one source (a speaker, say) has pairs of several
        labels, else "scenes", or "scenes-many" from `MANY` training pairs.
    """
    if not records.has_waveform:
        return "features"
    if any(len(labels) > 1 for labels in records.labels_per_source.values()):
        return "words-adversarial"
    return "scenes-many" if records.counts["train"] >= MANY else "scenes"
