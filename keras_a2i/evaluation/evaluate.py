"""`evaluate`: what a model's pictures are worth, beside what needs no sound and no model."""

import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_a2i.errors import RecordsError
from keras_a2i.evaluation import response_measures as measures
from keras_a2i.evaluation.baselines import Predictor, Run, baselines, model_and_controls, shuffled_rows
from keras_a2i.evaluation.pairs import Pairs, read_pairs, scaled
from keras_a2i.evaluation.probes import (
    FactorProbe,
    factor_probe,
    factor_recovery,
    label_accuracy,
    label_probe,
)
from keras_a2i.evaluation.report_data import Example, Gain, Measure, PredictorScores, Report
from keras_a2i.evaluation.scoring import HEADLINE, METRICS, score_predictors
from keras_a2i.evaluation.statistics import find_leak, paired_gain, retrieval, source_blocks
from keras_a2i.evaluation.verdict import judge
from keras_a2i.features.mfcc import mfcc
from keras_a2i.media.conversion import to_uint8
from keras_a2i.records.manifest import Manifest
from keras_a2i.version import library_versions

EXAMPLES_EACH = 4
_BATCH = 64
Step = Callable[[str], None]


def evaluate(
    run: Run,
    records: str | pathlib.Path,
    *,
    inputs: str = "features",
    split: str = "val",
    seed: int = 0,
    model_name: str = "",
    command: str = "",
    notes: Sequence[str] = (),
    on_step: Step | None = None,
    sample: measures.Sample | None = None,
    embedders: tuple[measures.Embed, measures.Embed] | None = None,
) -> Report:
    """Evaluates a model on held-out pairs. Both splits are read into memory, 8 bits a channel.

    Args:
        run: inputs (batch, n_inputs) to pictures (batch, size, size, channels) in [-1, 1].
        records: the records folder.
        inputs: what the model takes, "features" or "waveform".
        split: the held-out split.
        seed: of the shuffled sounds, the bootstrap and the readers of labels and factors.
        model_name, command, notes: kept in the report.
        on_step: told what is being done.
        sample: draws several pictures of each sound, for a model that can.
        embedders: of inputs and of pictures into one space, for a model that aligned them.

    Returns:
        The report.

    Raises:
        RecordsError: if the records lack the split or hold fewer than two held-out pairs.
    """
    say = on_step or (lambda _: None)
    keras.utils.set_random_seed(seed)
    manifest = Manifest.read(records)
    say("reading the records")
    train, held_out = read_pairs(records, "train"), read_pairs(records, split, inputs)
    if len(held_out) < 2:
        raise RecordsError(f"An evaluation needs two held-out pairs or more. Received: {len(held_out)} in {split!r}")
    say("generating pictures")
    silence = None
    if not manifest.features.embedding and all(source.get("has_audio", True) for source in manifest.sources):
        silence = np.zeros(manifest.features.n_samples, np.float32)
        if inputs == "features":
            silence = mfcc(silence[None], manifest.features)[0]
    predictors = [*model_and_controls(_batched(run), held_out, silence, seed), *baselines(train, held_out)]
    scores = score_predictors(predictors, held_out, lambda done, total: say(f"scoring predictors, {done} of {total}"))
    blocks = source_blocks(held_out)
    gains = headline_gains(scores, blocks, seed)
    leak = find_leak(train, held_out)
    generated, shuffled = predictors[0].pictures, predictors[1].pictures
    say("training readers of labels and factors on real pictures")
    of_labels, of_factors = label_probe(train), factor_probe(train)
    labels = label_accuracy(of_labels, train, held_out, generated, shuffled) if of_labels else None
    factors = factor_recovery(of_factors, held_out, generated) if of_factors else []
    say("measuring how the pictures answer to the sound")
    answers = [
        measures.swapped(generated, held_out, seed),
        measures.found_in_galleries(generated, held_out, seed),
        *measures.named_sources(train, held_out, generated, shuffled),
        *_loudness(_batched(run), records, split, manifest, inputs, of_factors),
        *(measures.variety(sample, held_out, of_labels, seed) if sample else []),
        *(measures.alignment(*embedders, held_out, seed) if embedders else []),
    ]
    level, verdict = judge(gains, leak, scores, labels)
    return Report(
        model=model_name,
        records=str(records),
        split=split,
        n_pairs=len(held_out),
        n_sources=len(set(held_out.sources)),
        verdict=verdict,
        level=level,
        metrics=[info for info, _ in METRICS],
        predictors=scores,
        gains=gains,
        leak=leak,
        retrieval=retrieval(generated, scaled(held_out.images)),
        labels=labels,
        factors=factors,
        measures=answers,
        paper=None,
        notes=[*notes, *_note_embeddings(manifest)],
        examples=_examples(held_out, predictors, scores, best_baseline(scores).name, seed),
        command=command,
        versions=library_versions("keras", "tensorflow", "numpy"),
    )


def _loudness(
    run: Run, records: str | pathlib.Path, split: str, manifest: Manifest, inputs: str, reader: FactorProbe | None
) -> list[Measure]:
    if not manifest.waveform:
        return []
    to_inputs = (lambda sound: sound) if inputs == "waveform" else (lambda sound: mfcc(sound, manifest.features))
    waveforms = read_pairs(records, split, "waveform").inputs
    return measures.loudness(run, to_inputs, waveforms, reader)


def _note_embeddings(manifest: Manifest) -> list[str]:
    if not manifest.features.embedding:
        return []
    return [f"The model takes {manifest.features.description}: where sounds are spoken of, these stand for them."]


def best_baseline(scores: Sequence[PredictorScores]) -> PredictorScores:
    """The predictor without sound whose headline metric is the highest."""
    return max((s for s in scores if s.kind == "baseline"), key=lambda s: s.means[HEADLINE])


def headline_gains(scores: Sequence[PredictorScores], blocks: list[np.ndarray], seed: int) -> list[Gain]:
    """Gains of SSIM and of MSE over the best baseline, over shuffled sounds, and over every other baseline.

    Args:
        scores: the model first.
        blocks: rows that are resampled together.
        seed: of the resampling.
    """
    model, best = scores[0], best_baseline(scores)
    shuffled = next(s for s in scores if s.name == "sounds shuffled")
    others = [s for s in scores if s.kind in ("baseline", "sound baseline", "control") and s not in (best, shuffled)]
    better = {info.name: info.better for info, _ in METRICS}
    return [
        paired_gain(
            np.array(model.values[metric]),
            np.array(other.values[metric]),
            better[metric],
            blocks,
            against=other.name,
            metric=metric,
            seed=seed,
        )
        for metric, rivals in ((HEADLINE, [best, shuffled]), ("mse_x64", [best, shuffled]), (HEADLINE, others))
        for other in rivals
    ]


def _batched(run: Run) -> Run:
    return lambda inputs: np.concatenate(
        [np.asarray(run(inputs[i : i + _BATCH]), np.float32) for i in range(0, len(inputs), _BATCH)]
    )


def _examples(
    held_out: Pairs, predictors: Sequence[Predictor], scores: Sequence[PredictorScores], baseline: str, seed: int
) -> list[Example]:
    values = np.array(scores[0].values[HEADLINE])
    order = np.argsort(-values, kind="stable")
    middle = max(0, (len(order) - EXAMPLES_EACH) // 2)
    groups = {
        "best": order[:EXAMPLES_EACH],
        "median": order[middle : middle + EXAMPLES_EACH],
        "worst": order[::-1][:EXAMPLES_EACH],
    }
    other = next(p for p in predictors if p.name == baseline)
    found = [
        Example(
            id=str(held_out.ids[row]),
            group=group,
            score=float(values[row]),
            pictures={
                "real": held_out.images[row],
                "generated": to_uint8(predictors[0].pictures[row]),
                baseline: to_uint8(other.pictures[row]),
            },
        )
        for group, rows in groups.items()
        for row in rows
    ]
    donors = shuffled_rows(len(held_out), seed)
    spread = np.unique(np.linspace(0, len(held_out) - 1, EXAMPLES_EACH).astype(int))
    found += [
        Example(
            id=f"{held_out.ids[row]} with the sound of {held_out.ids[donors[row]]}",
            group="swapped",
            score=scores[1].values[HEADLINE][row],
            pictures={
                "real": held_out.images[row],
                "from its own sound": to_uint8(predictors[0].pictures[row]),
                "from the other's sound": to_uint8(predictors[1].pictures[row]),
                "the other's real picture": held_out.images[donors[row]],
            },
        )
        for row in spread
    ]
    return found
