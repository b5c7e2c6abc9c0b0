"""Bridges from other protocols to a daemon. Each is a process of its own, and an ordinary client."""
