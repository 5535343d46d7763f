"""Lets Megatron core's own code run on CPUs and gloo, for tests only: it asks for the device "cuda" by name in many places.

What asks for that device gets the CPU, and calls of ``torch.cuda`` that only make sense there do nothing. Names are mapped
where PyTorch dispatches its functions, so Megatron's code runs unchanged. Where CUDA exists it refuses to load, because
there the real thing runs.
"""

import contextlib
import os
import sys

import torch

if torch.cuda.is_available():
    raise ImportError("megatron_shim is for machines without CUDA; here Megatron runs as it is")

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # compiled graphs would look for the device themselves

CPU = torch.device("cpu")
_TYPES = {"torch.FloatTensor", "torch.BFloat16Tensor", "torch.HalfTensor"}


def _is_cuda(device: object) -> bool:
    return (isinstance(device, str) and device.startswith("cuda")) or (
        isinstance(device, torch.device) and device.type == "cuda"
    )


class _CudaMeansCpu(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = CPU
        args = tuple(CPU if _is_cuda(argument) else argument for argument in args)
        if function is torch.Tensor.cuda:
            return args[0]
        if function is torch.Tensor.type and len(args) == 1 and not kwargs:
            return self._type(function(*args))
        return function(*args, **kwargs)

    @staticmethod
    def _type(name: str) -> str:
        """Megatron's optimizer sorts parameters by names such as torch.cuda.FloatTensor; others see the true one."""
        caller = sys._getframe(2).f_globals.get("__name__", "")
        return name.replace("torch.", "torch.cuda.", 1) if name in _TYPES and caller.startswith("megatron") else name


class _Stream:
    """A stream on which everything has happened already."""

    def __init__(self, *args, **kwargs) -> None: ...
    def wait_stream(self, other) -> None: ...
    def wait_event(self, event) -> None: ...
    def synchronize(self) -> None: ...


def _nothing(*args, **kwargs) -> None: ...


def install() -> None:
    """Put the mapping in force for this process."""
    from megatron.core.tensor_parallel import (
        random,
    )  # first: it loads parts of PyTorch that must see the true functions

    cuda = torch.cuda
    cuda.current_device = lambda: CPU
    cuda.get_rng_state = lambda device=None: torch.get_rng_state()
    cuda.set_rng_state = lambda state, device=None: torch.set_rng_state(state)
    cuda.manual_seed = torch.manual_seed
    cuda.Stream = _Stream
    cuda.default_stream = cuda.current_stream = lambda device=None: _Stream()
    cuda.stream = lambda stream: contextlib.nullcontext()
    for name in ("synchronize", "empty_cache", "set_device", "reset_peak_memory_stats"):
        setattr(cuda, name, _nothing)
    _CudaMeansCpu().__enter__()
    random._get_cuda_rng_state = lambda device="cuda", clone=False, graph_safe=False: torch.get_rng_state()
    random._set_cuda_rng_state = lambda state, device=-1, graph_safe=False: torch.set_rng_state(state)


install()
