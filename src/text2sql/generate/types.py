"""What callers and engines exchange. Engines differ only in speed: a setting of one engine never decides what is answered."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Self

from text2sql.errors import UserError
from text2sql.prompts import Message

EngineName = Literal["auto", "vllm", "transformers", "openai"]


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen: greedy at temperature 0, else sampled ``n`` times.

    ``top_k`` 0 means off; ``stop`` are strings that end a completion and are cut from it.

    Raises:
        UserError: a value out of range, or several greedy samples (they would all be equal).
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    n: int = 1
    max_new_tokens: int = 256
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        equal = f"n={self.n} samples need temperature above 0; greedy ones are equal"
        wrong = [
            (self.temperature < 0, f"temperature is 0 (greedy) or more, not {self.temperature}"),
            (not 0 < self.top_p <= 1, f"top_p is above 0 and at most 1, not {self.top_p}"),
            (self.top_k < 0, f"top_k is 0 (off) or more, not {self.top_k}"),
            (self.n < 1, f"n is 1 or more, not {self.n}"),
            (self.max_new_tokens < 1, f"max_new_tokens is 1 or more, not {self.max_new_tokens}"),
            (self.n > 1 and not self.temperature, equal),
        ]
        for is_wrong, reason in wrong:
            if is_wrong:
                raise UserError(reason)

    @property
    def decoding(self) -> "Decoding":
        """These settings alone, for options that hold others besides."""
        return Decoding(**{part.name: getattr(self, part.name) for part in fields(Decoding)})

    @property
    def words(self) -> str:
        """The setting in words, as result tables show it."""
        if self.temperature == 0:
            return "greedy"
        parts = [f"T={self.temperature:g}"]
        parts += [f"top_p={self.top_p:g}"] * (self.top_p < 1) + [f"top_k={self.top_k}"] * (self.top_k > 0)
        return " ".join([*parts, f"n={self.n}"])


@dataclass(frozen=True)
class EngineSettings:
    """Which model answers and by which engine.

    ``model_name_or_path`` is a folder in Hugging Face form (for ``openai``: a served name, empty for the only one);
    ``adapter_name_or_path`` a PEFT LoRA folder; ``enable_thinking`` goes to the chat template (None leaves its default);
    ``batch_size`` counts sequences in flight; ``max_model_len`` caps prompt and answer (None: what the model allows);
    ``dtype`` ``auto`` is bfloat16 on a GPU and float32 on a CPU.

    vLLM only: a model on ``tensor_parallel_size`` GPUs, which fills ``gpu_memory_utilization`` of their memory, and
    ``data_parallel_size`` such models that share the questions; ``auto``: as many as there are GPUs for, one on a CPU.
    """

    model_name_or_path: str
    adapter_name_or_path: Path | None = None
    engine: EngineName = "auto"
    enable_thinking: bool | None = False
    batch_size: int = 32
    max_model_len: int | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    base_urls: tuple[str, ...] = ()
    tensor_parallel_size: int = 1
    data_parallel_size: int | Literal["auto"] = 1
    gpu_memory_utilization: float = 0.9


@dataclass(frozen=True)
class Request:
    """One chat to answer; ``key`` comes back with every completion of it and is unique within a call."""

    key: str
    messages: list[Message]


FinishReason = Literal["stop", "length", "prompt_too_long"]


@dataclass(frozen=True)
class Completion:
    """One answer. ``prompt_too_long`` means that nothing was generated: prompts are never cut to fit."""

    key: str
    sample: int
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


class Engine(ABC):
    """A loaded model. A context manager; ``generate`` may be called any number of times.

    ``concurrent``: several threads may call it at once. ``limit``: the most tokens of prompt and answer, where known.
    """

    name: str
    concurrent: bool = False
    limit: int | None = None

    @abstractmethod
    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        """Yield completions as they finish, in any order of requests, the ``n`` samples of a request in a row."""

    def stream(self, request: Request, decoding: Decoding) -> Generator[str, None, Completion]:
        """Yield one answer in pieces as it is made, and return it whole; closing the generator stops the work.

        Engines that cannot do that give the answer in one piece.
        """
        (completion,) = self.generate([request], decoding)
        yield completion.text
        return completion

    def alive(self) -> bool:
        """Whether an answer can be expected now; servers elsewhere may be down."""
        return True

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
