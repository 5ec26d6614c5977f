"""The actions that cost energy; ``Trace.action_counts`` holds one count a layer for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: Action -> what one count is. Counts are sums over all images of the trace.
ACTIONS: Mapping[str, str] = MappingProxyType(
    {
        "input_load_bits": "bits of the image brought into the global buffer (first layer only)",
        "global_buffer_read_bits": "bits of the image handed from the global buffer to the network (first layer only)",
        "input_flit_hops": "flits of the image x links they cross (first layer only)",
        "input_buffer_write_bits": "input bits written into the input buffers of the layer's tiles",
        "input_buffer_read_bits": "input bits handed from the input buffers to wordline drivers",
        "crossbar_read": "reads: one crossbar, one row group, one plane, not skipped",
        "wordline_drive": "wordlines driven high, summed over crossbar reads",
        "cell_read": "cells that conduct: driven wordlines x bitlines used, summed over crossbar reads",
        "adc_conversion": "bitline samples converted: bitlines used, summed over crossbar reads",
        "shift_add": "codes shifted and added to a partial sum (one a conversion)",
        "input_count": "driven wordlines counted for the digital correction of offset and affine weights",
        "pe_add": "partial sums added inside PEs: (crossbars - 1) x outputs a driven token",
        "tile_add": "partial sums of driven tokens added by tile accumulators, and those from other tiles",
        "psum_flit_hops": "flits of partial sums x links they cross",
        "bn_update": "batch-norm multiply-adds: one a neuron and run of the layer's crossbars",
        "neuron_update": "neuron updates: one a neuron and step; the classifier adds its logits",
        "membrane_read_bits": "bits read from membrane memory (whole words)",
        "membrane_write_bits": "bits written to membrane memory (whole words)",
        "membrane_register_bits": "membrane and held-current bits in registers instead (layer_major): written and read",
        "current_read_bits": "bits of held direct-coded currents read",
        "current_write_bits": "bits of held direct-coded currents written",
        "residual_write_bits": "bits of residual values written into the memory of the add that waits for them",
        "residual_read_bits": "bits of residual values read by their add (whole words)",
        "residual_add": "additions of residual adds: (inputs - 1) a value",
        "pool_add": "additions of sum pooling",
        "spike_buffer_write_bits": "bits of spikes and other values written into the output buffers",
        "spike_flit_hops": "flits of spikes and other values between layers x links they cross (multicast tree)",
    }
)
