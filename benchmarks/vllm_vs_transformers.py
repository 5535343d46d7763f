"""How fast questions are answered in a batch: this project's vLLM engine against transformers' `generate` as it comes.

    python benchmarks/vllm_vs_transformers.py [--questions 200] [--model models/tiny-base] [--batch 32] [--ledger]

The same greedy prompts about the toy test databases, in the same order of a shuffle, in float32 on a CPU and bfloat16 on a GPU,
each after a warm-up. "generate" is transformers alone: batches padded on the left, nothing shared between prompts. Prefix
caching counts for vLLM. The engine `transformers` of this project, which shares prefixes, is shown as well. Also counted: how
many of vLLM's answers equal those of `generate`.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frame import ToLedger, record, run, show

from text2sql.artifacts import digest
from text2sql.errors import UserError
from text2sql.generate import Decoding, EngineSettings, Request, open_engine
from text2sql.infer import read_examples
from text2sql.prompts import ask

WARM_UP = 4


def main(
    questions: int = 200,
    model: Path = Path("models/tiny-base"),
    examples: Path = Path("data/prepared/toy/examples/test.jsonl"),
    batch: int = 32,
    max_new_tokens: int = 128,
    ledger: ToLedger = False,
) -> None:
    """Measure, print, and append to the ledger if asked to."""
    rows = read_examples(examples, None)
    random.Random(0).shuffle(rows)
    requests = [Request(row.question_id, ask(row)) for row in rows[:questions]]
    if len(requests) < questions:
        raise UserError(f"{examples}: {len(requests)} questions, not {questions}")
    decoding = Decoding(max_new_tokens=max_new_tokens)
    seconds: dict[str, float] = {}
    answers: dict[str, dict[str, str]] = {}
    for name in ("vllm", "transformers"):
        with open_engine(EngineSettings(str(model), engine=name, batch_size=batch)) as engine:  # type: ignore[arg-type]

            def answer(part: list[Request], engine: Any = engine) -> dict[str, str]:
                return {found.key: found.text for found in engine.generate(part, decoding)}

            seconds[name], answers[name] = _timed(answer, requests)
            if name == "transformers":
                plain = _Plain(engine, batch, decoding)
                seconds["generate"], answers["generate"] = _timed(plain, requests)
    equal = sum(answers["vllm"][r.key] == answers["generate"][r.key] for r in requests) / len(requests)
    rates = {name: len(requests) / taken for name, taken in seconds.items()}
    table = [[name, f"{rate:.1f}", f"{rate / rates['generate']:.2f}"] for name, rate in rates.items()]
    show(f"{len(requests)} questions; {equal:.1%} of vLLM's answers equal", ("questions/s", "ratio"), table)
    if ledger:
        metrics = {"ratio": rates["vllm"] / rates["generate"], "same_answers": equal}
        metrics |= {f"questions_per_second_{name}": rate for name, rate in rates.items()}
        protocol = f"against transformers' generate, batch {batch}"
        record(
            "bench.vllm_vs_transformers",
            metrics,
            split="toy_test",
            n=questions,
            data_hash=digest(examples),
            protocol=protocol,
        )


def _timed(answer: Callable[[list[Request]], dict[str, str]], requests: list[Request]) -> tuple[float, dict[str, str]]:
    answer(requests[:WARM_UP])
    began = time.perf_counter()
    found = answer(requests)
    return time.perf_counter() - began, found


class _Plain:
    """transformers' generate as its documentation shows it, with the weights and token ids of an open engine."""

    def __init__(self, engine: Any, batch: int, decoding: Decoding) -> None:
        from transformers import AutoModelForCausalLM, GenerationConfig

        self.renderer, self.batch, self.decoding = engine.renderer, batch, decoding
        path = engine.settings.model_name_or_path
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=engine.model.dtype).to(engine.device).eval()
        self.model.generation_config = GenerationConfig()
        self.device = engine.device

    def __call__(self, requests: list[Request]) -> dict[str, str]:
        import torch

        end, found = self.renderer.end_ids, {}
        for start in range(0, len(requests), self.batch):
            part = requests[start : start + self.batch]
            prompts = [self.renderer.encode(request.messages) for request in part]
            width = max(map(len, prompts))
            ids = torch.tensor([[end[0]] * (width - len(row)) + row for row in prompts], device=self.device)
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=self.device)
            with torch.inference_mode():
                out = self.model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    max_new_tokens=self.decoding.max_new_tokens,
                    do_sample=False,
                    eos_token_id=end,
                    pad_token_id=end[0],
                )
            for request, row, new in zip(part, prompts, out[:, width:].tolist(), strict=True):
                found[request.key] = self.renderer.complete(request.key, 0, len(row), new, self.decoding).text
        return found


if __name__ == "__main__":
    run(main, __doc__)
