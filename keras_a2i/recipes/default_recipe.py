"""The recipe of a training that names none: chosen by what the records hold."""

from keras_a2i.records.records import Records

MANY = 1_000
"""Minimum number of training pairs for the recipe that freezes the encoder early."""
MANY_LABELS = 64
"""Maximum number of labels for the recipe that stores images of each."""

NEEDS_TRAINING_PAIRS = "A training needs training pairs"


def choose_recipe(records: Records) -> tuple[str, str]:
    """Chooses the recipe that suits records best; reads the manifest only.

    Returns:
        The name of the recipe and the reason, in half a sentence: "features" for records without audio;
        "words-exemplars" where clips are recordings of their own, all with a label, and one source (a speaker, say) has
        pairs of several labels, "words-adversarial" if there are more than `MANY_LABELS` labels; else (moments of
        longer recordings, clips without labels, or one label for each source) "exemplars" below `MANY` training pairs,
        and "scenes-many" from there.

    Raises:
        MissingSplitError: if there are no training pairs.
    """
    records.require_split("train", NEEDS_TRAINING_PAIRS)
    if not records.has_waveform:
        return "features", "the records hold no audio"
    is_continuous = all(source.get("continuous") for source in records.manifest.sources)
    has_several = any(len(labels) > 1 for labels in records.labels_per_source.values())
    if has_several and not is_continuous and not records.n_unlabelled:
        n_labels = len(records.labels)
        if n_labels > MANY_LABELS:
            return "words-adversarial", f"a source has clips of several labels, of {n_labels} in all"
        return "words-exemplars", "a source has clips of several labels, few enough to keep images of each"
    n_train = records.counts["train"]
    what = "moments of longer recordings" if is_continuous else "clips without labels"
    if records.labels and not is_continuous:
        what = "clips of one label for each source"
        if records.n_unlabelled:
            what = f"clips of which {records.n_unlabelled:,} have no label"
    if n_train >= MANY:
        return "scenes-many", f"the records hold {what}, {n_train:,} for training"
    return "exemplars", f"the records hold {what}, few enough to keep their images"
