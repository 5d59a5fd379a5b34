"""Intervals against SciPy, what they cover, leaks and ranks."""

import dataclasses

import numpy as np
import pytest
import scipy.spatial
import scipy.stats
from support.evaluation_pairs import make_pairs, real_of

from keras_a2i.evaluation.pairs import thumbnails
from keras_a2i.evaluation.statistics import (
    find_leak,
    gain_over_seeds,
    paired_gain,
    retrieval,
    source_blocks,
    target_ranks,
    units_of,
)


def test_source_blocks_hold_neighbours_of_one_source():
    pairs = make_pairs(23)
    blocks = source_blocks(pairs, length=5)
    assert sorted(np.concatenate(blocks)) == list(range(23))
    for rows in blocks:
        assert len(set(pairs.sources[rows])) == 1 and len(rows) <= 5
        assert (np.diff(pairs.times[rows]) == 1).all()


def test_units_are_blocks_and_sources_where_there_are_enough():
    assert list(units_of(make_pairs(20))) == ["blocks"]
    many = units_of(make_pairs(60, sources=tuple("abcdef")))
    assert list(many) == ["blocks", "sources"] and [len(rows) for rows in many["sources"]] == [10] * 6
    single = units_of(make_pairs(4, sources=("a", "b", "c", "d")))
    assert list(single) == ["sources"] and len(single["sources"]) == 4
    one_block_each = units_of(make_pairs(24, sources=tuple("abcdef")))
    assert list(one_block_each) == ["sources"] and [len(rows) for rows in one_block_each["sources"]] == [4] * 6


def gain_of(model, other, units=None, better="higher"):
    units = units or {"sources": [np.array([i]) for i in range(len(model))]}
    return paired_gain(model, other, better, units, against="other", metric="ssim")


def test_interval_equals_scipy_where_pairs_are_independent():
    rng = np.random.default_rng(0)
    model, other = rng.normal(0.1, 1, 200), rng.normal(0, 1, 200)
    gain = gain_of(model, other)
    reference = scipy.stats.bootstrap(
        (model - other,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    (interval,) = gain.intervals
    assert gain.mean == pytest.approx((model - other).mean())
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), abs=0.02)
    assert interval.p_value == pytest.approx(scipy.stats.ttest_rel(model, other).pvalue, abs=0.03)
    lower = gain_of(model, other, better="lower")
    assert lower.mean == pytest.approx(-gain.mean)


def test_interval_over_sources_is_wider_where_sources_differ():
    common = np.repeat(np.random.default_rng(0).normal(0, 1, 20), 10)
    units = {
        "blocks": [np.arange(i, i + 5) for i in range(0, 200, 5)],
        "sources": [np.arange(i, i + 10) for i in range(0, 200, 10)],
    }
    gain = gain_of(common, np.zeros(200), units)
    blocks, sources = gain.intervals
    assert (blocks.over, blocks.n, sources.over, sources.n) == ("blocks", 40, "sources", 20)
    assert sources.high - sources.low > 1.3 * (blocks.high - blocks.low)
    assert gain.widest is sources and sources.covers == "other sources like these"
    alone = gain_of(common, np.zeros(200)).widest
    assert blocks.high - blocks.low > 1.7 * (alone.high - alone.low)


def test_no_gain_has_an_empty_interval_and_p_value_1():
    gain = gain_of(np.ones(30), np.ones(30))
    assert (gain.mean, gain.widest.low, gain.widest.high, gain.widest.p_value) == (0, 0, 0, 1)
    assert gain_of(np.ones(30), np.zeros(30)).widest.p_value == pytest.approx(2 / 4001)


def test_gain_over_seeds_covers_the_spread_between_seeds():
    rng = np.random.default_rng(0)
    sources = rng.normal(0.2, 0.1, (40, 1))
    sizes = np.full((40, 5), 10)
    alike = sources.repeat(5, axis=1)
    apart = alike + rng.normal(0, 0.3, (1, 5))
    mean, interval = gain_over_seeds(alike * sizes, sizes, "sources")
    assert mean == pytest.approx(sources.mean()) and interval.over == "sources and seeds" and interval.n == 40
    reference = scipy.stats.bootstrap(
        (sources[:, 0],), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), abs=0.005)
    _, wide = gain_over_seeds(apart * sizes, sizes, "sources")
    assert wide.high - wide.low > 3 * (interval.high - interval.low)
    _, single = gain_over_seeds(alike[:, :1] * 10, sizes[:, :1], "blocks")
    assert single.over == "blocks" and single.covers == "other moments of the same sources"


def test_leaks_are_pairs_of_one_source_close_in_time():
    train = make_pairs(4, sources=("a",), times=[0, 1, 10, 11])
    held_out = make_pairs(5, sources=("a",), times=[3, 3.5, 12, 13, 40])
    leak = find_leak(train, held_out)
    assert (leak.count, leak.total, leak.share) == (3, 5, 0.6)
    assert "3 of 5 held-out pairs (60 %)" in leak.sentence
    assert find_leak(train, dataclasses.replace(held_out, sources=np.array(["b"] * 5))).count == 0


def test_target_ranks_of_more_pairs_than_a_block():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(1100, 2, 2, 1)).astype(np.float32)
    images[700] = images[3]
    noisy = images + rng.normal(0, 0.5, images.shape).astype(np.float32)
    distances = scipy.spatial.distance.cdist(noisy.reshape(1100, -1), images.reshape(1100, -1), "sqeuclidean")
    expected = np.diagonal(scipy.stats.rankdata(distances.round(9), axis=1))
    np.testing.assert_array_equal(target_ranks(noisy, images), expected)


def test_target_ranks_and_retrieval():
    images = thumbnails(real_of(make_pairs(50)))
    assert (target_ranks(images, images) == 1).all()
    assert retrieval(target_ranks(images, images)).r1 == 1
    moved = retrieval(target_ranks(np.roll(images, 1, axis=0), images))
    assert moved.r1 == 0 and moved.r5 < 0.3
    constant = retrieval(target_ranks(np.zeros_like(images), images))
    assert constant.r1 == pytest.approx(0.02) and constant.chance_r5 == 0.1
    equal = images[:1].repeat(50, axis=0)
    assert (target_ranks(equal, equal) == 25.5).all() and retrieval(target_ranks(equal, equal)).r1 == 0
    noisy = images + np.random.default_rng(1).normal(0, 1, images.shape)
    distances = np.square(noisy[:, None] - images[None]).sum(axis=(2, 3, 4))
    expected = scipy.stats.rankdata(distances, axis=1)[np.arange(50), np.arange(50)]
    np.testing.assert_array_equal(target_ranks(noisy, images), expected)
