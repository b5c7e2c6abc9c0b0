"""Samples from tables: rows of CSV, the selection of columns, times in the usual forms.

The command line and the gateway read tables by this package. It needs no engine.
"""
