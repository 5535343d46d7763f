"""Runs inside the vLLM environment, which has neither this package nor its dependencies: standard library and vLLM only.

A line of JSON in is one job ``{"prompts": [{"key", "ids"}], "decoding": {...}}``; lines out are one ``{"key", "outputs":
[[token ids], ...]}`` a prompt, then ``{"done": true}``. Token ids cross, never text: the caller's tokenizer decides.
"""

import json
import os
import sys
from typing import Any, TextIO


def main() -> None:
    """Serve jobs from standard input until it closes; the engine's settings are the one argument, as JSON."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever vLLM prints must not mix with the answers
    settings = json.loads(sys.argv[1])

    from vllm import LLM
    from vllm.lora.request import LoRARequest

    llm = LLM(**settings["llm"], generation_config="vllm")
    lora = LoRARequest("adapter", 1, settings["adapter"]) if settings["adapter"] else None
    _say(answers, {"ready": True})
    for line in sys.stdin:
        job = json.loads(line)
        prompts, chunk = job["prompts"], job["chunk"]
        for start in range(0, len(prompts), chunk):
            for answer in _run(llm, lora, prompts[start : start + chunk], job["decoding"]):
                _say(answers, answer)
        _say(answers, {"done": True})


def _run(llm: Any, lora: Any, prompts: list[dict[str, Any]], decoding: dict[str, Any]) -> list[dict[str, Any]]:
    from vllm import SamplingParams

    params = SamplingParams(**decoding, repetition_penalty=1.0, detokenize=bool(decoding["stop"]))
    ids = [{"prompt_token_ids": prompt["ids"]} for prompt in prompts]
    results = llm.generate(ids, params, lora_request=lora, use_tqdm=False)
    return [
        {"key": prompt["key"], "outputs": [list(output.token_ids) for output in result.outputs]}
        for prompt, result in zip(prompts, results, strict=True)
    ]


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
