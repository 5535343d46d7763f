"""Examples as LLaMA-Factory loads data sets, and the prompts that its template makes of them.

Its own converters drop the columns that rewards need (database, gold SQL, question, schema), so ours keeps the whole
example as JSON. Whatever the file is otherwise described as, its rows are read as examples.
"""

import json
import logging
from dataclasses import fields
from typing import Any

from datasets import Dataset
from llamafactory.data.converter import DATASET_CONVERTERS, DatasetConverter, register_dataset_converter
from llamafactory.data.data_utils import merge_dataset, split_dataset
from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.parser import get_dataset_list

from text2sql.errors import UserError
from text2sql.grpo.hparams import REQUIRED
from text2sql.prompts import AnswerFormat, build_messages
from text2sql.records import Example

logger = logging.getLogger(__name__)

FORMATTING = "text2sql"
_FIELDS = frozenset(f.name for f in fields(Example))


def to_example(row: dict[str, Any]) -> Example:
    """A row as an example.

    Raises:
        UserError: it lacks something; names the row.
    """
    name = row.get("question_id") or f"(no question_id; question: {str(row.get('question'))[:60]!r})"
    for key in REQUIRED:
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise UserError(f"row {name}: no {key}; GRPO needs rows with {', '.join(REQUIRED)}")
    return Example(**{"question_id": "", **{k: str(row[k]) for k in _FIELDS & row.keys() if row[k] is not None}})


class _Converter(DatasetConverter):  # type: ignore[misc]
    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        return {"example": json.dumps(to_example(example).__dict__, ensure_ascii=False)}


def load_examples(model: Any, data: Any, training: Any) -> tuple[list[Example], list[Example]]:
    """Training and held-out examples, by LLaMA-Factory's keys (dataset, eval_dataset, val_size, max_samples, mixing).

    Raises:
        UserError: a row lacks what GRPO needs, or streaming is asked for.
    """
    if data.streaming:
        raise UserError("streaming: GRPO repeats each prompt, so it needs the whole data set; set streaming=false")
    if FORMATTING not in DATASET_CONVERTERS:
        register_dataset_converter(FORMATTING, _Converter)
    with training.main_process_first(desc="load examples", local=not data.data_shared_file_system):
        both = [_merged(names, model, data, training) for names in (data.dataset, data.eval_dataset)]
        train, held_out = split_dataset(*both, data, seed=training.seed)
    return _examples(train.get("train")), _examples(held_out.get("validation"))


def _examples(part: Any) -> list[Example]:
    return [Example(**json.loads(text)) for text in part["example"]] if part is not None else []


def _merged(names: list[str] | None, model: Any, data: Any, training: Any) -> Any:
    if not names:
        return None
    described = get_dataset_list(names, data.dataset_dir)
    for attributes in described:
        attributes.formatting, attributes.ranking = FORMATTING, False
    loaded = [_load_single_dataset(attributes, model, data, training) for attributes in described]
    return merge_dataset(loaded, data, seed=training.seed)


def prompt_ids(example: Example, template: Any, tokenizer: Any, answer: AnswerFormat) -> list[int]:
    """Token ids of the prompt: exactly those that supervised fine-tuning of this template and format shows."""
    system, user = build_messages(example.question, example.schema, example.evidence, answer)
    turns = [user, {"role": "assistant", "content": ""}]
    ids: list[int] = template.encode_oneturn(tokenizer, turns, system["content"])[0]
    return ids


def build_prompts(
    examples: list[Example], template: Any, tokenizer: Any, answer: AnswerFormat, cutoff_len: int | None = None
) -> Dataset:
    """Rows of ``prompt`` (text) and ``example`` (JSON); prompts of more than ``cutoff_len`` tokens are left out.

    TRL takes text and encodes it again; a tokenizer for which that gives other ids is refused.

    Raises:
        UserError: no prompt is left, or the tokenizer does not read its own text back.
    """
    rows = []
    for example in examples:
        ids = prompt_ids(example, template, tokenizer, answer)
        if cutoff_len is None or len(ids) <= cutoff_len:
            text = tokenizer.decode(ids)
            if tokenizer(text, add_special_tokens=False)["input_ids"] != ids:
                raise UserError(f"row {example.question_id}: its prompt is not the same after decoding and encoding")
            rows.append({"prompt": text, "example": json.dumps(example.__dict__, ensure_ascii=False)})
    if examples and not rows:
        raise UserError(
            f"cutoff_len: all {len(examples)} prompts are longer than {cutoff_len} tokens; raise cutoff_len"
        )
    if left_out := len(examples) - len(rows):
        logger.warning("%d of %d prompts are longer than cutoff_len and left out", left_out, len(examples))
    return Dataset.from_list(rows)
