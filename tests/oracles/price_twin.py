"""Energy and area of every component, written again from docs/cost.md: the judge of the cost library.

Reads the technology file as plain data, the records of the mapping, and the action counts of a trace. Shares
no code with ``simulator/cost``. ``*_fJ`` are the energies of all images of the trace, without leakage.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Prices:
    """Component -> area, leakage and energy."""

    area_um2: dict[str, float] = field(default_factory=dict)
    #: area and energy of logic inside a component, which clock and control follow
    logic_um2: dict[str, float] = field(default_factory=dict)
    logic_fJ: dict[str, float] = field(default_factory=dict)
    leakage_uW: dict[str, float] = field(default_factory=dict)
    action_fJ: dict[str, float] = field(default_factory=dict)


class Table:
    """The technology file, each number at the file's node; tables it names lie beside it."""

    def __init__(self, raw: dict, scaling: dict, memories: dict) -> None:
        self.raw, self.vdd, self.node = raw, raw["supply"]["vdd_V"]["value"], raw["node_nm"]
        wanted = (None, raw["scaling"]["flavour"])
        self.nodes = {node["node_nm"]: node for node in scaling["nodes"] if node.get("flavour") in wanted}
        self.macros = {tuple(row[:3]): row[3:] for row in memories["rows"]}

    def at(self, node_nm: float, value) -> float:
        if node_nm in self.nodes:
            return value(self.nodes[node_nm])
        below = max(node for node in self.nodes if node < node_nm)
        above = min(node for node in self.nodes if node > node_nm)
        share = math.log(above / node_nm) / math.log(above / below)
        return value(self.nodes[above]) ** (1 - share) * value(self.nodes[below]) ** share

    def relative_energy(self, node_nm: float, vdd: float) -> float:
        return self.at(node_nm, lambda n: n["energy_square"] * vdd**2 + n["energy_linear"] * vdd + n["energy_constant"])

    def fJ(self, section: str, name: str) -> float:
        entry = self.raw[section][name]
        published = (
            self.vdd if entry["node_nm"] == self.node else self.at(entry["node_nm"], lambda n: n["vdd_nominal_V"])
        )
        published = entry.get("vdd_V", published)
        ratio = self.relative_energy(self.node, self.vdd) / self.relative_energy(entry["node_nm"], published)
        return entry["value"] * ratio

    def um2(self, section: str, name: str) -> float:
        entry = self.raw[section][name]
        area = lambda node: node["area_ratio"]  # noqa: E731
        return entry["value"] * self.at(entry["node_nm"], area) / self.at(self.node, area)

    def plain(self, section: str, name: str) -> float:
        return self.raw[section][name]["value"]

    def macro(self, capacity: float, word: float) -> tuple[float, float, float, float]:
        """Read and write energy of a bit, area and leakage of a memory of one capacity."""
        if capacity == 0:
            return 0.0, 0.0, 0.0, 0.0
        sizes = sorted({key[1] for key in self.macros if key[0] == self.node})
        words = sorted({key[2] for key in self.macros if key[0] == self.node})
        word = min(word, capacity)
        beside = math.ceil(word / words[-1])
        copies = beside * math.ceil(capacity / (beside * sizes[-1]))
        # Below the smallest macro its slope goes on down to an eighth of it.
        each = max(capacity / copies, sizes[0] / 8)
        i, x = place(sizes, each)
        x = math.log(each / sizes[0]) / math.log(sizes[1] / sizes[0]) if each < sizes[0] else x
        j, y = place(words, word / beside)
        corner = lambda di, dj, q: math.log(self.macros[self.node, sizes[i + di], words[j + dj]][q])  # noqa: E731
        value = lambda q: math.exp(  # noqa: E731
            (1 - x) * (1 - y) * corner(0, 0, q)
            + (1 - x) * y * corner(0, 1, q)
            + x * (1 - y) * corner(1, 0, q)
            + x * y * corner(1, 1, q)
        )
        area = value(3) * copies
        registers = capacity * self.um2("logic", "register_area_um2_per_bit")
        if capacity < sizes[0] and registers < area:
            bit = self.fJ("logic", "register_fJ_per_bit")
            return bit, bit, registers, registers * self.plain("logic", "leakage_uW_per_um2")
        return value(0) * beside / word, value(1) * beside / word, area, value(4) * copies


def place(axis: list[float], at: float) -> tuple[int, float]:
    """Segment of a value on an axis and its logarithmic position inside; outside, the nearest end."""
    i = max([0, *(k for k in range(len(axis) - 1) if axis[k] <= at)])
    return i, min(1.0, max(0.0, math.log(at / axis[i]) / math.log(axis[i + 1] / axis[i])))


def price(mapping, hw, table: Table, counts: dict[str, np.ndarray]) -> Prices:
    """Prices of a mapped network with the action counts of a run."""
    out = Prices()
    layers = [_sizes(item, mapping, hw, mapping.network.n_timesteps) for item in mapping.layers]
    crossbars = mapping.n_chip_tiles * hw.tile.pes_per_tile * hw.tile.crossbars_per_pe
    _array(out, table, hw, crossbars, layers, counts)
    _arithmetic(out, table, hw, mapping.n_chip_tiles, layers, counts)
    _memories(out, table, hw, mapping.n_chip_tiles, layers, counts)
    _control(out, table)
    _transport(out, table, hw, mapping.n_chip_tiles, layers, counts)
    _global_buffer(out, table, mapping, hw, counts)
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
        "counted": item.scheme.input_offset != 0,
        "mean_code": _mean_code(item),
    }


def _mean_code(item) -> float:
    """Mean of all cells that hold weights, over the highest code of a cell: digits of the stored magnitudes."""
    base, total, cells = 2**item.scheme.cell_bits, 0, 0
    for weight, times in Counter(item.layer.matrix.ravel().tolist()).items():
        if item.scheme.kind == "differential":
            stored = [max(weight, 0), max(-weight, 0)]
        elif item.scheme.kind == "offset":
            stored = [weight + 2 ** (item.scheme.weight_bits - 1)]
        else:
            stored = [(weight + 2**item.scheme.weight_bits - 1) // 2]
        for value in stored:
            for _ in range(item.scheme.n_slices):
                total += times * (value % base)
                value //= base
                cells += times
    return total / cells / (base - 1)


def _array(out: Prices, table: Table, hw, crossbars: int, layers: list[dict], counts) -> None:
    rows, cols, share, bits = hw.crossbar.rows, hw.crossbar.cols, hw.adc.columns_per_adc, hw.adc_bits
    holds, adcs, total = hw.adc.sample_and_hold, crossbars * cols // share, {k: int(v.sum()) for k, v in counts.items()}
    numbers = {name: entry["value"] for name, entry in table.raw["cells"]["rram_1t1r"].items() if name != "kind"}
    cell = numbers["area_F2"] * (table.node / 1000) ** 2
    out.area_um2["crossbar"], out.leakage_uW["crossbar"] = crossbars * rows * cols * cell, 0.0
    full = numbers["conductance_uS"] * numbers["read_voltage_V"] ** 2 * numbers["read_time_ns"]
    rounds, zero = 1 if holds else share, numbers["zero_code_ratio"]
    out.action_fJ["crossbar"] = sum(
        int(n) * rounds * full * (zero + (1 - zero) * x["mean_code"])
        for n, x in zip(counts["cell_read"], layers, strict=True)
    )
    out.area_um2["wordline_driver"] = crossbars * rows * table.um2("wordline", "driver_area_um2")
    load = table.plain("wordline", "driver_fF") + table.plain("wordline", "wire_fF_per_um") * cols * math.sqrt(cell)
    out.action_fJ["wordline_driver"] = total["wordline_drive"] * load * table.vdd * table.vdd
    out.area_um2["sample_and_hold"] = crossbars * cols * table.um2("sample_and_hold", "area_um2") if holds else 0.0
    sample = table.fJ("sample_and_hold", "sample_fJ") if holds else 0.0
    out.action_fJ["sample_and_hold"] = total["adc_conversion"] * sample
    out.area_um2["column_mux"] = adcs * (share - 1) / 7 * table.um2("column_mux", "area_um2")
    out.action_fJ["column_mux"] = total["adc_conversion"] * (share - 1) / 7 * table.fJ("column_mux", "conversion_fJ")
    node = table.node / 28
    out.area_um2["adc"] = adcs * 16.0694 * 10 ** (-0.0369 * bits) * 2**bits * node**1.556
    out.action_fJ["adc"] = total["adc_conversion"] * (100 * bits + 0.001 * 4**bits) * 0.9**2 * node**1.88


def _control(out: Prices, table: Table) -> None:
    """Clock and control: a share of the energy and area of the logic in tiles."""
    control = table.raw["control"]
    whole = ("shift_add", "spike_counter", "pe_accumulator", "tile_accumulator", "neuron", "residual_adder", "pooling")
    area = sum(out.area_um2[name] for name in whole) + sum(out.logic_um2.values())
    energy = sum(out.action_fJ[name] for name in whole) + sum(out.logic_fJ.values())
    out.area_um2["control"] = area * control["area_ratio"]["value"]
    out.action_fJ["control"] = energy * control["energy_ratio"]["value"]
    out.area_um2["dram"] = out.action_fJ["dram"] = 0.0


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
    count = table.fJ("logic", "counter_fJ") * row_bits / ref
    out.action_fJ["spike_counter"] = int(counts["input_count"].sum()) * count
    counters = pes * hw.tile.crossbars_per_pe if any(x["counted"] for x in layers) else 0
    out.area_um2["spike_counter"] = counters * table.um2("logic", "counter_area_um2") * row_bits / ref
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
    bank = lambda x: table.macro(math.ceil(x["bn_memory"] / x["homes"]), max(1, 2 * x["bn"]))  # noqa: E731
    copies = lambda x: x["bn_memory"] / max(1, math.ceil(x["bn_memory"] / x["homes"]))  # noqa: E731
    out.area_um2["batch_norm"] = lane_um2 + sum(copies(x) * bank(x)[2] for x in layers)
    out.leakage_uW["batch_norm"] = lane_um2 * table.plain("logic", "leakage_uW_per_um2")
    out.leakage_uW["batch_norm"] += sum(copies(x) * bank(x)[3] for x in layers)
    out.logic_um2["batch_norm"] = lane_um2
    out.logic_fJ["batch_norm"] = each(
        "bn_update",
        lambda x: x["bn"] * x["psum"] * multiply / ref**2 + (x["bn"] > 0) * (x["bn"] + x["psum"]) * add / ref,
    )
    held = each("bn_update", lambda x: 2 * x["bn"] * bank(x)[0])
    out.action_fJ["batch_norm"] = out.logic_fJ["batch_norm"] + held
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
    def memory(name: str, bits: str, word: int, macros, reads: str | None, writes: str, copies=lambda x: 1) -> None:
        out.area_um2[name] = out.leakage_uW[name] = out.action_fJ[name] = 0.0
        for i, x in enumerate(layers):
            each = math.ceil(x[bits] / macros(x))
            read, write, area, leakage = table.macro(each, word)
            number = x[bits] * copies(x) / max(1, each)
            out.area_um2[name] += number * area
            out.leakage_uW[name] += number * leakage
            out.action_fJ[name] += int(counts[writes][i]) * write + (int(counts[reads][i]) * read if reads else 0.0)

    per_home = lambda x: x["homes"]  # noqa: E731
    per_bank = lambda x: x["homes"] * hw.neuron.memory.banks  # noqa: E731
    word, bus = hw.neuron.memory.word_bits, hw.tile.input_bus_bits
    reads, writes = "input_buffer_read_bits", "input_buffer_write_bits"
    memory("input_buffer", "input", bus, lambda x: 1, reads, writes, copies=lambda x: x["tiles"])
    memory("spike_buffer", "sent", hw.noc.flit_bits, per_home, None, "spike_buffer_write_bits")
    memory("residual_memory", "waiting", word, per_bank, "residual_read_bits", "residual_write_bits")
    if hw.dataflow.loop == "timestep_major":
        memory("membrane_memory", "membranes", word, per_bank, "membrane_read_bits", "membrane_write_bits")
        memory("current_memory", "held", word, per_bank, "current_read_bits", "current_write_bits")
        return
    registers = n_tiles * hw.neuron.lanes * max(x["register"] for x in layers)
    out.area_um2["membrane_memory"] = registers * table.um2("logic", "register_area_um2_per_bit")
    accesses = int(counts["membrane_register_bits"].sum())
    out.action_fJ["membrane_memory"] = accesses * table.fJ("logic", "register_fJ_per_bit")
    out.logic_um2["membrane_memory"] = out.area_um2["membrane_memory"]
    out.logic_fJ["membrane_memory"] = out.action_fJ["membrane_memory"]
    out.area_um2["current_memory"] = out.action_fJ["current_memory"] = 0.0


def _global_buffer(out: Prices, table: Table, mapping, hw, counts) -> None:
    """An image in each slot; a step of it if the steps differ and come one by one."""
    node = mapping.network.input
    steps = mapping.network.n_timesteps if hw.dataflow.loop == "layer_major" and not node.static else 1
    bits = math.prod(node.shape) * node.bits * steps * hw.global_buffer.slots
    read, write, out.area_um2["global_buffer"], out.leakage_uW["global_buffer"] = table.macro(
        bits, hw.global_buffer.bus_bits
    )
    loaded, handed = int(counts["input_load_bits"].sum()), int(counts["global_buffer_read_bits"].sum())
    out.action_fJ["global_buffer"] = loaded * write + handed * read


def _transport(out: Prices, table: Table, hw, n_tiles: int, layers: list[dict], counts) -> None:
    """Wires as long as the side of a tile's floor plan: everything placed in tiles so far."""
    bus, noc = table.raw["bus"], table.raw["noc"]
    number = lambda name: bus[name]["value"]  # noqa: E731
    tile = sum(out.area_um2.values()) / n_tiles
    side = math.sqrt(tile)
    tree = max(side, 1.5 * side * (math.sqrt(hw.tile.pes_per_tile) - 1))
    wires = hw.tile.input_bus_bits + hw.tile.output_bus_bits
    repeaters = wires * number("pitch_um") * tree * number("active_area_ratio")
    out.area_um2["tile_bus"] = n_tiles * repeaters
    bit = number("wire_fF_per_um") * (1 + number("repeater_ratio")) * side * number("toggle_ratio") * table.vdd**2
    bits = int(counts["input_buffer_read_bits"].sum())
    bits += sum(int(n) * x["psum"] for n, x in zip(counts["tile_add"], layers, strict=True))
    out.action_fJ["tile_bus"] = bits * bit
    router = table.um2("noc", "router_area_um2") * noc["mesh_ports"] / noc["router_ports"]
    router *= hw.noc.flit_bits / noc["router_flit_bits"]
    out.area_um2["noc"] = n_tiles * router
    link = noc["link_wire_fF_per_um"]["value"] * math.sqrt(tile + repeaters + router) * table.vdd**2
    link *= noc["link_toggle_ratio"]["value"]
    hops = sum(int(counts[f"{kind}_flit_hops"].sum()) for kind in ("psum", "spike", "input"))
    out.action_fJ["noc"] = hops * hw.noc.flit_bits * (table.fJ("noc", "router_fJ") / noc["transfer_bits"] + link)
    port = hw.noc.input_bits_per_cycle
    out.area_um2["input_load"] = port * table.um2("logic", "register_area_um2_per_bit")
    load = table.raw["input_load"]
    out.action_fJ["input_load"] = (
        int(counts["input_load_bits"].sum()) * load["transfer_fJ"]["value"] / load["transfer_bits"]
    )
