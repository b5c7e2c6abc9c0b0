"""How well the models learn, beside other libraries: `python -m benchmarks.quality`. See `tables.py`."""
