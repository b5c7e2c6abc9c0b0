"""Models with the interfaces of other libraries.

Each module needs its library, an optional extra, and is imported by name: ``streamlearn.interop.sklearn``
(``pip install streamlearn[sklearn]``) and ``streamlearn.interop.river`` (``pip install streamlearn[river]``).
"""
