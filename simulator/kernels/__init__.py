"""Compiled inner loops: numpy arrays and NamedTuples in, arrays written in place, no validation."""
