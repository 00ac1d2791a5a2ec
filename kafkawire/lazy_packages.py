"""Import one module of a package without running the package's own `__init__`.

`import kafka.protocol.metadata.metadata` would first run `kafka/__init__.py`, which loads all of
kafka-python's client (0.15 s and 8 MB), although the module needs none of it. `defer` puts a stand-in for
the package into `sys.modules`: submodules are found through it, and the first look at anything else runs
the real `__init__`, so that
`from kafka import KafkaConsumer` works later in the same process as if nothing had happened.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """A package whose `__init__` has not run yet."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec = self.__spec__
        assert isinstance(spec, ModuleSpec)
        assert spec.loader is not None
        spec.loader.exec_module(self)
        return getattr(self, name)


def defer(package: str) -> None:
    """Stand in for `package` until something of it is needed; does nothing if it is imported already.

    Its parent package has to be imported or deferred. Raises ModuleNotFoundError if there is no such package.
    """
    if package in sys.modules:
        return
    spec = find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"no package named {package}", name=package)
    module = module_from_spec(spec)
    module.__class__ = _Deferred
    sys.modules[package] = module
    parent, _, name = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], name, module)
