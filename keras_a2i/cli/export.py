"""`keras-a2i export`: a trained model for serving."""

import pathlib

import click

from keras_a2i.errors import UsageError


@click.command("export")
@click.argument("model", metavar="RUN", type=click.Path(path_type=pathlib.Path))
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path), help="The file or folder to write.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["tflite", "saved-model"]),
    help=(
        "A TFLite file for the edge or a SavedModel folder for servers. "
        "By default tflite for a name in .tflite, else saved-model."
    ),
)
@click.option("--overwrite", is_flag=True, help="Replace what stands at --out.")
def command(model, out, format_, overwrite):
    """Write the model of RUN (a run folder or .keras file) as TFLite or SavedModel.

    What was written is read back and compared with the Keras model before it counts as done. TFLite files use built-in
    operators only and take one feature vector at a time.
    """
    from keras_a2i.exporters.export import export
    from keras_a2i.exporters.runtime import operators

    format_ = format_ or {".tflite": "tflite", "": "saved-model"}.get(out.suffix)
    if format_ is None:
        raise UsageError(f"Name the --format, or a file in .tflite, or a folder without suffix. Received: {out}")
    done = export(model, out, format=format_, overwrite=overwrite)
    click.echo(
        f"{done.path}: {done.size / 1e6:.1f} MB, differs from the Keras model by at most {done.max_difference:.1g} "
        f"(mean {done.mean_difference:.1g}) on pictures in [-1, 1]"
    )
    if format_ == "tflite":
        click.echo(f"operators, all built in: {', '.join(operators(out))}")
