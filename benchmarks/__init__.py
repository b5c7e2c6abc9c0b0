"""Benchmarks beside peers in one run. Quote the ratios: absolute numbers depend on the machine."""
