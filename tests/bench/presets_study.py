"""Every preset on VGG-9 under random spikes of 15 %: the table of docs/results/presets.md.

    python tests/bench/presets_study.py

Baselines carry the network in their own widths; the random weights come from seed 0.
"""

from __future__ import annotations

from spikeloop.models.random_export import random_network
from spikeloop.simulator.config import load_hardware, shipped_files
from spikeloop.simulator.pipeline import simulate_density

WIDTHS = {"baseline_32bit": (32, 32, 24), "baseline_16bit": (16, 16, 24)}
NARROW = (4, 6, 8)


def measure(preset, networks):
    """Metrics of a preset on the network of its widths."""
    widths = WIDTHS.get(preset, NARROW)
    if widths not in networks:
        weight_bits, membrane_bits, bn_bits = widths
        networks[widths] = random_network(
            "vgg9", seed=0, weight_bits=weight_bits, membrane_bits=membrane_bits, bn_bits=bn_bits
        )
    return widths, simulate_density(networks[widths], load_hardware(preset), 0.15, seed=0).metrics


def main():
    networks = {}
    found = {preset: measure(preset, networks) for preset in shipped_files("accelerators")}
    print(
        "| preset | technology | weights, membranes, batch norm (bit) | energy (uJ) | latency (ms) | area (mm2) |",
        end="",
    )
    print(" EDAP (J s mm2) | TOPS/W | energy, EDAP of baseline_32bit over it |")
    print("|---|---|---|---|---|---|---|---|---|")
    reference = found["baseline_32bit"][1]
    for preset, (widths, m) in found.items():
        technology = load_hardware(preset).technology
        ratio = "other technology"
        if technology == load_hardware("baseline_32bit").technology:
            ratio = f"{reference.energy_fJ / m.energy_fJ:.3g}, {reference.edap_J_s_mm2 / m.edap_J_s_mm2:.3g}"
        print(
            f"| `{preset}` | {technology} | {', '.join(map(str, widths))} | {m.energy_fJ / 1e9:.4g} | "
            f"{m.latency_ns / 1e6:.4g} | {m.area_um2 / 1e6:.4g} | {m.edap_J_s_mm2:.3g} | {m.tops_per_W:.3g} | {ratio} |"
        )


if __name__ == "__main__":
    main()
