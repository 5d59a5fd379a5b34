"""`keras-a2i models`: the models that come with the library."""

import click

from keras_a2i.cli.terminal import echo
from keras_a2i.models.model_file import read_metadata
from keras_a2i.models.shipped import describe_shipped, shipped_models, suggest_shipped


@click.command("models")
@click.argument("name", required=False)
def command(name):
    """List the models that come with the library, or print the model card of NAME.

    Every command that accepts a model accepts their names: keras-a2i generate digits my_voice.wav --out images.
    """
    models = shipped_models()
    if name is not None:
        if name not in models:
            raise click.BadParameter(
                f"It must be one of {', '.join(models) or 'the shipped models, and none is installed'}. "
                f"Received: {name!r}{suggest_shipped(name)}",
                param_hint="NAME",
            )
        echo((models[name] / "card.md").read_text(encoding="utf-8").rstrip())
        return
    for known, folder in models.items():
        file = folder / "model.tflite"
        metadata = read_metadata(file)
        assert metadata is not None
        image = f"{metadata.image.size} x {metadata.image.size} {'grey' if metadata.image.channels == 1 else 'RGB'}"
        echo(f"{known:14} {describe_shipped(folder)}")
        echo(f"{'':14} images of {image}, {file.stat().st_size / 1e6:.1f} MB as TFLite; {metadata.license}")
    echo("keras-a2i models NAME prints the model card: data, licence, scores compared with baselines, and limits.")
