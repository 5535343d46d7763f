"""What this machine offers: GPUs and their memory."""


def gpu_count() -> int:
    """How many CUDA devices torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpu_memory() -> float:
    """Bytes of the smallest GPU; 0 without one."""
    import torch

    sizes = (torch.cuda.get_device_properties(number).total_memory for number in range(gpu_count()))
    return float(min(sizes, default=0))
