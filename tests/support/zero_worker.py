"""One of two DeepSpeed processes on CPUs: trains a small model with ZeRO-2 and ZeRO-3, and leaves their checkpoints.

Beside each checkpoint lies ``whole.safetensors``, the weights gathered by DeepSpeed while it runs.
"""

import os
import sys
from pathlib import Path

import deepspeed
import torch
from deepspeed import ops
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled for minutes


def main(base: Path, out: Path) -> None:
    deepspeed.init_distributed("gloo")
    for stage in (2, 3):
        settings = {
            "train_micro_batch_size_per_gpu": 1,
            "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
            "zero_optimization": {"stage": stage},
        }
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=settings)
        for step in range(2):
            ids = torch.arange(16)[None] + 7 * step + deepspeed.comm.get_rank()
            engine.backward(engine(input_ids=ids, labels=ids).loss)
            engine.step()
        folder = out / f"zero{stage}" / "checkpoint-2"
        engine.save_checkpoint(str(folder), tag="global_step2")
        with deepspeed.zero.GatheredParameters(list(model.parameters()), enabled=stage == 3):
            if deepspeed.comm.get_rank() == 0:
                tensors = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
                save_file(tensors, folder / "whole.safetensors.kept")
        deepspeed.comm.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    os._exit(0)  # gloo's threads abort the process now and then when Python tears it down
