"""Training files: what ``spikeloop train`` reads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from spikeloop.models.lif import NeuronSpec
from spikeloop.models.network_spec import NetworkSpec
from spikeloop.models.plan import Architecture, check_student, neuron_steps
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.zoo import architecture, read_network
from spikeloop.simulator.config import resolve_yaml
from spikeloop.simulator.spec import Spec, canonical_hash, validate_spec
from spikeloop.simulator.strict_yaml import read_yaml

from .events import FrameRule
from .firing import spike_energy_fJ
from .hardware import HardwareSpec

#: Which steps of student and teacher are compared.
Match = Literal["step", "mean"]
MembraneForm = Literal["l2", "relative", "gram"]
#: Numbers of the products in the training's forward pass.
Precision = Literal["float32", "bfloat16"]
_LAST_FIELDS = ("train_images", "test_images")


class LossSpec(Spec):
    """Weights and forms of the losses; a distillation loss of weight 0 is not computed.

    ``label_loss`` is what ``cross_entropy`` weighs: cross entropy of the time mean, or ``tet`` (Deng et al., ICLR
    2022): cross entropy of every step, with ``tet_share`` of the squared distance of the logits from ``tet_target``.
    ``logit_match`` and ``membrane_match`` say what a student with fewer steps than its teacher is compared with:
    the same step, or the time mean. ``layer_weights`` weigh the membranes of layers with neurons by name, 1 where
    left out. The weights of both distillation losses grow over the first ``kd_warmup_epochs``. ``firing_penalty``
    weighs the mean firing rate; with ``energy_from``, a file of ``spikeloop simulate --json``, each spike counts by the
    energy it costs the layers that read it.
    """

    cross_entropy: float = Field(default=1.0, ge=0)
    label_loss: Literal["mean", "tet"] = "mean"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    tet_share: float = Field(default=0.05, ge=0, le=1)
    tet_target: float = 1.0
    logit_kd: float = Field(default=0.0, ge=0)
    logit_match: Match = "mean"
    temperature: float = Field(default=4.0, gt=0)
    membrane_kd: float = Field(default=0.0, ge=0)
    membrane_form: MembraneForm = "l2"
    membrane_point: Literal["before_reset", "after_reset"] = "before_reset"
    membrane_match: Match = "step"
    layer_weights: dict[str, float] = Field(default_factory=dict)
    kd_warmup_epochs: int = Field(default=0, ge=0)
    firing_penalty: float = Field(default=0.0, ge=0)
    energy_from: str | None = None

    @model_validator(mode="after")
    def _energy_weighs_something(self) -> LossSpec:
        if self.energy_from is not None and self.firing_penalty == 0:
            raise ValueError("energy_from weighs spikes and firing_penalty is 0; give firing_penalty a value above 0")
        return self

    @model_validator(mode="after")
    def _layer_weights_not_negative(self) -> LossSpec:
        for name, weight in self.layer_weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"layer_weights.{name}={weight}; allowed 0 and above")
        return self

    def kd_factor(self, epoch: int) -> float:
        """Share of the distillation weights in an epoch, counted from 1: epoch/kd_warmup_epochs, then 1."""
        return min(1.0, epoch / self.kd_warmup_epochs) if self.kd_warmup_epochs else 1.0

    @property
    def needs_teacher(self) -> bool:
        """Whether a distillation loss is on."""
        return self.logit_kd > 0 or self.membrane_kd > 0


class AugmentationSpec(Spec):
    """What training does to an image or a recording before it is shown; nothing by default.

    Attributes:
        max_shift: pixels; the picture moves by up to so many rows and columns either way, code 0 comes in from the
            edge. For images this is the random crop after padding by ``max_shift``; a recording moves as a whole.
        horizontal_flip: mirror half of the pictures left to right.
    """

    max_shift: int = Field(default=0, ge=0, le=64)
    horizontal_flip: bool = False


class TrainingConfig(Spec):
    """One training run.

    ``network`` is a name of the zoo, or a mapping with its parameters. ``teacher`` is what a student starts from and is
    taught by: a checkpoint folder, or a training file (a path or a shipped name), which is then trained first; with
    ``start``, the folder of a student of the same network and quantisation, it starts from there. ``hardware`` trains
    it on a design. The last
    ``frozen_epochs`` of ``epochs`` use the running statistics of the batch norms. ``momentum`` is that of ``sgd``
    (Nesterov's, where it is above 0). The learning rate grows linearly over the first ``warmup_epochs``. ``frames``
    says how events are spread over the time steps; images do not need it. ``precision`` is that of the products in
    the training's forward pass; evaluation is on integers all the same. ``train_images`` and ``test_images`` take so
    many of a split, evenly spaced (a split sorted by class keeps its classes), all of it by default.
    """

    role: Literal["teacher", "student"]
    dataset: str
    train_images: int | None = Field(default=None, ge=1)
    test_images: int | None = Field(default=None, ge=1)
    network: str | NetworkSpec
    n_timesteps: int = Field(default=4, ge=1, le=64)
    frames: FrameRule = "number"
    augmentation: AugmentationSpec = AugmentationSpec()
    neuron: NeuronSpec = NeuronSpec()
    quantisation: QuantisationSpec | None = None
    losses: LossSpec = LossSpec()
    teacher: str | None = None
    start: str | None = None
    hardware: HardwareSpec | None = None
    epochs: int = Field(ge=1, le=10_000)
    frozen_epochs: int = Field(default=0, ge=0)
    batch_size: int = Field(default=64, ge=1)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    warmup_epochs: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    cosine: bool = True
    precision: Precision = "float32"
    seed: int = Field(default=0, ge=0, lt=2**63)

    @field_validator("network", mode="before")
    @classmethod
    def _network_in_normal_form(cls, value: Any) -> str | NetworkSpec:
        # An unknown name is refused below, where the whole file is known.
        return value if isinstance(value, str) else read_network(value)

    @model_validator(mode="after")
    def _fields_fit_the_role(self) -> TrainingConfig:
        if self.role == "student" and self.quantisation is None:
            raise ValueError("a student needs 'quantisation' with weight_bits and membrane_bits; add it")
        if self.role == "teacher" and self.quantisation is not None:
            raise ValueError("a teacher has full precision; remove 'quantisation' or set role: student")
        if self.role == "teacher" and (self.losses.needs_teacher or self.teacher is not None):
            raise ValueError("a teacher has no teacher; remove 'teacher', losses.logit_kd and losses.membrane_kd")
        if self.role == "teacher" and (self.hardware is not None or self.start is not None):
            raise ValueError("a teacher has no weight codes to put on cells; remove 'hardware' and 'start'")
        if self.hardware is not None and self.hardware.from_epoch > self.epochs:
            raise ValueError(
                f"hardware.from_epoch={self.hardware.from_epoch} is after the last of epochs={self.epochs}; "
                f"allowed 1 to {self.epochs}"
            )
        if self.hardware is not None and self.precision != "float32":
            raise ValueError(
                f"precision: {self.precision} rounds the codes that crossbars read; write float32, or remove 'hardware'"
            )
        if self.losses.cross_entropy == 0 and not self.losses.needs_teacher:
            raise ValueError("every loss has weight 0; give losses.cross_entropy a weight above 0")
        if self.frozen_epochs >= self.epochs:
            raise ValueError(
                f"frozen_epochs={self.frozen_epochs} leaves none of epochs={self.epochs} to learn the statistics; "
                f"allowed 0 to {self.epochs - 1}"
            )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} leaves none of epochs={self.epochs} at the full lr; "
                f"allowed 0 to {self.epochs - 1}"
            )
        plan = architecture(self.network)
        if self.quantisation is not None:
            check_student(plan, self.quantisation)
        self._check_layer_weights(plan)
        return self

    def _check_layer_weights(self, plan: Architecture) -> None:
        layers = neuron_steps(plan)
        for name in self.losses.layer_weights:
            if name not in layers:
                raise ValueError(
                    f"losses.layer_weights: network {plan.name} has no neurons '{name}'; allowed: {', '.join(layers)}"
                )
        if self.losses.layer_weights and not any(self.losses.layer_weights.get(name, 1.0) for name in layers):
            raise ValueError("losses.layer_weights gives every layer 0; give one a weight above 0")

    @property
    def network_title(self) -> str:
        """Name of the network with what differs from its default form."""
        return architecture(self.network).name

    def resolved(self) -> dict[str, Any]:
        """Every field; those that came last only where they are used, so that older studies keep their keys."""
        fields = super().resolved()
        return {name: value for name, value in fields.items() if name not in _LAST_FIELDS or value is not None}

    def content_hash(self) -> str:
        """sha256 of every field, defaults included; of files that it names, of their content.

        Fields that came later count only where they are used, so that older files keep their hash.

        Raises:
            ConfigError: the hardware file or the file of energies cannot be read.
        """
        fields: dict[str, Any] = self.resolved()
        for name in ("start", "hardware"):
            if fields[name] is None:
                del fields[name]
        if self.losses.firing_penalty == 0:
            del fields["losses"]["firing_penalty"]
        if self.hardware is not None:
            fields["hardware"]["accelerator"] = self.hardware.design().content_hash()
        energies = self.spike_energy_fJ()
        if energies is None:
            del fields["losses"]["energy_from"]
        else:
            fields["losses"]["energy_from"] = list(energies)
        return canonical_hash(fields)

    def spike_energy_fJ(self) -> tuple[float, ...] | None:
        """Energy of a spike of every layer with neurons, None where all spikes weigh the same.

        Raises:
            ConfigError: ``losses.energy_from`` cannot be read or belongs to another network.
        """
        if self.losses.energy_from is None:
            return None
        return spike_energy_fJ(Path(self.losses.energy_from), architecture(self.network), self.n_timesteps)


def load_training_config(name_or_path: str) -> TrainingConfig:
    """Training configuration from a YAML path or the name of a file of ``hwconfigs/training``.

    Raises:
        ConfigError: one sentence that says what is wrong, where, and what is allowed.
    """
    path = resolve_yaml(name_or_path, "training")
    return validate_spec(TrainingConfig, read_yaml(path), where=str(path))
