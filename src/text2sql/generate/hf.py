"""The transformers engine: no server, no second environment, fast enough for small models on a CPU.

Most of a prompt is the schema, which all questions about a database share. So prompts are sorted by their tokens, the
prefix that a batch has in common is computed once, and the padding that aligns the ends of the rows comes after that
prefix; position ids follow the attention mask and skip the padding.
"""

import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from text2sql.errors import UserError
from text2sql.generate import attention
from text2sql.generate.render import Renderer
from text2sql.generate.types import Completion, Decoding, Engine, EngineSettings, Request


class TransformersEngine(Engine):
    """A model in this process, on the GPU where there is one.

    Sampling is seeded per batch with ``decoding.seed`` and the batch's number: the same call gives the same samples.
    ``timeout`` ends answers after so many seconds.

    Raises:
        UserError: the model or the adapter cannot be loaded.
    """

    name = "transformers"

    def __init__(self, settings: EngineSettings, timeout: float | None = None) -> None:
        import torch

        self.settings, self.timeout = settings, timeout
        self.renderer = Renderer(Path(settings.model_name_or_path), settings.enable_thinking, settings.max_model_len)
        self.limit = self.renderer.limit
        self.device, automatic = ("cuda", "bfloat16") if torch.cuda.is_available() else ("cpu", "float32")
        dtype = automatic if settings.dtype == "auto" else settings.dtype
        self.model = _load(settings, getattr(torch, dtype)).to(self.device).eval()

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Completion]:
        """Yield completions batch by batch, those that share a schema together."""
        fitting, refused = self.renderer.admit(requests, decoding.n)
        yield from refused
        fitting.sort(key=lambda item: item[1])
        prompts = [ids for _, ids in fitting]
        for number, (start, stop) in enumerate(plan_batches(prompts, max(1, self.settings.batch_size // decoding.n))):
            rows = self._run(prompts[start:stop], decoding, number)
            for (request, ids), samples in zip(fitting[start:stop], rows, strict=True):
                for sample, new_ids in enumerate(samples):
                    yield self.renderer.complete(request.key, sample, len(ids), new_ids, decoding)

    def stream(self, request: Request, decoding: Decoding) -> Generator[str, None, Completion]:
        """As :meth:`Engine.stream`; the pieces are whole characters."""
        fitting, refused = self.renderer.admit([request], 1)
        if refused:
            return refused[0]
        ids, tokens = fitting[0][1], _Tokens()
        rows: list[list[list[int]]] = []

        def work() -> None:
            try:
                rows.extend(self._run([ids], decoding, 0, streamer=tokens, stopping_criteria=[tokens.stopped]))
            finally:
                tokens.arrived.put(None)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        new: list[int] = []
        said = ""
        try:
            while (token := tokens.arrived.get()) is not None:
                new.append(token)
                text = self.renderer.complete(request.key, 0, len(ids), new, decoding).text
                if text.startswith(said) and not text.endswith("\ufffd") and text != said:
                    yield text[len(said) :]
                    said = text
        finally:
            tokens.stop = True
            thread.join()
        if not rows:
            raise UserError("the model failed while it answered; the log has the reason")
        whole = self.renderer.complete(request.key, 0, len(ids), rows[0][0], decoding)
        if len(whole.text) > len(said):
            yield whole.text[len(said) :]
        return whole

    def _run(self, prompts: list[list[int]], decoding: Decoding, number: int, **more: Any) -> list[list[list[int]]]:
        """New token ids, ``n`` lists for each prompt; sorted prompts. ``more`` goes to transformers' ``generate``."""
        import torch

        shared = shared_prefix(prompts[0], prompts[-1])
        width = max(map(len, prompts))
        ids, mask = [], []
        for row in prompts:
            padding = width - len(row)
            ids += [row[:shared] + [self.renderer.end_ids[0]] * padding + row[shared:]] * decoding.n
            mask += [[1] * shared + [0] * padding + [1] * (len(row) - shared)] * decoding.n
        torch.manual_seed(decoding.seed * 1_000_003 + number)
        extra: dict[str, Any] = more | ({"tokenizer": self.renderer.tokenizer} if decoding.stop else {})
        with torch.inference_mode():
            if shared:
                prefix = torch.tensor([prompts[0][:shared]], device=self.device)
                cache = self.model(input_ids=prefix, use_cache=True, logits_to_keep=1).past_key_values
                cache.batch_repeat_interleave(len(ids))
                extra["past_key_values"] = cache
            out = self.model.generate(
                input_ids=torch.tensor(ids, device=self.device),
                attention_mask=torch.tensor(mask, device=self.device),
                generation_config=_config(decoding, self.renderer.end_ids, self.timeout),
                **extra,
            )
        new = out[:, width:].tolist()
        return [new[start : start + decoding.n] for start in range(0, len(new), decoding.n)]

    def close(self) -> None:
        """Free the model's memory."""
        del self.model


class _Tokens:
    """What transformers calls a streamer: takes new tokens one by one, the prompt's first; ``stop`` ends generation."""

    def __init__(self) -> None:
        self.stop, self.begun = False, False
        self.arrived: SimpleQueue[int | None] = SimpleQueue()

    def put(self, value: Any) -> None:
        if self.begun:
            for token in value.flatten().tolist():
                self.arrived.put(token)
        self.begun = True

    def end(self) -> None:
        """Nothing is held back."""

    def stopped(self, ids: Any, _scores: Any, **_more: Any) -> Any:
        """transformers' stopping criterion: one truth value a row."""
        import torch

        return torch.full((ids.shape[0],), self.stop, device=ids.device, dtype=torch.bool)


def shared_prefix(first: list[int], last: list[int]) -> int:
    """How many leading tokens all prompts from ``first`` to ``last`` in sorted order share; at least one is left over."""
    longest = min(len(first), len(last)) - 1
    return next((i for i in range(longest) if first[i] != last[i]), longest)


def plan_batches(prompts: list[list[int]], size: int) -> Iterator[tuple[int, int]]:
    """Bounds of batches of up to ``size`` sorted prompts; a batch of a quarter of it or more ends where the schema changes."""
    start = 0
    while start < len(prompts):
        stop = min(start + size, len(prompts))
        enough = len(prompts[start]) // 2
        rows = range(start, stop)
        related = next((row for row in rows if shared_prefix(prompts[start], prompts[row]) < enough), stop)
        if related - start >= size // 4:
            stop = max(related, start + 1)
        yield start, stop
        start = stop


def _load(settings: EngineSettings, dtype: Any) -> Any:
    from transformers import AutoModelForCausalLM, GenerationConfig

    try:
        model = AutoModelForCausalLM.from_pretrained(
            settings.model_name_or_path, dtype=dtype, local_files_only=True, attn_implementation=attention.register()
        )
        if settings.adapter_name_or_path is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(settings.adapter_name_or_path))
    except (OSError, ValueError, RuntimeError) as error:
        what = settings.adapter_name_or_path or settings.model_name_or_path
        raise UserError(f"{what}: cannot be loaded ({' '.join(str(error).split())[:300]})") from error
    bare = model.get_base_model() if settings.adapter_name_or_path is not None else model
    # Else generate() takes the model's values for settings left at a default.
    bare.generation_config = GenerationConfig()
    return model


def _config(decoding: Decoding, end_ids: list[int], timeout: float | None) -> Any:
    from transformers import GenerationConfig

    sampling: dict[str, Any] = {"do_sample": decoding.temperature > 0}
    if decoding.temperature > 0:
        sampling |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
    return GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        eos_token_id=end_ids,
        pad_token_id=end_ids[0],
        use_cache=True,
        stop_strings=list(decoding.stop) or None,
        max_time=timeout,
        **sampling,
    )
