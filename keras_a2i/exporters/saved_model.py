"""TensorFlow's SavedModel: a folder for servers, with any batch size."""

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import ModelError
from keras_a2i.exporters.formats import IMAGE, Format, Limits, NoOptions, ServedModel, names_of_inputs, register
from keras_a2i.exporters.quiet import quiet
from keras_a2i.models.model_file import METADATA_NAME, ModelMetadata, default_metadata, embed_metadata, read_metadata

if TYPE_CHECKING:
    import keras

SIGNATURE = "serving_default"
_CONTENT = {"saved_model.pb", "fingerprint.pb", METADATA_NAME, "variables", "assets"}


@register
class SavedModelFormat(Format):
    """A SavedModel folder with the signature "serving_default": "features" or "waveform" to "image".

    A model with a style accepts a "style" (batch, style_units), too; one that classifies returns "logits".
    """

    id = "saved-model"
    title = "SavedModel"
    suffix = ""
    cores = "all cores"

    def limits(self, options: NoOptions) -> Limits:
        """Differences of at most 1e-5."""
        return Limits(max=1e-5)

    def write(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        metadata: ModelMetadata,
        options: NoOptions,
        calibration: np.ndarray | None = None,
    ) -> None:
        """Writes the folder, its metadata in a file inside."""
        import tensorflow as tf

        from keras_a2i.exporters.serving_model import to_serving

        serving = to_serving(model, len(metadata.labels))
        specs = [
            tf.TensorSpec((None, *each.shape[1:]), tf.float32, name=name)
            for each, name in zip(serving.inputs, names_of_inputs(metadata), strict=True)
        ]

        @tf.function(input_signature=specs, autograph=False)
        def serve(*inputs):
            outputs = serving(list(inputs), training=False)
            return {name: tf.cast(values, tf.float32) for name, values in outputs.items()}

        module = tf.Module()
        module.weights = [variable.value for variable in model.variables]
        module.serve = serve
        with quiet():
            tf.saved_model.save(module, path, signatures=serve)
        embed_metadata(path, metadata)

    def can_load(self, path: pathlib.Path) -> bool:
        """Whether a folder holds a saved_model.pb."""
        return (path / "saved_model.pb").is_file()

    def load(self, path: pathlib.Path) -> tuple[ServedModel, ModelMetadata]:
        """Loads a folder by TensorFlow; one without metadata counts as accepting features."""
        import tensorflow as tf

        metadata = read_metadata(path)
        name = metadata.input if metadata else "features"
        try:
            # The loaded object must outlive its signature.
            loaded = tf.saved_model.load(path)
            signature = loaded.signatures[SIGNATURE]
            inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
            shapes = inputs[name].shape, outputs[IMAGE].shape
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise ModelError(f"{path.name} isn't a SavedModel with the signature {name} -> image: {error}") from error

        metadata = metadata or default_metadata(*shapes)

        def run(values: dict[str, np.ndarray], _keep: Any = loaded) -> dict[str, np.ndarray]:
            found = signature(**{key: tf.constant(array) for key, array in values.items()})
            return {key: array.numpy() for key, array in found.items()}

        return ServedModel(run, metadata, inputs, outputs), metadata

    def is_export(self, path: pathlib.Path) -> bool:
        """Whether a folder holds an exported SavedModel and nothing else."""
        return (path / METADATA_NAME).is_file() and {file.name for file in path.iterdir()} <= _CONTENT
