"""``spikeloop simulate --chips``: how far the chips of a design scatter, and what each non-ideality costs alone."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.files import write_atomic

from . import cli_output as output

if TYPE_CHECKING:
    from spikeloop.simulator.config import HardwareConfig
    from spikeloop.simulator.network.graph import Network
    from spikeloop.simulator.network.spikes import SpikeTrain
    from spikeloop.simulator.pipeline import Evaluation


@dataclass(frozen=True, kw_only=True)
class ChipRequest:
    """What the command line asks about chips.

    Attributes:
        chips: chips to compute; 1 is chip 0 alone.
        yield_at: accuracy of a good chip; None: one hundredth below ideal hardware.
        attribution: whether each non-ideality is also run alone.
        threads: threads of the functional run.
        crossbars: CSV file for ranges and clipping of every crossbar.
        column_sums: CSV file for the histogram of every layer's column sums.
    """

    chips: int = 1
    yield_at: float | None = None
    attribution: bool = True
    threads: int = 1
    crossbars: Path | None = None
    column_sums: Path | None = None

    def check(self, *, has_data: bool) -> None:
        """Refuse what cannot be answered.

        Raises:
            ConfigError: chips, a yield or crossbars without images, or a file that cannot be written.
        """
        tables = {"--crossbars": self.crossbars, "--column-sums": self.column_sums}
        for option, path in tables.items():
            if path is not None and (path.suffix != ".csv" or path.is_dir() or not path.parent.is_dir()):
                raise ConfigError(f"{option} {path}: cannot be written; give a .csv file in a folder that exists")
        wanted = self.chips > 1 or self.yield_at is not None or any(path is not None for path in tables.values())
        if not has_data and wanted:
            raise ConfigError(
                "--chips, --yield-at, --crossbars and --column-sums need images and --density has none; leave one out"
            )

    def study(
        self,
        network: Network,
        hw: HardwareConfig,
        spikes: SpikeTrain,
        calibration: SpikeTrain,
        evaluation: Evaluation,
        seed: int,
    ) -> dict[str, Any]:
        """What is added to the result of chip 0: ``chips`` and ``attribution``; nothing for one chip."""
        from spikeloop.simulator.chips import ChipStudy
        from spikeloop.simulator.metrics import wilson_interval
        from spikeloop.simulator.pipeline import step_time_ns

        if self.chips == 1:
            return {}
        study = ChipStudy.of(
            network,
            evaluation.mapping,
            hw,
            spikes,
            calibration,
            seed=seed,
            n_threads=self.threads,
            step_ns=step_time_ns(evaluation.mapping, hw),
        )
        added: dict[str, Any] = {"ideal_accuracy": study.ideal_accuracy}
        spread = study.spread(self.chips, self.yield_at)
        added["chips"] = None if spread is None else asdict(spread)
        if spread is not None:
            n = spikes.n_images
            interval = wilson_interval(round(spread.mean * n), n)
            added["accuracy"] = {"value": spread.mean, "n": n, "ci95": interval}
        if self.attribution:
            added["attribution"] = [asdict(row) for row in study.attribution()]
        return added

    def write(
        self, network: Network, hw: HardwareConfig, spikes: SpikeTrain | None, evaluation: Evaluation, seed: int
    ) -> None:
        """Write the tables of crossbars and column sums, if they are wanted."""
        if self.crossbars is not None:
            write_atomic(self.crossbars, crossbar_csv(evaluation))
        if self.column_sums is not None and spikes is not None:
            write_atomic(self.column_sums, column_sum_csv(network, hw, spikes, evaluation, seed))


def column_sum_csv(network: Network, hw: HardwareConfig, spikes: SpikeTrain, evaluation: Evaluation, seed: int) -> str:
    """How often each column sum occurred, before the ADC: by layer, input bit and slice, sums that never did left out.

    Cells are those of chip 0, without read noise; conversions upstream are ideal, as when ranges are calibrated.
    """
    import numpy as np

    from spikeloop.simulator.functional.adc import bin_shift
    from spikeloop.simulator.functional.analog import AnalogChip, needs_analog
    from spikeloop.simulator.functional.run import column_sum_histograms

    chip = AnalogChip(hw=hw, seed=seed) if needs_analog(hw) else None
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("layer", "input_bit", "slice", "column_sum_counts", "conversions"))
    found = column_sum_histograms(network, evaluation.mapping, hw, spikes, chip=chip)
    for mapped, histogram in zip(evaluation.mapping.layers, found, strict=True):
        counts = histogram.sum(axis=0)
        for plane, piece, number in np.argwhere(counts):
            rows.writerow((mapped.layer.name, plane, piece, number << bin_shift(hw), counts[plane, piece, number]))
    return text.getvalue()


def crossbar_csv(evaluation: Evaluation) -> str:
    """Lsb, conversions and clipped mass of every crossbar of one replica, worst first within a layer."""
    import numpy as np

    outputs = evaluation.outputs
    assert outputs is not None
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("layer", "crossbar", "adc_lsb_counts", "conversions", "clipped", "clipped_fraction"))
    for mapped, shift, done, clipped in zip(
        evaluation.mapping.layers,
        outputs.adc_shift,
        outputs.crossbar_conversions,
        outputs.crossbar_clipped,
        strict=True,
    ):
        shifts = np.broadcast_to(shift, done.shape)
        share = clipped / np.maximum(done, 1)
        for i in np.argsort(-share, kind="stable"):
            rows.writerow((mapped.layer.name, i, 2 ** int(shifts[i]), done[i], clipped[i], f"{share[i]:.6g}"))
    return text.getvalue()


def show_chips(result: dict[str, Any]) -> None:
    """Print spread and attribution."""
    chips = result.get("chips")
    if chips:
        output.emit(
            f"  {'chips':<10}{chips['n']}: accuracy {100 * chips['mean']:.2f} +- {100 * chips['std']:.2f} %, "
            f"{100 * chips['min']:.2f} to {100 * chips['max']:.2f} %; {100 * chips['yield_share']:.0f} % reach "
            f"{100 * chips['yield_at']:.2f} %; ideal hardware {100 * result['ideal_accuracy']:.2f} %"
        )
    rows = result.get("attribution")
    if not rows:
        return
    output.emit("")
    output.emit_table(
        ("non-ideality alone", "in", "accuracy (%)", "loss (points)", "as ideal (%)", "logit error (%)"),
        [
            (
                row["effect"],
                row["layer"],
                "-" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f}",
                "-" if row["accuracy_loss"] is None else f"{100 * row['accuracy_loss']:.2f}",
                f"{100 * row['agreement']:.1f}",
                f"{100 * row['logit_error']:.2f}",
            )
            for row in rows
        ],
    )
