"""`keras-a2i generate`: sound files into pictures."""

import pathlib

import click

from keras_a2i.cli.progress import ProgressLine
from keras_a2i.errors import KerasA2IError, SourceError, UsageError

_MOST_ON_SHEET = 64
_LEAST_FOR_PROGRESS = 64


@click.command("generate")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.argument("audio", nargs=-1, required=True, type=click.Path(path_type=pathlib.Path))
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path), help="The folder the pictures go to.")
@click.option("--sheet/--no-sheet", default=True, help="Draw a sheet of a file's pictures too (default: yes).")
@click.option("--overwrite", is_flag=True, help="Replace pictures of an earlier call.")
@click.option("--strict", is_flag=True, help="Stop at the first sound file that can't be read.")
def command(model, audio, out, sheet, overwrite, strict):
    """Turn AUDIO files (wav, flac, ogg, mp3; any rate and length) into PNG pictures, one for each second of sound.

    MODEL is a run folder, a .keras file, a SavedModel folder or a .tflite file. The last second of a file is filled
    with silence. Pictures of sound.wav go to OUT/sound/0000.png and so on, and to the sheet OUT/sound.png.
    """
    from keras_a2i.serving.predictor import load

    if out.is_file():
        raise UsageError(f"Pictures must go into a folder. Received: the file {out}")
    names = _folder_names(audio)
    _clear([out / name for name in names], overwrite)
    predictor = load(model)
    failed = []
    for path, name in zip(audio, names, strict=True):
        try:
            count = _generate(predictor, path, out / name, sheet)
        except SourceError as error:
            if strict:
                raise
            failed.append(error)
            click.echo(f"skipped: {error}", err=True)
            continue
        click.echo(f"{out / name}: {count} {'picture' if count == 1 else 'pictures'}")
    if failed:
        click.echo(f"{len(failed)} of {len(audio)} sound files skipped", err=True)
    if len(failed) == len(audio):
        raise KerasA2IError(f"None of the {len(audio)} sound files could be read")


def _folder_names(audio: tuple[pathlib.Path, ...]) -> list[str]:
    """A name for each file: its stem, with its suffix too where stems repeat."""
    stems = [path.stem for path in audio]
    names = [stem if stems.count(stem) == 1 else path.name for stem, path in zip(stems, audio, strict=True)]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise UsageError(f"Sound files must have different names. Received {min(repeated)!r} twice: use several calls")
    return names


def _clear(folders: list[pathlib.Path], overwrite: bool) -> None:
    """Removes pictures that an earlier call numbered, or refuses to mix new ones with them."""
    for folder in folders:
        old = list(folder.glob("[0-9][0-9][0-9][0-9]*.png"))
        if old and not overwrite:
            raise UsageError(f"{folder} holds pictures of an earlier call. Choose another --out, or --overwrite them")
        for path in old:
            path.unlink()


def _generate(predictor, path: pathlib.Path, folder: pathlib.Path, sheet: bool) -> int:
    from keras_a2i.sheet import draw_sheet, save_png, to_pillow, to_uint8

    duration = predictor.metadata.features.duration
    progress = ProgressLine("pictures")
    total = _count_windows(path, duration)
    shown, captions, count = [], [], 0
    try:
        for pictures in predictor.stream_file(path):
            folder.mkdir(parents=True, exist_ok=True)
            for picture in to_uint8(pictures):
                save_png(to_pillow(picture), folder / f"{count:04d}.png")
                if count % max(1, -(-total // _MOST_ON_SHEET)) == 0:
                    shown.append(picture)
                    captions.append(f"{count * duration:g} s")
                count += 1
            if total > _LEAST_FOR_PROGRESS:
                progress(count, 0, total)
    finally:
        progress.close()
    if sheet:
        import numpy as np

        save_png(draw_sheet([np.stack(shown)], captions=captions), folder.with_name(folder.name + ".png"))
    return count


def _count_windows(path: pathlib.Path, duration: float) -> int:
    import soundfile

    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError):
        return 1
    return max(1, -int(-info.frames // (info.samplerate * duration)))
