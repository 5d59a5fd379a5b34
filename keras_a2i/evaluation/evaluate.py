"""`evaluate`: the scores of a model, compared with contenders that need no audio or no model."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_a2i.counts import counted
from keras_a2i.datasets.foreign_audio import N_CLIPS
from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.evaluation.baselines import baselines
from keras_a2i.evaluation.contenders import (
    SHUFFLED,
    Contender,
    PredictFn,
    donor_rows,
    in_batches,
    model_and_controls,
)
from keras_a2i.evaluation.environment import describe_environment
from keras_a2i.evaluation.measures import N_SAMPLES, Evidence, check_measures, compute_measures
from keras_a2i.evaluation.pairs import Pairs, labels_known, read_pairs, require_splits, scaled
from keras_a2i.evaluation.paper import RECIPE, paper_figures, paper_notes
from keras_a2i.evaluation.probes import factor_probe, factor_recovery, label_accuracy, label_probe
from keras_a2i.evaluation.report import Report
from keras_a2i.evaluation.report_data import HEADLINE, ContenderScores, Example, Gain, HeldOut
from keras_a2i.evaluation.scoring import metric_infos, score_contenders
from keras_a2i.evaluation.statistics import find_leak, paired_gain, retrieval, target_ranks, units_of
from keras_a2i.evaluation.step_line import StepLine
from keras_a2i.evaluation.subject import open_subject
from keras_a2i.evaluation.verdict import judge
from keras_a2i.features.mfcc import mfcc
from keras_a2i.media.audio_folder import FolderClips, read_folder_clips
from keras_a2i.media.conversion import to_uint8
from keras_a2i.metrics import METRICS
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.records import as_records
from keras_a2i.remote.address import local_path
from keras_a2i.spread import spread_rows
from keras_a2i.version import library_versions

# These register their measures, in this order.
import keras_a2i.evaluation.response_measures  # isort: skip
import keras_a2i.evaluation.realism_measures  # isort: skip
import keras_a2i.evaluation.two_sample_measures  # isort: skip
import keras_a2i.evaluation.foreign_measures  # isort: skip
import keras_a2i.evaluation.cross_fade_measures  # isort: skip
import keras_a2i.evaluation.confidence_measures  # isort: skip
import keras_a2i.evaluation.reference_measures  # noqa: F401  isort: skip

EXAMPLES_EACH = 4
_NO_SILENCE = "the sources don't state that the features were computed from audio"
ProgressFn = Callable[[str], None]


def evaluate(
    model: Any,
    records: Any,
    *,
    split: str = "val",
    seed: int = 0,
    samples: int = N_SAMPLES,
    foreign: str | os.PathLike[str] | None = None,
    measures: Sequence[str] | None = None,
    input: str | None = None,
    model_name: str | None = None,
    command: str = "",
    notes: Sequence[str] = (),
    verbose: str | int = "auto",
    progress: ProgressFn | None = None,
) -> Report:
    """Evaluates a model on held-out pairs, and compares it with controls and baselines.

    Only batches of images are in memory, whatever the size of the records; small splits are kept in memory.

    An evaluation takes some minutes on two CPU cores, even of few pairs: it trains small networks on the real images,
    by which it judges the generated ones. `measures=()` trains none of them, which leaves seconds for a few hundred
    pairs. `measures=["swapped", "gallery", "quieter", "louder"]` trains the probes of labels and factors only.

    Args:
        model: a path that `load` accepts (a run folder, a `.keras` file, an exported model), a loaded `Predictor`, a
            `keras.Model`, or a function of inputs (batch, n_inputs) that returns images (batch, size, size, channels)
            in [-1, 1].
        records: the records folder, or `Records`.
        split: the held-out split.
        seed: random seed of the shuffled audio, the bootstrap, samples and probes.
        samples: number of samples per clip for the measures of variety, if the model has a style; 0 leaves these out.
        foreign: a folder of audio files or videos, in place of rendered audio, for the measures on foreign audio. The
            first clips of each file are used, a hundred in total. Files that can't be read are listed in the notes.
        measures: ids of the measures to compute, such as "swapped" or "density", see
            `keras_a2i.evaluation.measures.MEASURES`; None is all. With (), the probes of labels and factors are left
            out, too. The verdict goes by "own-source", "memorisation" and these probes among others.
        input: "features" or "waveform", the input of a function; None takes it from the model.
        model_name: the name of the model in the report; None is its path or name.
        command: the command that repeats the report.
        notes: sentences that the report shows.
        verbose: "auto" or 1 prints the current step in one line, 2 a line for every step, 0 nothing.
        progress: called with a description of the current step, in place of what `verbose` prints.

    Returns:
        The report: `report.save("report.html")`, `report.pairs()`, `report.verdict`.

    Raises:
        ModelError: if the model can't be loaded.
        MissingSplitError: if the records lack the split, or training pairs.
        RecordsError: if they hold fewer than two held-out pairs.
        UsageError: if the model doesn't fit the records, `measures` or `verbose` is out of range, or `foreign` is a
            folder without audio files or is given with records of embeddings.
        SourceError: if `foreign` doesn't exist, or none of its files can be read.

    Example:
        >>> import keras_a2i as a2i
        >>> report = a2i.evaluate("run", "records", measures=())  # doctest: +SKIP
        >>> print(report)  # doctest: +SKIP
    """
    lines = StepLine(verbose if progress is None else 0)
    tell = progress or lines
    check_measures(measures)
    with_probes = measures is None or len(measures) > 0
    records = as_records(records)
    require_splits(records, split)
    manifest = records.manifest
    clips = _read_foreign(foreign, manifest)
    subject = open_subject(model, manifest, input)
    keras.utils.set_random_seed(seed)
    tell("reading the records")
    train = read_pairs(records, "train")
    held_out = read_pairs(records, split, subject.input, references=subject.has_reference)
    if len(held_out) < 2:
        raise RecordsError(f"The split must hold at least two held-out pairs. Received: {len(held_out)} in {split!r}")
    silence = _silence(manifest, subject.input)
    predict_fn, donors = in_batches(subject.predict_fn), donor_rows(held_out.sources, seed, subject.has_reference)
    contenders = [
        *model_and_controls(predict_fn, held_out.inputs, manifest.image.shape, silence, donors, held_out.references),
        *baselines(train, held_out),
    ]
    scores = score_contenders(
        contenders,
        held_out.images,
        lambda done, n: tell(f"scoring the model and the baselines, {done} of {counted(n, 'pair')}"),
    )
    units = units_of(held_out)
    gains, leak = headline_gains(scores, units, seed), find_leak(train, held_out)
    if with_probes:
        tell("training probes for labels and factors on real images")
    evidence = Evidence(
        train=train,
        held_out=held_out,
        generated=contenders[0].images,
        shuffled=contenders[1].images,
        predict_fn=_with_first_reference(predict_fn, held_out),
        donors=donors,
        seed=seed,
        labels=label_probe(train) if with_probes and labels_known(train, held_out) else None,
        factors=factor_probe(train) if with_probes else None,
        to_inputs=(lambda x: x) if subject.input == "waveform" else (lambda x: mfcc(x, manifest.features)),
        sample=subject.sample_fn if samples else None,
        n_samples=samples,
        embedders=subject.embedders,
        foreign=clips,
        classify=subject.classify,
        classes=subject.classes,
    )
    tell("measuring response to the audio, realism and confidence")
    # Which of them is computed is shown only here: it is more than a log wants to hold.
    findings = _findings(evidence, measures, lines)
    level, verdict = judge(
        scores,
        gains,
        leak=leak,
        n_independent=len(next(iter(units.values()))),
        labels=findings["labels"],
        retrieval=findings["retrieval"],
        measures=findings["measures"],
    )
    if silence is None:
        findings["skipped"]["silence"] = _NO_SILENCE
    is_paper = subject.recipe == RECIPE
    paper = paper_notes(train, held_out, leak) if is_paper else []
    report = Report(
        model=subject.name if model_name is None else model_name,
        records=str(records.path),
        split=split,
        n_pairs=len(held_out),
        n_sources=len(set(held_out.sources)),
        level=level,
        verdict=verdict,
        metrics=metric_infos(),
        contenders=scores,
        gains=gains,
        leak=leak,
        paper=paper_figures(scores[0]) if is_paper else None,
        notes=[
            *notes,
            *_note_embeddings(manifest),
            *_note_references(held_out),
            *_note_foreign(clips),
            *_note_labels(train, held_out),
            *paper,
        ],
        examples=_examples(held_out, contenders, scores, best_baseline(scores).id, donors),
        command=command,
        configuration=subject.configuration,
        environment=describe_environment(),
        versions=library_versions("keras", keras.backend.backend(), "numpy"),
        model_digest=subject.digest,
        records_fingerprint=records.fingerprint,
        **findings,
    )
    lines.close(f"evaluated {counted(len(held_out), 'pair')}")
    return report


def _findings(evidence: Evidence, ids: Sequence[str] | None, tell: ProgressFn) -> dict[str, Any]:
    """The fields of a report about labels, factors, retrieval and measures."""
    train, held_out, generated = evidence.train, evidence.held_out, evidence.generated
    of_labels, of_factors = evidence.labels, evidence.factors
    labels = label_accuracy(of_labels, train, held_out, generated, evidence.shuffled) if of_labels else None
    factors = factor_recovery(of_factors, held_out, generated) if of_factors else []
    measures, skipped = compute_measures(evidence, ids, tell)
    ranks, sizes = _ranks(evidence)
    return {
        "labels": labels,
        "factors": factors,
        "measures": measures,
        "skipped": skipped,
        "retrieval": retrieval(ranks, sizes),
        "held_out": HeldOut(
            ids=held_out.ids.tolist(),
            labels=held_out.labels.tolist(),
            sources=held_out.sources.tolist(),
            times=held_out.times.tolist(),
            ranks=ranks.tolist(),
        ),
    }


def _ranks(evidence: Evidence) -> tuple[np.ndarray, np.ndarray | None]:
    """The rank of each target, and among how many: those of its source where a reference image tells the source.

    None is among all.
    """
    generated, real, sources = evidence.generated_thumbnails, evidence.real_thumbnails, evidence.held_out.sources
    if evidence.held_out.references is None:
        return target_ranks(generated, real), None
    ranks, sizes = np.empty(len(real)), np.empty(len(real))
    for source in np.unique(sources):
        rows = np.flatnonzero(sources == source)
        ranks[rows], sizes[rows] = target_ranks(generated[rows], real[rows]), len(rows)
    return ranks, sizes


def _with_first_reference(predict_fn: PredictFn, held_out: Pairs) -> PredictFn:
    """The model for audio that belongs to no pair: with the reference image of the first one, where it needs one."""
    if held_out.references is None:
        return predict_fn
    first = scaled(held_out.references[[0]])
    return lambda inputs: predict_fn(inputs, np.repeat(first, len(inputs), axis=0))


def best_baseline(scores: Sequence[ContenderScores]) -> ContenderScores:
    """The contender without audio whose headline metric is the highest."""
    return max((s for s in scores if s.kind == "baseline"), key=lambda s: s.means[HEADLINE])


def headline_gains(scores: Sequence[ContenderScores], units: dict[str, list[np.ndarray]], seed: int) -> list[Gain]:
    """Gains of SSIM and of MSE over the best baseline and over shuffled audio, of SSIM over all others but ceilings.

    Args:
        scores: the model first.
        units: rows that are resampled together, as from `units_of`.
        seed: of the resampling.
    """
    return [
        paired_gain(
            np.array(scores[0].values[metric]),
            np.array(other.values[metric]),
            METRICS[metric].better,
            units,
            against=other.id,
            metric=metric,
            seed=seed,
        )
        for metric, other in compared(scores)
    ]


def compared(scores: Sequence[ContenderScores]) -> list[tuple[str, ContenderScores]]:
    """Which metric is compared with which contender, in the order of a report."""
    first = [best_baseline(scores), next(s for s in scores if s.id == SHUFFLED)]
    others = [s for s in scores if s.kind in ("baseline", "audio-baseline", "control") and s not in first]
    rivals = ((HEADLINE, first), ("scaled_mse", first), (HEADLINE, others))
    return [(metric, other) for metric, group in rivals for other in group]


def _silence(manifest: Manifest, input: str) -> np.ndarray | None:
    """The input of silence; None unless the audio is stored or every source states that there was some."""
    has_audio = manifest.waveform or all(source.get("has_audio") is True for source in manifest.sources)
    if manifest.features.embedding or not has_audio:
        return None
    silence = np.zeros(manifest.features.n_samples, np.float32)
    return silence if input == "waveform" else mfcc(silence[None], manifest.features)[0]


def _read_foreign(folder: str | os.PathLike[str] | None, manifest: Manifest) -> FolderClips | None:
    if folder is None:
        return None
    if manifest.features.embedding:
        raise UsageError(
            f"foreign must be None for a model of embeddings, which can't be computed from audio here. Received: "
            f"{folder}"
        )
    return read_folder_clips(local_path(folder, "foreign"), manifest.features, N_CLIPS)


def _note_foreign(clips: FolderClips | None) -> list[str]:
    if clips is None:
        return []
    n, skipped = len(clips.waveforms), len(clips.skipped)
    notes = [f"Foreign audio: {counted(n, 'clip')} of {counted(clips.n_files, 'file')}."]
    if skipped:
        notes.append(f"Skipped {counted(skipped, 'file')} of foreign audio: {'; '.join(clips.skipped)}.")
    return notes


def _note_labels(train: Pairs, held_out: Pairs) -> list[str]:
    labels = np.concatenate([train.labels, held_out.labels])
    n_without = int(np.sum(labels == ""))
    if n_without in (0, len(labels)):
        return []
    return [f"Labels aren't scored, because {n_without:,} of {counted(len(labels), 'pair')} have no label."]


def _note_references(held_out: Pairs) -> list[str]:
    if held_out.references is None:
        return []
    return [
        "The model receives a reference image: the first image of each source in this split, which is also the target "
        "of one pair. The audio is shuffled, and the real image is retrieved, within the source. Audio that belongs to "
        "no pair is combined with the first reference image."
    ]


def _note_embeddings(manifest: Manifest) -> list[str]:
    if not manifest.features.embedding:
        return []
    return [f"The model's inputs are {manifest.features.description}. In this report, audio means these inputs."]


def _examples(
    held_out: Pairs,
    contenders: Sequence[Contender],
    scores: Sequence[ContenderScores],
    baseline: str,
    donors: np.ndarray,
) -> list[Example]:
    values = np.array(scores[0].values[HEADLINE])
    order = np.argsort(-values, kind="stable")
    middle = max(0, (len(order) - EXAMPLES_EACH) // 2)
    groups = {
        "best": order[:EXAMPLES_EACH],
        "median": order[middle : middle + EXAMPLES_EACH],
        "worst": order[::-1][:EXAMPLES_EACH],
    }
    other = next(c for c in contenders if c.id == baseline)
    found = []
    for group, rows in groups.items():
        images = held_out.images[rows], to_uint8(contenders[0].images[rows]), to_uint8(other.images[rows])
        for row, *shown in zip(rows, *images, strict=True):
            titles = ("real", "generated", other.title)
            images_of = dict(zip(titles, shown, strict=True))
            found.append(Example(id=str(held_out.ids[row]), group=group, score=float(values[row]), images=images_of))
    rows = spread_rows(len(held_out), EXAMPLES_EACH)
    generated, swapped = (to_uint8(contender.images[rows]) for contender in contenders[:2])
    for i, row in enumerate(rows):
        found.append(
            Example(
                id=f"{held_out.ids[row]} with the audio of {held_out.ids[donors[row]]}",
                group="swapped",
                score=scores[1].values[HEADLINE][row],
                images={
                    "real": held_out.images[[row]][0],
                    "generated": generated[i],
                    "generated from the other audio": swapped[i],
                    "real image of the other audio": held_out.images[[donors[row]]][0],
                },
            )
        )
    return found
