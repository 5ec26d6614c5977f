"""What ``spikeloop train`` shows on stderr: a line an epoch, and a live bar within it on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import cli_output as output

if TYPE_CHECKING:
    from spikeloop.distill.reports import EpochReport

_log = logging.getLogger(__name__)

OnEpoch = Callable[["EpochReport"], None]
OnBatch = Callable[[int, int, int], None]


@contextmanager
def training_display(label: str = "") -> Iterator[tuple[OnEpoch, OnBatch | None]]:
    """Callbacks after an epoch and after a batch; lines begin with ``label``. Without a terminal only the first."""
    show = epoch_lines(label)
    if not sys.stderr.isatty():
        yield show, None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(f"{label}starting", total=None)

        def advance(epoch: int, batch: int, n_batches: int) -> None:
            bars.update(task, description=f"{label}epoch {epoch}", completed=batch, total=n_batches)

        yield show, advance


def epoch_lines(label: str = "", clock_s: Callable[[], float] = time.monotonic) -> OnEpoch:
    """Callback that says a line after every epoch; the time left follows from the epochs since this call."""
    began_s, done = clock_s(), 0

    def show(report: EpochReport) -> None:
        nonlocal done
        done += 1
        left_s = (clock_s() - began_s) / done * (report.n_epochs - report.epoch)
        output.say(
            f"{label}epoch {report.epoch}/{report.n_epochs}: loss {report.loss:.4f}, train accuracy "
            f"{100 * report.train_accuracy:.2f} %, test accuracy {100 * report.test_accuracy:.2f} %, "
            f"firing rate {_mean(report.firing_rate)}, saturated membranes {_mean(report.membrane_saturation)}"
            + (f", {_duration(left_s)} left" if report.epoch < report.n_epochs else "")
        )
        for name, rate in report.firing_rate.items():
            saturated = 100 * report.membrane_saturation[name]
            _log.info("layer %s: firing rate %.2f %%, saturated membranes %.2f %%", name, 100 * rate, saturated)

    return show


def _mean(by_layer: dict[str, float]) -> str:
    """Mean over the layers."""
    return f"{100 * sum(by_layer.values()) / len(by_layer):.1f} %" if by_layer else "-"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
