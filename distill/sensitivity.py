"""How much each layer suffers from few bits: one layer at a time, the others at a width that costs nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from spikeloop.models.net import SpikingNet
from spikeloop.models.network_spec import NetworkSpec
from spikeloop.models.plan import geometries, neuron_steps
from spikeloop.models.zoo import architecture
from spikeloop.simulator.errors import ConfigError, DatasetError
from spikeloop.simulator.spec import validate_spec

from .compare import LayerDistance, layer_distances
from .config import TrainingConfig
from .datasets import AnyDataset
from .encode import split_spikes
from .evaluate import evaluate_codes
from .ptq import quantise_trained, settling_codes
from .schedule import shortened
from .train import train_student

Kind = Literal["weights", "membranes"]


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What a width of one layer costs; the reference has ``rest_bits`` everywhere.

    Attributes:
        kind: whose width it is.
        accuracy: share of the test images classified right, in the integers of the network file.
        accuracy_drop: that of the reference minus this one.
        membrane_error: root mean square of H - H_teacher over that of H_teacher, in the layer itself; None for the
            classifier, which has no membrane.
        last_membrane_error: the same in the last layer with neurons, which the classifier reads.
        last_spike_disagreement: there, share of neurons and steps where one fires and the other does not.
        trained_accuracy: after a short distillation; None without one.
    """

    layer: str
    kind: Kind
    bits: int
    accuracy: float
    accuracy_drop: float
    membrane_error: float | None
    last_membrane_error: float
    last_spike_disagreement: float
    trained_accuracy: float | None = None


@dataclass(frozen=True, kw_only=True)
class SensitivityResult:
    """The reference and every (layer, kind, width), layers in network order, widths ascending."""

    reference_accuracy: float
    rest_bits: int
    n_images: int
    rows: tuple[Sensitivity, ...]


@dataclass(frozen=True, kw_only=True)
class SensitivityPlan:
    """What is tried.

    Attributes:
        bits: widths.
        rest_bits: width of the weights and membranes of all other layers.
        n_images: test images.
        settle_images: training images that settle the batch norms.
        kinds: weights, membranes or both.
        epochs: of a distillation after it; None trains nothing.
    """

    bits: tuple[int, ...]
    rest_bits: int = 8
    n_images: int = 500
    settle_images: int = 512
    kinds: tuple[Kind, ...] = ("weights", "membranes")
    epochs: int | None = None


def measure_sensitivity(
    config: TrainingConfig,
    teacher: SpikingNet,
    dataset: AnyDataset,
    plan: SensitivityPlan,
    progress: Callable[[Sensitivity], None] | None = None,
) -> SensitivityResult:
    """Accuracy and membrane error of every layer and width, without training (see ``quantise_trained``).

    Args:
        config: a student; its own widths of weights and membranes are not used.
        teacher: trained network of the same architecture.
        dataset: training images settle the batch norms, the first test images are classified.
        plan: what is tried.
        progress: sees every row as it is ready.

    Raises:
        ConfigError: no student's configuration, a width that its quantiser cannot have, or a teacher of another kind.
        DatasetError: too few images.
    """
    if config.quantisation is None:
        raise ConfigError(f"role is '{config.role}'; sensitivity needs a student's training file")
    there = len(dataset.test_labels)
    if plan.n_images > there:
        raise DatasetError(f"data set {dataset.name}: {plan.n_images} test images are asked for; allowed 1 to {there}")
    bench = _Bench(config, teacher, dataset, plan)
    reference, _ = bench.untrained(with_widths(config, plan.rest_bits, {}, {}))
    rows = []
    for kind, layer, bits in _cases(config.network, plan):
        one = {layer: bits}
        changed = with_widths(
            config, plan.rest_bits, one if kind == "weights" else {}, one if kind == "membranes" else {}
        )
        accuracy, distances = bench.untrained(changed)
        last = list(distances.values())[-1]
        rows.append(
            Sensitivity(
                layer=layer,
                kind=kind,
                bits=bits,
                accuracy=accuracy,
                accuracy_drop=reference - accuracy,
                membrane_error=distances[layer].membrane_error if layer in distances else None,
                last_membrane_error=last.membrane_error,
                last_spike_disagreement=last.spike_disagreement,
                trained_accuracy=bench.trained(changed),
            )
        )
        if progress is not None:
            progress(rows[-1])
    return SensitivityResult(
        reference_accuracy=reference, rest_bits=plan.rest_bits, n_images=plan.n_images, rows=tuple(rows)
    )


def with_widths(
    config: TrainingConfig, rest_bits: int, weights: Mapping[str, int], membranes: Mapping[str, int]
) -> TrainingConfig:
    """The same training with ``rest_bits`` in every layer but those that are named.

    Raises:
        ConfigError: a width that the quantiser cannot have.
    """
    plan, raw = architecture(config.network), config.resolved()
    raw["quantisation"] |= {
        "membrane_bits": rest_bits,
        "layer_bits": {**dict.fromkeys(geometries(plan), rest_bits), **weights},
        "membrane_layer_bits": dict(membranes),
    }
    return validate_spec(TrainingConfig, raw, where="sensitivity")


def _cases(network: str | NetworkSpec, plan: SensitivityPlan) -> Iterator[tuple[Kind, str, int]]:
    shape = architecture(network)
    layers: Mapping[Kind, Sequence[str]] = {"weights": tuple(geometries(shape)), "membranes": neuron_steps(shape)}
    for kind in plan.kinds:
        yield from ((kind, layer, bits) for layer, bits in itertools.product(layers[kind], sorted(plan.bits)))


class _Bench:
    """Images and teacher that all cases share."""

    def __init__(self, config: TrainingConfig, teacher: SpikingNet, dataset: AnyDataset, plan: SensitivityPlan) -> None:
        self._teacher, self._dataset, self._plan = teacher, dataset, plan
        self._settling = settling_codes(config, dataset, plan.settle_images)
        node = architecture(config.network).input
        spikes = split_spikes(
            dataset, "test", plan.n_images, node, n_timesteps=config.n_timesteps, frames=config.frames
        )
        self._codes = torch.from_numpy(spikes.codes).to(torch.float32)
        self._labels = dataset.test_labels[: plan.n_images]

    def untrained(self, config: TrainingConfig) -> tuple[float, dict[str, LayerDistance]]:
        """Accuracy, and distances to the teacher by layer."""
        net = quantise_trained(config, self._teacher, self._settling)
        accuracy = evaluate_codes(net, self._codes, self._labels).accuracy
        return accuracy, layer_distances(net, self._teacher, self._codes)

    def trained(self, config: TrainingConfig) -> float | None:
        """Accuracy after a short distillation, on the same images."""
        if self._plan.epochs is None:
            return None
        short = validate_spec(TrainingConfig, shortened(config.resolved(), self._plan.epochs), where="sensitivity")
        result = train_student(short, self._dataset, self._teacher)
        return evaluate_codes(result.net, self._codes, self._labels).accuracy
