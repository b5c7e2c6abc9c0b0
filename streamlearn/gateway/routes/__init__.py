"""The HTTP paths, one module per topic."""
