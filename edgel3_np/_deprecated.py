"""Old names of public modules and functions: they work for one release, with a `DeprecationWarning`."""

import warnings
from importlib import import_module


def renamed(module, names):
    """Return a `__getattr__` for a module some of whose names have moved.

    Parameters
    ----------
    module : str
        `__name__` of the module.
    names : dict of str to str
        Old name, and where users import it now, relative to the package: `.module:name`.

    Returns
    -------
    getattr : callable
    """
    package = module.rpartition(".")[0]

    def __getattr__(name):
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        path, _, new = names[name].partition(":")
        warnings.warn(f"{module}.{name} is now {package}{path}.{new}", DeprecationWarning, stacklevel=2)
        return getattr(import_module(package + path), new)

    return __getattr__
