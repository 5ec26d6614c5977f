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
        if index == first_reader(program):
            count_input(count, program)
        for run in runs:
            c, h, w = layer.in_shape
            count["input_buffer_write_bits"] += (
                len({(pe.replica, pe.tile) for pe in mapped.pes}) * c * h * w * layer.input.bits
            )
            for position in positions:
                replica = replica_of(mapped, layer.out_shape[2], position)
                pes = [pe for pe in mapped.pes if pe.replica == replica]
                for read in reads:
                    count_read(count, program, mapped, pes, active, image, run, position, read, planes)
                count_psum_packets(count, program, mapped, replica)
        for step in range(steps):
            for number, op in enumerate(layer.ops):
                for position in range(op.shape[1] * op.shape[2]):
                    count_op(count, program, mapped, number, op, step, position)
    if mapped.scheme.kind != "differential":
        count["input_count"] = count["wordline_drive"]
    return count


def replica_of(mapped, width, position):
    """Replica that has a position of a map: whole column groups in turn; behind a pool a column is a group."""
    group = mapped.column_group if width == mapped.layer.out_shape[2] else 1
    return (position % width) // group % mapped.n_replicas


def first_reader(program):
    return next(item.layer.index for item in program.mapping.layers if item.layer.input_signal == (-1, 0))


def count_input(count, program):
    """One image: off-chip to global buffer, and packets of one position from router (0, 0) to all who read it."""
    network = program.mapping.network
    frames = 1 if network.input.static else network.n_timesteps
    c, h, w = network.input.shape
    for _ in range(frames * h * w):
        count["input_load_bits"] += c * network.input.bits
        count["global_buffer_read_bits"] += c * network.input.bits
        tiles = {pe.tile for item in program.mapping.layers if item.layer.input_signal == (-1, 0) for pe in item.pes}
        count["input_flit_hops"] += flits_of(program.hw, c * network.input.bits) * tree_links(program, (0, 0), tiles)


def count_read(count, program, mapped, pes, active, image, run, position, read, planes):
    skipping = program.hw.dataflow.zero_skipping
    fetched = set()
    for pe in pes:
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


def count_psum_packets(count, program, mapped, replica):
    """One packet from every tile that holds a PE of a block to the block's home, blocks of a pair together."""
    outputs = defaultdict(int)
    for block in mapped.blocks:
        if block.replica != replica:
            continue
        tiles = {pe.tile for pe in mapped.pes if pe.block == block.index}
        for tile in tiles:
            if tile != block.home_tile:
                outputs[tile, block.home_tile] += block.n_outputs
    for (tile, home), n in outputs.items():
        (ax, ay), (bx, by) = program.mapping.placement.xy[tile], program.mapping.placement.xy[home]
        count["psum_flit_hops"] += flits_of(program.hw, n * mapped.layer.psum_bits) * (abs(ax - bx) + abs(ay - by))
        count["tile_add"] += n


def tree_links(program, source, targets):
    """Links of the multicast tree from a router, walked: along the row to each column, then along the column."""
    xy = program.mapping.placement.xy
    links = set()
    for target in targets:
        (x, y), (tx, ty) = source, xy[target]
        while x != tx:
            step = x + (1 if tx > x else -1)
            links.add(((min(x, step), y), (max(x, step), y)))
            x = step
        while y != ty:
            step = y + (1 if ty > y else -1)
            links.add(((x, min(y, step)), (x, max(y, step))))
            y = step
    return len(links)


def channels(layer, blocks):
    return {block.group * layer.n_outputs + block.first_output + i for block in blocks for i in range(block.n_outputs)}


def tiles_that_read(program, signal, sent):
    """Tiles of layers whose crossbars read a signal, and homes of adds that need some of the channels sent."""
    tiles = set()
    for item in program.mapping.layers:
        if item.layer.input_signal == signal:
            tiles |= {pe.tile for pe in item.pes}
        if any(signal in op.residuals for op in item.layer.ops):
            for block in item.blocks:
                if channels(item.layer, [block]) & sent:
                    tiles.add(block.home_tile)
    return tiles


def is_read(program, signal):
    return any(
        item.layer.input_signal == signal or any(signal in op.residuals for op in item.layer.ops)
        for item in program.mapping.layers
    )


def count_op(count, program, mapped, number, op, step, position):
    """One position of one op at one step, at the homes of the replica that has it."""
    layer, hw, steps = mapped.layer, program.hw, program.mapping.network.n_timesteps
    replica = replica_of(mapped, op.shape[2], position)
    blocks = [block for block in mapped.blocks if block.replica == replica]
    for home in {block.home_tile for block in blocks}:
        mine = [block for block in blocks if block.home_tile == home]
        neurons = sum(block.n_outputs for block in mine)
        if op.kind == "norm":
            if layer.batch_norm is not None and (step == 0 or not layer.input.static):
                count["bn_update"] += neurons
            if layer.input.static:
                keep(count, hw, "current", neurons, layer.psum_bits, step > 0, step == 0 and steps > 1)
        if op.kind == "lif":
            keep(count, hw, "membrane", neurons, op.node.membrane_bits, step > 0, step < steps - 1)
        if op.kind in ("lif", "readout"):
            count["neuron_update"] += neurons
        if op.kind == "pool":
            count["pool_add"] += neurons * (op.node.kernel * op.node.kernel - 1)
        if op.kind == "add":
            count["residual_add"] += neurons * (len(op.sources) + len(op.residuals) - 1)
            for signal in op.residuals:
                bits = program.mapping.layers[signal.layer].layer.ops[signal.op].bits
                words = ceil(neurons * bits / hw.neuron.memory.word_bits)
                count["residual_write_bits"] += words * hw.neuron.memory.word_bits
                count["residual_read_bits"] += words * hw.neuron.memory.word_bits
        signal = (layer.index, number)
        if is_read(program, signal):
            count["spike_buffer_write_bits"] += neurons * op.bits
            tiles = tiles_that_read(program, signal, channels(layer, mine))
            source = program.mapping.placement.xy[home]
            count["spike_flit_hops"] += flits_of(hw, neurons * op.bits) * tree_links(program, source, tiles)


def keep(count, hw, kind, neurons, bits, read, write):
    """Values that stay from step to step: whole words of the memory, or registers in ``layer_major``."""
    if hw.dataflow.loop == "layer_major":
        count["membrane_register_bits"] += (read + write) * neurons * bits
        return
    stored = ceil(neurons * bits / hw.neuron.memory.word_bits) * hw.neuron.memory.word_bits
    count[f"{kind}_read_bits"] += read * stored
    count[f"{kind}_write_bits"] += write * stored
