"""`TrainingModel`: its loss, its two parts, validation and metrics on images, saving and loading whole."""

import itertools
import json

import keras
import numpy as np
import pytest
from keras import ops
from support.training_states import random_images, small_model

from keras_a2i.errors import UsageError
from keras_a2i.losses import BatchScaledMSE
from keras_a2i.metrics import PSNR, SSIM, ssim
from keras_a2i.objectives import (
    Adversarial,
    Contrastive,
    ImageAutoencoder,
    LabelCrossentropy,
    LossObjective,
    MeanSquaredError,
    MultiScaleSSIM,
    Objective,
    Perceptual,
    Spectrum,
    TemporalDifference,
    TrainingModel,
    Variational,
)

FEATURES = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
IMAGES = random_images(8, 16, 1)
LABELS = np.arange(8, dtype=np.int32) % 2


@keras.saving.register_keras_serializable("keras_a2i_tests")
class Half(Objective):
    """An objective of a user's own."""

    def loss(self, state):
        return 0.5 * ops.mean(ops.square(state.images - state.generated))


@pytest.mark.training
def test_training_loss_is_the_weighted_sum_and_each_part_is_reported():
    model = TrainingModel(small_model(), [MeanSquaredError(2.0, batch_size=8), Half(4.0, name="half")])
    model.compile(keras.optimizers.SGD(0.0))
    found = model.fit(FEATURES, IMAGES, batch_size=8, epochs=1, verbose=0).history
    assert found["loss"][0] == pytest.approx(2 * found["mse_loss"][0] + 4 * found["half_loss"][0], rel=1e-5)
    assert found["mse_loss"][0] == pytest.approx(16 * found["half_loss"][0], rel=1e-5)


def test_ids_stand_for_objectives_with_their_default_arguments():
    model = TrainingModel(small_model(), ["mse", Half(name="half"), keras.losses.Huber()])
    assert [type(objective) for objective in model.objectives] == [MeanSquaredError, Half, LossObjective]
    assert [type(objective) for objective in TrainingModel(small_model(), "spectrum").objectives] == [Spectrum]
    assert TrainingModel(small_model(), Spectrum(2.0)).objectives[0].weight == 2


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (["spectrums"], "objectives must be among mse, .* Received: 'spectrums'. Did you mean 'spectrum'?"),
        ([Spectrum], r"objectives must be instances. Received: a class. Pass Spectrum\(\)"),
        ([3], "objectives must be instances of keras_a2i.objectives .* Received: 3"),
    ],
)
def test_what_is_no_objective_raises(objectives, message):
    with pytest.raises(UsageError, match=message):
        TrainingModel(small_model(), objectives)


def test_objective_that_needs_more_than_images_is_no_loss_of_compile():
    with pytest.raises(UsageError, match=r"The objective 'labels' can't be a loss of model.compile"):
        LabelCrossentropy()(IMAGES, IMAGES)


def test_images_of_other_channels_raise():
    with pytest.raises(UsageError, match="must have one shape"):
        Spectrum()(np.repeat(IMAGES, 3, axis=-1), IMAGES)


@pytest.mark.training
def test_training_on_one_objective_equals_keras_training_on_its_loss():
    results = []
    for wrap in (True, False):
        keras.utils.set_random_seed(3)
        model = small_model()
        trained = TrainingModel(model, [MeanSquaredError(batch_size=8)]) if wrap else model
        trained.compile(keras.optimizers.Adam(1e-2), *([] if wrap else [BatchScaledMSE(8)]))
        history = trained.fit(FEATURES, IMAGES, batch_size=8, epochs=3, verbose=0, shuffle=False).history
        results.append((list(history), history["loss"], model.predict(FEATURES, verbose=0)))
    assert results[0][0] == results[1][0] == ["loss"]
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)
    np.testing.assert_allclose(results[0][2], results[1][2], atol=1e-5)


@pytest.mark.training
def test_training_accepts_keras_losses_and_functions_with_any_functional_model():
    inputs = keras.Input((6,))
    plain = keras.Model(inputs, keras.layers.Reshape((16, 16, 1))(keras.layers.Dense(256)(inputs)))

    def absolute(y_true, y_pred):
        return ops.abs(y_true - y_pred)

    model = TrainingModel(plain, [keras.losses.Huber(), absolute, Spectrum(0.5)])
    model.compile(keras.optimizers.SGD(0.0), metrics=["mean_absolute_error"])
    found = model.fit(FEATURES, IMAGES, batch_size=8, epochs=1, verbose=0).history
    assert set(found) == {"loss", "huber_loss", "absolute_loss", "spectrum_loss", "mean_absolute_error"}
    expected = found["huber_loss"][0] + found["absolute_loss"][0] + 0.5 * found["spectrum_loss"][0]
    assert found["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert found["absolute_loss"][0] == pytest.approx(found["mean_absolute_error"][0], rel=1e-5)
    with pytest.raises(UsageError, match="'labels' needs a model with an encoder"):
        TrainingModel(plain, [LabelCrossentropy()])
    with pytest.raises(UsageError, match="freeze_encoder_after must be 1 for a model without an encoder"):
        TrainingModel(plain, [MeanSquaredError()], freeze_encoder_after=0.5)


@pytest.mark.training
def test_style_is_inferred_from_the_image_in_training_and_zero_afterwards():
    training = TrainingModel(small_model(style_units=2), [MeanSquaredError(batch_size=8), Variational(0.01, warmup=0)])
    assert training.model.latent_dim == 10
    training.compile(keras.optimizers.Adam(1e-2))
    # One audio, dark and bright images: only a style tells them apart.
    features = np.ones((32, 6), np.float32)
    images = np.broadcast_to(np.tile([-0.7, 0.7], 16)[:, None, None, None], (32, 16, 16, 1)).astype(np.float32)
    history = training.fit(features, images, batch_size=8, epochs=40, verbose=0).history
    assert history["mse_loss"][-1] < 0.3 * 8 * 0.49
    np.testing.assert_array_equal(training.encoder.predict(features, verbose=0)[:, -2:], 0)


@pytest.mark.training
@pytest.mark.parametrize("jit_compile", [False, True])
def test_frozen_encoder_is_unchanged_and_runs_in_inference_mode(jit_compile):
    def train(step):
        """Changes of encoder and generator in that step, and how far its loss lies from that of inference mode."""
        model = small_model(dropout=0.9)
        training = TrainingModel(model, [MeanSquaredError(batch_size=8)], total_steps=10, freeze_encoder_after=0.5)
        training.compile(keras.optimizers.AdamW(1e-2), jit_compile=jit_compile)
        training.step.assign(step)
        generated = training.generator(training.encoder.predict(FEATURES, verbose=0), training=True)
        in_use = 8 * np.mean((generated - IMAGES) ** 2)
        before = [half.get_weights() for half in (training.encoder, training.generator)]
        loss = training.fit(FEATURES, IMAGES, batch_size=8, epochs=1, verbose=0).history["loss"][0]
        after = [half.get_weights() for half in (training.encoder, training.generator)]
        changes = [
            max(np.abs(x - y).max() for x, y in zip(*halves, strict=True)) for halves in zip(before, after, strict=True)
        ]
        return *changes, abs(loss / in_use - 1)

    encoder, generator, difference = train(4)
    assert encoder > 1e-3 and generator > 1e-3 and difference > 1e-3
    encoder, generator, difference = train(5)
    assert encoder == 0 and generator > 1e-3 and difference < 1e-5


@pytest.mark.training
def test_encoder_freezes_within_an_epoch_with_momentum_and_weight_decay():
    training = TrainingModel(small_model(), [MeanSquaredError(batch_size=2)], total_steps=8, freeze_encoder_after=0.7)
    training.compile(keras.optimizers.AdamW(1e-2, weight_decay=0.1))
    weights = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: weights.append(np.concatenate([w.ravel() for w in halves.get_weights()]))
    )
    halves = training.encoder
    training.fit(FEATURES, IMAGES, batch_size=2, epochs=2, verbose=0, callbacks=[record])
    changed = [not np.array_equal(a, b) for a, b in itertools.pairwise(weights)]
    # 0.7 x 8 steps: numbers 0 to 5 train the encoder, 6 and 7 don't.
    assert changed == [True] * 5 + [False] * 2 and training.trained_steps == 8
    assert int(training.optimizer.iterations) == 8


@pytest.mark.training
def test_train_on_batch_freezes_the_encoder():
    training = TrainingModel(small_model(), [MeanSquaredError()], total_steps=2, freeze_encoder_after=0.5)
    training.compile("adam")
    weights = []
    for _ in range(3):
        training.train_on_batch(FEATURES, IMAGES)
        weights.append(training.encoder.get_weights()[0])
    assert training.trained_steps == 3
    np.testing.assert_array_equal(weights[0], weights[2])


@pytest.mark.training
def test_validation_and_metrics_compare_images_and_leave_random_states():
    def history(validation):
        keras.utils.set_random_seed(3)
        objectives = [MultiScaleSSIM(), Spectrum(), Variational(), Adversarial(), LabelCrossentropy()]
        training = TrainingModel(small_model(style_units=2, n_labels=2), objectives)
        # Of three steps, tracing is most of the time.
        training.compile(keras.optimizers.Adam(1e-3), metrics=[SSIM()], run_eagerly=True)
        options = {"validation_data": (FEATURES, (IMAGES, LABELS))} if validation else {}
        return training, training.fit(FEATURES, (IMAGES, LABELS), epochs=2, verbose=0, **options).history

    training, found = history(True)
    _, without = history(False)
    for name, values in without.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)
    generated = training.predict(FEATURES, verbose=0)
    results = training.evaluate(FEATURES, (IMAGES, LABELS), verbose=0, return_dict=True)
    assert results["ssim"] == pytest.approx(float(np.mean(ssim(IMAGES, generated))), abs=1e-5)
    assert results["ssim"] == pytest.approx(found["val_ssim"][-1], abs=1e-6)
    assert results["loss"] == pytest.approx(found["val_loss"][-1], rel=1e-5)
    assert {"val_ssim_loss", "val_labels_loss", "ssim_loss", "ssim"} < set(found)


@pytest.mark.training
def test_evaluation_of_an_image_objective_is_that_of_the_predicted_images():
    training = TrainingModel(small_model(dropout=0.5), [MeanSquaredError(batch_size=8)])
    training.compile("adam")
    training.fit(FEATURES, IMAGES, epochs=1, verbose=0)
    expected = 8 * np.mean((training.predict(FEATURES, verbose=0) - IMAGES) ** 2)
    assert training.evaluate(FEATURES, IMAGES, verbose=0) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(training.predict(FEATURES, verbose=0), training.model.predict(FEATURES, verbose=0))


def objectives_of_every_kind():
    return [
        MeanSquaredError(2.0, batch_size=8),
        MultiScaleSSIM(),
        Spectrum(0.5),
        LabelCrossentropy(label_smoothing=0.2),
        Adversarial(0.1, start=0.2),
        Contrastive(temperature=0.2),
        Perceptual(),
        TemporalDifference(batch_size=8),
        Half(name="half"),
        keras.losses.Huber(),
    ]


@pytest.mark.training
def test_training_model_saves_and_loads_whole(tmp_path):
    model = small_model(n_labels=2)
    autoencoder = ImageAutoencoder(_generator_of(model), 2, batch_size=8)
    training = TrainingModel(
        model, objectives_of_every_kind(), total_steps=4, freeze_encoder_after=0.7, autoencoder=autoencoder
    )
    # As graphs, the objectives are trained by the tests of backends and of recipes: that takes far longer to trace.
    training.compile(keras.optimizers.AdamW(1e-2, use_ema=True), metrics=[PSNR()], run_eagerly=True)
    training.fit(FEATURES, (IMAGES, LABELS), epochs=2, verbose=0)
    training.save(tmp_path / "training.keras")
    again = keras.saving.load_model(tmp_path / "training.keras")
    assert json.dumps(again.get_config()) == json.dumps(training.get_config())
    expected = training.evaluate(FEATURES, (IMAGES, LABELS), verbose=0, return_dict=True)
    found = again.evaluate(FEATURES, (IMAGES, LABELS), verbose=0, return_dict=True)
    assert expected.keys() == found.keys() and len(found) == 12
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    for saved, loaded in zip(training.variables, again.variables, strict=True):
        if "seed_generator" in saved.path:  # Keras saves no random states
            loaded.assign(saved)
        np.testing.assert_array_equal(loaded, saved, err_msg=saved.path)
    histories = [
        m.fit(FEATURES, (IMAGES, LABELS), epochs=2, verbose=0, shuffle=False).history for m in (training, again)
    ]
    assert again.trained_steps == 4 and again.encoder_is_frozen
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-4, err_msg=name)


def _generator_of(model):
    return model.generator


@pytest.mark.training
def test_training_model_with_an_invalid_argument_is_refused():
    with pytest.raises(UsageError, match=r"objectives must be one or more, of different names. Received: \[\]"):
        TrainingModel(small_model(), [])
    with pytest.raises(UsageError, match=r"Received: \['mse', 'mse'\]"):
        TrainingModel(small_model(), [MeanSquaredError(), MeanSquaredError()])
    with pytest.raises(UsageError, match=r"freeze_encoder_after must lie in \(0, 1\]. Received: .*=0"):
        TrainingModel(small_model(), [MeanSquaredError()], freeze_encoder_after=0)
    training = TrainingModel(small_model(), [MeanSquaredError()])
    with pytest.raises(UsageError, match="Pass the loss in `objectives`"):
        training.compile("adam", "mse")
    training.compile("adam")
    with pytest.raises(UsageError, match="sample_weight and class_weight must be None"):
        training.fit(FEATURES, IMAGES, sample_weight=np.ones(8), verbose=0)
    training = TrainingModel(small_model(n_labels=2), [LabelCrossentropy()])
    training.compile("adam")
    with pytest.raises(
        UsageError, match=r"'labels' needs labels: the data set must yield \(inputs, \(images, labels\)\)"
    ):
        training.fit(FEATURES, IMAGES, verbose=0)
