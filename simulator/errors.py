"""The errors a user can cause; each message is one sentence: what, where, got, allowed, cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SpikeloopError(Exception):
    """Base of every error that spikeloop raises on purpose."""


class ConfigError(SpikeloopError, ValueError):
    """A hardware, technology, training or study file is wrong."""


class NetworkError(SpikeloopError, ValueError):
    """A network (graph, tensors or file) is wrong."""


class MappingError(SpikeloopError, ValueError):
    """The network cannot be placed on the given hardware."""


class DatasetError(SpikeloopError, ValueError):
    """A data set is missing, damaged or does not fit the network."""


class StudyError(SpikeloopError, ValueError):
    """A study folder or its ledger cannot be used as asked."""


class SimulationError(SpikeloopError, RuntimeError):
    """A run failed although its inputs were accepted."""


class DownloadError(SpikeloopError, RuntimeError):
    """A data set could not be fetched; nothing is wrong with what the user asked for."""


class DeadlockError(SimulationError):
    """Units wait for one another for ever; the message names the cycle of waits."""


#: Errors that mean "your input is wrong": the command line answers them with exit code 2.
INPUT_ERRORS = (ConfigError, NetworkError, MappingError, DatasetError, StudyError)


def closest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant; None if none is near."""
    return next(iter(difflib.get_close_matches(name, tuple(names), n=1)), None)


def name_cure(name: str, names: Iterable[str], *, listed: str = "allowed") -> str:
    """Cure for an unknown name: the one that was probably meant, else ``listed`` and all of them."""
    known = tuple(names)
    close = closest(name, known)
    return f"did you mean '{close}'?" if close else f"{listed}: {', '.join(known)}"
