"""Who chooses the next points: random numbers, a Sobol sequence, or Optuna; each asked and told in a fixed order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from spikeloop.simulator.errors import ConfigError

from .axis_spec import Scalar
from .pareto import Objective
from .search_spec import SearchSpec
from .space import Axis, Space

Values = dict[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a point: its objectives, None without a result, and how far each constraint is exceeded."""

    objectives: tuple[float, ...] | None
    excess: tuple[float, ...] = ()


class Sampler(Protocol):
    """Chooses points. The same seed and the same answers give the same questions, so a search can be replayed."""

    def ask(self, n: int) -> list[Values]:
        """The next ``n`` points; a point may come again."""

    def tell(self, answers: Sequence[Answer]) -> None:
        """Answers to the last ``ask``, in its order."""


def make_sampler(space: Space, search: SearchSpec, objectives: Sequence[Objective], n_constraints: int) -> Sampler:
    """Sampler of a study.

    Raises:
        ConfigError: Optuna is needed and not installed.
    """
    if search.sampler == "random":
        return RandomSampler(space, search.seed)
    if search.sampler == "sobol":
        return SobolSampler(space, search.seed)
    return OptunaSampler(space, search, objectives, n_constraints)


class RandomSampler:
    """Every axis independent and uniform."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._rng = space, np.random.default_rng(seed)

    def ask(self, n: int) -> list[Values]:
        """The next ``n`` points."""
        return [self._space.choose(lambda axis: int(self._rng.integers(len(axis.values)))) for _ in range(n)]

    def tell(self, answers: Sequence[Answer]) -> None:
        """Nothing is learnt."""


class SobolSampler:
    """Scrambled Sobol sequence, one dimension an axis; dimensions of axes that are no part of a point are not used.

    Source: Owen, "Scrambling Sobol' and Niederreiter-Xing points", Journal of Complexity 14 (1998), as in
    ``scipy.stats.qmc.Sobol``.
    """

    def __init__(self, space: Space, seed: int) -> None:
        from scipy.stats import qmc

        self._space = space
        self._places = {axis.name: i for i, axis in enumerate(space.axes)}
        self._sequence = qmc.Sobol(len(space.axes), scramble=True, rng=np.random.default_rng(seed))

    def ask(self, n: int) -> list[Values]:
        """The next ``n`` points."""
        with warnings.catch_warnings():
            # The balance of 2^m points is lost with another number of them, which is the reader's choice.
            warnings.simplefilter("ignore", UserWarning)
            rows = self._sequence.random(n)

        def place(row: np.ndarray[Any, np.dtype[np.float64]], axis: Axis) -> int:
            return min(int(row[self._places[axis.name]] * len(axis.values)), len(axis.values) - 1)

        return [self._space.choose(lambda axis, row=row: place(row, axis)) for row in rows]  # type: ignore[misc]

    def tell(self, answers: Sequence[Answer]) -> None:
        """Nothing is learnt."""


class OptunaSampler:
    """Optuna by ask and tell, in memory: the ledger is the record, this study is made again from it.

    A number axis of three and more values is asked for as the place in its order, so that neighbours are known as
    such; any other axis is a category. A point without a result is told as failed. With fewer than ten answers
    (TPE) or a population of 50 (NSGA) the samplers draw at random: these are Optuna's own settings.
    """

    def __init__(self, space: Space, search: SearchSpec, objectives: Sequence[Objective], n_constraints: int) -> None:
        self._optuna = optuna = _optuna(search.sampler)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._trials: list[Any] = []
        directions = ["maximize" if item.goal == "max" else "minimize" for item in objectives]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "experimental" arguments
            sampler = _sampler(optuna, search, n_constraints, conditional=any(axis.parent for axis in space.axes))
        self._study = optuna.create_study(directions=directions, sampler=sampler)

    def ask(self, n: int) -> list[Values]:
        """The next ``n`` points; those that wait for an answer count as bad ones, so that a batch spreads."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._trials, found = [], []
            for _ in range(n):
                trial = self._study.ask()
                found.append(self._space.choose(lambda axis, trial=trial: _suggest(trial, axis)))  # type: ignore[misc]
                self._trials.append(trial)
        return found

    def tell(self, answers: Sequence[Answer]) -> None:
        """Answers to the last ``ask``, in its order."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for trial, answer in zip(self._trials, answers, strict=True):
                trial.set_user_attr("excess", list(answer.excess))
                if answer.objectives is None:
                    self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
                else:
                    self._study.tell(trial, list(answer.objectives))


def check_sampler(search: SearchSpec) -> None:
    """Refuse a sampler whose package is not installed.

    Raises:
        ConfigError: which one, and how to install it.
    """
    if not search.tries_all and search.sampler not in ("random", "sobol"):
        _optuna(search.sampler)


def _optuna(sampler: str) -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            f"search: {sampler} needs Optuna, which is not installed; pip install 'spikeloop[search]', or use random "
            "or sobol"
        ) from None
    return optuna


def _sampler(optuna: Any, search: SearchSpec, n_constraints: int, *, conditional: bool) -> Any:
    excess = (lambda trial: trial.user_attrs["excess"]) if n_constraints else None
    if search.sampler == "tpe":
        return optuna.samplers.TPESampler(
            seed=search.seed, multivariate=True, group=conditional, constant_liar=True, constraints_func=excess
        )
    kinds = {"nsga2": optuna.samplers.NSGAIISampler, "nsga3": optuna.samplers.NSGAIIISampler}
    return kinds[search.sampler](seed=search.seed, constraints_func=excess)


def _suggest(trial: Any, axis: Axis) -> int:
    n = len(axis.values)
    numbers = [value for value in axis.values if isinstance(value, int | float) and not isinstance(value, bool)]
    if n >= 3 and len(numbers) == n and numbers == sorted(numbers):
        return int(trial.suggest_int(axis.name, 0, n - 1))
    return int(trial.suggest_categorical(axis.name, list(range(n))))
