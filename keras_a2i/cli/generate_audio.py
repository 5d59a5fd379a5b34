"""`keras-a2i generate-audio`: images into wav files."""

import click

from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.locations import LocalPath, ModelPath
from keras_a2i.cli.progress import ProgressLine
from keras_a2i.cli.terminal import echo
from keras_a2i.counts import counted

_MIN_FOR_PROGRESS = 16


@click.command("generate-audio")
@click.argument("run", type=ModelPath())
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=LocalPath())
@click.option("--out", required=True, type=LocalPath(), help="The folder for the wav files.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 4),
    default=0.0,
    show_default=True,
    help="Standard deviation of the style, which all images share; at 0 the audio is the usual audio of the image.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Random seed of the style and of the phases.",
)
@click.option("--overwrite", is_flag=True, help="Replace what an earlier call wrote.")
@click.option("--strict", is_flag=True, help="Stop at the first image that can't be read.")
def command(run, images, out, temperature, seed, overwrite, strict):
    """Turn images (png or jpg files, or folders of them) into wav files, one for each image.

    RUN is a run folder that fit-image-to-audio wrote, or its model.keras. The audio of drum.png is OUT/drum.wav.
    """
    from keras_a2i.serving.generate_audio import generate_audio

    line = ProgressLine("image")

    def progress(done: int, total: int) -> None:
        if total > _MIN_FOR_PROGRESS:
            line(done, 0, total)

    try:
        with flag_names(folder="--out", images="IMAGE"):
            done = generate_audio(
                run,
                images,
                out,
                temperature=temperature,
                seed=seed,
                overwrite=overwrite,
                strict=strict,
                progress=progress,
            )
    finally:
        line.close()
    for sentence in done.skipped:
        echo(f"skipped: {sentence}", err=True)
    if done.skipped:
        echo(f"{len(done.skipped)} of {counted(len(done.skipped) + len(done.paths), 'image')} skipped", err=True)
    for path in done.paths:
        echo(path)
