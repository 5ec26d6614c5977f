"""Small mapped networks whose every size is a knob, and snapshots of what they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from networks import design

from spikeloop.simulator.config import (
    DataflowConfig,
    GlobalBufferConfig,
    HardwareConfig,
    NeuronConfig,
    NeuronMemoryConfig,
    NocConfig,
    TileConfig,
)
from spikeloop.simulator.cost.library import cost_library
from spikeloop.simulator.cost.technology import Technology, load_technology
from spikeloop.simulator.mapping.tiles import Mapping, map_network
from spikeloop.simulator.network.graph import (
    BatchNormNode,
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    SumPoolNode,
    chain_edges,
)
from spikeloop.simulator.spec import validate_spec

TECHNOLOGY = load_technology("rram_65nm")


def small_macros() -> Technology:
    """The shipped technology with macros of 8 to 32768 bits: memories of small networks lie inside the table."""

    def move(fields: dict[str, Any]) -> None:
        rows = fields["sram"]["table"]["rows"]
        sizes = sorted({row[1] for row in rows})
        for row in rows:
            row[1] = 8.0 * 4 ** sizes.index(row[1])

    return changed_technology(move)


def changed_technology(change: Callable[[dict[str, Any]], object]) -> Technology:
    """The shipped technology after a change of its fields, checked as a file is.

    Raises:
        ConfigError: the changed file is not valid.
    """
    fields = TECHNOLOGY.model_dump(mode="json", exclude_none=True)
    change(fields)
    return validate_spec(Technology, fields, where="file.yaml")


def small_network(
    *,
    n_timesteps: int = 4,
    weight_bits: int = 4,
    membrane_bits: int = 8,
    guard_bits: int = 4,
    bn_bits: int = 8,
    reset: str = "hard",
    static: bool = False,
    steps_of_bn: bool = False,
) -> Network:
    """Convolution 2 -> 16 on 6x6, batch norm, LIF, 2x2 pooling, classifier of 4; weights of one size."""
    rng = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        # Only -1, 0 and 1, so that the width of the sums does not follow weight_bits.
        return rng.integers(-1, 2, shape)

    shape = (n_timesteps, 16) if steps_of_bn else (16,)
    constants = {"m": 1, "n": 1, "k": 0, "e": 2}
    nodes = (
        InputNode(name="in", shape=(2, 6, 6), bits=3 if static else 1, static=static),
        ConvNode(name="conv", weight=weights(16, 2, 3, 3), weight_bits=weight_bits, padding=1),
        BatchNormNode(
            name="bn",
            bn_bits=bn_bits,
            **{
                key: np.full(shape, value * (2 ** (bn_bits - 2) if key == "m" else 1), dtype=np.int64)
                for key, value in constants.items()
            },
        ),
        LifNode(name="lif", theta=9, membrane_bits=membrane_bits, guard_bits=guard_bits, reset=reset),
        SumPoolNode(name="pool", kernel=2, stride=2),
        FlattenNode(name="flat"),
        LinearNode(name="fc", weight=weights(4, 144), weight_bits=weight_bits),
        ReadoutNode(name="out", bias=np.zeros(4, dtype=np.int64)),
    )
    return Network(name="small", n_timesteps=n_timesteps, nodes=nodes, edges=chain_edges(nodes))


def small_design(**knobs: Any) -> HardwareConfig:
    """Design whose knobs are flat names; anything else goes to the crossbar and ADC."""
    tile = {"pes_per_tile": 4, "crossbars_per_pe": 2} | _take(knobs, TileConfig)
    memory = _take(knobs, NeuronMemoryConfig)
    return design(
        **({"rows": 16, "cols": 16, "adc_bits": 4, "columns_per_adc": 8} | _crossbar(knobs)),
        tile=TileConfig(**tile),
        neuron=NeuronConfig(**_take(knobs, NeuronConfig), memory=NeuronMemoryConfig(**memory)),
        noc=NocConfig(**_take(knobs, NocConfig)),
        global_buffer=GlobalBufferConfig(**_take(knobs, GlobalBufferConfig)),
        dataflow=DataflowConfig(**_take(knobs, DataflowConfig)),
    )


def _take(knobs: dict[str, Any], cls: type) -> dict[str, Any]:
    return {name: value for name, value in knobs.items() if name in cls.model_fields}


def _crossbar(knobs: dict[str, Any]) -> dict[str, Any]:
    names = ("rows", "cols", "cell_bits", "scheme", "rows_active", "adc_bits", "columns_per_adc", "dummy_column")
    return {name: value for name, value in knobs.items() if name in names}


def mapped(network: Network | None = None, hw: HardwareConfig | None = None) -> tuple[Mapping, HardwareConfig]:
    """Mapping of a network on a design, the small ones by default."""
    hw = hw or small_design()
    return map_network(network or small_network(), hw), hw


def prices(
    network: Network | None = None, hw: HardwareConfig | None = None, technology: Technology = TECHNOLOGY
) -> dict[str, dict[str, Any]]:
    """Component -> count, area, leakage and energy of each action."""
    mapping, hw = mapped(network, hw)
    return {
        component.name: {
            "count": component.count,
            "area_um2": component.layer_area_um2.tolist(),
            "leakage_uW": component.layer_leakage_uW.tolist(),
            **{action: values.tolist() for action, values in component.action_fJ.items()},
        }
        for component in cost_library(mapping, hw, technology)
    }


def moved(a: dict[str, dict[str, Any]], b: dict[str, dict[str, Any]]) -> set[str]:
    """Components that differ between two price lists."""
    return {name for name in a if a[name] != b[name]}
