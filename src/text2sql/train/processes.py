"""How many processes train, on which machines, and whether recipe, model and machine allow it.

torchrun and DeepSpeed would fail minutes later, with a message of each process, and machines that disagree would wait for
each other without end.
"""

import json
import logging
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packaging.version import Version

from text2sql.errors import UserError
from text2sql.recipe.keys import tensor_parallel, whole_number

logger = logging.getLogger("text2sql.train")

TORCHRUN_PORT = 29500
# Older ones do not sum the gradients of q_norm and k_norm over tensor-parallel processes.
_DEEPSPEED = Version("0.19.6")


@dataclass(frozen=True)
class Processes:
    """Processes of each machine, machines, this machine's number, and where the first one listens (port 0: any free one)."""

    here: int
    nodes: int = 1
    node: int = 0
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def total(self) -> int:
        """Processes of all machines."""
        return self.here * self.nodes


def read_processes(gpus: int, given: Mapping[str, str]) -> Processes:
    """The processes that NPROC_PER_NODE, NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT describe.

    Raises:
        UserError: one of them is wrong, or missing although there are several machines.
    """
    here, nodes = whole_number(given, "NPROC_PER_NODE", max(gpus, 1)), whole_number(given, "NNODES", 1)
    node = whole_number(given, "NODE_RANK", 0, least=0)
    if nodes > 1:
        for key, what in (("NODE_RANK", "this machine's number, from 0"), ("MASTER_ADDR", "the address of machine 0")):
            if not given.get(key):
                raise UserError(f"NNODES={nodes} needs {key}, {what}; see --help")
    if node >= nodes:
        raise UserError(f"NODE_RANK={node}: with NNODES={nodes} it is a number from 0 to {nodes - 1}")
    port = whole_number(given, "MASTER_PORT", TORCHRUN_PORT if nodes > 1 else 0, least=0)
    if port > 65535:
        raise UserError(f"MASTER_PORT={port}: ports end at 65535")
    return Processes(here, nodes, node, given.get("MASTER_ADDR", "127.0.0.1"), port)


def check_processes(
    recipe: Mapping[str, Any],
    settings: Mapping[str, Any],
    where: Path,
    base: Path | None,
    processes: Processes,
    gpus: int,
) -> None:
    """Refuse processes that cannot train the recipe together; ``settings`` are DeepSpeed's.

    Raises:
        UserError: more processes than GPUs, or sizes that do not divide or agree.
    """
    if gpus and not recipe.get("use_cpu") and processes.here > gpus:
        raise UserError(
            f"NPROC_PER_NODE={processes.here}: this machine has {gpus} GPU{'s' if gpus > 1 else ''}, and each process needs "
            "one; lower it, or check CUDA_VISIBLE_DEVICES"
        )
    tensor = tensor_parallel(settings)
    if tensor > 1:
        _check_tensor_parallel(recipe, settings, where, processes, tensor)
        _check_heads(base, tensor)
    _check_batch(recipe, settings, where, processes.total // tensor)


def _check_tensor_parallel(
    recipe: Mapping[str, Any], settings: Mapping[str, Any], where: Path, processes: Processes, size: int
) -> None:
    zero = settings.get("zero_optimization") or {}
    if processes.total % size:
        raise UserError(
            f"{where}: tensor parallelism over {size} processes (autotp_size) needs {size}, {2 * size}, {3 * size} ... of "
            f"them, and NPROC_PER_NODE={processes.here} x NNODES={processes.nodes} is {processes.total}"
        )
    if recipe.get("finetuning_type", "lora") != "full":
        raise UserError(f"{where}: tensor parallelism is for finetuning_type: full; LoRA needs no more than zero3.json")
    if zero.get("stage", 0) > 2:
        raise UserError(f"{where}: tensor parallelism works with ZeRO stages up to 2, not {zero['stage']}")
    if not zero.get("gather_16bit_weights_on_model_save"):
        raise UserError(
            f"{where}: zero_optimization.gather_16bit_weights_on_model_save: true is missing in the DeepSpeed settings; "
            "without it no model is saved"
        )
    try:
        found = version("deepspeed")
    except PackageNotFoundError:
        raise UserError(f"{where}: DeepSpeed is not installed; run `bash scripts/setup.sh train`") from None
    if Version(found) < _DEEPSPEED:
        raise UserError(
            f"DeepSpeed {found} computes wrong gradients under tensor parallelism; {_DEEPSPEED} or newer is needed"
        )


def _check_heads(base: Path | None, size: int) -> None:
    config = json.loads((base / "config.json").read_text(encoding="utf-8")) if base else {}
    heads = config.get("num_key_value_heads", config.get("num_attention_heads", size))
    if heads < size:  # DeepSpeed can give processes different numbers of heads, but each process needs one
        raise UserError(f"{base} has {heads} key-value heads, too few for {size} processes (autotp_size)")


def _check_batch(recipe: Mapping[str, Any], settings: Mapping[str, Any], where: Path, data: int) -> None:
    """Require that numbers in DeepSpeed's settings, where they are not "auto", agree with recipe and processes."""
    micro, steps = int(recipe.get("per_device_train_batch_size", 8)), int(recipe.get("gradient_accumulation_steps", 1))
    wanted = {
        "train_micro_batch_size_per_gpu": (micro, "per_device_train_batch_size"),
        "gradient_accumulation_steps": (steps, "gradient_accumulation_steps"),
        "train_batch_size": (micro * steps * data, f"{micro} a process x {steps} accumulated x {data} data-parallel"),
    }
    for key, (number, what) in wanted.items():
        if settings.get(key, "auto") not in ("auto", number):
            raise UserError(
                f'{where}: {key} is {settings[key]} in the DeepSpeed settings, {what} is {number}; write "auto"'
            )


def check_port(processes: Processes) -> None:
    """Refuse a port that is in use; on one machine without MASTER_PORT torchrun takes a free one.

    Raises:
        UserError: names the port.
    """
    if not processes.port or processes.node:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", processes.port))
        except OSError as error:
            way = "on every machine" if processes.nodes > 1 else "or leave it out, and a free one is taken"
            raise UserError(
                f"MASTER_PORT={processes.port}: the port cannot be used ({error.strerror}), perhaps another training runs "
                f"there; set MASTER_PORT to a free one, {way}"
            ) from None


def wait_for_first(processes: Processes, patience: float = 600.0) -> None:
    """Return when machine 0 listens: by then it has written the recipe of this start to the output folder.

    Raises:
        UserError: it did not within ``patience`` seconds.
    """
    place = f"{processes.address}:{processes.port}"
    logger.info("waiting for machine 0 at %s", place)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            socket.create_connection((processes.address, processes.port), timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise UserError(
        f"machine 0 did not answer at {place} for {patience / 60:.0f} minutes; start it with NODE_RANK=0, and check "
        "MASTER_ADDR, MASTER_PORT and the firewall"
    )
