"""Embedders and rerankers as their models were trained to be used.

An embedding model of Qwen3's kind puts a query's task before it (``Instruct: ...\\nQuery:``), documents stay bare, and the last
token's vector is the text's. A reranker of that kind is a causal model that answers yes or no to a fixed form; its score is
P(yes) / (P(yes) + P(no)). Loaded as a classifier instead, it would get a random head.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from text2sql.artifacts import write_text
from text2sql.errors import UserError
from text2sql.linking.scores import one_line

SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)


def query_prompt(instruction: str) -> str:
    """What stands before a query, as in the model card of Qwen3-Embedding."""
    return f"Instruct: {instruction}\nQuery:" if instruction else ""


def template(system: str | None = None) -> str:
    """The chat template of Qwen3-Reranker for the roles query and document, its task in the role system."""
    text = files("text2sql.rag").joinpath("reranker.jinja").read_text(encoding="utf-8").rstrip("\n")
    return text if system is None else text.replace(SYSTEM, system)


def new_embedder(base: str, instruction: str, max_length: int, layers: int | None = None) -> Any:
    """An untrained embedder over the first ``layers`` of a causal model: the last token's vector, normalised."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    plain = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}  # no chat template around texts
    form: dict[str, Any] = {"modality_config": plain, "module_output_name": "token_embeddings"}
    body = Transformer(base, max_seq_length=max_length, processor_kwargs={"padding_side": "left"}, **form)
    _keep_layers(body.model, layers)
    pooling = Pooling(body.get_embedding_dimension(), "lasttoken")
    return SentenceTransformer(
        modules=[body, pooling, Normalize()], prompts={"query": query_prompt(instruction), "document": ""}
    )


def _keep_layers(model: Any, layers: int | None) -> None:
    """Leave out all layers of a network but the first ones."""
    if layers is not None:
        body = getattr(model, "model", model)
        body.layers = body.layers[:layers]
        model.config.num_hidden_layers = len(body.layers)
        if getattr(model.config, "layer_types", None):
            model.config.layer_types = model.config.layer_types[:layers]


def new_reranker(
    base: str, instruction: str, max_length: int, system: str | None = None, layers: int | None = None
) -> Any:
    """A reranker over the first ``layers`` of a causal model.

    Its logit is that of yes less that of no behind the form; a sigmoid of that is P(yes) / (P(yes) + P(no)). Of a word that
    the vocabulary has in pieces, the first counts.
    """
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.modules import LogitScore
    from sentence_transformers.sentence_transformer.modules import Transformer
    from torch import nn

    form = {"chat_template": template(system), "padding_side": "left"}
    body = Transformer(base, transformer_task="text-generation", max_seq_length=max_length, processor_kwargs=form)
    _keep_layers(body.model, layers)
    yes, no = (body.tokenizer.encode(word, add_special_tokens=False)[0] for word in ("yes", "no"))
    if yes == no:
        raise UserError(f"{base}: its vocabulary does not tell yes from no")
    return CrossEncoder(
        modules=[body, LogitScore(yes, no)],
        prompts={"query": instruction},
        default_prompt_name="query",
        activation_fn=nn.Sigmoid(),
    )


def open_reranker(folder: str, instruction: str, max_length: int) -> Any:
    """The reranker in a folder: one that sentence-transformers saved, a causal model (Qwen3-Reranker), or a classifier.

    Raises:
        UserError: no such folder, or none that can be loaded.
    """
    from sentence_transformers import CrossEncoder

    path = Path(folder)
    if not (path / "config.json").is_file():
        raise UserError(f"{folder}: no such reranker folder; bash scripts/download_model.sh Qwen/Qwen3-Reranker-0.6B")
    try:
        kinds = json.loads((path / "config.json").read_text(encoding="utf-8")).get("architectures") or [""]
        if not (path / "modules.json").is_file() and kinds[0].endswith("ForCausalLM"):
            return new_reranker(folder, instruction, max_length)
        return CrossEncoder(folder, local_files_only=True, max_length=max_length)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        raise UserError(f"{folder}: cannot be loaded as a reranker ({one_line(error)})") from error


_CARD = """---
library_name: sentence-transformers
base_model: {base}
---
# {kind} for solved text-to-SQL examples

{use}
Trained by `text2sql rag train` on {rows:,} questions whose queries have {forms:,} forms ({pairs:,} pairs, each seen once,
{batch} a step, learning rate {rate:g}, seed {seed}). Queries are of one form when only names, literals and joins tell
them apart.

- Instruction: `{instruction}`
- Data: {data}
- Limits: English questions like those it was trained on; it judges the form of the SQL, not what a question speaks of.
"""
_USES = {
    "embedder": "Vectors of questions: the last token's, normalised. A query has the instruction before it.",
    "reranker": "Scores a question with a solved one, or its SQL: P(yes) / (P(yes) + P(no)) behind the chat template's form.",
}


def write_card(folder: Path, kind: str, rows: int, forms: int, options: Any) -> None:
    """The model card: what the model is for, and what it was trained on."""
    facts = {"rows": rows, "forms": forms, "pairs": options.pairs, "batch": options.batch_size}
    facts |= {"rate": options.learning_rate, "seed": options.seed, "instruction": options.instruction}
    data = ", ".join(f"`{'/'.join(path.parts[-3:])}`" for path in options.examples)
    base = Path(options.model_name_or_path).name
    write_text(folder / "README.md", _CARD.format(kind=kind, use=_USES[kind], data=data, base=base, **facts))
