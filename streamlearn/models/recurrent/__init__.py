"""Recurrent networks: specs, models, and parameters in and out of PyTorch."""
