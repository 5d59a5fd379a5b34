"""Sources of pairs: one file per source. The names below are what a source of one's own is written with."""

from keras_a2i.sources.pair import Dropped, Pair, PairKey, Plan, Source, Unit

__all__ = ["Dropped", "Pair", "PairKey", "Plan", "Source", "Unit"]
