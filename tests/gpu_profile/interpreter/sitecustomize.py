"""Lets liger's RMSNorm run in triton's interpreter, which has no libdevice: its ``rsqrt`` becomes ``1 / sqrt``.

Python imports a module of this name by itself at its start, so that processes started by others have it as well; the check
puts this folder into PYTHONPATH together with TRITON_INTERPRET=1.
"""

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType

_NAME = "liger_kernel.ops.rms_norm"


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != _NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        import inverse_root

        module.rsqrt = inverse_root.rsqrt


sys.meta_path.insert(0, _Finder())
