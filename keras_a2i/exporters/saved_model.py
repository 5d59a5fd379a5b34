"""TensorFlow's SavedModel: a folder for servers, with any batch size."""

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import ModelError
from keras_a2i.exporters.formats import Format, Limits, NoOptions, PredictFn, register
from keras_a2i.exporters.quiet import quiet
from keras_a2i.models.model_file import METADATA_NAME, ModelMetadata, default_metadata, embed_metadata, read_metadata

if TYPE_CHECKING:
    import keras

SIGNATURE = "serving_default"
_CONTENT = {"saved_model.pb", "fingerprint.pb", METADATA_NAME, "variables", "assets"}


@register
class SavedModelFormat(Format):
    """A SavedModel folder with the signature "serving_default": "features" or "waveform" to "image"."""

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

        @tf.function(input_signature=[tf.TensorSpec((None, metadata.n_inputs), tf.float32, name=metadata.input)])
        def serve(inputs):
            return {"image": tf.cast(model(inputs, training=False), tf.float32)}

        module = tf.Module()
        module.weights = [variable.value for variable in model.variables]
        module.serve = serve
        with quiet():
            tf.saved_model.save(module, path, signatures=serve)
        embed_metadata(path, metadata)

    def can_load(self, path: pathlib.Path) -> bool:
        """Whether a folder holds a saved_model.pb."""
        return (path / "saved_model.pb").is_file()

    def load(self, path: pathlib.Path) -> tuple[PredictFn, ModelMetadata]:
        """Loads a folder by TensorFlow; one without metadata counts as accepting features."""
        import tensorflow as tf

        metadata = read_metadata(path)
        name = metadata.input if metadata else "features"
        try:
            # The loaded object must outlive its signature.
            loaded = tf.saved_model.load(path)
            signature = loaded.signatures[SIGNATURE]
            inputs = signature.structured_input_signature[1][name].shape
            outputs = signature.structured_outputs["image"].shape
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise ModelError(f"{path.name} isn't a SavedModel with the signature {name} -> image: {error}") from error

        def predict(values: np.ndarray, _keep: Any = loaded) -> np.ndarray:
            return signature(**{name: tf.constant(values)})["image"].numpy()

        return predict, metadata or default_metadata(inputs, outputs)

    def is_export(self, path: pathlib.Path) -> bool:
        """Whether a folder holds an exported SavedModel and nothing else."""
        return (path / METADATA_NAME).is_file() and {file.name for file in path.iterdir()} <= _CONTENT
