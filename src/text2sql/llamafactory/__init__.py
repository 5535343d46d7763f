"""Everything that depends on LLaMA-Factory's internals: its argument classes, and training stages added to it.

:mod:`.registry` extends the classes that LLaMA-Factory parses recipes with and sends our stages to our workflows, without
changing its code; ``python -m text2sql.llamafactory`` is ``llamafactory-cli`` with these stages. :mod:`.questions`,
:mod:`.heldout` and :mod:`.sft` choose checkpoints by the accuracy of their answers. A new version of
LLaMA-Factory can only break what is here and in :mod:`text2sql.grpo`. :mod:`text2sql.train` starts it.
"""

from text2sql.llamafactory.registry import COMMAND, argument_classes, check_stage, find_stage, register

__all__ = ["COMMAND", "argument_classes", "check_stage", "find_stage", "register"]
