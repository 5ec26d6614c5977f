"""Torch: data, losses and the trainer that distils a quantised student."""
