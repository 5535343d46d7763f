"""How often llama.cpp gives transformers' greedy answer on toy questions, and whether it reads text as the tokenizer does.

The tiny base's tokenizer cuts text as llama.cpp cannot, so its prompts are given as token ids.
"""

from pathlib import Path

from text2sql.checkpoint.gguf import export
from text2sql.generate import Decoding, EngineSettings, Request, open_engine
from text2sql.prompts import build_messages
from text2sql.synth import generate
from text2sql.toy import build_database, load_specs

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models/tiny-base"


def agreement(folder: Path, questions: int) -> float:
    """The share of equal answers; ``questions`` in all, about every held-out toy database."""
    asked = [build_messages(example.question, example.schema) for example in _examples(folder, questions)]
    requests = [Request(str(number), messages) for number, messages in enumerate(asked)]
    with open_engine(EngineSettings(str(MODEL), engine="transformers")) as engine:
        theirs = {found.key: found.text for found in engine.generate(requests, Decoding(max_new_tokens=128))}
        renderer = engine.renderer
        prompts = [renderer.encode(request.messages) for request in requests]
    llama = opened(export(MODEL, folder / "gguf")[0])
    equal = 0
    for request, prompt in zip(requests, prompts, strict=True):
        found = llama.create_completion(prompt, max_tokens=128, temperature=0.0, repeat_penalty=1.0)
        equal += found["choices"][0]["text"].partition("<|im_end|>")[0] == theirs[request.key]
    return equal / len(requests)


def opened(file: Path):
    """A GGUF file in llama.cpp, on one thread."""
    from llama_cpp import Llama

    return Llama(str(file), n_ctx=4096, n_threads=1, n_threads_batch=1, verbose=False)


def _examples(folder: Path, questions: int):
    specs = [spec for spec in load_specs(ROOT / "data/toy") if spec.split == "test"]
    each = -(-questions // len(specs))
    found = []
    for spec in specs:
        path = folder / "database" / spec.db_id / f"{spec.db_id}.sqlite"
        build_database(spec, path, 42)
        found += generate(path, spec.db_id, each, 42)
    return found[:questions]
