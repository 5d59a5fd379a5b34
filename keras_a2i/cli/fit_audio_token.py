"""`keras-a2i fit-audio-token`: records into an embedder of audio for a Stable Diffusion 3 model, in a run folder."""

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


@click.command("fit-audio-token")
@click.argument("records", type=LocationType())
@click.option("--out", required=True, type=LocationType(), help="Run folder to create.")
@click.option(
    "--preset",
    metavar="NAME|FOLDER",
    help="The Stable Diffusion 3 model: a preset of KerasHub, such as stable_diffusion_3.5_medium, or a folder with a "
    "preset. Required for a new run.",
)
@click.option("--prompt", help='The prompt, in which the audio replaces the word "*" (default: "a photo of *").')
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    metavar="N",
    help="For records of embeddings: number of vectors over time that each embedding consists of (default: 1).",
)
@click.option(
    "--backbone-dtype",
    type=click.Choice(["bfloat16", "float32", "float16"]),
    help="Dtype of the weights of the frozen model, where its preset doesn't specify one (default: bfloat16).",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs over the training pairs (default: 20 or more).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Pairs per step (default: 8).")
@click.option("--learning-rate", type=float, help="Peak of the learning rate (default: 0.0001).")
@click.option("--seed", type=int, help="Random seed of weights, shuffling and noise (default: 0).")
@click.option("--resume", is_flag=True, help="Resume the run in --out; options that are not given keep their values.")
@click.option("--overwrite", is_flag=True, help="Replace a run in --out.")
def command(records, out, **options):
    """Train an embedder that turns the audio of RECORDS into a word for a pretrained Stable Diffusion 3 model.

    The Stable Diffusion 3 model is frozen and isn't copied: generate loads it again by its name or folder. The command
    needs pip install "keras-a2i[diffusion]" and, for a real preset, a GPU.

    Writes config.json, model.keras (the embedder), history.csv and samples/epoch_*.png (held-out images, real above
    generated) to --out. Ctrl-C saves the last complete epoch, from which --resume continues.
    """
    # What can be refused without TensorFlow is refused before it loads.
    records = Records(records)
    if not options["resume"]:
        RunFolder(out).check_free(overwrite=options["overwrite"])

    from keras_a2i.training.epoch_lines import EpochLines
    from keras_a2i.training.fit_audio_token import fit_audio_token

    started, lines = time.monotonic(), EpochLines(RunFolder(out), lambda line: echo(line, err=True))
    with flag_names():
        fit_audio_token(
            records, out, callbacks=[lines], verbose=0, command=shlex.join(["keras-a2i", *sys.argv[1:]]), **options
        )
    if lines.announced:
        echo(f"{out / 'model.keras'}: trained in {format_seconds(time.monotonic() - started)}")
    else:
        echo("All epochs were finished already, so nothing was trained. --epochs N trains for more", err=True)
    echo(f"Sample images: {out / 'samples'}. Next: keras-a2i generate {out} FILE --out images")
