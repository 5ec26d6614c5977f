# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One tile by hand
#
# A spiking layer with six inputs and three neurons, on one crossbar. We put its weights on cells, drive four
# time steps of spikes, read ADC codes, follow the membranes, count clock cycles and add up the energy. Every
# number is small enough to check on paper.

# %%
import matplotlib.pyplot as plt
import numpy as np

from spikeloop.simulator import SpikeTrain, evaluate, map_network
from spikeloop.simulator.config import CrossbarConfig, HardwareConfig, TileConfig, UniformAdc
from spikeloop.simulator.functional.geometry import layer_cells
from spikeloop.simulator.functional.run import run_functional
from spikeloop.simulator.network.graph import InputNode, LifNode, LinearNode, Network, ReadoutNode, chain_edges
from spikeloop.simulator.program import compile_program

# %% [markdown]
# ## The network
#
# Weights have 3 bits including the sign, so they lie in -3..3. The neuron fires when its membrane reaches
# `theta = 4` and halves its state from step to step; the state is stored in 4 bits.

# %%
weight = np.array([[3, -1, 0, 2, 1, -2], [-2, 3, 1, 0, 2, 1], [1, 1, -3, 2, 0, 3]])
nodes = (
    InputNode(name="in", shape=(6, 1, 1)),
    LinearNode(name="hidden", weight=weight, weight_bits=3),
    LifNode(name="neurons", theta=4, membrane_bits=4, guard_bits=0),
    LinearNode(name="classifier", weight=np.array([[1, -1, 1], [-1, 1, 1]]), weight_bits=2),
    ReadoutNode(name="logits", bias=np.zeros(2, dtype=np.int64)),
)
network = Network(name="first_tile", n_timesteps=4, nodes=nodes, edges=chain_edges(nodes))

spikes = np.array([[1, 0, 1, 1, 0, 0], [0, 1, 0, 1, 1, 1], [1, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]])
train = SpikeTrain(name="by hand", codes=spikes.reshape(4, 1, 6, 1, 1), labels=np.array([0]), indices=np.array([0]))

# %% [markdown]
# ## The hardware
#
# One 8 x 16 crossbar of one-bit cells. A weight's magnitude has two bits, so it takes two columns for each sign:
# 3 neurons x 2 signs x 2 slices = 12 of the 16 columns. The ADC has 2 bits: it knows 0, 1, 2, 3, and four
# driven ones in a column would clip.

# %%
hardware = HardwareConfig(
    name="one_tile",
    source="made for this notebook",
    technology="rram_65nm",
    clock_GHz=0.25,
    crossbar=CrossbarConfig(rows=8, cols=16),
    adc=UniformAdc(bits=2, full_scale="calibrated", columns_per_adc=4),
    tile=TileConfig(pes_per_tile=1, crossbars_per_pe=1),
)
mapping = map_network(network, hardware)
layer = mapping.layers[0]
cells = layer_cells(layer, group=0)
print(
    f"{layer.scheme.kind}: {layer.scheme.n_signs} signs x {layer.scheme.n_slices} slices, {cells.shape[1]} columns used"
)

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), width_ratios=[3, 1.3])
axes[0].imshow(cells, cmap="Blues", vmin=0, vmax=1.4)
axes[0].set_xticks(range(12), [f"{'+-'[c // 6]}{2 ** (c // 3 % 2)}\nn{c % 3}" for c in range(12)])
axes[0].set_yticks(range(6), [f"input {r}" for r in range(6)])
axes[0].set_title("cells: sign, place value and neuron of every column")
for (row, column), value in np.ndenumerate(cells):
    axes[0].text(column, row, value, ha="center", va="center", fontsize=8)
axes[1].imshow(spikes.T, cmap="Greys", vmin=0, vmax=1.4)
axes[1].set_xticks(range(4), [f"t={t}" for t in range(4)])
axes[1].set_yticks(range(6), [])
axes[1].set_title("input spikes")
figure.tight_layout()

# %% [markdown]
# ## Spikes in, codes out
#
# A driven row adds its cells to the column sums. The ADC turns each sum into a code, and shift-and-add gives the
# partial sum `P = (code of 2^0) + 2 * (code of 2^1)`, positive minus negative columns. With a 2-bit ADC every sum
# up to 3 survives; here no column is driven by more than three ones, so `P` equals the exact product.

# %%
for t in range(4):
    sums = spikes[t] @ cells.astype(int)
    codes = np.minimum(sums, 3).reshape(2, 2, 3)  # sign, slice, neuron
    psum = (codes[0] - codes[1]).T @ np.array([1, 2])
    print(f"t={t}  column sums {sums}  P = {psum}")
    assert np.array_equal(psum, weight @ spikes[t])

# %% [markdown]
# ## Membranes
#
# `H = U/2 + P` (ties to the even number), a spike where `H >= 4`, reset to 0, store in 4 bits (-8..7).

# %%
adc_shift = (0, 0)
outputs = run_functional(network, mapping, hardware, train, adc_shift=adc_shift, record=True)
fired = outputs.spikes["neurons"].reshape(4, 3)
stored = outputs.membranes["neurons"].reshape(4, 3)
state = np.zeros(3, dtype=int)
for t in range(4):
    h = np.round(state / 2).astype(int) + weight @ spikes[t]
    state = np.clip(np.where(h >= 4, 0, h), -8, 7)
    print(f"t={t}  H = {h}  spikes = {(h >= 4).astype(int)}  stored U = {state}")
    assert np.array_equal(state, stored[t])
    assert np.array_equal(h >= 4, fired[t] == 1)

# %%
figure, axis = plt.subplots(figsize=(6, 3))
for neuron in range(3):
    axis.step(range(4), stored[:, neuron], where="mid", marker="o", label=f"neuron {neuron}")
axis.axhline(4, color="grey", linestyle=":", label="threshold")
axis.set_xticks(range(4))
axis.set(xlabel="time step", ylabel="stored membrane (code)", title="membranes after reset")
axis.legend(fontsize=8)
figure.tight_layout()

# %% [markdown]
# ## Cycles
#
# The clock runs the same spikes through fetch, read, convert, accumulate, neuron update and spike link.
# Four columns share an ADC, so a full crossbar needs four rounds. Membrane memory is not read at the first step
# and not written at the last one. Step 3 has no spikes: its read passes in one cycle.

# %%
result = evaluate(network, hardware, train, seed=0, adc_shift=adc_shift)
trace, program = result.trace, compile_program(mapping, hardware)
for unit in range(program.n_units):
    print(
        f"{program.unit_name(unit):28s} tokens {trace.tokens[unit]:3d}  busy {trace.busy[unit]:3d}  "
        f"stalled {trace.stalled[unit]:3d}  idle {trace.idle[unit]:4d} cycles"
    )
print(f"total: {trace.total_cycles} cycles = {result.metrics.latency_ns:.0f} ns")

# %%
figure, axis = plt.subplots(figsize=(9, 2.2))
for t in range(4):
    for index, _ in enumerate(("hidden", "classifier")):
        start, end = trace.phase_start[0, t, index], trace.phase_end[0, t, index]
        axis.barh(index, end - start, left=start, color=f"C{index}", edgecolor="white")
        axis.text((start + end) / 2, index, f"t={t}", ha="center", va="center", color="white", fontsize=8)
axis.set_yticks([0, 1], ["hidden", "classifier"])
axis.set(xlabel="clock cycle", title="when each layer works")
axis.invert_yaxis()
figure.tight_layout()

# %% [markdown]
# ## Energy
#
# Every action has a price in `hwconfigs/technology/rram_65nm.yaml`, with its source. Energy is the sum of actions
# plus leakage over the latency; the parts add up to the whole exactly.

# %%
parts = {name: part.energy_fJ for name, part in result.metrics.by_component.items() if part.energy_fJ > 0}
assert abs(sum(parts.values()) - result.metrics.energy_fJ) <= 1e-9 * result.metrics.energy_fJ
names = sorted(parts, key=parts.__getitem__)
figure, axis = plt.subplots(figsize=(7, 3.6))
axis.barh(names, [parts[name] / 1e3 for name in names])
axis.set(xlabel="energy per inference (pJ)", title=f"{result.metrics.energy_fJ / 1e3:.1f} pJ in all", xscale="log")
figure.tight_layout()

# %%
conversions = int(trace.action_counts["adc_conversion"].sum())
print(f"{conversions} conversions: 3 driven steps x 12 columns in the first layer, the rest in the classifier")
