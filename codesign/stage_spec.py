"""Stages of a study: how much is spent on a point, and which points go on to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from spikeloop.simulator.spec import Spec

StageName = Literal["analytic", "cycle", "ptq", "short", "full"]
#: Stages in the order of what they cost.
STAGES: tuple[StageName, ...] = ("analytic", "cycle", "ptq", "short", "full")
#: Stages that run no test images.
WITHOUT_ACCURACY: tuple[StageName, ...] = ("analytic", "cycle")
#: Stages whose network is the teacher's, quantised without training.
UNTRAINED: tuple[StageName, ...] = ("cycle", "ptq")
#: Training images that settle the batch norms of a network quantised without training.
SETTLE_IMAGES = 512


class PromotionSpec(Spec):
    """Which points go on (``promotion.promoted``).

    Attributes:
        margin: a point stays if no other beats it by more than this share of the range in every objective; 0: the
            front itself.
        at_most: of those that stay, so many go on, by non-dominated rank, then by hypervolume; None: all.
    """

    margin: float = Field(default=0.0, ge=0, le=1)
    at_most: int | None = Field(default=None, ge=1)


class StageSpec(Spec):
    """One stage.

    Attributes:
        stage: ``analytic`` closed forms under spikes of the study's ``density``; ``cycle`` the clock, on the spikes of
            ``cycle_images`` images and the network of ``ptq``; ``ptq`` accuracy and clock with the teacher's weights,
            quantised without training; ``short`` as ``full`` after fewer epochs; ``full`` the student as it is trained.
        epochs: epochs of ``short``.
        settle_images: training images that settle the batch norms in ``ptq`` and ``cycle``.
        promote: which points the next stage gets; the last stage has none.
    """

    stage: StageName
    epochs: int | None = Field(default=None, ge=1)
    settle_images: int | None = Field(default=None, ge=1)
    promote: PromotionSpec | None = None

    @model_validator(mode="after")
    def _fields_of_the_stage(self) -> StageSpec:
        if (self.epochs is not None) != (self.stage == "short"):
            cure = "needs epochs" if self.stage == "short" else "takes no epochs; only short does"
            raise ValueError(f"stage {self.stage} {cure}")
        if self.settle_images is not None and self.stage not in UNTRAINED:
            raise ValueError(f"stage {self.stage} takes no settle_images; only {' and '.join(UNTRAINED)} do")
        return self

    @property
    def n_settled(self) -> int:
        """Training images that settle the batch norms."""
        return SETTLE_IMAGES if self.settle_images is None else self.settle_images


#: The one stage of a study without ``stages``.
FULL = StageSpec(stage="full")


def check_stages(stages: Sequence[StageSpec]) -> None:
    """Refuse stages that do not follow each other.

    Raises:
        ValueError: out of order, twice, or a promotion too many or missing.
    """
    names = [item.stage for item in stages]
    if sorted(set(names), key=STAGES.index) != names:
        raise ValueError(f"stages: got {', '.join(names)}; each at most once, in the order {', '.join(STAGES)}")
    for item in stages[:-1]:
        if item.promote is None:
            raise ValueError(f"stages: {item.stage} promotes nothing to the next stage; give promote: {{margin: 0.1}}")
    if stages and stages[-1].promote is not None:
        raise ValueError(f"stages: {names[-1]} is the last one and has nowhere to promote to; leave promote out")
