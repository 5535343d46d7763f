"""GRPO as a stage of LLaMA-Factory: its model, adapter, template, optimizer and logging; TRL's algorithm; our rewards.

Parts as in LLaMA-Factory's own stages: :mod:`.hparams` (keys), :mod:`.scoring` (rewards as TRL calls them),
:mod:`.trainer`, :mod:`.heldout` (accuracy on unseen questions, by which checkpoints are chosen) and :mod:`.workflow`,
which makes the prompts and puts all together.
"""
