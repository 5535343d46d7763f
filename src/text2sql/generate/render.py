"""From chat messages to token ids and back, the same for all local engines.

vLLM runs in an environment with another release of transformers. It is given token ids and not text, so that both engines
see the same prompt whatever their tokenizer code does.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.generate.types import Completion, Decoding, FinishReason, Request
from text2sql.prompts import Message

logger = logging.getLogger(__name__)

_END_TOKENS = ("<|im_end|>", "<|endoftext|>")


class Renderer:
    """A model folder's tokenizer and chat template.

    ``limit`` is the longest prompt plus answer in tokens that the model takes.

    Raises:
        UserError: the folder has no tokenizer, or the tokenizer no chat template.
    """

    def __init__(self, folder: Path, enable_thinking: bool | None, max_model_len: int | None) -> None:
        from transformers import AutoConfig, AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{folder}: cannot read config or tokenizer ({reason})") from error
        if self.tokenizer.chat_template is None:
            raise UserError(
                f"{folder}: its tokenizer has no chat template; use the tokenizer the model was trained with"
            )
        self.template_options = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        positions = int(getattr(config, "max_position_embeddings", 0) or 1 << 30)
        self.limit = min(positions, max_model_len or positions)
        known = self.tokenizer.get_vocab()
        ends = {self.tokenizer.eos_token_id, *(known[token] for token in _END_TOKENS if token in known)}
        self.end_ids: list[int] = sorted(ends - {None})

    def encode(self, messages: list[Message]) -> list[int]:
        """Token ids of the prompt, up to where the answer starts."""
        ids = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, **self.template_options)
        return list(ids)

    def admit(self, requests: Sequence[Request], n: int) -> tuple[list[tuple[Request, list[int]]], list[Completion]]:
        """Encode requests; returns those that leave room for an answer, shortest first, and ``n`` empty answers to others."""
        encoded = [(request, self.encode(request.messages)) for request in requests]
        fitting = sorted((item for item in encoded if len(item[1]) < self.limit), key=lambda item: len(item[1]))
        too_long = [(request, len(ids)) for request, ids in encoded if len(ids) >= self.limit]
        if too_long:
            said = f"{len(too_long)} of {len(requests)} prompts exceed {self.limit} tokens and get no answer"
            logger.warning("%s (first: %s with %d); raise max_model_len", said, too_long[0][0].key, too_long[0][1])
        refused = [Completion(r.key, i, "", "prompt_too_long", length, 0) for r, length in too_long for i in range(n)]
        return fitting, refused

    def complete(
        self, key: str, sample: int, prompt_tokens: int, new_ids: Sequence[int], decoding: Decoding
    ) -> Completion:
        """Decode generated ids, cut at the first end token or stop string."""
        ids = list(new_ids)
        reason: FinishReason = "length"
        for position, token in enumerate(ids):
            if token in self.end_ids:
                ids, reason = ids[:position], "stop"
                break
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        for stop in decoding.stop:
            head, found, _ = text.partition(stop)
            if found:
                text, reason = head, "stop"
        return Completion(key, sample, text, reason, prompt_tokens, len(ids))
