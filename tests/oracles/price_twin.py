"""Energy and area of every component, written again from docs/cost.md: the judge of the cost library.

Reads the technology file as plain data, the records of the mapping, and the action counts of a trace. Shares
no code with ``simulator/cost``. ``*_fJ`` are the energies of all images of the trace, without leakage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Prices:
    """Component -> area, leakage and energy."""

    area_um2: dict[str, float] = field(default_factory=dict)
    leakage_uW: dict[str, float] = field(default_factory=dict)
    action_fJ: dict[str, float] = field(default_factory=dict)


class Table:
    """The technology file, each number at the file's node."""

    def __init__(self, raw: dict) -> None:
        self.raw, self.vdd = raw, raw["supply"]["vdd_V"]["value"]
        self.nodes = {node["node_nm"]: node for node in raw["scaling"]["nodes"]}

    def at(self, node_nm: float, value) -> float:
        if node_nm in self.nodes:
            return value(self.nodes[node_nm])
        below = max(node for node in self.nodes if node < node_nm)
        above = min(node for node in self.nodes if node > node_nm)
        share = math.log(above / node_nm) / math.log(above / below)
        return value(self.nodes[above]) ** (1 - share) * value(self.nodes[below]) ** share

    def relative_energy(self, node: dict) -> float:
        return node["energy_square"] * self.vdd**2 + node["energy_linear"] * self.vdd + node["energy_constant"]

    def fJ(self, section: str, name: str) -> float:
        entry, here = self.raw[section][name], self.raw["node_nm"]
        ratio = self.at(here, self.relative_energy) / self.at(entry["node_nm"], self.relative_energy)
        return entry["value"] * ratio

    def um2(self, section: str, name: str) -> float:
        entry, here = self.raw[section][name], self.raw["node_nm"]
        area = lambda node: node["area_ratio"]  # noqa: E731
        return entry["value"] * self.at(entry["node_nm"], area) / self.at(here, area)

    def plain(self, section: str, name: str) -> float:
        return self.raw[section][name]["value"]

    def sram_fJ(self, capacity: int) -> float:
        if capacity == 0:
            return 0.0
        sram = self.raw["sram"]
        points = [(p["capacity_bits"], p["energy_fJ"]["value"] / sram["access_bits"]) for p in sram["access"]]
        low = max((i for i, (bits, _) in enumerate(points[:-1]) if bits <= capacity), default=0)
        (x0, y0), (x1, y1) = points[low], points[low + 1]
        energy = y0 * (capacity / x0) ** (math.log(y1 / y0) / math.log(x1 / x0))
        if not points[0][0] <= capacity <= points[-1][0]:
            energy *= sram["extrapolation_ratio"]["value"]
        return max(energy, self.fJ("logic", "register_fJ_per_bit"))


def price(mapping, hw, raw: dict, counts: dict[str, np.ndarray]) -> Prices:
    """Prices of a mapped network with the action counts of a run."""
    table, out = Table(raw), Prices()
    layers = [_sizes(item, mapping, hw, mapping.network.n_timesteps) for item in mapping.layers]
    crossbars = mapping.n_chip_tiles * hw.tile.pes_per_tile * hw.tile.crossbars_per_pe
    _array(out, table, hw, crossbars, counts)
    _arithmetic(out, table, hw, mapping.n_chip_tiles, layers, counts)
    _memories(out, table, hw, mapping.n_chip_tiles, layers, counts)
    _global_buffer(out, table, mapping, hw, counts)
    _transport(out, table, hw, mapping.n_chip_tiles, layers, counts)
    for name, area in out.area_um2.items():
        out.leakage_uW.setdefault(name, area * table.plain("logic", "leakage_uW_per_um2"))
    return out


def _sizes(item, mapping, hw, steps: int) -> dict:
    layer = item.layer
    ops = {kind: [op for op in layer.ops if op.kind == kind] for kind in ("lif", "add", "pool")}
    lifs = [op.node for op in ops["lif"]]
    bn = layer.ops[0].node
    values = lambda op: math.prod(op.shape)  # noqa: E731
    others = [other.layer for other in mapping.layers]
    read = [
        op
        for i, op in enumerate(layer.ops)
        if any(
            other.input_signal == (layer.index, i) or any((layer.index, i) in o.residuals for o in other.ops)
            for other in others
        )
    ]
    waiting = [values(op) * others[signal.layer].ops[signal.op].bits for op in ops["add"] for signal in op.residuals]
    bound = max(int(abs(column).sum()) for group in layer.matrix for column in group.T) * layer.input.code_max
    psum = math.floor(math.log2(bound)) + 2 if bound else 1
    sent_steps = steps if hw.dataflow.loop == "layer_major" else 1
    neurons = math.prod(layer.out_shape)
    held = layer.input.static and steps > 1
    return {
        "psum": psum,
        "code": hw.adc_bits + (item.scheme.n_slices - 1) * hw.crossbar.cell_bits + layer.input.bits,
        "bn": bn.bn_bits if bn else 0,
        "bn_memory": 2 * bn.bn_bits * bn.m.size * item.n_replicas if bn else 0,
        "neuron": max((x.membrane_bits + x.guard_bits + 2 for x in lifs), default=0)
        if layer.ops[-1].kind != "readout"
        else psum + math.ceil(math.log2(steps)),
        "adds": max((bin(x.leak_mul).count("1") + 1 + (x.reset == "soft") for x in lifs), default=0)
        if layer.ops[-1].kind != "readout"
        else 1,
        "compares": 1 if lifs else 0,
        "pool": max((op.bits for op in ops["pool"]), default=0),
        "residual": max((op.bits for op in ops["add"]), default=0),
        "waiting": sum(waiting) * sent_steps,
        "input": math.prod(layer.in_shape) * layer.input.bits * (1 if layer.input.static else sent_steps),
        "tiles": len({pe.tile for pe in item.pes}),
        "homes": len({block.home_tile for block in item.blocks}),
        "membranes": neurons * sum(x.membrane_bits for x in lifs),
        "held": neurons * psum if held else 0,
        "register": sum(x.membrane_bits for x in lifs) + (psum if held else 0),
        "sent": sum(values(op) * op.bits for op in read) * sent_steps,
    }


def _array(out: Prices, table: Table, hw, crossbars: int, counts) -> None:
    rows, cols, share, bits = hw.crossbar.rows, hw.crossbar.cols, hw.adc.columns_per_adc, hw.adc_bits
    holds, adcs, total = hw.adc.sample_and_hold, crossbars * cols // share, {k: int(v.sum()) for k, v in counts.items()}
    published = table.raw["crossbar"]["array_rows"] * table.raw["crossbar"]["array_cols"]
    cell = table.plain("crossbar", "array_area_um2") / published
    out.area_um2["crossbar"], out.leakage_uW["crossbar"] = crossbars * rows * cols * cell, 0.0
    rounds = 1 if holds else share
    out.action_fJ["crossbar"] = total["cell_read"] * rounds * table.plain("crossbar", "array_read_fJ") / published
    out.area_um2["wordline_driver"] = crossbars * rows * table.um2("wordline", "driver_area_um2")
    load = table.plain("wordline", "driver_fF") + table.plain("wordline", "wire_fF_per_um") * cols * math.sqrt(cell)
    out.action_fJ["wordline_driver"] = total["wordline_drive"] * load * table.vdd * table.vdd
    out.area_um2["sample_and_hold"] = crossbars * cols * table.um2("sample_and_hold", "area_um2") if holds else 0.0
    sample = table.fJ("sample_and_hold", "sample_fJ") if holds else 0.0
    out.action_fJ["sample_and_hold"] = total["adc_conversion"] * sample
    out.area_um2["column_mux"] = adcs * (share - 1) / 7 * table.plain("column_mux", "area_um2")
    out.action_fJ["column_mux"] = total["adc_conversion"] * (share - 1) / 7 * table.plain("column_mux", "conversion_fJ")
    energy, area = lambda b: 100 * b + 0.001 * 4**b, lambda b: 10 ** (-0.0369 * b) * 2**b
    out.area_um2["adc"] = adcs * table.plain("adc", "area_um2") * area(bits) / area(4)
    out.action_fJ["adc"] = total["adc_conversion"] * table.plain("adc", "conversion_fJ") * energy(bits) / energy(4)


def _arithmetic(out: Prices, table: Table, hw, n_tiles: int, layers: list[dict], counts) -> None:
    ref, step_bits = table.raw["logic"]["reference_bits"], table.raw["logic"]["shift_add_bits"]
    add, compare, step = (table.fJ("logic", f"{x}_fJ") for x in ("adder", "comparator", "shift_add"))
    add_um2, compare_um2, step_um2 = (table.um2("logic", f"{x}_area_um2") for x in ("adder", "comparator", "shift_add"))
    multiply, register = table.fJ("logic", "multiplier_fJ"), table.fJ("logic", "register_fJ_per_bit")
    multiply_um2, register_um2 = (
        table.um2("logic", name) for name in ("multiplier_area_um2", "register_area_um2_per_bit")
    )
    each = lambda action, cost: sum(int(n) * cost(x) for n, x in zip(counts[action], layers, strict=True))  # noqa: E731
    pes, lanes = n_tiles * hw.tile.pes_per_tile, n_tiles * hw.neuron.lanes
    adcs = hw.crossbar.cols // hw.adc.columns_per_adc
    widest = max(x["psum"] for x in layers)
    accumulator_um2 = widest * (add_um2 / ref + register_um2)
    out.area_um2["shift_add"] = (
        pes * hw.tile.crossbars_per_pe * adcs * max(x["code"] for x in layers) * step_um2 / step_bits
    )
    row_bits = math.floor(math.log2(hw.crossbar.rows)) + 1
    out.action_fJ["shift_add"] = each("shift_add", lambda x: x["code"] * step / step_bits)
    out.action_fJ["shift_add"] += each("input_count", lambda x: row_bits * add / ref)
    lone = hw.tile.crossbars_per_pe == 1
    out.area_um2["pe_accumulator"] = 0.0 if lone else pes * hw.tile.pe_accumulator_lanes * accumulator_um2
    out.action_fJ["pe_accumulator"] = each("pe_add", lambda x: x["psum"] * (add / ref + register))
    out.area_um2["tile_accumulator"] = n_tiles * hw.tile.accumulator_lanes * accumulator_um2
    out.action_fJ["tile_accumulator"] = each("tile_add", lambda x: x["psum"] * (add / ref + register))
    products, sums = (
        max(x["bn"] * x["psum"] for x in layers),
        max((x["bn"] > 0) * (x["bn"] + x["psum"]) for x in layers),
    )
    lane_um2 = lanes * (products * multiply_um2 / ref**2 + sums * add_um2 / ref)
    held = sum(x["bn_memory"] for x in layers)
    out.area_um2["batch_norm"] = lane_um2 + held * table.plain("sram", "area_um2_per_bit")
    out.leakage_uW["batch_norm"] = lane_um2 * table.plain("logic", "leakage_uW_per_um2")
    out.leakage_uW["batch_norm"] += held * table.plain("sram", "leakage_uW_per_bit")
    out.action_fJ["batch_norm"] = each(
        "bn_update",
        lambda x: (
            x["bn"] * x["psum"] * multiply / ref**2
            + (x["bn"] + x["psum"]) * add / ref
            + 2 * x["bn"] * table.sram_fJ(math.ceil(x["bn_memory"] / x["homes"]))
        ),
    )
    adders, compared = (
        max(x["neuron"] for x in layers) * max(x["adds"] for x in layers),
        [x["neuron"] * x["compares"] for x in layers],
    )
    out.area_um2["neuron"] = lanes * (adders * add_um2 + max(compared) * compare_um2) / ref
    out.action_fJ["neuron"] = each(
        "neuron_update", lambda x: x["neuron"] * (x["adds"] * add + x["compares"] * compare) / ref
    )
    out.area_um2["residual_adder"] = lanes * max(x["residual"] for x in layers) * add_um2 / ref
    out.action_fJ["residual_adder"] = each("residual_add", lambda x: x["residual"] * add / ref)
    out.area_um2["pooling"] = lanes * max(x["pool"] for x in layers) * add_um2 / ref
    out.action_fJ["pooling"] = each("pool_add", lambda x: x["pool"] * add / ref)


def _memories(out: Prices, table: Table, hw, n_tiles: int, layers: list[dict], counts) -> None:
    def memory(name: str, bits: str, macros, actions: tuple[str, ...], copies=lambda x: 1) -> None:
        held = sum(x[bits] * copies(x) for x in layers)
        out.area_um2[name] = held * table.plain("sram", "area_um2_per_bit")
        out.leakage_uW[name] = held * table.plain("sram", "leakage_uW_per_bit")
        out.action_fJ[name] = sum(
            int(counts[action][i]) * table.sram_fJ(math.ceil(x[bits] / macros(x)))
            for action in actions
            for i, x in enumerate(layers)
        )

    per_home = lambda x: x["homes"]  # noqa: E731
    per_bank = lambda x: x["homes"] * hw.neuron.memory.banks  # noqa: E731
    traffic = ("input_buffer_write_bits", "input_buffer_read_bits")
    memory("input_buffer", "input", lambda x: 1, traffic, copies=lambda x: x["tiles"])
    memory("spike_buffer", "sent", per_home, ("spike_buffer_write_bits",))
    memory("residual_memory", "waiting", per_bank, ("residual_read_bits", "residual_write_bits"))
    if hw.dataflow.loop == "timestep_major":
        memory("membrane_memory", "membranes", per_bank, ("membrane_read_bits", "membrane_write_bits"))
        memory("current_memory", "held", per_bank, ("current_read_bits", "current_write_bits"))
        return
    registers = n_tiles * hw.neuron.lanes * max(x["register"] for x in layers)
    out.area_um2["membrane_memory"] = registers * table.um2("logic", "register_area_um2_per_bit")
    accesses = int(counts["membrane_register_bits"].sum())
    out.action_fJ["membrane_memory"] = accesses * table.fJ("logic", "register_fJ_per_bit")
    out.area_um2["current_memory"] = out.action_fJ["current_memory"] = 0.0


def _global_buffer(out: Prices, table: Table, mapping, hw, counts) -> None:
    """An image in each slot; a step of it if the steps differ and come one by one."""
    node = mapping.network.input
    steps = mapping.network.n_timesteps if hw.dataflow.loop == "layer_major" and not node.static else 1
    bits = math.prod(node.shape) * node.bits * steps * hw.global_buffer.slots
    out.area_um2["global_buffer"] = bits * table.plain("sram", "area_um2_per_bit")
    out.leakage_uW["global_buffer"] = bits * table.plain("sram", "leakage_uW_per_bit")
    moved = int(counts["input_load_bits"].sum() + counts["global_buffer_read_bits"].sum())
    out.action_fJ["global_buffer"] = moved * table.sram_fJ(bits)


def _transport(out: Prices, table: Table, hw, n_tiles: int, layers: list[dict], counts) -> None:
    bus, noc = table.raw["bus"], table.raw["noc"]
    ports = hw.tile.pes_per_tile * (hw.tile.crossbars_per_pe * hw.crossbar.rows + hw.crossbar.cols)
    size = ports / (bus["pes"] * (bus["rows"] + bus["cols"]))
    bits = int(counts["input_buffer_read_bits"].sum())
    bits += sum(int(n) * x["psum"] for n, x in zip(counts["tile_add"], layers, strict=True))
    out.area_um2["tile_bus"] = n_tiles * table.plain("bus", "area_um2") * size
    active = out.area_um2["tile_bus"] * table.plain("bus", "active_area_ratio")
    out.leakage_uW["tile_bus"] = active * table.plain("logic", "leakage_uW_per_um2")
    out.action_fJ["tile_bus"] = (
        bits * table.plain("bus", "transfer_fJ") / table.plain("bus", "transfer_bits") * math.sqrt(size)
    )
    router = table.um2("noc", "router_area_um2") * noc["mesh_ports"] / noc["router_ports"]
    out.area_um2["noc"] = n_tiles * router * hw.noc.flit_bits / noc["router_flit_bits"]
    hops = sum(int(counts[f"{kind}_flit_hops"].sum()) for kind in ("psum", "spike", "input"))
    out.action_fJ["noc"] = hops * hw.noc.flit_bits * table.fJ("noc", "transfer_fJ") / noc["transfer_bits"]
    port = hw.noc.input_bits_per_cycle
    out.area_um2["input_load"] = port * table.um2("logic", "register_area_um2_per_bit")
    link = table.raw["input_load"]
    out.action_fJ["input_load"] = (
        int(counts["input_load_bits"].sum()) * link["transfer_fJ"]["value"] / link["transfer_bits"]
    )
