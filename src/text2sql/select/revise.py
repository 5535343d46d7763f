"""Rounds of revision: the chosen answer goes back to a model with what it gave, and the better one of the two stays."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from text2sql.artifacts import digest_of
from text2sql.checkpoint.model import fingerprint
from text2sql.generate import Request, open_engine
from text2sql.predictions import PredictionFile
from text2sql.prompts import parse_completion, revise
from text2sql.records import Candidate, Example, Prediction, read_jsonl
from text2sql.select.candidates import ReviseOptions, SelectOptions
from text2sql.select.run import Runner
from text2sql.select.vote import better

logger = logging.getLogger("text2sql.select")
Score = Callable[[Example, Sequence[Candidate]], list[Candidate]]


def revised(
    options: SelectOptions,
    how: ReviseOptions,
    examples: Sequence[Example],
    answers: Mapping[str, Candidate],
    score: Score,
) -> list[dict[str, Candidate]]:
    """The answers by question_id after each round; those that are not asked about again stay as they are.

    Raises:
        UserError: the model is missing, or no server answers.
    """
    rounds, current = [], dict(answers)
    with Runner(
        options.database_root, options.protocol, values=options.values, jobs=options.jobs, timeout=options.timeout
    ) as runner:
        for number in range(1, how.rounds + 1):
            doubted = [one for one in examples if how.which == "all" or current[one.question_id].standing != "good"]
            told = runner.feedback([current[example.question_id] for example in doubted])
            texts = _asked(options, how, number, doubted, current, told)
            current = dict(current)
            rows = [[replace(current[e.question_id], pred=parse_completion(t), text=t)] for e, t in texts]
            for (example, _), (row,) in zip(texts, runner.run(rows), strict=True):
                (new,) = score(example, [row])
                if better(new, current[example.question_id]):
                    current[example.question_id] = new
            rounds.append(current)
    return rounds


def _asked(
    options: SelectOptions,
    how: ReviseOptions,
    number: int,
    doubted: Sequence[Example],
    current: Mapping[str, Candidate],
    told: Sequence[str],
) -> list[tuple[Example, str]]:
    """The revisions of a round, from its file where they are known."""
    prompts = {
        example.question_id: revise(
            example, current[example.question_id].pred, feedback, options.answer_format, options.system_prompt
        )
        for example, feedback in zip(doubted, told, strict=True)
    }
    known = {example.question_id: example for example in doubted}
    model = how.model_name_or_path if how.engine == "openai" else fingerprint(Path(how.model_name_or_path))
    made_of = {"model": model, "prompts": digest_of(prompts), "decoding": digest_of(how.decoding.__dict__)}
    file = PredictionFile(options.output_dir / f"round_{number}.jsonl", made_of, 1)
    with file.claim():
        done = file.open(keep=True)
        requests = [Request(key, messages) for key, messages in prompts.items() if key not in done]
        if requests:
            logger.info("round %d: %d answers are revised", number, len(requests))
            with open_engine(how) as engine:
                for found in engine.generate(requests, how.decoding):
                    row = Prediction(found.key, known[found.key].db_id, parse_completion(found.text), found.text)
                    file.append([row])
        if not prompts:
            return []
        file.finish(list(prompts))
        texts = {row.question_id: row.text for row in read_jsonl(file.path, Prediction)}
    return [(example, texts[example.question_id]) for example in doubted]
