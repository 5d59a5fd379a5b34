"""Whether guidance moves images towards their audio, by judges that don't guide.

    keras-a2i fit records --out run --recipe words-adversarial --seed 0
    keras-a2i fit records --out guide --recipe words-aligned --seed 0
    keras-a2i fit records --out judge --recipe words-aligned --seed 1
    python tools/bench_guidance.py run records --by guide --judge judge [--latent] [--sheet sheet.png]

That the guide finds images nearer says nothing: it is what the steps optimise. So held-out clips are judged by the
image encoder of another training: the rank of a clip's own real image among all real held-out images, by the cosine
between its embedding and that of the drawn image. p is that of Wilcoxon's signed-rank test of the ranks before and
after. Where clips have labels, their audio may tell no more than these, and the rank of the very image is mostly
chance: the mean rank of all images of the label has less of it. A probe, a classifier of real training images that has
another architecture, reads the label of the drawn images, too; p by the exact sign test of the answers that changed.

Rows: the model's own images; guided ones; ones that are guided by the audio of another clip, and, of a model with a
style, the nearest of eight styles by the guide, without any gradient. Guided images may be more like all real images
than the model's own: what is due to the audio is the difference from those that another clip guided, whose p-values
come last. Columns of realism: how often a classifier takes drawn images for real ones (0.5 is perfect), and the median
distance to the nearest training image, in multiples of that among training images.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable

import click
import keras
import numpy as np
from scipy import stats

import keras_a2i as a2i
from keras_a2i.evaluation.pairs import Pairs, read_pairs
from keras_a2i.evaluation.probes import LabelProbe, label_probe
from keras_a2i.evaluation.two_sample import draw_patches, two_sample_error
from keras_a2i.media.conversion import from_uint8
from keras_a2i.media.image import save_png
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.models.shipped import find_model
from keras_a2i.serving.search import Searcher, load_searcher

BATCH, N_STYLES, MAX_JUDGED = 32, 8, 256
HEADS = (
    *("images", "rank by the guide", "rank by the judge", "p", "rank of the label", "p", "right label", "p"),
    *("equal error", "to training images", "s an image"),
)


class Swapped(Searcher):
    """A guide that confuses the clips of a batch: each is guided by its neighbour's audio."""

    def embed_inputs(self, inputs: np.ndarray) -> np.ndarray:
        return np.roll(super().embed_inputs(inputs), 1, axis=0)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What the judges find of one set of images; each by clip.

    Attributes:
        guide, judge: ranks of the own real image, from 1.
        label: mean rank of the real images of the label, by the judge; None without labels.
        is_right: whether the probe reads the label; None without labels.
        equal_error, distance: see the columns of realism.
    """

    guide: np.ndarray
    judge: np.ndarray
    label: np.ndarray | None
    is_right: np.ndarray | None
    equal_error: float
    distance: float

    def cells(self, first: "Judgement") -> list[str]:
        """The cells of a row, with p-values of the difference from the model's own images."""
        cells = [f"{self.guide.mean():.1f}", f"{self.judge.mean():.1f}", wilcoxon(self.judge - first.judge)]
        if self.label is None or self.is_right is None or first.label is None or first.is_right is None:
            cells += ["", "", "", ""]
        else:
            cells += [f"{self.label.mean():.1f}", wilcoxon(self.label - first.label)]
            cells += [f"{self.is_right.mean():.1%}", sign_test(first.is_right, self.is_right)]
        return [*cells, f"{self.equal_error:.0%}", f"{self.distance:.2f}"]


@dataclasses.dataclass(frozen=True)
class Bench:
    """Held-out clips and their judges.

    Attributes:
        held_out, train: the pairs.
        rows: numbers of the clips that are used, in random order.
        guide, judge: embed images; the judge doesn't guide.
        probe: of labels, or None.
        seed: of the judging networks.
    """

    held_out: Pairs
    train: Pairs
    rows: np.ndarray
    guide: Searcher
    judge: Searcher
    probe: LabelProbe | None
    seed: int

    def judge_images(self, images: np.ndarray) -> Judgement:
        own = (np.arange(len(self.rows)), self.rows)
        ranks = self.ranks(self.judge, images)
        label = is_right = None
        if self.probe is not None:
            names = self.held_out.labels
            label = np.array([ranks[i, names == names[row]].mean() for i, row in enumerate(self.rows)])
            is_right = self.probe.read(images) == names[self.rows]
        return Judgement(self.ranks(self.guide, images)[own], ranks[own], label, is_right, *self.realism(images))

    def ranks(self, searcher: Searcher, images: np.ndarray) -> np.ndarray:
        """Ranks of the real held-out images (columns) by their cosine with drawn ones (rows); ties at the middle."""
        real = np.concatenate([searcher.embed_images(from_uint8(part)) for part in parts_of(self.held_out.images)])
        return stats.rankdata(-(searcher.embed_images(images) @ real.T), axis=1)

    def realism(self, images: np.ndarray) -> tuple[float, float]:
        """The equal error of a classifier of real and drawn images, and the relative distance to training images."""
        few = np.arange(min(len(images), MAX_JUDGED))
        known = np.asarray(self.train.images[np.arange(len(self.train))])
        chosen = known[:: max(1, len(known) // MAX_JUDGED)]
        real = np.concatenate([self.held_out.images[self.rows[few]], chosen])
        patches = draw_patches(real, np.arange(len(real)), self.seed + 1)
        error = two_sample_error(patches, draw_patches(images, few, self.seed), self.seed)
        flat = from_uint8(known).reshape(len(known), -1)
        among = [np.sort(distances(row.ravel(), flat))[1] for row in from_uint8(chosen)]
        nearest = [distances(image.ravel(), flat).min() for image in images[few]]
        return error, float(np.median(nearest) / np.median(among))


def parts_of(rows) -> list[np.ndarray]:
    return [rows[np.arange(i, min(i + BATCH, len(rows)))] for i in range(0, len(rows), BATCH)]


def distances(row: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(others - row).mean(axis=1))


def wilcoxon(change: np.ndarray) -> str:
    return f"{stats.wilcoxon(change, zero_method='zsplit').pvalue:.2g}" if change.any() else ""


def sign_test(before: np.ndarray, after: np.ndarray) -> str:
    """The exact two-sided p-value of as many answers becoming right as wrong."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return f"{stats.binomtest(gained, gained + lost).pvalue:.2g}" if gained + lost else ""


def best_of_styles(predictor: a2i.Predictor, guide: Searcher, inputs: np.ndarray, seed: int) -> np.ndarray:
    """Of the usual style and seven random ones of each clip, the image that is nearest to the audio by the guide."""
    usual = predictor.predict_inputs(inputs)[:, None]
    images = np.concatenate([usual, predictor.sample(inputs, N_STYLES - 1, seed=seed)], axis=1)
    audio = guide.embed_inputs(inputs)
    near = [(guide.embed_images(of_style) * audio).sum(axis=1) for of_style in images.swapaxes(0, 1)]
    return images[np.arange(len(images)), np.argmax(near, axis=0)]


def timed(generate: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> tuple[np.ndarray, float]:
    """Images of all clips, and seconds for one; what is compiled at the first batch doesn't count."""
    generate(inputs[:BATCH])
    started = time.perf_counter()
    images = np.concatenate([generate(part) for part in parts_of(inputs)])
    return images, (time.perf_counter() - started) / len(inputs)


@click.command()
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.argument("records", type=click.Path(path_type=pathlib.Path, exists=True))
@click.option("--by", required=True, type=click.Path(path_type=pathlib.Path), help="The run that guides.")
@click.option("--judge", required=True, type=click.Path(path_type=pathlib.Path), help="The run that judges.")
@click.option("--steps", default=20, show_default=True, help="Gradient steps.")
@click.option("--step-size", default=0.1, show_default=True, help="Their size.")
@click.option("--starts", type=int, help="Styles to start at the nearest of (default: that of guide).")
@click.option("--latent", is_flag=True, help="Move the vector that the audio determines, too.")
@click.option("--clips", default=500, show_default=True, help="Held-out clips, at most.")
@click.option("--seed", default=0, show_default=True, help="Of the clips, styles and judging networks.")
@click.option("--sheet", type=click.Path(path_type=pathlib.Path), help="A sheet of 16 clips, a row for each of these.")
def main(run, records, by, judge, steps, step_size, starts, latent, clips, seed, sheet):
    """Guide held-out clips of RECORDS through RUN and print a table."""
    guide, judging = load_searcher(by), load_searcher(judge)
    options = {"steps": steps, "step_size": step_size, "starts": starts, "seed": seed, "latent": latent or None}
    predictor = a2i.load(find_model(run))
    guided = a2i.guide(predictor, by=guide, **options)
    swapped = a2i.guide(predictor, by=Swapped(guide.predictor, guide.image_encoder), **options)
    if guided.metadata.input != predictor.metadata.input:
        raise click.UsageError("the guide must accept the inputs of the model, waveforms or features")
    held_out, train = (read_pairs(records, split, guided.metadata.input) for split in ("val", "train"))
    rows = np.random.default_rng(seed).permutation(len(held_out))[:clips]
    keras.utils.set_random_seed(seed)
    bench = Bench(held_out, train, rows, guide, judging, label_probe(train), seed)
    ways = {"the model's own": predictor.predict_inputs, f"guided, {steps} steps": guided.predict_inputs}
    ways["guided by another clip"] = swapped.predict_inputs
    if predictor.can_sample:
        ways[f"nearest of {N_STYLES} styles"] = lambda part: best_of_styles(predictor, guide, part, seed)
    print(f"{len(rows)} held-out clips, ranks among {len(held_out)} images: {(len(held_out) + 1) / 2:g} is chance\n")
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|")
    shown, found = {"real": from_uint8(held_out.images[rows[:16]])}, list[Judgement]()
    for name, generate in ways.items():
        images, seconds = timed(generate, held_out.inputs[rows])
        found.append(bench.judge_images(images))
        print("| " + " | ".join([name, *found[-1].cells(found[0]), f"{seconds:.4f}"]) + " |", flush=True)
        shown[name] = images[:16]
    _, ours, others = found[:3]
    print(f"\nguided against guided by another clip: rank p = {wilcoxon(ours.judge - others.judge)}", end="")
    print("" if ours.label is None else f", rank of the label p = {wilcoxon(ours.label - others.label)}")
    if sheet is not None:
        save_png(draw_sheet(list(shown.values()), list(shown)), sheet)


if __name__ == "__main__":
    main()
