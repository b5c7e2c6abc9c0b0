"""Numba's caches: how compiled kernels are loaded, and a cache in a directory that cannot be written to."""

from __future__ import annotations

from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator
from numba.core.runtime import rtsys


class StoredKernels(FunctionCache):
    """A Numba cache that loads compiled code without what compiles.

    Before it loads, Numba's own method registers all that it can compile: 0.2 s of a start and 8 MB. A
    compilation does this, too, if it comes later.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return a compiled function; None if the cache does not hold it."""
        rtsys.initialize(target_context)  # which allocates arrays
        return self._load_overload(sig, target_context)


class _ReadOnlyLocator(UserProvidedCacheLocator):
    def ensure_cache_path(self) -> None:
        """Do nothing. Numba's method tests that the directory can be written."""


class _ReadOnlyImpl(CompileResultCacheImpl):
    _locator_classes = (_ReadOnlyLocator,)


class ReadOnlyCache(StoredKernels):
    """A cache that reads compiled code and never writes."""

    _impl_class = _ReadOnlyImpl

    def save_overload(self, sig: object, data: object) -> None:
        """Do nothing. The code stays in memory."""
