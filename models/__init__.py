"""Torch: neurons, quantisers, zoo, and export to the simulator's network."""
