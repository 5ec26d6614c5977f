"""Neuron unit of a tile and its membrane memory."""

from __future__ import annotations

from pydantic import Field

from .spec import Spec


class NeuronMemoryConfig(Spec):
    """Membrane memory: ``banks`` interleaved SRAM banks of ``word_bits`` words with ``ports`` ports each."""

    word_bits: int = Field(default=64, ge=1, le=4096)
    banks: int = Field(default=2, ge=1, le=1024)
    ports: int = Field(default=1, ge=1, le=4)


class NeuronConfig(Spec):
    """Neuron unit: ``lanes`` neurons updated in a cycle."""

    lanes: int = Field(default=16, ge=1, le=65536)
    memory: NeuronMemoryConfig = NeuronMemoryConfig()
