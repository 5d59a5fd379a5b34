"""Mosaics of exemplars: areas that follow shares, contrast where images meet, styles, and what is refused."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.layers import ExemplarMosaic
from keras_a2i.layers.exemplar_mosaic import _averages
from keras_a2i.models import MosaicGenerator

DIM, FRAMES, GRID = 6, 10, 8


def _mosaic(n=4, components=5, sources=None, labels=None, **options):
    """A layer whose keys are far from each other, and its codes; one softness is that of brightness and details."""
    if "softness" in options:
        options.setdefault("detail_softness", options["softness"])
    layer = ExemplarMosaic(n, GRID, components, query_dim=DIM, **options)
    layer.build((None, FRAMES * DIM + layer.style_units))
    layer.keys.assign(np.eye(DIM)[:, :n])
    codes = np.random.default_rng(0).standard_normal((n, GRID, GRID, components)).astype(np.float32)
    layer.adapt(codes, labels, sources)
    return layer, codes


def _heard(*exemplars, style=()):
    """The input in which frame i hears exemplar `exemplars[i]`; fewer are repeated in turn."""
    frames = np.resize(exemplars, FRAMES)
    return np.concatenate([np.eye(DIM)[frames].ravel(), style])[None].astype(np.float32)


def _call(layer, x):
    return ops.convert_to_numpy(layer(np.asarray(x, np.float32)))


def _areas(codes, found):
    """The share of the positions that look most like each exemplar."""
    distances = np.square(found[0][None] - codes).sum(axis=-1)
    return np.bincount(distances.argmin(axis=0).ravel(), minlength=len(codes)) / GRID**2


def test_one_exemplar_heard_in_every_frame_is_shown_whole():
    layer, codes = _mosaic()
    for number in range(4):
        np.testing.assert_allclose(_call(layer, _heard(number))[0], codes[number], atol=1e-3)


def test_shares_are_the_mean_of_the_frames_votes():
    layer, _ = _mosaic()
    votes = np.exp(10.0 * np.eye(4))
    expected = (votes / votes.sum(axis=1, keepdims=True))[[0, 0, 0, 2, 1]].mean(axis=0)
    found = ops.convert_to_numpy(layer.shares(_heard(0, 0, 0, 2, 1)))
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize("n_of_second", range(1, 10))
def test_area_of_an_exemplar_is_its_share(n_of_second):
    layer, codes = _mosaic(softness=0.01)
    frames = [1] * n_of_second + [0] * (FRAMES - n_of_second)
    areas = _areas(codes, _call(layer, _heard(*frames)))
    np.testing.assert_allclose(areas, [1 - n_of_second / 10, n_of_second / 10, 0, 0], atol=0.06)


def test_image_changes_gradually_as_the_shares_do():
    layer, codes = _mosaic(softness=0.1, least_share=0.0)
    images = np.concatenate([_call(layer, _heard(*([1] * n + [0] * (FRAMES - n)))) for n in range(FRAMES + 1)])
    steps = np.linalg.norm(np.diff(images, axis=0).reshape(FRAMES, -1), axis=1)
    assert steps.max() < 0.35 * np.linalg.norm(codes[1] - codes[0])


def test_shares_of_exemplars_of_one_source_are_added_up():
    layer, codes = _mosaic(sources=np.array([7, 3, 3, 9]), softness=0.01, spread=0.0)
    # The four frames of source 3 are one area, in which the exemplar that three of them hear is shown.
    areas = _areas(codes, _call(layer, _heard(0, 0, 0, 0, 0, 0, 1, 2, 2, 2)))
    np.testing.assert_allclose(areas, [0.6, 0, 0.4, 0], atol=0.06)


@pytest.mark.parametrize("exponent", [0.0, 0.25, 1.0])
def test_recordings_beyond_the_two_with_the_largest_shares_receive_less_than_theirs(exponent):
    sources = np.array([7, 3, 3, 9])
    layer, codes = _mosaic(sources=sources, softness=0.01, least_share=0.0, minor_exponent=exponent)
    # Shares of 0.5, 0.3 and 0.2: the last is two thirds of the second-largest.
    areas = _areas(codes, _call(layer, _heard(1, 1, 1, 2, 2, 0, 0, 0, 3, 3)))
    kept = np.array([0.3, 0.5, 0.2 * (2 / 3) ** exponent])
    np.testing.assert_allclose([areas[0], areas[1] + areas[2], areas[3]], kept / kept.sum(), atol=0.04)
    # Of two equally large shares one is the second-largest.
    areas = _areas(codes, _call(layer, _heard(0, 0, 0, 0, 3, 3, 3, 3, 1, 2)))
    kept = np.array([0.4, 0.4, 0.2 * 0.5**exponent])
    np.testing.assert_allclose([areas[0], areas[3], areas[1] + areas[2]], kept / kept.sum(), atol=0.04)
    heard = _heard(0, 0, 0, 0, 1, 1, 1, 2, 2, 2)
    layer, codes = _mosaic(softness=0.01)
    np.testing.assert_allclose(_areas(codes, _call(layer, heard)), [0.4, 0.3, 0.3, 0], atol=0.06)


def test_brightness_changes_over_a_wider_transition_than_details():
    layer, codes = _mosaic(softness=0.5, detail_softness=0.01)
    # The codes of two exemplars are constant, so that the weight of the second can be read from each component.
    layer.adapt(np.arange(4, dtype=np.float32)[:, None, None, None] * np.ones_like(codes))
    found = _call(layer, _heard(0, 1))[0]
    mixed = [np.mean((found[..., c] > 0.05) & (found[..., c] < 0.95)) for c in (0, 1)]
    assert mixed[0] > 0.9 and mixed[1] < 0.2, mixed
    assert found[..., 0].mean() == pytest.approx(0.5, abs=0.06)


def test_coarse_brightness_is_the_mean_of_blocks_interpolated_between_them():
    expected = [[4, 4, 0, 0], [3, 3, 1, 1], [1, 1, 3, 3], [0, 0, 4, 4]]
    np.testing.assert_allclose(_averages(4, 2), np.array(expected) / 8)
    np.testing.assert_allclose(_averages(5, 99), np.full((5, 5), 0.2), rtol=1e-6)
    np.testing.assert_allclose(_averages(4, 1), np.eye(4))


def test_layer_and_generator_of_an_earlier_version_keep_their_images():
    layer, _ = _mosaic()
    config = layer.get_config()
    del config["coarse_size"]
    assert ExemplarMosaic.from_config(config).coarse_size == 1
    config = MosaicGenerator(softness=0.4).get_config()
    del config["coarse_size"]
    assert MosaicGenerator.from_config(config) == MosaicGenerator(softness=0.4, coarse_size=1)
    assert MosaicGenerator.from_config(MosaicGenerator().get_config()).coarse_size == 2


@pytest.mark.parametrize(("coarse_size", "narrow"), [(1, False), (2, True), (4, True), (99, True)])
def test_brightness_that_is_finer_than_the_averages_changes_with_the_details(coarse_size, narrow):
    layer, codes = _mosaic(softness=0.5, detail_softness=0.01, coarse_size=coarse_size)
    # A chequered exemplar, whose mean over 2 x 2 positions is 0, beside one that is 0.
    squares = 1 - 2.0 * (np.indices((GRID, GRID)).sum(axis=0) % 2)
    brightness = np.stack([0 * squares, squares, squares, squares])
    layer.adapt(np.concatenate([brightness[..., None], np.zeros_like(codes[..., 1:])], axis=-1))
    shown = np.abs(_call(layer, _heard(0, 1))[0, ..., 0])
    mixed = np.mean((shown > 0.05) & (shown < 0.95))
    assert (mixed < 0.2) if narrow else (mixed > 0.9)


@pytest.mark.parametrize("coarse_size", [1, 3, 4, 99])
def test_one_exemplar_is_shown_unchanged_whatever_part_of_its_brightness_is_coarse(coarse_size):
    layer, codes = _mosaic(coarse_size=coarse_size, components=1 if coarse_size == 3 else 5)
    np.testing.assert_allclose(_call(layer, _heard(2))[0], codes[2], atol=1e-3)


def test_shares_far_below_the_largest_are_left_out():
    heard = _heard(*[0] * 9, 1)
    for least_share, area in ((0.05, 0.06), (0.2, 0.0)):
        layer, codes = _mosaic(softness=0.01, least_share=least_share)
        assert _areas(codes, _call(layer, heard))[1] == pytest.approx(area, abs=0.05)


def test_unfamiliar_audio_shows_the_one_image_that_it_is_most_like():
    layer, codes = _mosaic(softness=0.01, least_share=0.05)
    heard = _heard(*[0] * 6, *[1] * 4)
    np.testing.assert_allclose(_areas(codes, _call(layer, heard)), [0.6, 0.4, 0, 0], atol=0.06)
    layer.familiar_offset.assign(1e3)
    np.testing.assert_allclose(_call(layer, heard)[0], codes[0], atol=1e-3)


def test_hubs_are_not_preferred_by_unfamiliar_audio():
    layer, codes = _mosaic(sources=np.array([0, 0, 1, 2]), softness=0.01)
    contents = np.concatenate([_heard(0, 1, 0, 1, 3), _heard(0, 1, 2, 2, 3)])
    layer.assign_hubness(contents)
    shares = ops.convert_to_numpy(layer.shares(contents)).mean(axis=0)
    expected = np.log(3 * np.array([shares[0] + shares[1]] * 2 + [shares[2], shares[3]]))
    np.testing.assert_allclose(layer.hubness, expected, atol=1e-4)
    # The hub has four frames of ten, the third source three: relative to their means, a third and two.
    heard = _heard(*[0] * 4, *[3] * 3, *[2] * 3)
    assert _areas(codes, _call(layer, heard))[0] == pytest.approx(0.4, abs=0.06)
    layer.familiar_offset.assign(1e3)
    assert _areas(codes, _call(layer, heard))[0] == 0


def test_familiarity_grows_with_the_similarity_to_the_keys():
    layer, _ = _mosaic()
    x = np.eye(DIM)[[0, 0, 4, 5]].astype(np.float32).reshape(4, 1, DIM).repeat(FRAMES, axis=1)
    x[1] += 0.7 * np.eye(DIM)[5]
    logits = ops.convert_to_numpy(layer.familiarity_logit(x.reshape(4, -1)))[:, 0]
    assert logits[0] > logits[1] > logits[2] == pytest.approx(logits[3], abs=1e-4)
    # Like no key at all, each of four exemplars has a similarity of 0.
    assert logits[3] == pytest.approx(-4.0 * 1.5, abs=1e-3)


def test_contrast_is_kept_where_images_dissolve_into_each_other():
    layer, _ = _mosaic(components=32, softness=10.0, least_share=0.0)
    halfway = _call(layer, _heard(0, 1))
    # Of two independent patches of unit variance, the mean has half the variance.
    assert halfway[..., 1:].var() == pytest.approx(1.0, abs=0.1)
    assert halfway[..., 0].var() == pytest.approx(0.5, abs=0.2)


def test_single_component_is_a_weighted_mean():
    layer, codes = _mosaic(components=1, coarse_size=1, softness=10.0, least_share=0.0)
    np.testing.assert_allclose(_call(layer, _heard(0, 1))[0], codes[:2].mean(axis=0), atol=0.1)


def test_style_moves_the_areas_and_keeps_their_sizes():
    layer, codes = _mosaic(softness=0.01, style_units=3)
    styles, frames = [np.zeros(3), [2.0, 0.0, -1.0], [0.0, -2.0, 1.0]], [0] * 6 + [1] * 4
    images = [_call(layer, _heard(*frames, style=style)) for style in styles]
    for image in images:
        assert _areas(codes, image)[0] == pytest.approx(0.6, abs=0.06)
    assert all(np.abs(image - images[0]).mean() > 0.1 for image in images[1:])


def test_style_chooses_among_equal_exemplars_of_a_source():
    layer, codes = _mosaic(sources=np.zeros(4, int), style_units=4)
    found = {_areas(codes, _call(layer, _heard(0, 1, 2, 3, style=style))).argmax() for style in 3 * np.eye(4)}
    assert len(found) > 1


def test_probability_of_a_label_is_the_share_of_its_exemplars():
    layer, _ = _mosaic(labels=np.array([1, 0, 1, 2]))
    x = _heard(0, 1, 2, 2, 3)
    shares = ops.convert_to_numpy(layer.shares(x))[0]
    logits = ops.convert_to_numpy(layer.label_logits(x, 3))
    expected = [shares[1], shares[0] + shares[2], shares[3]]
    np.testing.assert_allclose(ops.convert_to_numpy(ops.softmax(logits))[0], expected, atol=1e-5)
    # Audio that is like nothing stored says so by its evidence, the logarithm of the sum.
    unlike = np.zeros_like(x)
    unlike[:, DIM - 1 :: DIM] = 1
    evidence = [np.log(np.exp(ops.convert_to_numpy(layer.label_logits(each, 3))).sum()) for each in (x, unlike)]
    assert evidence[0] > evidence[1] + 5


def test_silence_gives_finite_codes():
    layer, _ = _mosaic(style_units=2)
    assert np.isfinite(_call(layer, np.zeros((2, FRAMES * DIM + 2)))).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query_dim": 0}, r"query_dim and coarse_size must be 1 or more.*Received: .*query_dim=0"),
        ({"coarse_size": 0}, r"query_dim and coarse_size must be 1 or more.*Received: .*coarse_size=0"),
        ({"field_size": 1}, r"field_size 2 or more.*field_size=1"),
        ({"softness": 0.0}, r"sharpness, softness and detail_softness must be above 0.*softness=0\.0"),
        ({"detail_softness": 0.0}, r"detail_softness must be above 0.*detail_softness=0\.0"),
        ({"minor_exponent": -1.0}, r"minor_exponent 0 or more.*minor_exponent=-1\.0"),
        ({"least_share": 1.0}, r"least_share from 0 to below 1, .*least_share=1\.0"),
        ({"largest_exponent": 0.5}, r"largest_exponent 1 or more\. Received: .*largest_exponent=0\.5"),
        ({"sharpness": float("nan")}, r"detail_softness must be above 0.*sharpness=nan"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        ExemplarMosaic(**({"n_exemplars": 2, "grid_size": 2, "components": 2, "query_dim": 3} | options))


def test_input_of_no_whole_queries_is_refused():
    with pytest.raises(UsageError, match=r"must hold queries of query_dim=4 numbers\. Received: 10 numbers without"):
        ExemplarMosaic(2, 2, 2, query_dim=4, style_units=1).build((None, 11))


def test_sources_of_another_number_are_refused():
    layer, codes = _mosaic()
    with pytest.raises(UsageError, match=r"sources must be whole numbers of the shape \(4,\)\. Received: shape \(3,\)"):
        layer.adapt(codes, sources=np.arange(3))


def test_layer_is_restored_from_its_configuration():
    layer, _ = _mosaic(
        softness=0.3,
        detail_softness=0.2,
        coarse_size=3,
        minor_exponent=0.7,
        least_share=0.2,
        field_size=5,
        spread=0.1,
        seed=3,
    )
    again = ExemplarMosaic.from_config(layer.get_config())
    again.build((None, FRAMES * DIM))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(_call(again, _heard(0, 1)), _call(layer, _heard(0, 1)))
    assert isinstance(again, keras.layers.Layer)
