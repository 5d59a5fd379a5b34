"""`keras-a2i fit`: records into a trained model in a run folder."""

import contextlib
import pathlib
import shlex
import sys
import time

import click

from keras_a2i.cli.progress import format_seconds
from keras_a2i.errors import UsageError
from keras_a2i.models.recipes import RECIPES
from keras_a2i.models.sizes import SIZES


@click.command("fit", epilog=f"Recipes: {', '.join(RECIPES)}; keras-a2i recipes tells more.")
@click.argument("records", type=click.Path(path_type=pathlib.Path))
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path), help="The run folder to make.")
@click.option("--recipe", help="The network and its recipe, see below (default: one that suits the records).")
@click.option("--size", type=click.Choice(list(SIZES)), help="Fewer or more channels a layer (default: the recipe's).")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change a value of the recipe; repeatable."
)
@click.option(
    "--input",
    "input_",
    type=click.Choice(["features", "waveform"]),
    help="waveform: the model takes sound itself, changed a little each time it is heard (default: the recipe's).",
)
@click.option("--no-augment", is_flag=True, help="With waveform: leave the sound as it is in training.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training pairs (default: the recipe's).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Pairs a step (default: the recipe's).")
@click.option("--seed", type=int, help="Of initial weights, order and dropout (default: 0).")
@click.option("--resume", is_flag=True, help="Go on with the run in --out; what isn't given stays as it was.")
@click.option("--overwrite", is_flag=True, help="Replace a run in --out.")
@click.option(
    "--early-stop", type=click.IntRange(min=1), metavar="EPOCHS", help="Stop after so many without a better val_loss."
)
@click.option("--best", is_flag=True, default=None, help="Keep the weights of the best val_loss, not the last ones.")
@click.option("--jit/--no-jit", default=None, help="Compile the steps with XLA (default: no).")
@click.option(
    "--precision", type=click.Choice(["float32", "mixed_float16", "mixed_bfloat16"]), help="Default: float32."
)
@click.option(
    "--pictures",
    type=click.Path(path_type=pathlib.Path),
    help="A folder of pictures without sound, for recipes that train a picture autoencoder first.",
)
@click.option(
    "--cache",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help=("Keep decoded pictures in memory; auto: where they take at most 2 GiB."),
)
def command(
    records,
    out,
    recipe,
    size,
    settings,
    input_,
    no_augment,
    epochs,
    batch_size,
    seed,
    resume,
    overwrite,
    early_stop,
    best,
    jit,
    precision,
    pictures,
    cache,
):
    """Train a model on RECORDS.

    Leaves in --out: config.json, model.keras, history.csv, and samples/epoch_*.png (held-out pairs, real above
    generated). Ctrl-C saves the last whole epoch; --resume goes on from there.
    """
    from keras_a2i.training.fit import fit

    started = time.monotonic()
    out_lines = _Report()
    fit(
        records,
        out,
        recipe=recipe,
        overrides=_overrides(settings, size, input_, no_augment),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        early_stop=early_stop,
        best=best,
        jit=jit,
        precision=precision,
        pictures=pictures,
        cache={"auto": "auto", "always": True, "never": False}[cache],
        command=shlex.join(["keras-a2i", *sys.argv[1:]]),
        report=out_lines.epoch,
        on_start=out_lines.start,
        report_autoencoder=out_lines.picture_epoch,
    )
    click.echo(f"{out / 'model.keras'}: trained in {format_seconds(time.monotonic() - started)}")
    click.echo(f"Look at {out / 'samples'}, then: keras-a2i generate {out} FILE --out pictures")


def _overrides(settings: tuple[str, ...], size: str | None, input_: str | None, no_augment: bool) -> dict[str, object]:
    values = parse_settings(settings)
    if size:
        values["size"] = size
    if input_:
        values["input"] = input_
    if no_augment:
        values["augmentation"] = {}
    return values


def parse_settings(settings: tuple[str, ...]) -> dict[str, object]:
    """NAME=VALUE texts as a dictionary: whole numbers, numbers, true and false, lists of numbers by commas, else text.

    Raises:
        UsageError: if a text has no equals sign.
    """
    values: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set takes NAME=VALUE. Received: {setting!r}")
        parts = [_parse_value(part) for part in text.split(",")]
        values[name] = parts[0] if len(parts) == 1 else parts
    return values


def _parse_value(text: str) -> object:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False}.get(text.lower(), text)


class _Report:
    """A line on stderr for the run, and one for each epoch."""

    def start(self, config, first_epoch: int) -> None:
        where = f" from epoch {first_epoch + 1}" if first_epoch else ""
        click.echo(
            f"recipe {config.recipe['name']}: {config.n_parameters:,} parameters, batch {config.batch_size}, "
            f"{config.epochs} epochs{where}",
            err=True,
        )
        self._epochs = config.epochs
        if first_epoch >= config.epochs:
            click.echo("all its epochs are done: nothing to train. --epochs N trains on", err=True)

    def picture_epoch(self, epoch: int, epochs: int, loss: float) -> None:
        click.echo(f"picture autoencoder, epoch {epoch}/{epochs}  loss {loss:.4g}", err=True)

    def epoch(self, row: dict[str, float]) -> None:
        names = [name for name in row if name not in ("epoch", "seconds", "learning_rate")]
        values = "  ".join(f"{name} {row[name]:.4g}" for name in names)
        left = format_seconds((self._epochs - row["epoch"]) * row["seconds"])
        click.echo(f"epoch {row['epoch']}/{self._epochs}  {row['seconds']:.1f} s  {values}  ({left} left)", err=True)
