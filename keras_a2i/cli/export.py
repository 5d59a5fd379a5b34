"""`keras-a2i export`: writes a trained model for serving. The options of the formats are read from their registry."""

import dataclasses

import click

from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.locations import LocalPath, LocationType, ModelPath
from keras_a2i.cli.terminal import echo
from keras_a2i.exporters.formats import FORMATS


def _with_format_options(command: click.Command) -> click.Command:
    titles: dict[str, list[str]] = {}
    fields = {}
    for format in FORMATS.values():
        for field in dataclasses.fields(format.Options):
            titles.setdefault(field.name, []).append(format.title)
            fields[field.name] = field
    for name, field in fields.items():
        flag = f"--{name.replace('_', '-')}"
        text = f"{', '.join(titles[name])} only. {field.metadata['help']}"
        if field.default is False:
            option = click.Option([flag], is_flag=True, default=None, help=text)
        elif field.metadata["choices"]:
            option = click.Option([flag], type=click.Choice(field.metadata["choices"]), help=text)
        else:
            option = click.Option([flag], type=field.metadata["type"], help=text)
        command.params.append(option)
    return command


@_with_format_options
@click.command("export")
@click.argument("model", metavar="RUN", type=ModelPath())
@click.option("--out", required=True, type=LocalPath(), help="The file or folder to write.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    help="Default: by the suffix of --out, "
    + ", ".join(
        f"{format.suffix or 'none'} for {format.id}" for format in FORMATS.values() if format.suffix is not None
    )
    + ".",
)
@click.option(
    "--input",
    "input_",
    type=click.Choice(["features", "waveform"]),
    help="Input of the exported model; with waveform, it contains the feature layers (default: the model's input).",
)
@click.option(
    "--sample-rate", type=int, help="Sample rate in Hz of the waveform, for a Keras model of your own (default: 16000)."
)
@click.option(
    "--records",
    type=LocationType(),
    help="Records for the comparison and the calibration (default: those of the run).",
)
@click.option("--license", "license_", metavar="TEXT", help="A licence to write into the file, such as CC-BY-4.0.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export at --out.")
def command(model, out, format_, input_, sample_rate, records, license_, overwrite, **options):
    """Write the model of RUN (a run folder or .keras file) as TFLite, SavedModel, ONNX or a web page.

    The export is read back and compared with the Keras model, on real pairs if records are known. If the images differ
    too much, the export is removed. TFLite files use built-in operators only and accept one clip of audio or one
    feature vector at a time. --format web writes a folder with a page that generates images from a microphone or a file
    within the browser.
    """
    from keras_a2i.exporters.export import export

    with flag_names(path="--out", calibration="--records"):
        done = export(
            model,
            out,
            format=format_,
            input=input_,
            sample_rate=sample_rate,
            records=records,
            license=license_,
            overwrite=overwrite,
            **{name: value for name, value in options.items() if value is not None},
        )
    found = done.agreement
    cores = FORMATS[done.format].cores
    echo(f"{done.path}: {done.size / 1e6:.2f} MB, {found.latency * 1e3:.2f} ms per image on {cores}")
    echo(
        f"compared with the Keras model on {done.compared_on}: differences of at most {found.max:.2g}, mean "
        f"{found.mean:.2g} on [-1, 1], SSIM {found.ssim:.4f}"
    )
    for note in done.notes:
        echo(note)
