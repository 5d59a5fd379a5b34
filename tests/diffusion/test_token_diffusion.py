"""The frozen Stable Diffusion 3 model: a token in the prompt, the flow loss, what is drawn. KerasHub is the judge."""

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops
from support.tiny_diffusion import save_tiny_preset, tiny_text_to_image

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.models import DiffusionConfig, TokenDiffusion, TokenEmbedder
from keras_a2i.models.token_diffusion import TokenSampler
from keras_a2i.training.flow_training import FlowTraining

pytestmark = pytest.mark.diffusion
PROMPT = "a photo of *"


def token_ids(preset, *prompts):
    kind = keras_hub.models.StableDiffusion3TextToImagePreprocessor
    return kind.from_preset(str(preset)).generate_preprocess(list(prompts))


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_the_words_own_token_gives_what_kerashub_encodes(diffusion, preset):
    ids = token_ids(preset, PROMPT, PROMPT)
    expected = diffusion.backbone.encode_text_step(ids, ids)
    context, pooled = diffusion.encode_tokens(np.stack([diffusion.own_token] * 2))
    np.testing.assert_array_equal(np.asarray(context), np.asarray(expected[0]))
    np.testing.assert_array_equal(np.asarray(pooled), np.asarray(expected[2]))


def test_the_token_of_another_word_gives_the_prompt_with_that_word(diffusion, preset):
    tables = [
        np.asarray(getattr(diffusion.backbone, name).embedding.token_embedding.embeddings)
        for name in ("clip_l", "clip_g")
    ]
    ids = token_ids(preset, "a photo of dog")
    dog = [table[np.asarray(ids[name])[0, 4]] for table, name in zip(tables, ("clip_l", "clip_g"), strict=True)]
    expected = diffusion.backbone.encode_text_step(ids, ids)
    context, pooled = diffusion.encode_tokens(np.concatenate(dog)[None])
    np.testing.assert_allclose(np.asarray(context), np.asarray(expected[0]), atol=1e-5)
    np.testing.assert_allclose(np.asarray(pooled), np.asarray(expected[2]), atol=1e-5)
    assert diffusion.token_scales == pytest.approx([table.std() for table in tables])


@pytest.mark.parametrize("scale", [7.0, 1.0])
def test_images_of_the_words_own_token_are_kerashubs(diffusion, preset, scale):
    noise = random(2, *diffusion.latent_shape)
    sampler = TokenSampler(diffusion, 3, scale)
    images = np.asarray(sampler.predict_on_batch([np.stack([diffusion.own_token] * 2), noise]))
    diffusion.configure(3)
    model = keras_hub.models.StableDiffusion3TextToImage(diffusion.backbone, None)
    ids = token_ids(preset, PROMPT, PROMPT), token_ids(preset, "", "")
    steps, guidance = ops.convert_to_tensor(3), ops.convert_to_tensor(scale) if scale > 1 else None
    expected = np.asarray(model.generate_step(ops.convert_to_tensor(noise), ids, steps, guidance))
    np.testing.assert_allclose(images, np.clip(expected, -1, 1), atol=1e-4)


def test_samplers_of_several_numbers_of_steps_dont_mix(diffusion):
    """KerasHub stores the noise levels of one number of steps in the backbone."""
    inputs = [np.stack([diffusion.own_token]), random(1, *diffusion.latent_shape)]
    two, five = TokenSampler(diffusion, 2, 1.0), TokenSampler(diffusion, 5, 1.0)
    first = np.asarray(two.predict_on_batch(inputs))
    assert np.abs(np.asarray(five.predict_on_batch(inputs)) - first).max() > 1e-3
    two.predict_function = None
    np.testing.assert_array_equal(np.asarray(two.predict_on_batch(inputs)), first)


def test_flow_loss_is_that_of_numpy(diffusion):
    images, token = np.tanh(random(2, 16, 16, 3)), np.stack([diffusion.own_token] * 2)
    noise, levels = random(2, *diffusion.latent_shape), np.array([0.2, 0.7], np.float32)
    # The autoencoder of the tiny preset returns the mean of its distribution.
    latents = np.asarray(diffusion.backbone.encode_image_step(images))
    sigma = 3 * levels / (1 + 2 * levels)
    mixed = (1 - sigma)[:, None, None, None] * latents + sigma[:, None, None, None] * noise
    context, pooled = diffusion.encode_tokens(token)
    inputs = {"latent": mixed, "context": context, "pooled_projection": pooled, "timestep": 1000 * sigma}
    inputs = {name: ops.convert_to_tensor(value) for name, value in inputs.items()}
    velocity = np.asarray(diffusion.backbone.diffuser(inputs))
    expected = np.square(velocity - (noise - latents)).mean()
    assert float(diffusion.flow_loss(token, images, noise, levels)) == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def trained(diffusion):
    """Two trainings on four fixed pairs: weights before and after, and the validation losses before and after."""
    keras.utils.set_random_seed(0)
    config = DiffusionConfig(preset="tiny", image_size=16)
    scales = {"token_dims": diffusion.token_dims, "token_scales": diffusion.token_scales}
    embedder = TokenEmbedder(config, **scales, channels=(16,), units=32)
    network = FlowTraining(embedder, diffusion)
    network.compile(keras.optimizers.Adam(1e-2))
    time = np.arange(16_000) / 16_000
    audio = np.stack([0.4 * np.sin(2 * np.pi * pitch * time) for pitch in (300, 600, 1200, 2400)]).astype(np.float32)
    images = np.broadcast_to(np.linspace(-0.9, 0.9, 4, dtype=np.float32)[:, None, None, None], (4, 16, 16, 3))
    before = [w.numpy().copy() for w in diffusion.backbone.weights]
    embedded = [w.numpy().copy() for w in embedder.trainable_weights]
    losses = [network.evaluate(audio, images, batch_size=4, verbose=0)]
    network.fit(audio, images, epochs=60, batch_size=4, verbose=0)
    losses.append(network.evaluate(audio, images, batch_size=4, verbose=0))
    return network, before, embedded, losses


def test_gradients_reach_the_embedder_and_nothing_else(trained, diffusion):
    network, before, embedded, _ = trained
    assert [v.path for v in network.trainable_variables] == [v.path for v in network.embedder.trainable_variables]
    for weight, value in zip(diffusion.backbone.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    assert all(
        np.abs(w.numpy() - b).max() > 0 for w, b in zip(network.embedder.trainable_weights, embedded, strict=True)
    )


def test_loss_of_four_fixed_pairs_falls(trained):
    before, after = trained[3]
    assert after < 0.995 * before


def test_validation_is_the_same_every_time(trained):
    network, audio = trained[0], random(4, 16_000) * 0.1
    images = np.zeros((4, 16, 16, 3), np.float32)
    assert len({network.evaluate(audio, images, batch_size=4, verbose=0) for _ in range(2)}) == 1


def test_gradients_through_float16_are_scaled(tmp_path):
    save_tiny_preset(tmp_path, dtype="float16")
    diffusion = DiffusionConfig(preset=str(tmp_path), image_size=16).load()
    assert diffusion.has_float16
    embedder = TokenEmbedder(
        DiffusionConfig(preset="tiny", image_size=16),
        token_dims=diffusion.token_dims,
        token_scales=diffusion.token_scales,
        channels=(8,),
        units=8,
    )
    network = FlowTraining(embedder, diffusion)
    network.compile(keras.optimizers.Adam(1e-3))
    assert isinstance(network.optimizer, keras.optimizers.LossScaleOptimizer)
    history = network.fit(0.1 * random(4, 16_000), np.tanh(random(4, 16, 16, 3)), epochs=2, batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_prompt_must_fit_the_tokenizers(tmp_path, preset):
    with pytest.raises(UsageError, match=r"tokenizer of clip_l must know the word \"\*\" .* its 8 tokens must hold"):
        DiffusionConfig(preset=str(preset), image_size=16, prompt="a photo of a photo of a *").load()
    save_tiny_preset(tmp_path, words=("a", "photo", "of"))
    with pytest.raises(UsageError, match=r"must know the word \"\*\" as one token"):
        DiffusionConfig(preset=str(tmp_path), image_size=16).load()


def test_presets_of_other_models_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"preset must be a Stable Diffusion 3 model .* preset='.*nowhere'"):
        DiffusionConfig(preset=str(tmp_path / "nowhere"), image_size=16).load()
    other = keras_hub.models.CLIPTextEncoder(9, 8, 8, 1, 1, 8)
    other.save_to_preset(str(tmp_path))
    with pytest.raises(ModelError, match=r"preset must be a Stable Diffusion 3 model"):
        DiffusionConfig(preset=str(tmp_path), image_size=16).load()


def test_errors_of_the_download_become_a_sentence(monkeypatch):
    exceptions = pytest.importorskip("kagglehub.exceptions")

    def refuse(*_, **__):
        raise exceptions.UnauthenticatedError()

    monkeypatch.setattr(keras_hub.models.StableDiffusion3Backbone, "from_preset", refuse)
    with pytest.raises(ModelError, match=r"preset must be a Stable Diffusion 3 model .* \(User is not authenticated"):
        DiffusionConfig(preset="stable_diffusion_3_medium").load()


def test_t5_is_refused(monkeypatch):
    model = tiny_text_to_image()
    model.backbone.t5 = keras.layers.Identity()
    with pytest.raises(ModelError, match=r"CLIP-L and CLIP-G alone.* Received: one with T5"):
        TokenDiffusion(model.backbone, model.preprocessor, PROMPT)
