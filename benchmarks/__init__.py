"""Peers, side by side in one run: this machine is what it is, so what is printed to be quoted are ratios."""
