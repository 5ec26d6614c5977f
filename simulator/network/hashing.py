"""Digest of an integer array by its values, whatever its dtype or memory order."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def array_digest(array: NDArray[Any]) -> str:
    """sha256 (hex) of an integer array's shape and values as little-endian int64."""
    values = np.ascontiguousarray(array, dtype="<i8")
    header = ",".join(str(n) for n in values.shape).encode()
    return hashlib.sha256(header + b"|" + values.tobytes()).hexdigest()
