"""Writes the files of a shipped model from a run: everything but its card.

    python tools/ship_model.py RUN RECORDS saved_models/digits --license CC-BY-SA-4.0

The weights are stored in half precision. `model.tflite` takes a waveform, and is compared with the Keras model on
held-out pairs of RECORDS; `held_out.png` shows 16 of them.
"""

import dataclasses
import pathlib

import click
import numpy as np

import keras_a2i as a2i
from keras_a2i.media.image import save_png
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.models.model_file import load_model, save_model
from keras_a2i.training.balanced_rows import balanced_rows

N_SHOWN = 16


@click.command()
@click.argument("run", type=click.Path(path_type=pathlib.Path, exists=True))
@click.argument("records", type=click.Path(path_type=pathlib.Path, exists=True))
@click.argument("folder", type=click.Path(path_type=pathlib.Path))
@click.option("--license", "license_", required=True, help="An SPDX identifier, such as CC-BY-SA-4.0.")
def main(run: pathlib.Path, records: pathlib.Path, folder: pathlib.Path, license_: str) -> None:
    """Write the model of RUN, trained on RECORDS, into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    model, metadata = load_model(run / "model.keras")
    model.license = license_
    save_model(model, folder / "model.keras", dataclasses.replace(metadata, license=license_), half_precision=True)
    done = a2i.export(
        folder / "model.keras",
        folder / "model.tflite",
        input="waveform",
        quantize="float16",
        license=license_,
        records=records,
        overwrite=True,
    )
    print(f"{done.path}: {done.size / 1e6:.2f} MB, {done.agreement}")
    held_out = a2i.Records(records).decoded("val", metadata.input)
    rows = balanced_rows(held_out.label_numbers, N_SHOWN)
    images = a2i.load(folder / "model.keras").predict_inputs(np.asarray(held_out.inputs)[rows])
    save_png(draw_sheet([held_out.images[rows], images], ["real", "generated"]), folder / "held_out.png")


if __name__ == "__main__":
    main()
