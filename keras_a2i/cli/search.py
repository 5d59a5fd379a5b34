"""`keras-a2i search`: the pictures that go with a sound, the sounds that go with a picture."""

import pathlib

import click

from keras_a2i.errors import UsageError


@click.command("search")
@click.argument("run", type=click.Path(path_type=pathlib.Path))
@click.argument("query", type=click.Path(path_type=pathlib.Path))
@click.argument("among", nargs=-1, required=True, type=click.Path(exists=True, path_type=pathlib.Path))
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="How many to show.")
@click.option("--sheet", type=click.Path(path_type=pathlib.Path), help="Draw the pictures found to this PNG file.")
def command(run, query, among, top, sheet):
    """Find what goes with QUERY: the nearest pictures AMONG files and folders for a sound, the nearest sounds for a
    picture.

    RUN is the run folder of a training that aligned both, such as one of the recipe words-aligned. A sound of several
    seconds is searched for as a whole, and found by its best second.
    """
    from keras_a2i.serving.search import PICTURES, SOUNDS, candidates, load_searcher

    suffix = query.suffix.lower()
    if suffix not in PICTURES + SOUNDS:
        raise UsageError(f"The query must be a {', '.join(SOUNDS + PICTURES)} file. Received: {query}")
    if not query.is_file():
        raise UsageError(f"The query must be a file. Received: {query}, which doesn't exist")
    is_audio = suffix in SOUNDS
    if sheet and not is_audio:
        raise UsageError(f"A sheet shows pictures that a sound found. Received: --sheet with the picture {query}")
    files = candidates(among, PICTURES if is_audio else SOUNDS)
    searcher = load_searcher(run)
    matches, failed = (searcher.find_images if is_audio else searcher.find_audio)(query, files)
    for sentence in failed:
        click.echo(f"skipped: {sentence}", err=True)
    for match in matches[:top]:
        where = "" if is_audio else f"  at {match.time:g} s"
        click.echo(f"{match.similarity:6.3f}  {match.path}{where}")
    if sheet:
        _draw_sheet(sheet, matches[:top], searcher.predictor.metadata.image)


def _draw_sheet(sheet: pathlib.Path, matches, image) -> None:
    import numpy as np

    from keras_a2i.media.image import read_image, save_png
    from keras_a2i.media.sheet import draw_sheet

    pictures = np.stack([read_image(match.path, image) for match in matches])
    sheet.parent.mkdir(parents=True, exist_ok=True)
    save_png(draw_sheet([pictures], captions=[f"{match.similarity:.2f}" for match in matches]), sheet)
