"""Kernels of the classic self-organizing networks: Grossberg clusters, Hamming net with MaxNet, von der
Malsburg's sheet, cognitron. ``plane.py`` holds the plane of locally connected cells that the last two use."""
