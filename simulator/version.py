"""Version of what the simulator computes, as opposed to the version of the package."""

from __future__ import annotations

#: Raised whenever a golden number moves: results of different model versions never share a ledger.
MODEL_VERSION = 3
