"""Training stages that LLaMA-Factory does not have, in the shape of its own, put into it at start-up.

Nothing is forked: :mod:`.registry` widens the classes that LLaMA-Factory parses recipes with and sends our stages to our
workflows; ``python -m text2sql.llamafactory`` is ``llamafactory-cli`` with that done. This package alone knows LLaMA-Factory's
insides, so a new version of it is met here. :mod:`text2sql.train` is the door, as for every other recipe.
"""

from text2sql.llamafactory.registry import COMMAND, STAGES, Stage, argument_classes, find_stage, register

__all__ = ["COMMAND", "STAGES", "Stage", "argument_classes", "find_stage", "register"]
