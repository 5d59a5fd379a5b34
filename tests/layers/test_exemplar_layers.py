"""Attention over exemplars, against NumPy, and patch codes, against a singular value decomposition."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.layers import ExemplarAttention, PatchDecoder


def _attention(n=5, grid=4, components=3, dim=6, seed=0, labels=None, **options):
    layer = ExemplarAttention(n, grid, components, **options)
    layer.build((None, dim + layer.style_units))
    rng = np.random.default_rng(seed)
    layer.keys.assign(rng.standard_normal((dim, n)))
    codes = rng.standard_normal((n, grid, grid, components)).astype(np.float32)
    layer.adapt(codes, labels)
    return layer, codes


def _call(layer, x):
    return ops.convert_to_numpy(layer(np.asarray(x, np.float32)))


@pytest.mark.parametrize("field_size", [1, 4])
def test_query_of_a_key_selects_its_exemplar(field_size):
    layer, codes = _attention(sharpness=300.0, spread=0.01, field_size=field_size)
    keys = ops.convert_to_numpy(layer.keys).T
    np.testing.assert_allclose(_call(layer, 3 * keys), codes, atol=1e-3)


@pytest.mark.parametrize("field_size", [1, 4])
def test_codes_are_weighted_by_the_softmax_of_similarity_and_field(field_size):
    layer, codes = _attention(sharpness=4.0, spread=0.5, field_size=field_size, style_units=2)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 8)).astype(np.float32)
    query, keys = x[:, :6], ops.convert_to_numpy(layer.keys)
    cosine = query @ keys / np.linalg.norm(query, axis=1)[:, None] / np.linalg.norm(keys, axis=0)
    fields = ops.convert_to_numpy(layer.fields) + x[:, 6:] @ ops.convert_to_numpy(layer.style_fields)
    scores = cosine[:, None, None] + 0.5 * fields.reshape(3, field_size, field_size, 5)
    weights = np.exp(4 * scores)
    weights = np.broadcast_to(weights / weights.sum(-1, keepdims=True), (3, 4, 4, 5))
    np.testing.assert_allclose(_call(layer, x), np.einsum("bhwk,khwc->bhwc", weights, codes), atol=1e-5)


def test_hubness_is_the_mean_similarity_and_is_subtracted_from_every_score():
    layer, codes = _attention(sharpness=4.0, spread=0.0, field_size=1, subtract_hubness=True)
    plain, _ = _attention(sharpness=4.0, spread=0.0, field_size=1)
    rng = np.random.default_rng(2)
    x, queries = rng.standard_normal((3, 6)), rng.standard_normal((40, 6)) + 1
    np.testing.assert_array_equal(_call(layer, x), _call(plain, x))
    layer.assign_hubness(queries.astype(np.float32))
    keys = ops.convert_to_numpy(layer.keys)
    norms = np.linalg.norm(keys, axis=0)
    hubness = (queries @ keys / np.linalg.norm(queries, axis=1)[:, None] / norms).mean(axis=0)
    np.testing.assert_allclose(layer.hubness, hubness, atol=1e-5)
    weights = np.exp(4 * (x @ keys / np.linalg.norm(x, axis=1)[:, None] / norms - hubness))
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(_call(layer, x), np.einsum("bk,khwc->bhwc", weights, codes), atol=1e-5)


def test_hubness_changes_labels_as_it_changes_images():
    layer, codes = _attention(subtract_hubness=True)
    layer.adapt(codes, np.array([2, 0, 2, 1, 0]))
    x = np.random.default_rng(1).standard_normal((3, 6)).astype(np.float32)
    before = ops.convert_to_numpy(layer.label_logits(x, 3))
    layer.hubness.assign([0.0, 0.0, 0.0, 0.1, 0.0])
    change = ops.convert_to_numpy(layer.label_logits(x, 3)) - before
    np.testing.assert_allclose(change, np.tile([0.0, -1.0, 0.0], (3, 1)), atol=1e-3)
    with pytest.raises(UsageError, match="subtract_hubness=True to have a hubness"):
        _attention()[0].assign_hubness(x)


def test_probability_of_a_label_is_its_share_of_the_exemplars():
    layer, codes = _attention(style_units=2)
    assert not layer.has_labels(3)
    layer.adapt(codes, np.array([2, 0, 2, 1, 0]))
    assert layer.has_labels(3) and not layer.has_labels(2)
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    keys = ops.convert_to_numpy(layer.keys)
    cosine = x[:, :6] @ keys / np.linalg.norm(x[:, :6], axis=1)[:, None] / np.linalg.norm(keys, axis=0)
    shares = np.exp(10 * cosine) / np.exp(10 * cosine).sum(axis=1, keepdims=True)
    expected = np.stack([shares[:, [1, 4]].sum(1), shares[:, 3], shares[:, [0, 2]].sum(1)], axis=1)
    logits = ops.convert_to_numpy(layer.label_logits(x, 3))
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), expected, atol=1e-5)


def _by_label(labels, **options):
    """A layer that selects one of three labels first, and the same without that."""
    options |= {"n": len(labels), "labels": np.array(labels), "style_units": 2, "field_size": 1}
    (first, codes), (plain, _) = _attention(n_labels=3, **options), _attention(**options)
    return first, plain, codes


def test_label_is_selected_first_and_then_an_exemplar_of_it():
    labels = np.array([2, 0, 2, 1, 0])
    first, plain, codes = _by_label(labels, sharpness=30.0, spread=0.2)
    x = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)
    cosine = ops.convert_to_numpy(plain.similarities(x[:, :6]))
    fields = ops.convert_to_numpy(plain.fields) + x[:, 6:] @ ops.convert_to_numpy(plain.style_fields)
    of_label = np.stack([np.exp(10 * cosine[:, labels == k]).sum(axis=1) for k in range(3)], axis=1) ** 3
    of_label /= of_label.sum(axis=1, keepdims=True)
    weights = np.exp(30 * (cosine + 0.2 * fields))
    for k in range(3):
        weights[:, labels == k] *= of_label[:, k : k + 1] / weights[:, labels == k].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(_call(first, x), np.einsum("bk,khwc->bhwc", weights, codes), atol=1e-4)


def test_neither_fields_nor_style_change_the_selected_label():
    labels = np.repeat(np.arange(3), 4)
    first, plain, codes = _by_label(labels, sharpness=400.0, spread=0.5)
    # The code of an exemplar is its label.
    codes = np.broadcast_to(labels[:, None, None, None], codes.shape).astype(np.float32)
    first.adapt(codes, labels)
    plain.adapt(codes, labels)
    rng = np.random.default_rng(3)
    x = np.concatenate([np.repeat(rng.standard_normal((6, 6)), 20, axis=0), rng.standard_normal((120, 2))], axis=1)
    likeliest = ops.convert_to_numpy(first.label_logits(x.astype(np.float32), 3)).argmax(axis=1)
    shown = _call(first, x)[:, 0, 0, 0]
    np.testing.assert_allclose(shown, likeliest, atol=1e-3)
    assert (np.abs(_call(plain, x)[:, 0, 0, 0] - likeliest) > 0.5).any()


def test_selection_of_a_label_is_finite_at_any_sharpness_and_without_exemplars_of_it():
    first, _, codes = _by_label([0, 0, 2, 2, 2], sharpness=1e5, spread=0.1)
    found = _call(first, 1e3 * np.random.default_rng(0).standard_normal((8, 8)))
    assert (found <= codes.max(axis=0) + 1e-3).all() and (found >= codes.min(axis=0) - 1e-3).all()
    empty = ExemplarAttention(5, 4, 3, field_size=1, n_labels=3)
    assert not _call(empty, np.ones((1, 6))).any()


def test_selection_of_labels_that_are_not_known_is_refused():
    layer, _, codes = _by_label([0, 1, 2, 2, 2])
    with pytest.raises(UsageError, match=r"labels must be given to a layer with n_labels=3\. Received: None"):
        layer.adapt(codes)
    with pytest.raises(UsageError, match=r"field_size 1 where a label is selected first\. Received: .*field_size=4"):
        ExemplarAttention(5, 4, 3, n_labels=3)
    for labels, found in ([0, 1, 3, 2, 2], "0 to 3"), ([0, -1, 2, 2, 2], "-1 to 2"):
        with pytest.raises(UsageError, match=rf"labels must be numbers from 0 to 2, .* Received: numbers from {found}"):
            layer.adapt(codes, np.array(labels))
    assert layer.has_labels(3)


def _balanced(rng, familiar_offset, n=60):
    """A layer whose labels are selected unequally by queries (n, 6), and queries of the same kind."""
    labels = np.repeat(np.arange(3), 4)
    layer, _ = _attention(n=12, labels=labels, n_labels=3, field_size=1, sharpness=400.0, balance_labels=True)
    direction = np.array([3.0, 1.0, 0.5, 0, 0, 0])
    layer.keys.assign(np.eye(6)[:, labels] + 0.1 * rng.standard_normal((6, 12)))
    layer.familiar_offset.assign(familiar_offset)
    return layer, [(rng.standard_normal((size, 6)) + direction).astype(np.float32) for size in (n, 600)]


def test_unfamiliar_audio_selects_all_labels_equally_often():
    layer, (measured, others) = _balanced(np.random.default_rng(0), familiar_offset=1e3, n=600)
    before = ops.convert_to_numpy(layer.label_logits(others, 3))
    layer.assign_label_balance(measured)
    logits = ops.convert_to_numpy(layer.label_logits(others, 3))
    counts = [np.bincount(each.argmax(axis=1), minlength=3) for each in (before, logits)]
    assert counts[0].max() > 400 and counts[1].min() > 170 and counts[1].max() < 230, counts
    # The difference is one number for each label, but for what keeps the evidence for any label as it was.
    change = logits - before
    np.testing.assert_allclose(change - change[:, :1], np.tile((change - change[:, :1])[0], (600, 1)), atol=1e-3)
    evidence = [np.log(np.exp(each).sum(axis=1)) for each in (before, logits)]
    np.testing.assert_allclose(evidence[1], evidence[0], atol=1e-4)


def test_balance_of_labels_counts_as_far_as_audio_is_unfamiliar():
    layer, (measured, others) = _balanced(np.random.default_rng(1), familiar_offset=1.0)
    before = ops.convert_to_numpy(layer.label_logits(others, 3))
    layer.assign_label_balance(measured)
    unfamiliar = 1 / (1 + np.exp(ops.convert_to_numpy(layer.familiarity_logit(others)) + 3))
    assert unfamiliar.min() < 0.2 and unfamiliar.max() > 0.8
    expected = before - unfamiliar * ops.convert_to_numpy(layer.label_balance)
    expected += np.log(np.exp(before).sum(axis=1, keepdims=True) / np.exp(expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ops.convert_to_numpy(layer.label_logits(others, 3)), expected, atol=1e-3)
    familiar, (measured, others) = _balanced(np.random.default_rng(1), familiar_offset=-1e3)
    before = ops.convert_to_numpy(familiar.label_logits(others, 3))
    familiar.assign_label_balance(measured)
    np.testing.assert_allclose(ops.convert_to_numpy(familiar.label_logits(others, 3)), before, atol=1e-4)


def test_familiarity_rises_with_the_similarity_to_any_key():
    layer, _ = _balanced(np.random.default_rng(2), familiar_offset=1.5)
    keys = ops.convert_to_numpy(layer.keys)
    cosine = keys.T @ keys / np.linalg.norm(keys, axis=0) / np.linalg.norm(keys, axis=0)[:, None]
    expected = 4 * (np.log(np.exp(10 * cosine).sum(axis=1)) - np.log(12) - 1.5)
    found = ops.convert_to_numpy(layer.familiarity_logit(keys.T))
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4)
    assert found.min() > float(layer.familiarity_logit(-keys.T.sum(axis=0, keepdims=True))[0, 0]) + 10


def test_balance_of_labels_needs_labels_and_a_layer_made_for_it():
    with pytest.raises(UsageError, match=r"balance_labels requires n_labels of 1 or more\. Received: n_labels=0"):
        ExemplarAttention(5, 4, 3, balance_labels=True)
    with pytest.raises(UsageError, match=r"balance_labels=True to have a balance\. Received: one without"):
        _attention()[0].assign_label_balance(np.ones((5, 6)))


def test_any_query_gives_values_between_those_of_the_exemplars():
    layer, codes = _attention(n=7, grid=8, sharpness=50.0, spread=0.1)
    queries = np.concatenate([1e3 * np.eye(6), np.zeros((1, 6)), np.full((1, 6), -7.0)])
    found = _call(layer, queries)
    assert (found <= codes.max(axis=0) + 1e-3).all() and (found >= codes.min(axis=0) - 1e-3).all()


def test_style_changes_regions_and_a_style_of_zero_none():
    plain, _ = _attention(n=9, grid=8, sharpness=30.0, spread=0.3)
    styled, _ = _attention(n=9, grid=8, sharpness=30.0, spread=0.3, style_units=4)
    query = np.random.default_rng(2).standard_normal((1, 6))
    zero = _call(styled, np.concatenate([query, np.zeros((1, 4))], axis=1))
    np.testing.assert_allclose(zero, _call(plain, query), atol=1e-5)
    drawn = _call(styled, np.concatenate([query, np.ones((1, 4))], axis=1))
    differs = np.abs(drawn - zero).max(axis=-1)[0] > 0.1
    assert 0.1 < differs.mean() < 1


def _clips(rng, n=400, dim=40, n_labels=4):
    """Queries of labels that differ in one half of the dimensions, and within a label in the other half."""
    labels = rng.integers(0, n_labels, n)
    queries = 0.001 * rng.standard_normal((n, dim))
    queries[np.arange(n), labels] = 1.0
    queries[:, dim // 2 : dim // 2 + 8] += 0.1 * rng.standard_normal((n, 8))
    return queries.astype(np.float32), labels


def test_fields_that_change_with_the_query_are_waves_over_its_direction():
    layer, codes = _attention(sharpness=4.0, spread=0.5, field_size=1, field_frequency=2.0)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 6)).astype(np.float32)
    unit, keys = x / np.linalg.norm(x, axis=1)[:, None], ops.convert_to_numpy(layer.keys)
    cosine = unit @ keys / np.linalg.norm(keys, axis=0)
    fixed = _call(layer, x)
    layer.assign_waves(rng.standard_normal((50, 6)))
    for assigned, found in ((False, fixed), (True, _call(layer, x))):
        waves, phases, fields = (ops.convert_to_numpy(v) for v in (layer.waves, layer.phases, layer.fields))
        weights = np.exp(4 * (cosine + 0.5 * np.cos(assigned * (unit @ waves) + phases) @ fields))
        weights /= weights.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found, np.einsum("bk,khwc->bhwc", weights, codes), atol=1e-5)
    assert np.abs(fixed - found).max() > 0.1
    np.testing.assert_allclose(_call(layer, 7 * x), found, atol=1e-5)


@pytest.mark.parametrize("frequency", [0.5, 1.0])
def test_correlation_of_fields_falls_with_the_distance_within_a_label(frequency):
    queries, labels = _clips(np.random.default_rng(2))
    unit = queries / np.linalg.norm(queries, axis=1)[:, None]
    means = np.stack([unit[labels == label].mean(axis=0) for label in range(4)])
    typical = np.sqrt(np.sum((unit - means[labels]) ** 2, axis=1).mean())
    same = labels[:, None] == labels
    distances, correlations = np.linalg.norm(unit[:, None] - unit, axis=-1)[same] / typical, []
    deviations = []
    # 64 waves are a sample: a pair of queries is off by about a tenth, the mean of several layers by less.
    for seed in range(8):
        layer = ExemplarAttention(500, 1, 1, field_size=1, field_frequency=frequency, seed=seed)
        layer.build((None, 40))
        layer.assign_waves(queries, labels)
        fields = ops.convert_to_numpy(layer._fields_of(ops.convert_to_tensor(queries)))
        deviations.append(fields.std())
        correlations.append((fields @ fields.T / 500)[same])
    np.testing.assert_allclose(np.mean(deviations), 1, atol=0.05)
    for low, high in ((0.5, 1.0), (1.0, 1.5), (1.5, 2.0)):
        chosen = (distances > low) & (distances < high)
        expected = np.exp(-((frequency * distances[chosen]) ** 2) / 2).mean()
        np.testing.assert_allclose(np.mean(correlations, axis=0)[chosen].mean(), expected, atol=0.05)


def test_waves_leave_out_how_labels_differ():
    layer, _ = _attention(dim=40, field_size=1, field_frequency=1.0)
    queries, labels = _clips(np.random.default_rng(4))
    layer.assign_waves(queries, labels)
    waves = np.linalg.norm(ops.convert_to_numpy(layer.waves), axis=1)
    assert waves[20:28].min() > 10 * np.sqrt(np.mean(waves[4:20] ** 2)), waves
    layer.assign_waves(queries)
    without_labels = np.linalg.norm(ops.convert_to_numpy(layer.waves), axis=1)
    assert without_labels[:4].min() > 2 * waves[:4].max()


def test_clips_of_one_label_show_many_exemplars_of_it_where_fields_change_with_the_query():
    rng, n = np.random.default_rng(5), 40
    queries = (np.eye(6)[0] + 0.25 * rng.standard_normal((200, 6))).astype(np.float32)
    shown = {}
    for frequency in (0.0, 1.0):
        layer, _ = _attention(n=n, sharpness=400.0, spread=0.12, field_size=1, field_frequency=frequency)
        layer.keys.assign(np.eye(6)[0][:, None] + 0.01 * rng.standard_normal((6, n)))
        layer.adapt(np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, 4, 4, 3)))
        if frequency:
            layer.assign_waves(queries)
        shown[frequency] = len(np.unique(_call(layer, queries)[:, 0, 0, 0].round()))
    assert shown[0.0] < 10 and shown[1.0] > 20, shown


def test_waves_of_equal_queries_are_finite():
    layer, _ = _attention(field_size=1, field_frequency=1.0)
    layer.assign_waves(np.ones((5, 6)), np.arange(5))
    assert np.isfinite(layer.waves).all() and np.isfinite(_call(layer, np.ones((1, 6)))).all()
    with pytest.raises(UsageError, match=r"field_frequency above 0 to have waves\. Received: one without"):
        _attention()[0].assign_waves(np.ones((5, 6)))


@pytest.mark.parametrize("frequency", [-1.0, float("nan"), float("inf")])
def test_frequency_of_fields_out_of_range_is_refused(frequency):
    with pytest.raises(UsageError, match=r"field_frequency must be 0 or more, and finite\. Received: "):
        ExemplarAttention(2, 2, 2, field_frequency=frequency)


def test_adapt_of_exemplars_of_another_number_or_size_is_refused():
    layer, codes = _attention()
    with pytest.raises(UsageError, match=r"codes must have the shape \(5, 4, 4, 3\)\. Received: shape \(4, 4, 4, 3\)"):
        layer.adapt(codes[:4])


@pytest.mark.parametrize("labels", [3, [0, 1, 2, 0], [[0], [1], [2], [0], [1]], [0.5] * 5])
def test_labels_of_another_shape_or_type_are_refused(labels):
    layer, codes = _attention(field_frequency=1.0)
    message = r"labels must be whole numbers of the shape \(5,\)\. Received: shape \(.*\), (int|float)64"
    with pytest.raises(UsageError, match=message):
        layer.adapt(codes, np.array(labels))
    with pytest.raises(UsageError, match=message):
        layer.assign_waves(np.ones((5, 6)), np.array(labels))


@pytest.mark.parametrize("options", [{"n_exemplars": 0}, {"sharpness": 0.0}, {"spread": -0.1}, {"style_units": -1}])
def test_argument_of_the_attention_out_of_range_is_refused(options):
    with pytest.raises(UsageError, match="n_exemplars, grid_size, components and field_size must be 1 or more"):
        ExemplarAttention(**({"n_exemplars": 2, "grid_size": 2, "components": 2} | options))


def _images(n=6, size=16, channels=3):
    rng = np.random.default_rng(3)
    smooth = rng.uniform(-1, 1, (n, size // 4, size // 4, channels)).repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(smooth + 0.1 * rng.standard_normal((*smooth.shape[:3], 1)), -1, 1).astype(np.float32)


def _adapted(images, components, **options):
    decoder = PatchDecoder(4, components, channels=images.shape[-1], width=8, blocks=1, **options)
    decoder.build((None, 4, 4, components))
    decoder.adapt(images)
    return decoder


def test_all_components_reproduce_every_image():
    images = _images()
    decoder = _adapted(images, 48)
    other = np.random.default_rng(4).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    for given in (images, other):
        np.testing.assert_allclose(ops.convert_to_numpy(decoder(decoder.encode(given))), given, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_few_components_have_the_least_error_of_any_linear_code(channels):
    images = _images(channels=channels)
    patches = images.reshape(6, 4, 4, 4, 4, channels).transpose(0, 1, 3, 2, 4, 5).reshape(96, -1)
    singular = np.linalg.svd(patches - patches.mean(axis=0), compute_uv=False)
    decoder = _adapted(images, 5)
    found = ops.convert_to_numpy(decoder(decoder.encode(images)))
    np.testing.assert_allclose(np.sum((found - images) ** 2), np.sum(singular[5:] ** 2), rtol=1e-3)
    codes = ops.convert_to_numpy(decoder.encode(images)).reshape(-1, 5)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(codes.std(axis=0), 1, atol=1e-4)


def test_images_without_variation_have_finite_codes():
    decoder = _adapted(np.full((3, 16, 16, 1), 0.25, np.float32), 4)
    found = ops.convert_to_numpy(decoder(decoder.encode(np.full((1, 16, 16, 1), 0.25, np.float32))))
    np.testing.assert_allclose(found, 0.25, atol=1e-5)


def test_decoder_of_small_maps_decodes_large_ones():
    decoder = _adapted(_images(), 6)
    decoder.last.kernel.assign(0.1 * np.random.default_rng(5).standard_normal(decoder.last.kernel.shape))
    codes = np.random.default_rng(6).standard_normal((1, 12, 12, 6)).astype(np.float32)
    large, part = (ops.convert_to_numpy(decoder(x)) for x in (codes, codes[:, :, :11]))
    # The four convolutions reach four patches far: what lies deeper inside a map doesn't depend on its size.
    np.testing.assert_allclose(large[:, :, :28], part[:, :, :28], atol=1e-5)
    assert large.shape == (1, 48, 48, 3) and not np.allclose(large[:, :, 28:44], part[:, :, 28:], atol=1e-3)


@pytest.mark.parametrize(("patch_size", "components"), [(1, 1), (4, 0), (4, 49)])
def test_components_that_a_patch_does_not_have_are_refused(patch_size, components):
    with pytest.raises(UsageError, match="components between 1 and patch_size\\^2 x channels"):
        PatchDecoder(patch_size, components)


def test_exemplar_layers_save_what_they_were_adapted_to(tmp_path):
    images = _images()
    decoder, query = _adapted(images, 6), keras.Input((6,))
    attention = ExemplarAttention(6, 4, 6, sharpness=20.0)
    model = keras.Model(query, decoder(attention(query)))
    attention.adapt(ops.convert_to_numpy(decoder.encode(images)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(7).standard_normal((2, 6)).astype(np.float32)
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)
