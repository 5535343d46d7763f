"""What a training process holds in memory: model states by the ZeRO paper, activations by counting what is kept.

Sources. Model states: Rajbhandari et al. 2020, "ZeRO", section 3 (16 bytes a parameter with Adam in mixed precision) and
section 5 (what each stage divides); Megatron's distributed optimizer: 6 + 12/d bytes, from its documentation.
Activations: the method of Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models"
(tensors that the backward pass needs, layer by layer; what tensor parallelism divides), counted for SwiGLU, RMSNorm and
grouped queries as transformers computes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from text2sql.checkpoint.shape import Shape
from text2sql.plan.layout import Layout

Attention = Literal["flash", "padding mask", "block mask", "eager"]
"""``flash``: a kernel that takes no mask; ``block mask`` is what packing without one builds, once for all layers."""

ADAM = 8  # bytes: two moments in fp32
_OPTIMIZERS = {"sgd": 0, "adafactor": 0, "lion_32bit": 4, "lion_8bit": 1, "adamw_8bit": 2, "adamw_bnb_8bit": 2}


@dataclass(frozen=True)
class Precision:
    """Bytes of a number: frozen weights, trained weights, gradients, master copy, and what layers compute in.

    ``autocast``: layers compute in ``compute`` bytes on fp32 weights, and keep a copy of each matrix for it.
    """

    frozen: float
    trained: int
    gradient: int
    master: int
    compute: int
    autocast: bool


@dataclass(frozen=True)
class Work:
    """The input of one forward pass of a process, sequences and their padded length, and how it is computed.

    ``targets``: the matrices that LoRA adapts; empty when all weights learn. ``dropout``: LoRA drops inputs.
    """

    sequences: int
    length: int
    attention: Attention
    checkpointing: bool
    liger: bool
    fused_loss: bool
    accumulation: int
    targets: tuple[str, ...] = ()
    dropout: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of a forward pass, padding included."""
        return self.sequences * self.length


@dataclass(frozen=True)
class States:
    """Bytes of one process. ``step`` is needed while the optimizer steps, ``buffers`` all the time."""

    weights: float
    gradients: float
    optimizer: float
    buffers: float
    step: float


def precision_of(recipe: Mapping[str, Any], layout: Layout) -> Precision:
    """The bytes in which LLaMA-Factory and the engine store numbers.

    LLaMA-Factory upcasts trained weights to fp32 unless ``pure_bf16``; DeepSpeed and Megatron then keep them in 16 bits
    beside an fp32 master copy.
    """
    half = bool(recipe.get("bf16") or recipe.get("fp16") or recipe.get("pure_bf16"))
    compute = 2 if half else 4
    bits = recipe.get("quantization_bit")
    # NF4: a 32-bit constant for 64 weights; with double quantization 0.127 bits a weight (Dettmers et al. 2023, 3).
    extra = 0.127 / 8 if recipe.get("double_quantization", True) else 0.5 / 8
    frozen = {4: 0.5 + extra, 8: 1.0}.get(int(bits), compute) if bits else compute
    if layout.engine == "deepspeed":
        return Precision(frozen, compute, compute, 4, compute, autocast=False)
    if layout.engine == "megatron":
        return Precision(frozen, compute, 4, 4 if half else 0, compute, autocast=False)
    if recipe.get("pure_bf16"):
        return Precision(frozen, 2, 2, 0, 2, autocast=False)
    return Precision(frozen, 4, 4, 0, compute, autocast=half)


def local_parameters(shape: Shape, layout: Layout) -> float:
    """Weights that one process computes with, before ZeRO shards them: the fullest pipeline stage.

    Matrices of layers are divided by tensor parallelism, norms are not. Megatron divides the embedding too; DeepSpeed
    leaves a tied one whole. With a pipeline the ends hold the embedding and the head, also a tied one.
    """
    layers = shape.layers / layout.pipeline * (shape.layer_matrices / layout.tensor + shape.layer_vectors)
    split = layout.tensor if layout.engine == "megatron" else 1
    head = 0.0 if shape.tied else shape.embedding / layout.tensor
    ends = shape.embedding / split + (head if layout.pipeline == 1 else 0.0)
    return layers + ends + shape.hidden


def states(shape: Shape, layout: Layout, precision: Precision, trained: int, optim: str) -> States:
    """Model states of one process; ``trained`` counts all processes together: every weight, or LoRA's."""
    local = local_parameters(shape, layout)
    full = trained == shape.parameters
    own = local if full else trained / (layout.tensor * layout.pipeline)
    frozen = 0.0 if full else _frozen_bytes(shape, layout, precision, local)
    shard = {stage: layout.data if layout.zero >= stage else 1 for stage in (1, 2, 3)}
    per_state = _OPTIMIZERS.get(optim.removeprefix("paged_"), ADAM)
    here = 0.0 if layout.offload_optimizer else own / shard[1]
    return States(
        weights=0.0 if layout.offload_parameters else (own * precision.trained + frozen) / shard[3],
        gradients=own * precision.gradient / shard[2],
        optimizer=(precision.master + per_state) * here,
        buffers=_buffers(layout, precision, shape, own, local),
        step=_step(layout, optim) * here,
    )


def _frozen_bytes(shape: Shape, layout: Layout, precision: Precision, local: float) -> float:
    """Weights that LoRA leaves alone; quantization spares the embedding, the head and the norms."""
    matrices = shape.layers / layout.pipeline * shape.layer_matrices / layout.tensor
    return matrices * precision.frozen + (local - matrices) * precision.compute


def _buffers(layout: Layout, precision: Precision, shape: Shape, own: float, local: float) -> float:
    if layout.engine == "plain":
        return own * precision.gradient if layout.data > 1 else 0.0  # DDP's buckets hold the gradients once more
    if layout.engine == "megatron" or layout.zero < 2:
        return 0.0
    buckets = 2 * min(own, layout.bucket or shape.hidden**2) * precision.gradient  # two, since they overlap
    gathered = min(local, layout.live) * precision.compute * (1 - 1 / layout.data) if layout.zero == 3 else 0.0
    return buckets + gathered


def _step(layout: Layout, optim: str) -> int:
    """Bytes a weight that live only while the optimizer steps.

    AdamW that is not fused makes a square root of its second moment; DeepSpeed's is not, and steps on fp32 gradients that it
    makes of the 16-bit ones. Megatron's is fused.
    """
    if layout.engine == "deepspeed":
        return 8 if layout.zero else 4
    return 4 if optim == "adamw_torch" and layout.engine == "plain" else 0


def layer_bytes(shape: Shape, layout: Layout, work: Work, precision: Precision) -> float:
    """What the backward pass of one layer needs of its forward pass, in bytes.

    Kept are: the norms' inputs in fp32 and, where a norm's weight learns, what it multiplies; the input of every matrix
    that learns; queries, keys (for each query head, unless a kernel groups them), values and output of attention; with
    ``eager`` the weights of all pairs, in fp32 and as computed; both inputs of SwiGLU's product and that of SiLU. Liger
    keeps norms' inputs as they are and recomputes SiLU. Under autocast every matrix casts its input for itself, and so
    does LoRA's dropout copy it.
    """
    compute, residual = precision.compute, residual_bytes(precision, work)
    tensor, outside = layout.tensor, layout.tensor if layout.sequence_parallel else 1
    normed = 0 if work.liger or work.targets else residual
    norms = 2 * shape.hidden * ((residual if work.liger else 4) + normed) / outside
    heads = (shape.query + shape.key) * ((compute if work.liger else 4) + (compute if normed else 0))
    keys = shape.key if work.attention == "flash" else shape.query
    attention = compute * (2 * shape.query + 2 * keys) + (heads if shape.qk_norm else 0)
    if work.attention == "eager":
        attention += shape.heads * work.length * (4 + (compute if compute < 4 else 0))
        attention -= 0 if "o_proj" in (work.targets or ("o_proj",)) else compute * shape.query  # only o_proj needs it
    mask = compute * work.length if work.attention == "padding mask" else 0  # of booleans, made numbers by each layer
    products = (2 if work.liger else 3) * compute * shape.intermediate
    whole, divided = _inputs(shape, work, precision.autocast)
    inputs = (compute + (1 if work.dropout else 0)) * (whole / outside + divided / tensor)
    return work.tokens * (norms + (attention + products) / tensor + inputs + mask)


def residual_bytes(precision: Precision, work: Work) -> int:
    """Bytes of a number between layers: fp32 under autocast when the embedding learns, as computed otherwise."""
    return 4 if precision.autocast and not work.targets else precision.compute


def _inputs(shape: Shape, work: Work, autocast: bool) -> tuple[int, int]:
    """Numbers a token that learning matrices keep as input: those that tensor parallelism leaves whole, and divides.

    The output projection reads what attention keeps anyway, unless LoRA makes a copy. Dropout's own mask takes a byte.
    """
    learning = work.targets or tuple(shape.linears)
    copied = bool(work.targets) and (autocast or work.dropout)
    whole = 0
    for readers in (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")):
        count = len(set(readers) & set(learning))
        whole += count if autocast or work.dropout else min(count, 1)
    divided = shape.intermediate if "down_proj" in learning else 0
    divided += shape.query if copied and "o_proj" in learning else 0
    return whole * shape.hidden, divided


def activations(shape: Shape, layout: Layout, work: Work, precision: Precision) -> float:
    """Activations of one process when a forward pass has ended.

    Checkpointing keeps the input of each layer and all of one layer, which is being computed again (Korthikanti et al.,
    section 5). A pipeline's first stage holds as many micro batches as there are stages, so its length cancels out.
    """
    residual = residual_bytes(precision, work)
    one = layer_bytes(shape, layout, work, precision)
    in_flight = min(layout.pipeline, work.accumulation) / layout.pipeline
    if not work.checkpointing:
        return shape.layers * in_flight * one
    outside = layout.tensor if layout.sequence_parallel else 1
    return shape.layers * in_flight * work.tokens * shape.hidden * residual / outside + one


def autocast_bytes(shape: Shape, work: Work, precision: Precision) -> float:
    """Copies of fp32 matrices in 16 bits, which autocast makes and the backward pass needs; of one layer with checkpointing."""
    if not precision.autocast or work.targets:
        return 0.0
    layers = 1 if work.checkpointing else shape.layers
    return precision.compute * (layers * shape.layer_matrices + shape.embedding)


def loss_bytes(shape: Shape, layout: Layout, work: Work, precision: Precision, stage: str) -> float:
    """Logits and what the loss makes of them, in bytes, for a stage of LLaMA-Factory or ours.

    In full, vocabulary-wide for every token: the logits as computed, their log-softmax in fp32, its gradient and theirs. DPO
    keeps its fp32 logits meanwhile, and a reward model computes logits, in fp32 too, and uses none. Megatron divides them and
    works in place. Fused with the output head (liger) only chunks exist, about as large as the hidden states, with their
    gradient and that of the head.
    """
    if work.fused_loss:
        head = 0 if work.targets else shape.embedding * precision.compute
        return work.tokens * shape.hidden * (4 + 4 + precision.compute) + head
    if layout.engine == "megatron":
        return work.tokens * shape.vocab * (2 * precision.compute + 4) / layout.tensor
    more = {"rm": 4, "dpo": 16}.get(stage, 12)
    return work.tokens * shape.vocab * (precision.compute + more)


def mask_bytes(work: Work, compute: int) -> float:
    """The mask of packed sequences, where no kernel takes their boundaries instead."""
    return work.sequences * work.length**2 * compute if work.attention in ("block mask", "eager") else 0.0
