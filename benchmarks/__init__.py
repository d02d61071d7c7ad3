"""Benchmarks, as ratios: `python -m benchmarks`."""
