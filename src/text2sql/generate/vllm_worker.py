"""Runs inside the vLLM environment, which has neither this package nor its dependencies: standard library and vLLM only.

A line of JSON in is one job ``{"prompts": [{"key", "ids"}], "decoding": {...}}``; lines out are one ``{"key", "outputs":
[[token ids], ...]}`` a prompt as it is answered, then ``{"done": true}``. Token ids cross, never text: the caller's tokenizer
decides.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, TextIO


def main() -> None:
    """Serve jobs from standard input until it closes; the engine's settings are the one argument, as JSON."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
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
        for answer in _run(llm.llm_engine, lora, job["prompts"], job["decoding"]):
            _say(answers, answer)
        _say(answers, {"done": True})


def _run(engine: Any, lora: Any, prompts: list[dict[str, Any]], decoding: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Answers as they are finished; ``LLM.generate`` would give them when all are."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    settings = {**decoding, "repetition_penalty": 1.0, "detokenize": bool(decoding["stop"])}
    for prompt in prompts:
        params = SamplingParams(**settings, output_kind=RequestOutputKind.FINAL_ONLY)
        engine.add_request(prompt["key"], {"prompt_token_ids": prompt["ids"]}, params, lora_request=lora)
    while engine.has_unfinished_requests():
        for result in engine.step():
            if result.finished:
                samples = sorted(result.outputs, key=lambda output: output.index)
                yield {"key": result.request_id, "outputs": [list(output.token_ids) for output in samples]}


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _end_with(parent: int) -> None:
    """End when the process that started this one has: after a ``kill -9`` the next run needs the GPU's memory."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
