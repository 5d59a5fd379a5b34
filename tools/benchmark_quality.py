"""Quality of each recipe's images on four benchmarks: trains, evaluates, and writes the tables of docs/results.md.

    python tools/benchmark_quality.py OUT --digits pairs.csv --instruments pairs.csv --videos VIDEOS/
        [--seeds 3] [--only words-exemplars] [--readme docs/results.md]

Digits: spoken digits to handwritten ones at 32 pixels, grey, one speaker held out at a time, mean of the folds.
Instruments: sounds to drawings of what makes them at 64 pixels, one sound font held out at a time. Surf:
`synthetic:surf:1600` at 64 pixels, split in blocks. Clips: a folder of videos at 64 pixels, split in blocks. Every
figure comes from `evaluate` on held-out pairs. Each training with its report goes to a folder of its own below OUT; one
that exists is not repeated, so an interrupted call resumes where it was. Trainings run in the order of `ROWS`.
"""

import csv
import dataclasses
import json
import pathlib
import time

import click
import numpy as np

import keras_a2i as a2i
from keras_a2i.config import ImageConfig
from keras_a2i.evaluation.report import Report
from keras_a2i.recipes import get_recipe

START, END = "<!-- quality table -->", "<!-- end of quality table -->"
N_SURF = 1600


@dataclasses.dataclass(frozen=True)
class Row:
    """One recipe on one benchmark."""

    benchmark: str
    recipe: str

    @property
    def aims(self) -> str:
        """The objectives in words."""
        weights = get_recipe(self.recipe).weights
        return ", ".join(name if weight == 1 else f"{name} x {weight:g}" for name, weight in weights.items())


ROWS = (
    Row("digits", "words-adversarial"),
    Row("digits", "words-exemplars"),
    Row("instruments", "words-exemplars"),
    Row("instruments", "words-adversarial"),
    Row("surf", "scenes-many"),
    Row("surf", "exemplars"),
    Row("clips", "exemplars"),
    Row("clips", "scenes"),
    Row("digits", "words-aligned"),
    Row("surf", "features"),
    Row("clips", "features"),
    Row("digits", "features"),
    Row("digits", "paper"),
)


def build(benchmark: str, out: pathlib.Path, data: dict[str, pathlib.Path | None]) -> dict[str, pathlib.Path]:
    """Records of a benchmark, one folder per fold; {} where its data wasn't given."""
    if benchmark == "surf":
        image, split, given = ImageConfig(size=64), {"": a2i.SplitSpec(kind="block")}, f"synthetic:surf:{N_SURF}"
    elif data[benchmark] is None:
        return {}
    elif benchmark == "clips":
        image, split, given = ImageConfig(size=64), {"": a2i.SplitSpec(kind="block")}, data["clips"]
    else:
        with data[benchmark].open(newline="", encoding="utf-8") as file:
            held_out = sorted({row["source"] for row in csv.DictReader(file)})
        image = ImageConfig(size=32, channels=1) if benchmark == "digits" else ImageConfig(size=64)
        given, split = data[benchmark], {name: a2i.SplitSpec(kind="source", holdout=(name,)) for name in held_out}
    folders = {}
    for fold, spec in split.items():
        folders[fold] = out / "records" / "-".join(filter(None, (benchmark, fold)))
        if not (folders[fold] / "records.json").is_file():
            sources = a2i.open_sources([given], features=a2i.FeatureConfig(), image=image)
            a2i.build_records(sources, folders[fold], image=image, split=spec)
    return folders


def train_and_evaluate(row: Row, fold: str, records: pathlib.Path, seed: int, out: pathlib.Path) -> dict:
    """Figures of one training, computed now or read from an earlier call."""
    from keras_a2i.evaluation.evaluate import evaluate

    folder = out / "-".join(filter(None, (row.benchmark, fold, row.recipe, str(seed))))
    done = folder / "benchmark.json"
    if done.is_file():
        known = json.loads(done.read_text())
        # What an earlier version of this tool has evaluated lacks columns; a measure that was left out doesn't.
        if {name for _, name, _ in REALISM} <= {*known, *known.pop("skipped", ())}:
            return known
    if not (folder / "model.keras").is_file() or not (folder / "seconds.json").is_file():
        started = time.monotonic()
        a2i.fit(records, folder, recipe=row.recipe, seed=seed, overwrite=folder.exists(), verbose=0)
        (folder / "seconds.json").write_text(json.dumps(time.monotonic() - started))
    report = evaluate(folder, records, seed=seed)
    report.save(folder)
    figures = figures_of(report) | {
        "seconds": json.loads((folder / "seconds.json").read_text()),
        "parameters": json.loads((folder / "config.json").read_text())["n_parameters"],
    }
    done.write_text(json.dumps(figures | {"skipped": sorted(report.skipped)}))
    return figures


def figures_of(report: Report) -> dict[str, float]:
    """What the table shows of a report, by id."""
    model, shuffled = report.contenders[0], report.gain("shuffled")
    figures = {id: model.means[id] for id in ("ssim", "sharpness")}
    baselines = {c.id: c.means["ssim"] for c in report.contenders if c.kind == "baseline"}
    figures |= {"training-mean": baselines["training-mean"], "best-baseline": max(baselines.values())}
    figures |= {"gain-over-shuffled": shuffled.mean, "p": shuffled.widest.p_value}
    figures |= {result.id: result.value for result in report.measures}
    if report.labels:
        figures |= {f"label-{name}": getattr(report.labels, name) for name in ("generated", "real", "shuffled")}
    return figures | {f"factor-{factor.name}": factor.generated for factor in report.factors}


def mean_of(parts: list[dict[str, float]]) -> dict[str, float]:
    """The mean of every figure that all parts share."""
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: float(np.mean([part[name] for part in parts])) for name in shared}


REALISM = (
    ("real or generated: equal error", "two-sample", "{:.0%}"),
    ("whole images", "two-sample-whole", "{:.0%}"),
    ("on foreign audio", "two-sample-foreign", "{:.0%}"),
    ("cross-fade: largest step", "cross-fade", "{:.2f}"),
    ("halfway: equal error", "two-sample-cross-fade", "{:.0%}"),
    ("density", "density", "{:.2f}"),
    ("coverage", "coverage", "{:.2f}"),
    ("memorisation", "memorisation", "{:.2f}"),
)
LABELLED = (
    ("equal error at equal labels", "two-sample-labels", "{:.0%}"),
    ("on foreign audio at equal labels", "two-sample-foreign-labels", "{:.0%}"),
)
SHOWN = {
    "instruments": (
        ("image named", "label-generated", "{:.1%}"),
        ("real", "label-real", "{:.1%}"),
        *REALISM,
        *LABELLED,
        ("samples: variety", "variety", "{:.2f}"),
    ),
    "digits": (
        ("digit named", "label-generated", "{:.1%}"),
        ("real", "label-real", "{:.1%}"),
        *REALISM,
        *LABELLED,
        ("sharpness", "sharpness", "{:.0%}"),
        ("SSIM", "ssim", "{:.3f}"),
        ("samples: variety", "variety", "{:.2f}"),
        ("samples: digit named", "sample-labels", "{:.1%}"),
        ("search: digit of the first hit", "audio-to-label", "{:.1%}"),
        ("search: the very pair of 100", "audio-to-image", "{:.1%}"),
    ),
    "surf": (
        ("SSIM", "ssim", "{:.3f}"),
        *REALISM,
        ("sharpness", "sharpness", "{:.0%}"),
        ("R@1 of 120", "gallery", "{:.1%}"),
        ("follows a swapped audio", "swapped", "{:.1%}"),
        *((name, f"factor-{name}", "{:.2f}") for name in ("night", "place", "rain", "wind", "swell", "wave")),
    ),
    "clips": (
        ("right clip named", "own-source", "{:.0%}"),
        *REALISM,
        ("gain over shuffled", "gain-over-shuffled", "{:+.3f}"),
        ("p", "p", "{:.4f}"),
        ("sharpness", "sharpness", "{:.0%}"),
        ("SSIM", "ssim", "{:.3f}"),
    ),
}


def table(benchmark: str, found: dict[Row, list[dict[str, float]]]) -> list[str]:
    """Lines of markdown: baselines without audio first, then one line per recipe."""
    shown = SHOWN[benchmark]
    heads = ["recipe", "objectives", *(title for title, _, _ in shown), "parameters", "training", "trainings"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    first = next(iter(found.values()))
    for name, key in (("training mean, no audio", "training-mean"), ("best baseline without audio", "best-baseline")):
        cells = [f"{mean_of(first)[key]:.3f}" if of == "ssim" else "" for _, of, _ in shown]
        lines.append("| " + " | ".join([name, "", *cells, "", "", ""]) + " |")
    for row, parts in found.items():
        mean = mean_of(parts)
        cells = [form.format(mean[key]) if key in mean else "" for _, key, form in shown]
        cost = [f"{mean['parameters'] / 1e6:.2f} M", f"{mean['seconds'] / 60:.1f} min", str(len(parts))]
        lines.append("| " + " | ".join([f"`{row.recipe}`", row.aims, *cells, *cost]) + " |")
    return lines


def write_readme(readme: pathlib.Path, lines: list[str]) -> None:
    """Puts the tables between their marks."""
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    readme.write_text(before + START + "\n" + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


@click.command()
@click.argument("out", type=click.Path(path_type=pathlib.Path))
@click.option("--digits", type=click.Path(exists=True, path_type=pathlib.Path), help="pairs.csv of spoken digits.")
@click.option("--instruments", type=click.Path(exists=True, path_type=pathlib.Path), help="pairs.csv of instruments.")
@click.option("--videos", type=click.Path(exists=True, path_type=pathlib.Path), help="A folder of videos.")
@click.option("--seeds", default=1, show_default=True, help="Trainings of each row and fold.")
@click.option("--only", multiple=True, help="Recipes or benchmarks to run; the tables show all that is there.")
@click.option("--readme", type=click.Path(exists=True, path_type=pathlib.Path), help="Write the tables into this file.")
def main(out, digits, instruments, videos, seeds, only, readme):
    """Run what isn't finished and print the tables."""
    data = {"digits": digits, "instruments": instruments, "clips": videos}
    found: dict[str, dict[Row, list[dict]]] = {}
    for row in ROWS:
        for fold, records in build(row.benchmark, out, data).items():
            for seed in range(seeds):
                folder = out / "-".join(filter(None, (row.benchmark, fold, row.recipe, str(seed))))
                wanted = not only or {row.benchmark, row.recipe, f"{row.benchmark}/{row.recipe}"} & set(only)
                if not wanted and not (folder / "benchmark.json").is_file():
                    continue
                started = time.monotonic()
                figures = train_and_evaluate(row, fold, records, seed, out)
                found.setdefault(row.benchmark, {}).setdefault(row, []).append(figures)
                click.echo(f"{folder.name}: {time.monotonic() - started:.0f} s", err=True)
    lines = []
    for benchmark, rows in found.items():
        lines += ["", f"**{benchmark.capitalize()}**", "", *table(benchmark, rows)]
    click.echo("\n".join(lines))
    if readme:
        write_readme(readme, lines)


if __name__ == "__main__":
    main()
