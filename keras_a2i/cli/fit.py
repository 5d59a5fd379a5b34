"""`keras-a2i fit`: records into a trained model in a run folder."""

import contextlib
import pathlib
import shlex
import sys
import time

import click

from keras_a2i.cli.progress import format_seconds
from keras_a2i.cli.terminal import echo
from keras_a2i.errors import UsageError
from keras_a2i.recipes import check_recipe_name, recipe_names
from keras_a2i.recipes.default_recipe import choose_recipe
from keras_a2i.records.records import Records
from keras_a2i.training.run_folder import RunFolder


@click.command("fit", epilog=f"Recipes: {', '.join(recipe_names())}. 'keras-a2i recipes' describes them.")
@click.argument("records", type=click.Path(path_type=pathlib.Path))
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path), help="Run folder to create.")
@click.option("--recipe", help="Network and training, see below (default: one that suits the records).")
@click.option(
    "--size", type=click.Choice(["tiny", "base", "large"]), help="Number of channels per layer (default: base)."
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change a setting of the recipe; repeatable."
)
@click.option(
    "--input",
    "input_",
    type=click.Choice(["features", "waveform"]),
    help="waveform: compute features inside the model and augment the audio (default: that of the recipe).",
)
@click.option("--no-augment", is_flag=True, help="Disable the augmentation of the audio.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs over the training pairs (default: the recipe's).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Pairs per step (default: the recipe's).")
@click.option("--seed", type=int, help="Random seed of weights, shuffling and dropout (default: 0).")
@click.option("--resume", is_flag=True, help="Resume the run in --out; options that are not given keep their values.")
@click.option("--overwrite", is_flag=True, help="Replace a run in --out.")
@click.option(
    "--monitor",
    metavar="NAME",
    help="Held-out value that --patience and --restore-best-weights compare: a column of history.csv such as val_mse, "
    "val_ssim or val_loss (default: the recipe's).",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    metavar="EPOCHS",
    help="Stop after this number of epochs without improvement.",
)
@click.option(
    "--restore-best-weights", is_flag=True, default=None, help="Keep the weights of the best epoch, not of the last."
)
@click.option("--jit-compile/--no-jit-compile", default=None, help="Compile the steps with XLA (default: no).")
@click.option(
    "--dtype-policy",
    type=click.Choice(["float32", "mixed_float16", "mixed_bfloat16"]),
    help="Keras dtype policy (default: float32).",
)
@click.option(
    "--image-folder",
    type=click.Path(path_type=pathlib.Path),
    help="Folder of images without audio, for recipes that train an image autoencoder first.",
)
@click.option(
    "--cache",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Keep decoded images in memory; auto: if they take at most 2 GiB.",
)
def command(records, out, settings, size, input_, no_augment, cache, **options):
    """Train a model on RECORDS.

    Writes config.json, model.keras, history.csv and samples/epoch_*.png (held-out pairs, real above generated) to
    --out. Ctrl-C saves the last complete epoch, from which --resume continues.
    """
    # What can be refused without TensorFlow is refused before it loads.
    values = parse_settings(settings)
    if options["recipe"] is not None:
        check_recipe_name(options["recipe"])
    records = Records(records)
    if not options["resume"]:
        RunFolder(out).check_free(overwrite=options["overwrite"])
        if options["recipe"] is None:
            options["recipe"], reason = choose_recipe(records)
            echo(f"The recipe is {options['recipe']}: {reason}", err=True)

    from keras_a2i.training.fit import fit

    started, lines = time.monotonic(), make_epoch_lines(out)
    fit(
        records,
        out,
        settings=_all_settings(values, size, input_, no_augment),
        cache=_CACHE[cache],
        callbacks=[lines],
        verbose=0,
        progress=_report_stage,
        command=shlex.join(["keras-a2i", *sys.argv[1:]]),
        **options,
    )
    if lines.announced:
        echo(f"{out / 'model.keras'}: trained in {format_seconds(time.monotonic() - started)}")
    else:
        echo("All epochs were done already: nothing was trained. --epochs N trains longer", err=True)
    echo(f"Look at {out / 'samples'}, then run: keras-a2i generate {out} FILE --out images")


_CACHE: dict[str, str | bool] = {"auto": "auto", "always": True, "never": False}


def _all_settings(
    values: dict[str, object], size: str | None, input_: str | None, no_augment: bool
) -> dict[str, object]:
    if size:
        values["size"] = size
    if input_:
        values["input"] = input_
    if no_augment:
        from keras_a2i.records.augmentation import Augmentation

        values["augmentation"] = Augmentation()
    return values


def parse_settings(settings: tuple[str, ...]) -> dict[str, object]:
    """Reads NAME=VALUE texts: whole numbers, numbers, true and false, lists of numbers separated by commas, or text.

    Raises:
        UsageError: if a text has no equals sign.
    """
    values: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set must be given NAME=VALUE. Received: {setting!r}")
        parts = [_parse_value(part) for part in text.split(",")]
        values[name] = parts[0] if len(parts) == 1 else tuple(parts)
    return values


def _parse_value(text: str) -> object:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _report_stage(stage: str, done: int, total: int) -> None:
    echo(f"{stage}, epoch {done}/{total}", err=True)


def make_epoch_lines(out: pathlib.Path):
    """A callback that writes one line for the run and one per epoch to stderr."""
    import keras

    class EpochLines(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self._epoch_started = 0.0
            self.announced = False

        def on_epoch_begin(self, epoch, logs=None):
            self._epoch_started = time.monotonic()
            if self.announced:
                return
            self.announced = True
            config = RunFolder(out).read_config()
            where = f", resumed at epoch {epoch + 1}" if epoch else ""
            echo(
                f"recipe {config.recipe['name']}: {config.n_parameters:,} parameters, batch size {config.batch_size}, "
                f"{config.epochs} epochs{where}",
                err=True,
            )

        def on_epoch_end(self, epoch, logs=None):
            epochs, seconds = self.params["epochs"], time.monotonic() - self._epoch_started
            values = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
            left = format_seconds((epochs - epoch - 1) * seconds)
            echo(f"epoch {epoch + 1}/{epochs}  {seconds:.1f} s  {values}  ({left} left)", err=True)

    return EpochLines()
