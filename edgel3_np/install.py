"""Install released models from Python: `install`."""

from .released.install import install

__all__ = ["install"]
