"""Sources of pairs: one file per source. The names below are those that a custom source uses."""

from keras_a2i.sources.pair import Dropped, Pair, PairKey, Plan, Source, Unit

__all__ = ["Dropped", "Pair", "PairKey", "Plan", "Source", "Unit"]
