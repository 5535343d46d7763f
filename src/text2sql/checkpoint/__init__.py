"""Models, adapters and checkpoints on disk, checked and converted without the programs that wrote them.

:mod:`.model` checks folders without loading them; :mod:`.run` finds the whole checkpoints of a run;
:mod:`.shape` has a decoder's dimensions. ``text2sql mg2hf`` (:mod:`.convert`) makes a Hugging Face folder of a checkpoint:
:mod:`.megatron` and :mod:`.folder` read it, :mod:`.verify` compares the result with it.
"""
