"""Training files: what ``spikeloop train`` reads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from spikeloop.models.lif import NeuronSpec
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.zoo import architecture
from spikeloop.simulator.config import resolve_yaml
from spikeloop.simulator.spec import Spec, canonical_hash, validate_spec
from spikeloop.simulator.strict_yaml import read_yaml

from .events import FrameRule


class LossSpec(Spec):
    """Weights of the losses; a distillation loss of weight 0 is not computed."""

    cross_entropy: float = Field(default=1.0, ge=0)
    logit_kd: float = Field(default=0.0, ge=0)
    temperature: float = Field(default=4.0, gt=0)
    membrane_kd: float = Field(default=0.0, ge=0)

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

    ``teacher`` is the checkpoint folder that a student starts from and is taught by. The last
    ``frozen_epochs`` of ``epochs`` use the running statistics of the batch norms. ``frames`` says how events are
    spread over the time steps; images do not need it.
    """

    role: Literal["teacher", "student"]
    dataset: str
    network: str
    n_timesteps: int = Field(default=4, ge=1, le=64)
    frames: FrameRule = "number"
    augmentation: AugmentationSpec = AugmentationSpec()
    neuron: NeuronSpec = NeuronSpec()
    quantisation: QuantisationSpec | None = None
    losses: LossSpec = LossSpec()
    teacher: str | None = None
    epochs: int = Field(ge=1, le=10_000)
    frozen_epochs: int = Field(default=0, ge=0)
    batch_size: int = Field(default=64, ge=1)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    cosine: bool = True
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _fields_fit_the_role(self) -> TrainingConfig:
        if self.role == "student" and self.quantisation is None:
            raise ValueError("a student needs 'quantisation' with weight_bits and membrane_bits; add it")
        if self.role == "teacher" and self.quantisation is not None:
            raise ValueError("a teacher has full precision; remove 'quantisation' or set role: student")
        if self.role == "teacher" and (self.losses.needs_teacher or self.teacher is not None):
            raise ValueError("a teacher has no teacher; remove 'teacher', losses.logit_kd and losses.membrane_kd")
        if self.losses.cross_entropy == 0 and not self.losses.needs_teacher:
            raise ValueError("every loss has weight 0; give losses.cross_entropy a weight above 0")
        if self.frozen_epochs >= self.epochs:
            raise ValueError(
                f"frozen_epochs={self.frozen_epochs} leaves none of epochs={self.epochs} to learn the statistics; "
                f"allowed 0 to {self.epochs - 1}"
            )
        architecture(self.network)  # refuses an unknown name
        return self

    def content_hash(self) -> str:
        """sha256 of every field, defaults included."""
        return canonical_hash(self.resolved())


def load_training_config(name_or_path: str) -> TrainingConfig:
    """Training configuration from a YAML path or the name of a file of ``hwconfigs/training``.

    Raises:
        ConfigError: one sentence that says what is wrong, where, and what is allowed.
    """
    path = resolve_yaml(name_or_path, "training")
    return validate_spec(TrainingConfig, read_yaml(path), where=str(path))
