"""How many operations training needs: the numerator of model FLOPs utilisation."""

from collections.abc import Sequence

from text2sql.checkpoint.shape import Shape


def training_flops(shape: Shape, lora_parameters: int, lengths: Sequence[int]) -> float:
    """Operations of a forward and a backward pass over examples of these lengths (tokens), nothing recomputed.

    Chowdhery et al. 2022, PaLM, appendix B: a weight of a matrix costs 2 a token forward and 4 backward, half of which for
    its own gradient, which a frozen one has not; the output head counts, the embedding's look-up does not. Attention over
    l tokens costs 4 l^2 for each query dimension and layer forward, and twice that backward; half of it, since it is causal.
    ``lora_parameters`` is 0 where all weights learn.
    """
    tokens, squares = sum(lengths), sum(length**2 for length in lengths)
    matrices = shape.layers * shape.layer_matrices + shape.embedding
    weights = 4 * matrices + 6 * lora_parameters if lora_parameters else 6 * matrices
    return tokens * weights + 6 * squares * shape.query * shape.layers
