"""Full fine-tuning with Megatron's tensor and pipeline parallelism, and the way back to Hugging Face.

Training runs in LLaMA-Factory through mcore_adapter (``USE_MCA=1``); :mod:`.preflight` refuses what that backend would
silently ignore. ``python -m text2sql.checkpoint.convert`` turns a checkpoint into a Hugging Face folder: :mod:`.checkpoint`
finds its files, :mod:`.shards` puts tensors together, :mod:`.verify` proves the result. None of that needs Megatron.
"""
