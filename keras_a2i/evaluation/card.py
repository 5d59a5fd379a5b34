"""A model card: what a run was trained on and how, its scores beside baselines, and its limits, as Markdown."""

import pathlib
from typing import Any

from keras_a2i.counts import counted
from keras_a2i.errors import ModelError
from keras_a2i.evaluation.card_metadata import card_metadata
from keras_a2i.evaluation.environment import read_config
from keras_a2i.evaluation.report import Report, read_report, replace_file
from keras_a2i.evaluation.report_format import number, percent, signed
from keras_a2i.evaluation.report_markdown import markdown_table, markdown_text
from keras_a2i.evaluation.verdict import LEVELS
from keras_a2i.media.output_file import check_suffix
from keras_a2i.models.model_file import ModelMetadata, read_metadata
from keras_a2i.remote.address import local_path
from keras_a2i.training.run_folder import CARD_FILE

SUFFIXES = (".md",)
_RECALL = "the real image of the pair is the nearest of all held-out images; reference: chance"


def write_card(run: str | pathlib.Path, path: str | pathlib.Path | None = None) -> pathlib.Path:
    """Writes the model card of a run; the file is complete or not written at all.

    Args:
        run: a run folder with a report.json.
        path: the Markdown file, which ends in .md; None is `card.md` in the run folder.

    Returns:
        The file.

    Raises:
        ModelError: as `model_card`.
        UsageError: if the path has another suffix.
    """
    path = local_path(run, "run") / CARD_FILE if path is None else local_path(path, "path")
    check_suffix(path, SUFFIXES)
    replace_file(path, model_card(run))
    return path


def model_card(run: str | pathlib.Path) -> str:
    """The model card of a run as Markdown, headed by metadata for the Hugging Face hub.

    Args:
        run: a run folder that holds a report.json, as `evaluate` writes it.

    Raises:
        ModelError: if it is no run folder, or its present model wasn't evaluated.
    """
    run = local_path(run, "run")
    config = read_config(run)
    if config is None:
        raise ModelError(f"run must be a run folder, as made by fit. Received: {run}")
    report, metadata = read_report(run), read_metadata(run / "model.keras")
    parts = [
        card_metadata(config, report, metadata),
        f"# {markdown_text(config['recipe']['name'])} on {markdown_text(pathlib.Path(report.records).name)}",
        f"**{LEVELS[report.level].heading}**",
        "\n".join(f"- {markdown_text(sentence)}" for sentence in report.verdict),
        "## Model and data",
        markdown_table(("", ""), _facts(config, report, metadata)),
        "## Scores on held-out pairs",
        _scores(report),
        _gains(report),
        _measures(report),
        _labels(report),
        "## Limits",
        "\n".join(f"- {markdown_text(limit)}" for limit in _limits(config, report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(config: dict[str, Any], report: Report, metadata: ModelMetadata | None) -> list[tuple[str, str]]:
    facts = []
    if metadata is not None:
        size, channels = metadata.image.size, metadata.image.channels
        features = metadata.features
        audio = f"of {features.duration:g} s of audio at {features.sample_rate} Hz"
        what = features.description if metadata.input == "features" else "a waveform"
        # Nobody knows here which audio embeddings are of, if any.
        facts.append(("input", what if features.embedding else f"{what}, {audio}"))
        facts.append(("output", f"an image of {size} x {size} pixels, {'grey' if channels == 1 else 'RGB'}"))
        facts.append(("license", metadata.license or "not stated"))
    counts = {label: report.held_out.labels.count(label) for label in sorted(set(report.held_out.labels)) if label}
    facts += [
        ("recipe", str(config["recipe"]["name"])),
        ("trained by", str(config.get("command") or "a call of fit")),
        ("evaluated by", report.command or "a call of evaluate"),
        *_records(config, report),
        (
            "held out",
            f"{counted(report.n_pairs, 'pair')} of {counted(report.n_sources, 'source')}, split {report.split}",
        ),
        ("labels held out", ", ".join(f"{label} {n:,}" for label, n in counts.items()) or "none"),
        ("epochs, batch size, seed", ", ".join(str(config.get(name)) for name in ("epochs", "batch_size", "seed"))),
        ("configuration", report.configuration),
        ("evaluated on", ", ".join(f"{name} {value}" for name, value in report.environment.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
    ]
    return facts


def _records(config: dict[str, Any], report: Report) -> list[tuple[str, str]]:
    """The records of the evaluation, and those of the training where they are others."""
    trained_on = str(config.get("fingerprint", ""))
    # A report of an older version doesn't state which they were.
    evaluated_on = report.records_fingerprint or trained_on
    facts = [("records", f"{report.records}, fingerprint {evaluated_on[:12]}")]
    if evaluated_on != trained_on:
        facts.append(("records of the training", f"{config.get('records', '')}, fingerprint {trained_on[:12]}"))
    return facts


def _scores(report: Report) -> str:
    metrics = [metric for metric in report.metrics if metric.brief and not metric.degenerate]
    rows = [
        (contender.title, contender.kind, *(number(contender.means.get(metric.id), 3) for metric in metrics))
        for contender in report.contenders
    ]
    return markdown_table(("", "kind", *(metric.title for metric in metrics)), rows)


def _gains(report: Report) -> str:
    titles = {contender.id: contender.title for contender in report.contenders}
    sentences = [
        f"The SSIM of the model differs from that of {titles.get(gain.against, gain.against)} by "
        f"{signed(gain.mean, 3)} (95 % interval [{signed(gain.widest.low, 3)}, {signed(gain.widest.high, 3)}]); "
        f"the interval covers {gain.widest.covers}."
        for gain in report.gains[:2]
    ]
    return " ".join(markdown_text(sentence) for sentence in sentences)


def _measures(report: Report) -> str:
    rows = [(m.title, number(m.value, 3), number(m.reference, 3), m.explanation) for m in report.measures]
    if report.retrieval is not None:
        r = report.retrieval
        rows.insert(0, ("recall@1", number(r.r1, 3), number(r.chance_r1, 3), _RECALL))
    return markdown_table(("measure", "model", "reference", "explanation"), rows) if rows else ""


def _labels(report: Report) -> str:
    if report.labels is None:
        return ""
    labels, confusion = report.labels, report.confusion()
    words = (
        f"A probe (a classifier trained on real images) predicts the right label for {percent(labels.generated)} of "
        f"the generated images ({percent(labels.real)} of real ones, {percent(labels.shuffled)} with shuffled audio)."
    )
    if confusion is None:
        return words
    rows = [(str(name), *(str(n) for n in row)) for name, row in confusion.iterrows()]
    head = ("true \\ predicted", *(str(name) for name in confusion.columns))
    return f"## Confusion matrix\n\n{words}\n\n{markdown_table(head, rows)}"


def _limits(config: dict[str, Any], report: Report) -> list[str]:
    limits = list(report.notes)
    if config["recipe"].get("generator", {}).get("class_name", "").endswith(">ExemplarGenerator"):
        limits.append(
            "The images are composed of training images, which the model stores: anyone who has the model file can "
            "reconstruct them."
        )
    if report.leak.count:
        limits.append(f"{report.leak.sentence}: scores for new audio may be lower.")
    if report.n_sources > 1 or report.leak.count == 0:
        known = report.gains[0].widest.covers if report.gains else "these pairs"
        limits.append(f"The scores hold for {known}; other kinds of audio weren't measured.")
    if report.skipped:
        limits.append("Not measured: " + "; ".join(f"{id} ({reason})" for id, reason in report.skipped.items()) + ".")
    limits.append("The images are predictions of a small model. They don't document what happened.")
    return limits
