"""`keras-a2i fit-image-to-audio`: records into a trained network from images to audio, in a run folder."""

import shlex
import sys
import time

import click

from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.locations import LocationType
from keras_a2i.cli.terminal import echo
from keras_a2i.durations import format_seconds
from keras_a2i.records.records import Records
from keras_a2i.training.run_folder import RunFolder


@click.command("fit-image-to-audio")
@click.argument("records", type=LocationType())
@click.option("--out", required=True, type=LocationType(), help="Run folder to create.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs over the training pairs (default: 20 or more).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Pairs per step (default: 32).")
@click.option("--learning-rate", type=float, help="Peak of the learning rate (default: 0.002).")
@click.option("--style-weight", type=float, help="Weight of the KL divergence of the style (default: 0.03).")
@click.option("--seed", type=int, help="Random seed of weights, shuffling and dropout (default: 0).")
@click.option(
    "--shuffle-within-label/--no-shuffle-within-label",
    default=None,
    help="Pair each clip with a random image of its label (default: on for labelled clips, unless they are moments of "
    "longer recordings).",
)
@click.option("--resume", is_flag=True, help="Resume the run in --out; options that are not given keep their values.")
@click.option("--overwrite", is_flag=True, help="Replace a run in --out.")
def command(records, out, **options):
    """Train a network that turns the images of RECORDS into their audio.

    Writes config.json, model.keras, history.csv and samples/epoch_*.png (held-out images, the spectrograms of their
    audio, and generated ones) to --out. Ctrl-C saves the last complete epoch, from which --resume continues.
    """
    # What can be refused without TensorFlow is refused before it loads.
    records = Records(records)
    if not options["resume"]:
        RunFolder(out).check_free(overwrite=options["overwrite"])

    from keras_a2i.training.epoch_lines import EpochLines
    from keras_a2i.training.fit_image_to_audio import fit_image_to_audio

    started, lines = time.monotonic(), EpochLines(RunFolder(out), lambda line: echo(line, err=True))
    with flag_names():
        fit_image_to_audio(
            records, out, callbacks=[lines], verbose=0, command=shlex.join(["keras-a2i", *sys.argv[1:]]), **options
        )
    if lines.announced:
        echo(f"{out / 'model.keras'}: trained in {format_seconds(time.monotonic() - started)}")
    else:
        echo("All epochs were finished already, so nothing was trained. --epochs N trains for more", err=True)
    echo(f"Samples: {out / 'samples'}. Next: keras-a2i generate-audio {out} IMAGE --out sounds")
