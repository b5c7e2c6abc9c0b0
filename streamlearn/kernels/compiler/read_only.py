"""Numba's cache in a directory that this process cannot write to."""

from __future__ import annotations

from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator


class _ReadOnlyLocator(UserProvidedCacheLocator):
    def ensure_cache_path(self) -> None:
        """Do nothing. Numba's method tests that the directory can be written."""


class _ReadOnlyImpl(CompileResultCacheImpl):
    _locator_classes = (_ReadOnlyLocator,)


class ReadOnlyCache(FunctionCache):
    """A Numba cache that reads compiled code and never writes."""

    _impl_class = _ReadOnlyImpl

    def save_overload(self, sig: object, data: object) -> None:
        """Do nothing. The code stays in memory."""
