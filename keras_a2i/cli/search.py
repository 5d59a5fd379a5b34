"""`keras-a2i search`: finds the images that go with audio, or the audio that goes with an image."""

import click

from keras_a2i.cli.damaged_audio import damage_shown
from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.locations import LocalPath, ModelPath
from keras_a2i.cli.output_options import check_output, overwrite_option
from keras_a2i.cli.terminal import echo


@click.command("search")
@click.argument("run", type=ModelPath())
@click.argument("query", type=LocalPath())
@click.argument("among", nargs=-1, required=True, type=LocalPath())
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Number of matches to show.")
@click.option("--sheet", type=LocalPath(), help="Write a sheet of the images found to this PNG file.")
@overwrite_option("--sheet")
def command(run, query, among, top, sheet, overwrite):
    """Find the nearest images to the audio file QUERY, or the nearest audio files to the image QUERY, AMONG files and
    folders.

    RUN is the run folder of a training that aligned audio and images, such as a run of the recipe words-aligned. A
    query of several clips of audio is searched for by their mean; an audio file is ranked by its best clip.
    """
    # What can be refused without the model is refused before it loads.
    check_output(sheet, (".png",), overwrite, "--sheet")
    from keras_a2i.serving.search import IMAGE_SUFFIXES, search

    with flag_names(), damage_shown():
        result = search(run, query, among, top=top, sheet=sheet, overwrite=overwrite)
    for sentence in result.skipped:
        echo(f"skipped: {sentence}", err=True)
    for match in result.matches:
        where = "" if match.path.suffix.lower() in IMAGE_SUFFIXES else f"  at {match.time:g} s"
        echo(f"{match.similarity:6.3f}  {match.path}{where}")
