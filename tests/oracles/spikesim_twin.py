"""SpikeSim's closed form in plain Python: its own constants in pJ and um2, written out, nothing shared.

Source: ela_spikesim.py of Intelligent-Computing-Lab-Yale/SpikeSim, commit c2627bc, lines 37-98 and 158-194.
"""

from __future__ import annotations

import math
from typing import Any


def spikesim_twin(
    *,
    in_ch_list: list[int],
    out_ch_list: list[int],
    in_dim_list: list[int],
    out_dim_list: list[int],
    xbar_size: int,
    kernel_size: int,
    pe_per_tile: int,
    time_steps: int,
    clk_freq: float,
    device: str,
    **_: Any,
) -> tuple[int, int, float, list[float], float]:
    """PEs, tiles, area in um2, energy of each layer in pJ, latency in ns, without any fix."""
    eighth = xbar_size / 8
    cell_pJ, cell_um2 = {"rram": (1.76423, 26.2144), "sram": (671.089, 671.089)}[device]
    pe_pJ = 157.12 + 4.64 + 5.096 + 397 + eighth * (kernel_size**2 * cell_pJ + 16 * 1.15e-6 + 0.2)
    pe_pJ += eighth**2 * (2.03084 + 0.094245)
    pes, layer_pJ, area_um2 = 0, [], 0.0
    for i in range(len(in_ch_list)):
        of_layer = math.ceil(in_ch_list[i] / xbar_size) * math.ceil(out_ch_list[i] / xbar_size)
        pes += of_layer
        layer_pJ.append(time_steps * of_layer * out_dim_list[i] ** 2 * pe_pJ)
        area_um2 += 16.2602 * in_ch_list[i] * in_dim_list[i] ** 2
        area_um2 += 16.2602 * out_ch_list[i] * out_dim_list[i] ** 2 if i < 5 else 0.0
    tiles = math.ceil(pes / pe_per_tile)
    pe_um2 = kernel_size**2 * cell_um2 + eighth * (693.633 + 45.9)
    area_um2 += tiles * (eighth * 13411.41498 + 484.643999 + 6054.7072 + pe_per_tile * pe_um2 + 433660)
    begun = 0
    for channels, dim in list(zip(out_ch_list, out_dim_list, strict=True))[:-1]:
        begun += int(0.75 * dim * dim * channels) * time_steps
    begun += out_dim_list[-1] ** 2 * out_ch_list[-1] * time_steps
    return pes, tiles, area_um2, layer_pJ, begun * 26 * 1000 / clk_freq
