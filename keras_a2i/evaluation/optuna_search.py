"""A search by Optuna: the scores of earlier combinations choose the next ones, also from ranges of numbers."""

import importlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_a2i.errors import MissingPackageError, UsageError
from keras_a2i.recipes.grid import Combination, combination_name, value_text
from keras_a2i.recipes.ranges import Range

if TYPE_CHECKING:
    import optuna

JOURNAL_NAME = "optuna.journal"
_STUDY = "sweep"
_DIGITS = 4


class OptunaSearch:
    """Chooses combinations by Optuna's tree-structured Parzen estimator; the first ten are drawn at random.

    The study is stored in the folder of the sweep. A combination that was interrupted comes first when it is opened
    again, and each choice depends on the study and the seed alone: an interrupted search equals an uninterrupted one.
    Numbers of a range are rounded to four digits, so that a name of a folder is all that repeats them.

    Args:
        folder: that of the sweep.
        values: of each setting; a `Range` must be the only one of its setting.
        trials: combinations in all, with those of earlier calls.
        by: id of the score.
        better: "higher", "lower" or "one".
        seeds: those of each combination; the choices depend on the first.
        at_once: combinations that are chosen together, without the scores of each other.

    Raises:
        MissingPackageError: if Optuna isn't installed.
        UsageError: if a range isn't the only value, or the folder holds the study of another search.

    Reference:
        Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", 2019.
        Bergstra et al., "Algorithms for Hyper-Parameter Optimization", 2011.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        values: Mapping[str, Sequence[Any]],
        trials: int,
        *,
        by: str,
        better: str,
        seeds: Sequence[int] = (0,),
        at_once: int = 1,
    ):
        self._optuna = _import_optuna()
        self._values, self._trials, self._seed, self._at_once = values, trials, seeds[0], at_once
        self._better, self._is_new = better, True
        self._distributions = {name: self._distribution(name, each) for name, each in values.items()}
        self._open: dict[str, list[int]] = {}
        storage = self._optuna.storages.JournalStorage(
            self._optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL_NAME))
        )
        direction = "maximize" if better == "higher" else "minimize"
        self._study = self._optuna.create_study(
            storage=storage, study_name=_STUDY, direction=direction, load_if_exists=True
        )
        texts = {name: [value_text(value) for value in each] for name, each in values.items()}
        search = {"by": by, "seeds": list(seeds), "values": texts}
        if self._study.user_attrs.get("search", search) != search:
            raise UsageError(
                f"A resumed search must have the same settings, seeds and score. Received: {folder} with a "
                "search of others. Choose another folder"
            )
        self._study.set_user_attr("search", search)
        # A call with fewer trials than an earlier one has all of those.
        self.total = max(trials, len(self._study.get_trials(deepcopy=False)))

    def ask(self) -> list[Combination]:
        """The combinations of earlier calls first, then the next ones, `at_once` at a time."""
        known = self._study.get_trials(deepcopy=False)
        if self._is_new and known:
            self._is_new = False
            return self._combinations(known)
        self._is_new = False
        asked = []
        for number in range(len(known), min(len(known) + self._at_once, self._trials)):
            # Of the number, as a sampler forgets how far it is when it is made anew.
            self._study.sampler = self._optuna.samplers.TPESampler(seed=self._seed * 100_003 + number)
            asked.append(self._study.ask(self._distributions))
        return self._combinations(asked)

    def tell(self, combination: Combination, mean: float | None) -> None:
        """Tells Optuna a mean; a combination that failed is left out of its estimates."""
        for number in self._open.pop(combination_name(combination), []):
            if mean is None:
                self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(number, abs(mean - 1) if self._better == "one" else mean)

    def _combinations(self, trials: Sequence[Any]) -> list[Combination]:
        """Those of trials, each once, and notes the trials that are open."""
        found: dict[str, Combination] = {}
        for trial in trials:
            combination = {name: self._value(name, trial.params[name]) for name in self._values}
            name = combination_name(combination)
            found[name] = combination
            state = getattr(trial, "state", self._optuna.trial.TrialState.RUNNING)
            if not state.is_finished():
                self._open.setdefault(name, []).append(trial.number)
        return list(found.values())

    def _distribution(self, name: str, values: Sequence[Any]) -> "optuna.distributions.BaseDistribution":
        ranges = [value for value in values if isinstance(value, Range)]
        if not ranges:
            return self._optuna.distributions.CategoricalDistribution([value_text(value) for value in values])
        if len(values) > 1:
            raise UsageError(f"A range must be the only value of a setting. Received: {len(values)} values of {name}")
        (only,) = ranges
        if only.is_whole:
            return self._optuna.distributions.IntDistribution(only.low, only.high, log=only.log)
        return self._optuna.distributions.FloatDistribution(only.low, only.high, log=only.log)

    def _value(self, name: str, chosen: Any) -> Any:
        first = self._values[name][0]
        if not isinstance(first, Range):
            return next(value for value in self._values[name] if value_text(value) == chosen)
        if first.is_whole:
            return chosen
        return min(max(float(f"{chosen:.{_DIGITS}g}"), first.low), first.high)


def _import_optuna() -> Any:
    try:
        found = importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        raise MissingPackageError("optuna", "optuna", "A search by searcher='optuna' (--searcher optuna)") from error
    found.logging.set_verbosity(found.logging.WARNING)
    return found
