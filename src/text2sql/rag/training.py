"""Trains an embedder or a reranker of Qwen3's shape on questions that queries of one form answer.

For profiles whose machine cannot hold the released models, and for users whose questions are unlike those that the released
ones know. What is learnt is :func:`text2sql.sql.skeleton.skeleton`: questions are near when their queries have one form.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from text2sql.artifacts import digest, is_current, only_one, write_note
from text2sql.checkpoint.model import check_model, fingerprint
from text2sql.errors import UserError
from text2sql.linking.scores import open_embedder
from text2sql.rag import INSTRUCTION
from text2sql.rag.models import new_embedder, new_reranker, write_card
from text2sql.recipe import STRICT
from text2sql.records import Example, read_jsonl
from text2sql.sql.skeleton import skeleton

logger = logging.getLogger("text2sql.rag")
NOTE = "training.json"
_NEAR = 20  # neighbours among which hard negatives are looked for
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingOptions:
    """Keys of a recipe that trains an embedder or a reranker.

    ``model_name_or_path``: the causal model to start from; ``examples``: prepared examples. ``pairs`` are seen in all, each
    once, ``batch_size`` a step. ``embedder``: whose near but wrong neighbours the reranker learns to tell apart (None:
    random ones only). ``layers``: only so many of the base's, the first. ``instruction``: what a query is told to find;
    ``system``: in place of the reranker's system text.
    """

    kind: Literal["embedder", "reranker"]
    model_name_or_path: str
    examples: list[Path]
    output_dir: Path
    embedder: str | None = None
    instruction: str = INSTRUCTION
    system: str | None = None
    pairs: Count = 20_000
    batch_size: Count = 64
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    max_length: Count = 256
    layers: Count | None = None
    save_steps: Count = 100
    seed: int = 42
    bf16: bool = True
    use_cpu: bool = False


def train(options: TrainingOptions) -> Path:
    """Train and write the model with its card; a stopped run goes on, a finished one does nothing.

    Raises:
        UserError: no base model, too few questions of one form, or another process trains in the same folder.
    """
    check_model(Path(options.model_name_or_path))
    made_of = {"options": str(options), "base": fingerprint(Path(options.model_name_or_path))}
    made_of |= {"examples": digest(*options.examples) if all(p.is_file() for p in options.examples) else ""}
    if is_current(options.output_dir / NOTE, made_of):
        logger.info("%s is trained already", options.output_dir)
        return options.output_dir
    forms = _forms(chain.from_iterable(read_jsonl(path, Example) for path in options.examples))
    options.output_dir.mkdir(parents=True, exist_ok=True)
    with only_one(options.output_dir):
        rows = _pairs(forms, options) if options.kind == "embedder" else _judged(forms, options)
        model = _fit(options, rows)
        model.save_pretrained(str(options.output_dir), create_model_card=False)
        write_card(options.output_dir, options.kind, sum(map(len, forms.values())), len(forms), options)
        write_note(options.output_dir / NOTE, made_of)
    logger.info("%s: %s", options.kind, options.output_dir)
    return options.output_dir


Forms = dict[str, list[Example]]


def _forms(examples: Iterator[Example]) -> Forms:
    """Examples by the form of their query, each question once, and only forms with two questions."""
    found: dict[str, dict[str, Example]] = defaultdict(dict)
    for example in examples:
        found[skeleton(example.sql)].setdefault(example.question, example)
    forms = {form: list(rows.values()) for form, rows in found.items() if len(rows) > 1}
    if len(forms) < 2:
        raise UserError("examples: too few; training needs two forms of queries with two questions each")
    return forms


def _other(example: Example, rows: Sequence[Example], draw: random.Random) -> Example:
    """Another example of the list, of another database if there is one."""
    far = [row for row in rows if row.db_id != example.db_id]
    return draw.choice(far or [row for row in rows if row is not example])


def _pairs(forms: Forms, options: TrainingOptions) -> list[dict[str, Any]]:
    """Pairs of questions of one form, in batches of different forms, since a batch's other pairs count as wrong."""
    draw = random.Random(options.seed)
    rows: list[dict[str, Any]] = []
    names = list(forms)
    weights = np.array([len(forms[name]) for name in names], dtype=float)
    chooser, size = np.random.default_rng(options.seed), min(options.batch_size, len(names))
    while len(rows) < options.pairs:
        for place in chooser.choice(len(names), size, replace=False, p=weights / weights.sum()):
            example = draw.choice(forms[names[place]])
            other = _other(example, forms[names[place]], draw)
            rows.append({"anchor": example.question, "positive": other.question})
    return rows


def _judged(forms: Forms, options: TrainingOptions) -> list[dict[str, Any]]:
    """Questions with another question or its SQL, half of one form and half not: a near one where an embedder finds it."""
    draw = random.Random(options.seed)
    rows: list[dict[str, Any]] = []
    everyone = [(form, example) for form, examples in forms.items() for example in examples]
    near = _neighbours([example for _, example in everyone], options)
    while len(rows) < options.pairs:
        place = draw.randrange(len(everyone))
        form, example = everyone[place]
        by_sql = draw.random() < 0.5
        others = [everyone[other] for other in near[place]] if near is not None else []
        wrong = [other for kind, other in others if kind != form and other.db_id != example.db_id]
        right = _other(example, forms[form], draw)
        kind, other = draw.choice(everyone)
        if wrong and (draw.random() < 0.6 or kind == form):
            kind, other = "", draw.choice(wrong)
        for found, label in ((right, 1.0), (other, float(kind == form))):
            rows.append(
                {"query": example.question, "document": found.sql if by_sql else found.question, "label": label}
            )
    return rows


def _neighbours(examples: Sequence[Example], options: TrainingOptions) -> Any:
    """Places of the nearest other examples of each, an array of one row each; None without an embedder."""
    if options.embedder is None:
        return None
    vectors = open_embedder(options.embedder, None)([example.question for example in examples])
    blocks = (vectors[start : start + 1000] @ vectors.T for start in range(0, len(vectors), 1000))
    return np.concatenate([np.argpartition(-block, _NEAR, axis=1)[:, :_NEAR] for block in blocks])


def _fit(options: TrainingOptions, rows: list[dict[str, Any]]) -> Any:
    """The trained model."""
    from datasets import Dataset

    settings: dict[str, Any] = {
        "output_dir": str(options.output_dir / "checkpoints"),
        "per_device_train_batch_size": options.batch_size,
        "num_train_epochs": 1,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.05,
        "logging_steps": 20,
        "save_steps": options.save_steps,
        "save_total_limit": 1,
        "seed": options.seed,
        "bf16": options.bf16,
        "use_cpu": options.use_cpu,
        "report_to": "none",
        "batch_sampler": _in_order,
    }
    table, trainer = Dataset.from_list(rows), _trainer(options, settings)
    trainer = trainer(table)
    started = any((options.output_dir / "checkpoints").glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=started)
    return trainer.model


def _in_order(data: Any, batch_size: int, drop_last: bool, **_: Any) -> Any:
    """Batches of rows as they stand, which is how they were put together."""
    from torch.utils.data import BatchSampler, SequentialSampler

    return BatchSampler(SequentialSampler(data), batch_size, drop_last)


def _trainer(options: TrainingOptions, settings: dict[str, Any]) -> Any:
    """A function from rows to the trainer of this kind of model."""
    if options.kind == "embedder":
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.losses import MultipleNegativesRankingLoss

        embedder = new_embedder(options.model_name_or_path, options.instruction, options.max_length, options.layers)
        prompts = {"anchor": embedder.prompts["query"], "positive": ""}
        how = SentenceTransformerTrainingArguments(prompts=prompts, **settings)
        loss = MultipleNegativesRankingLoss(embedder)
        return lambda rows: SentenceTransformerTrainer(embedder, how, rows, loss=loss)
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    reranker = new_reranker(
        options.model_name_or_path, options.instruction, options.max_length, options.system, options.layers
    )
    ways = CrossEncoderTrainingArguments(**settings)
    return lambda rows: CrossEncoderTrainer(reranker, ways, rows, loss=BinaryCrossEntropyLoss(reranker))
