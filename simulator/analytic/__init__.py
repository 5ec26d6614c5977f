"""Analytic mode: closed-form cycles and action counts of a lowered network on a design (docs/analytic.md)."""
