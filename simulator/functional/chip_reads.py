"""Reads of a chip whose cells conduct, or whose ADCs differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SimulationError
from ..kernels.analog import AnalogAdc, AnalogCells, ReadNoise, read_analog
from ..kernels.gather import ReadPlan
from ..kernels.random import perturb
from ..mapping.tiles import MappedLayer
from .adc import LayerShift
from .analog import AnalogChip
from .geometry import read_plan
from .programmed import GroupCells
from .reads import Counted, Tally, shared_out, shift_table
from .switches import ALL, Switches

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ChipRun:
    """A chip at work: which of its departures from the ideal act, and on which images.

    Attributes:
        images: (B,) index of each image in its data set.
    """

    chip: AnalogChip
    images: IntArray
    switches: Switches = ALL


@dataclass(frozen=True, kw_only=True, eq=False)
class _Replica:
    """Reads of one replica of a convolution group; ``image`` is (image-runs,) number of the image in the batch."""

    run: ChipRun
    mapped: MappedLayer
    group: int
    replica: int
    plan: ReadPlan
    programmed: GroupCells
    adc: AnalogAdc
    noise: ReadNoise
    flat: NDArray[Any]
    image: IntArray
    tally: Tally

    def work(self, part: slice, over: IntArray, reads: IntArray) -> None:
        """Read image-runs; cells whose noise is frozen for an image are read image by image."""
        if self.programmed.image_sigma_counts is None:
            self._read(part, self.programmed.cells, over, reads)
            return
        frozen = np.empty_like(self.programmed.cells.values)
        shared = np.flatnonzero(self.adc.own != np.arange(self.adc.own.size))
        for number in np.unique(self.image[part]):
            key = self.run.chip.image_key(self.mapped, self.group, self.replica, int(self.run.images[number]))
            perturb(
                self.programmed.cells.values,
                self.programmed.image_sigma_counts,
                self.noise.table,
                np.uint64(key),
                frozen,
            )
            frozen[:, shared] = frozen[:, self.adc.own[shared]]
            own = part.start + np.flatnonzero(self.image[part] == number)
            self._read(own, self.programmed.cells._replace(values=frozen), over, reads)

    def _read(self, part: IntArray | slice, cells: AnalogCells, over: IntArray, reads: IntArray) -> None:
        # Picked rows are copies: what the kernel wrote into them goes back.
        psum, energy_fJ = self.tally.psum[part], self.tally.energy_fJ[part]
        noise = self.noise._replace(image=self.noise.image[part], step=self.noise.step[part])
        converged = read_analog(
            self.flat[part],
            self.plan,
            cells,
            self.programmed.solved,
            self.adc,
            noise,
            psum,
            self.tally.keep[part],
            self.tally.active_rows,
            over,
            reads,
            energy_fJ,
        )
        if not converged:
            raise SimulationError(
                f"layer {self.mapped.layer.name}, convolution group {self.group}, replica {self.replica}: the node "
                "voltages of a crossbar did not converge; its wires are too resistive for its cells"
            )
        if not isinstance(part, slice):
            self.tally.psum[part], self.tally.energy_fJ[part] = psum, energy_fJ


def read_chip(
    mapped: MappedLayer,
    group: int,
    flat: NDArray[Any],
    tally: Tally,
    adc_shift: LayerShift,
    run: ChipRun,
    image: IntArray,
    step: IntArray,
    n_threads: int,
) -> Counted:
    """Cells and ADCs of a chip, replica by replica: each computes its positions on crossbars of its own.

    ``image`` and ``step`` are (image-runs,) number of the image in the batch and time step.
    """
    counted: list[Counted] = []
    for replica in range(mapped.n_replicas):
        plan = read_plan(mapped, group, None if mapped.n_replicas == 1 else mapped.positions(replica))
        shift = shift_table(mapped, group, plan, adc_shift if run.switches.adc else 0)
        reads = _Replica(
            run=run,
            mapped=mapped,
            group=group,
            replica=replica,
            plan=plan,
            programmed=run.chip.group_cells(mapped, group, replica, run.switches),
            adc=run.chip.adc(mapped, group, replica, plan, shift, run.switches),
            noise=run.chip.read_noise(mapped, run.images[image], step),
            flat=flat,
            image=image,
            tally=tally,
        )
        n_columns = reads.programmed.cells.values.shape[1]
        counted.append(shared_out(reads.work, plan, n_columns, flat.shape[0], n_threads))
    return Counted(
        plan=counted[0].plan,
        reads=np.sum([item.reads for item in counted], axis=0),
        over=np.sum([item.over for item in counted], axis=0),
    )
