"""The known defects of the SpikeSim program that have a well-defined cure, by the name of the cure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Total = Literal["area", "energy", "latency"]


@dataclass(frozen=True, kw_only=True)
class Fix:
    """One cure.

    Attributes:
        moves: the totals that it can move; it never moves another.
        defect: what the program does (a sentence without its full stop, for warnings).
        cure: what is done instead, and why (the same form).
        where: lines of ela_spikesim.py, commit c2627bc.
    """

    moves: tuple[Total, ...]
    defect: str
    cure: str
    where: str


FIXES: dict[str, Fix] = {
    "sram_energy": Fix(
        moves=("energy",),
        defect="the energy of an SRAM crossbar in pJ is its area in um2 to the last digit",
        cure="an SRAM crossbar costs the charge of its bitlines (an assumption)",
        where="42",
    ),
    "subtractor_energy": Fix(
        moves=("energy",),
        defect="a subtraction is priced six orders of magnitude below the parts beside it",
        cure="the number is taken as written in uJ and not in pJ (an assumption)",
        where="46",
    ),
    "adc_conversions": Fix(
        moves=("energy",),
        defect="a PE cycle has xbar_size/8 reads and (xbar_size/8)^2 conversions, which is right only at 64",
        cure="each ADC serves 8 columns, so a PE cycle has 8 reads and converts each column once",
        where="55-57",
    ),
    "whole_adcs": Fix(
        moves=("area", "energy"),
        defect="xbar_size is no multiple of 8, so a PE has a fraction of an ADC, a multiplexer and a subtractor",
        cure="a PE has xbar_size/8 ADCs rounded up",
        where="55-57,89-91",
    ),
    "crossbar_size": Fix(
        moves=("area", "energy"),
        defect="energy and area of a 64x64 crossbar are used unscaled for other sizes",
        cure="energy and area of a crossbar grow with its number of cells",
        where="40-42,76-78",
    ),
    "pre_pool_outputs": Fix(
        moves=("area", "energy", "latency"),
        defect="a layer with pooling is charged for the outputs that are left after pooling",
        cure="a layer whose out_dim is at most half its in_dim computes in_dim x in_dim outputs, as a convolution of "
        "stride 1 with padding does before it is pooled",
        where="63-64,96,164,179",
    ),
    "latency_units": Fix(
        moves=("latency",),
        defect="latency counts a PE cycle for every output neuron, energy one for every output position of a PE",
        cure="latency counts a PE cycle for every output position, and the PEs of a layer work at the same time",
        where="163-164,178-179",
    ),
    "latest_end": Fix(
        moves=("latency",),
        defect="latency is the end of the last layer although an earlier layer ends later",
        cure="latency is the latest end of all layers",
        where="194",
    ),
    "membrane_all_layers": Fix(
        moves=("area",),
        defect="only the first 5 layers have membrane memory",
        cure="every layer has membrane memory",
        where="95-96",
    ),
    "membrane_bits": Fix(
        moves=("area",),
        defect="a membrane has 22 bits whatever the layer",
        cure="a membrane is as wide as its layer's largest sum of 4-bit weights, which a leaky mean never leaves",
        where="96",
    ),
    "spike_bits": Fix(
        moves=("area",),
        defect="an input value is stored with 22 bits although spikes have one",
        cure="a spike is stored with 1 bit, a pixel of the first layer with 8",
        where="92-93",
    ),
    "direct_coding": Fix(
        moves=("energy", "latency"),
        defect="the first layer is charged in every time step although direct coding computes it once an image",
        cure="the first layer runs once an image",
        where="65,164,179",
    ),
    "neuron_partial_sums": Fix(
        moves=("energy",),
        defect="neurons are charged for the partial sum of every block of input channels",
        cure="neurons are charged once for each block of output channels, when its sum is complete",
        where="53,56",
    ),
    "tile_sharing": Fix(
        moves=("area",),
        defect="layers share tiles, which the paper excludes (section IV-A, as quoted in the program's issue 5)",
        cure="each layer has tiles of its own",
        where="23-30",
    ),
    "htree_size": Fix(
        moves=("area", "energy"),
        defect="the H-tree is that of a tile with 8 PEs of 9 crossbars of 64x64, whatever the tile",
        cure="its area grows with PEs x (wordlines + bitlines) of a PE, its energy with the bits of a PE and the root "
        "of that area (an assumption, as in docs/cost.md)",
        where="49-50,85-86",
    ),
}
