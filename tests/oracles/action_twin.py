"""Action counts, naively: walk every image, run, position, read, PE, plane and crossbar.

Shares no code with ``simulator/cycle/counts.py``; reads the mapping, the design and the activity.
"""

from __future__ import annotations

from collections import defaultdict
from math import ceil


def any_active(activity, image, run, position, planes, groups):
    return any(activity[image, run, position, plane, group] > 0 for plane in planes for group in groups)


def count_layer(program, activity, index):
    mapped = program.mapping.layers[index]
    layer, network = mapped.layer, program.mapping.network
    count = defaultdict(int)
    steps = network.n_timesteps
    runs = range(1 if layer.input.static else steps)
    images = range(activity.n_images)
    positions = range(layer.out_shape[1] * layer.out_shape[2])
    reads = range(mapped.reads_per_vector)
    planes = range(layer.input.bits)
    active = activity.layers[index].active_rows
    for image in images:
        if index == 0:
            frames = 1 if network.input.static else steps
            c, h, w = network.input.shape
            count["input_load_bits"] += frames * c * h * w * network.input.bits
        for run in runs:
            c, h, w = layer.in_shape
            count["input_buffer_write_bits"] += len({pe.tile for pe in mapped.pes}) * c * h * w * layer.input.bits
            for position in positions:
                for read in reads:
                    count_read(count, program, mapped, active, image, run, position, read, planes)
                count_psum_packets(count, program, mapped)
    for _ in images:
        count_neurons(count, program, mapped, steps, positions)
    if mapped.scheme.kind != "differential":
        count["input_count"] = count["wordline_drive"]
    return count


def count_read(count, program, mapped, active, image, run, position, read, planes):
    skipping = program.hw.dataflow.zero_skipping
    fetched = set()
    for pe in mapped.pes:
        group = mapped.blocks[pe.block].group
        outputs = mapped.blocks[pe.block].n_outputs
        row_blocks = range(pe.first_row_block, pe.first_row_block + pe.n_crossbars)
        for row_block in row_blocks:
            key = pe.tile, group, row_block
            if key not in fetched:
                fetched.add(key)
                count["input_buffer_read_bits"] += mapped.rows_in_group(row_block, read) * len(planes)
        holding = [b for b in row_blocks if mapped.rows_in_group(b, read) > 0]
        of_group = [
            mapped.row_group(group, b, r) for b in range(mapped.row_blocks) for r in range(mapped.reads_per_vector)
        ]
        of_pe = [mapped.row_group(group, b, read) for b in row_blocks]
        some_plane = False
        for plane in planes:
            driven = bool(holding)
            if skipping == "vector":
                driven = driven and any_active(active, image, run, position, planes, of_group)
            elif skipping == "row_group":
                driven = any_active(active, image, run, position, [plane], of_pe)
            if not driven:
                continue
            some_plane = True
            for row_block in holding:
                rows = int(active[image, run, position, plane, mapped.row_group(group, row_block, read)])
                count["crossbar_read"] += 1
                count["wordline_drive"] += rows
                for _ in range(pe.cols_used):
                    count["adc_conversion"] += 1
                    count["shift_add"] += 1
                    count["cell_read"] += rows
        if some_plane:
            count["tile_add"] += outputs
            count["pe_add"] += (len(holding) - 1) * outputs


def flits_of(hw, payload):
    return max(1, ceil((hw.noc.header_bits + payload) / hw.noc.flit_bits))


def count_psum_packets(count, program, mapped):
    """One packet from every tile that holds a PE of a block to the block's home, blocks of a pair together."""
    outputs = defaultdict(int)
    for block in mapped.blocks:
        tiles = {pe.tile for pe in mapped.pes if pe.block == block.index}
        for tile in tiles:
            if tile != block.home_tile:
                outputs[tile, block.home_tile] += block.n_outputs
    for (tile, home), n in outputs.items():
        (ax, ay), (bx, by) = program.mapping.placement.xy[tile], program.mapping.placement.xy[home]
        count["psum_flit_hops"] += flits_of(program.hw, n * mapped.layer.psum_bits) * (abs(ax - bx) + abs(ay - by))
        count["tile_add"] += n


def tree_links(program, source, targets):
    """Links of the multicast tree, walked: along the row to each column, then along the column."""
    xy = program.mapping.placement.xy
    links = set()
    for target in targets:
        (x, y), (tx, ty) = xy[source], xy[target]
        while x != tx:
            step = x + (1 if tx > x else -1)
            links.add(((min(x, step), y), (max(x, step), y)))
            x = step
        while y != ty:
            step = y + (1 if ty > y else -1)
            links.add(((x, min(y, step)), (x, max(y, step))))
            y = step
    return len(links)


def count_neurons(count, program, mapped, steps, positions):
    layer, hw = mapped.layer, program.hw
    following = program.mapping.layers[layer.index + 1] if layer.index + 1 < len(program.mapping.layers) else None
    registers = hw.dataflow.loop == "layer_major"
    word = hw.neuron.memory.word_bits
    for home in {block.home_tile for block in mapped.blocks}:
        neurons = sum(block.n_outputs for block in mapped.blocks if block.home_tile == home)
        for step in range(steps):
            sent_positions = layer.sent_shape[1] * layer.sent_shape[2]
            if following is not None:
                payload = neurons * following.layer.input.bits
                targets = {pe.tile for pe in following.pes}
                hops = tree_links(program, home, targets)
                count["spike_flit_hops"] += sent_positions * flits_of(hw, payload) * hops
                count["spike_buffer_write_bits"] += sent_positions * payload
            if layer.pool is not None:
                count["pool_add"] += sent_positions * neurons * (layer.pool.kernel**2 - 1)
            for _ in positions:
                count["neuron_update"] += neurons
                if layer.batch_norm is not None and (step == 0 or not layer.input.static):
                    count["bn_update"] += neurons
                accesses = []
                if layer.lif is not None:
                    accesses.append(("membrane", layer.lif.membrane_bits, step > 0, step < steps - 1))
                if layer.input.static:
                    accesses.append(("current", layer.psum_bits, step > 0, step == 0 and steps > 1))
                for kind, bits, read, write in accesses:
                    if registers:
                        count["membrane_register_bits"] += (read + write) * neurons * bits
                    else:
                        stored = ceil(neurons * bits / word) * word
                        count[f"{kind}_read_bits"] += read * stored
                        count[f"{kind}_write_bits"] += write * stored
