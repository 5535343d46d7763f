"""A decoder's dimensions, and the numbers of all and of trained parameters that follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from text2sql.checkpoint.model import read_json
from text2sql.errors import UserError

_FAMILIES = ("qwen3", "qwen2", "llama", "mistral")


@dataclass(frozen=True)
class Shape:
    """Dimensions of a dense decoder with grouped-query attention, SwiGLU and RMSNorm (Qwen3, Qwen2, Llama).

    ``qk_norm``: RMSNorm of each head's queries and keys, as in Qwen3; ``qkv_bias`` as in Qwen2.
    """

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    tied: bool
    qk_norm: bool = True
    qkv_bias: bool = False

    @property
    def query(self) -> int:
        """Width of all queries of a token."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Width of all keys (or values) of a token."""
        return self.kv_heads * self.head_dim

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of a layer's matrices, by the names that ``lora_target`` uses."""
        return {
            "q_proj": (self.hidden, self.query),
            "k_proj": (self.hidden, self.key),
            "v_proj": (self.hidden, self.key),
            "o_proj": (self.query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer's matrices."""
        return sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def layer_vectors(self) -> int:
        """Norm weights and biases of one layer."""
        norms = 2 * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        return norms + (self.query + 2 * self.key if self.qkv_bias else 0)

    @property
    def embedding(self) -> int:
        """Weights of the token embedding; an untied output head has as many."""
        return self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        """All weights; a tied embedding counts once."""
        layers = self.layers * (self.layer_matrices + self.layer_vectors)
        return layers + self.hidden + self.embedding * (1 if self.tied else 2)

    def lora_targets(self, names: list[str]) -> tuple[str, ...]:
        """``lora_target`` as names of matrices; ``all`` stands for all of them.

        Raises:
            UserError: no layer has a matrix of that name.
        """
        targets = tuple(self.linears) if "all" in names else tuple(names)
        unknown = [name for name in targets if name not in self.linears]
        if unknown:
            raise UserError(f"lora_target {unknown[0]!r}: a layer has {', '.join(self.linears)}")
        return targets

    def lora_parameters(self, targets: Sequence[str], rank: int) -> int:
        """Weights of the two LoRA matrices of every target in every layer."""
        return self.layers * sum(rank * sum(self.linears[name]) for name in targets)


# From the published configurations.
KNOWN: dict[str, Shape] = {
    "Qwen3-0.6B": Shape(151_936, 1024, 28, 16, 8, 128, 3072, tied=True),
    "Qwen3-1.7B": Shape(151_936, 2048, 28, 16, 8, 128, 6144, tied=True),
    "Qwen3-4B": Shape(151_936, 2560, 36, 32, 8, 128, 9728, tied=True),
    "Qwen3-8B": Shape(151_936, 4096, 36, 32, 8, 128, 12_288, tied=False),
    "Qwen3-14B": Shape(151_936, 5120, 40, 40, 8, 128, 17_408, tied=False),
    "Qwen3-32B": Shape(151_936, 5120, 64, 64, 8, 128, 25_600, tied=False),
}


def shape_of(model: str) -> tuple[Shape, str]:
    """The shape of a model folder and its source; without a folder, the shape of the Qwen3 size in the model's name.

    Raises:
        UserError: no such folder and no known size in the name, or a configuration of another kind of model.
    """
    path = Path(model) / "config.json"
    if path.is_file():
        return read_shape(read_json(path), path), str(path)
    for name, shape in KNOWN.items():
        if name.lower() in model.lower().replace("_", "-").replace("1p7b", "1.7b"):
            return shape, f"{model} is not there; published figures of {name}"
    raise UserError(
        f"{model}: no config.json there, and its name tells no size; name a model folder, or one of {', '.join(KNOWN)}"
    )


def read_shape(config: Mapping[str, Any], where: Path) -> Shape:
    """The shape that a model's configuration, read from ``where``, describes.

    Raises:
        UserError: it is of another kind of model, or lacks a number.
    """
    try:
        family = config.get("model_type", "qwen3")
        if family not in _FAMILIES:
            raise UserError(f"{where}: model_type {family!r}; planning knows {', '.join(_FAMILIES)}")
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        return Shape(
            vocab=int(config["vocab_size"]),
            hidden=hidden,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            intermediate=int(config["intermediate_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            qk_norm=family == "qwen3",
            qkv_bias=bool(config.get("attention_bias", family == "qwen2")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where}: not a model's configuration ({error!r})") from error
