"""How often llama.cpp gives transformers' greedy answer on toy questions, from the same prompts."""

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
    from llama_cpp import Llama

    asked = [build_messages(example.question, example.schema) for example in _examples(folder, questions)]
    requests = [Request(str(number), messages) for number, messages in enumerate(asked)]
    with open_engine(EngineSettings(str(MODEL), engine="transformers")) as engine:
        theirs = {found.key: found.text for found in engine.generate(requests, Decoding(max_new_tokens=128))}
        renderer = engine.renderer
        prompts = [renderer.tokenizer.decode(renderer.encode(request.messages)) for request in requests]
    llama = Llama(str(export(MODEL, folder / "gguf")[0]), n_ctx=4096, n_threads=1, n_threads_batch=1, verbose=False)
    equal = 0
    for request, prompt in zip(requests, prompts, strict=True):
        tokens = llama.tokenize(prompt.encode(), add_bos=False, special=True)
        found = llama.create_completion(tokens, max_tokens=128, temperature=0.0, repeat_penalty=1.0)
        equal += found["choices"][0]["text"].partition("<|im_end|>")[0] == theirs[request.key]
    return equal / len(requests)


def _examples(folder: Path, questions: int):
    specs = [spec for spec in load_specs(ROOT / "data/toy") if spec.split == "test"]
    each = -(-questions // len(specs))
    found = []
    for spec in specs:
        path = folder / "database" / spec.db_id / f"{spec.db_id}.sqlite"
        build_database(spec, path, 42)
        found += generate(path, spec.db_id, each, 42)
    return found[:questions]
