"""`keras-a2i export`: a trained model for serving."""

import pathlib

import click

from keras_a2i.errors import UsageError

_SUFFIXES = {".tflite": "tflite", ".onnx": "onnx", "": "saved-model"}


@click.command("export")
@click.argument("model", metavar="RUN", type=click.Path(path_type=pathlib.Path))
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path), help="The file or folder to write.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["tflite", "saved-model", "onnx"]),
    help="By default what --out says: .tflite, .onnx, or a SavedModel folder for a name without suffix.",
)
@click.option(
    "--input",
    "input_",
    type=click.Choice(["features", "waveform"]),
    help="What the file takes; waveform puts the feature layers inside (default: what the model takes).",
)
@click.option(
    "--quantize",
    type=click.Choice(["none", "float16", "int8"]),
    default="none",
    show_default=True,
    help="TFLite only. int8 takes its ranges from records.",
)
@click.option("--integer-io", is_flag=True, help="With int8: integers in (int16 sound, int8 features) and out.")
@click.option(
    "--records",
    type=click.Path(path_type=pathlib.Path),
    help="Records to compare and calibrate on (default: the run's own).",
)
@click.option("--license", "license_", metavar="TEXT", help="A licence to write into the file, such as CC-BY-4.0.")
@click.option("--allow-flex", is_flag=True, help="Admit TensorFlow's own operators, which few runtimes hold.")
@click.option("--overwrite", is_flag=True, help="Replace what stands at --out.")
def command(model, out, format_, input_, quantize, integer_io, records, license_, allow_flex, overwrite):
    """Write the model of RUN (a run folder or .keras file) as TFLite, SavedModel or ONNX.

    What was written is read back and compared with the Keras model on real pairs, where records are known, before it
    counts as done. TFLite files use built-in operators only and take one window of sound or feature vector at a time.
    """
    from keras_a2i.exporters.export import export
    from keras_a2i.exporters.runtime import operators

    format_ = format_ or _SUFFIXES.get(out.suffix)
    if format_ is None:
        raise UsageError(f"Name the --format, or an --out in .tflite or .onnx, or without suffix. Received: {out}")
    done = export(
        model,
        out,
        format=format_,
        input=input_,
        quantize=quantize,
        integer_io=integer_io,
        allow_flex=allow_flex,
        records=records,
        license=license_,
        overwrite=overwrite,
    )
    found = done.agreement
    cores = "all cores" if format_ == "saved-model" else "one core"
    latency = f", {found.latency * 1e3:.2f} ms a picture on {cores}" if found else ""
    click.echo(f"{done.path}: {done.size / 1e6:.2f} MB{latency}")
    if found:
        click.echo(
            f"beside the Keras model on {done.compared_on}: differs by at most {found.max:.2g}, mean {found.mean:.2g} "
            f"on [-1, 1], SSIM {found.ssim:.4f}"
        )
    else:
        click.echo("not compared with the Keras model: no runtime here holds TensorFlow's own operators")
    if done.float_layers:
        click.echo(f"the last {done.float_layers} kernels stay in float32: all in int8 differed too much")
    if format_ == "tflite":
        names = operators(out)
        built_in = not any(name.startswith("Flex") for name in names)
        click.echo(f"operators{', all built in' if built_in else ''}: {', '.join(names)}")
