"""Samples from tables: CSV, lines of JSON, Arrow and Parquet; the selection of columns; times.

The command line and the gateway read tables by this package. It needs no engine.
"""
