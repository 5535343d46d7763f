"""From a question to an answer: the prompt of training, the engine, then what was read, repaired, voted and run.

A generator, because all ways in want the same steps, and some show the answer while it is made: pieces of the model's text are
yielded, the whole answer is returned.
"""

import logging
import tempfile
import threading
from collections.abc import Generator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from text2sql.errors import UserError
from text2sql.generate import Completion, Decoding, Engine, Request
from text2sql.prompts import Message, build_messages, follow_up_turn, normalize_answer, read_answer
from text2sql.rag.search import Retriever
from text2sql.records import Candidate, Example, Reference
from text2sql.repair import repair
from text2sql.schema import render_ddl
from text2sql.select.run import Runner
from text2sql.select.vote import ranked
from text2sql.serve.databases import Databases, Result
from text2sql.serve.error import ServeError
from text2sql.serve.options import ServeOptions
from text2sql.serve.question import Answer, Other, Question
from text2sql.sql import find_issues
from text2sql.sql.statement import canonical

logger = logging.getLogger("text2sql.serve")


class Answerer:
    """Answers questions with one engine; any number of threads may ask. A context manager."""

    def __init__(
        self, options: ServeOptions, databases: Databases, engine: Engine, retriever: Retriever | None = None
    ) -> None:
        self.options, self.databases, self.engine, self.retriever = options, databases, engine, retriever
        self._numbers, self._engine_lock, self._retriever_lock = count(), threading.Lock(), threading.Lock()
        self._linker: Any = None
        if options.linking is not None:
            from text2sql.linking.linker import Linker

            self._linker = Linker(options.linking)
        self._root = tempfile.TemporaryDirectory(prefix="text2sql-serve-")
        for name, file in databases.files.items():  # the layout that voting expects
            place = Path(self._root.name, name, f"{name}.sqlite")
            place.parent.mkdir()
            place.symlink_to(file.resolve())
        self._runner = Runner(Path(self._root.name), timeout=options.limits.sql_timeout)

    def __enter__(self) -> "Answerer":
        return self

    def __exit__(self, *_error: object) -> None:
        self._runner.__exit__()
        self._root.cleanup()

    def ask(self, question: Question) -> Generator[str, None, Answer]:
        """Yield pieces of the model's text while it answers (none for several samples), and return the answer.

        Raises:
            ServeError: the question cannot be asked, or the model does not answer.
        """
        self._check(question)
        request = Request(f"q{next(self._numbers)}", self.messages(question))
        completions = yield from self._generate(request, question)
        if any(completion.finish_reason == "prompt_too_long" for completion in completions):
            most = f" of {self.engine.limit} tokens" if self.engine.limit else ""
            raise ServeError(422, "schema_too_long", f"schema and question do not fit into the model's context{most}")
        return self._answer(question, completions)

    def ask_whole(self, question: Question) -> Answer:
        """:meth:`ask` without the pieces."""
        return whole(self.ask(question))

    def messages(self, question: Question) -> list[Message]:
        """The chat that asks the question, with solved examples like it; later turns follow the first over the same schema."""
        turns = question.history
        first = turns[0].question if turns else question.text
        told = f"{question.text} {question.evidence}"
        schema, values = question.schema or "", ""
        if question.database is not None:
            schema, values = self._shown(question.database, told)
        options = self.options
        asked = (first, schema, question.evidence, options.answer_format, options.system_prompt, values)
        found = build_messages(*asked, self._references(question))
        later = [turn.question for turn in turns[1:]] + [question.text]
        for turn, after in zip(turns, later, strict=False):  # none, where this is the first turn
            found.append({"role": "assistant", "content": normalize_answer(turn.sql)})
            found.append({"role": "user", "content": follow_up_turn(after)})
        return found

    def _references(self, question: Question) -> tuple[Reference, ...]:
        """Those that the request brings, or those that the recipe's index has."""
        if question.references or self.retriever is None:
            return tuple(Reference(turn.question, turn.sql) for turn in question.references)
        example = Example("", question.database or "", question.text, question.schema or "", "")
        with self._retriever_lock:
            return self.retriever.references([example])[0].references

    def _shown(self, database: str, told: str) -> tuple[str, str]:
        """The schema's text and the stored values that the prompt shows of a database."""
        schema, file = self.databases.schema(database), self.databases.file(database)
        if self._linker is not None:
            schema = self._linker.cut(told, schema, file, None).schema
        values = ""
        if self.options.values is not None:
            from text2sql.values.index import open_index
            from text2sql.values.match import match, render

            index = open_index(file, self.options.values.folder)
            values = render(match(told, index, self.options.values.most), self.options.values.tokens)
            index.close()
        return self.databases.text(database, schema), values

    def _check(self, question: Question) -> None:
        limits = self.options.limits
        if (question.database is None) == (question.schema is None):
            raise ServeError(422, "bad_request", "name a database, or give a schema; not both")
        if question.database is not None:
            self.databases.file(question.database)
        texts = [question.text, question.evidence, *(t for turn in question.history for t in (turn.question, turn.sql))]
        texts += [text for turn in question.references for text in (turn.question, turn.sql)]
        try:
            "".join([*texts, question.schema or ""]).encode()
        except UnicodeEncodeError:
            raise ServeError(422, "bad_request", "a text is not valid Unicode") from None
        if not question.text.strip():
            raise ServeError(422, "empty_question", "the question is empty")
        if max(map(len, texts)) > limits.question_chars:
            raise ServeError(422, "too_long", f"a question has at most {limits.question_chars} characters")
        if len(question.schema or "") > limits.schema_chars:
            raise ServeError(422, "schema_too_long", f"a schema has at most {limits.schema_chars} characters")
        if question.schema is not None and not question.schema.strip():
            raise ServeError(422, "bad_request", "the schema is empty")
        if not 1 <= question.n <= limits.samples:
            raise ServeError(422, "bad_request", f"n is 1 to {limits.samples}")

    def _generate(self, request: Request, question: Question) -> Generator[str, None, list[Completion]]:
        """In pieces also where nobody watches but the engine is this process: that work can be stopped between two."""
        options, n = self.options, question.n
        decoding = Decoding(max_new_tokens=options.max_new_tokens)
        if n > 1:
            decoding = replace(decoding, n=n, temperature=options.temperature, top_p=options.top_p)
        waits = not self.engine.concurrent
        if waits and not self._engine_lock.acquire(timeout=options.limits.timeout):
            raise ServeError(503, "busy", "the model is busy with earlier questions; ask again", retry_after=5)
        try:
            if n == 1 and (question.pieces or waits):
                return [(yield from self.engine.stream(request, decoding))]
            return list(self.engine.generate([request], decoding))
        except ServeError:
            raise
        except UserError as error:
            logger.error("model: %s", error)
            reason = getattr(error, "reason", "it refused the request")
            raise ServeError(
                503, "model_unavailable", f"the model does not answer ({reason}); ask again later", 5
            ) from error
        finally:
            if waits:
                self._engine_lock.release()

    def _answer(self, question: Question, completions: list[Completion]) -> Answer:
        rows = [self._candidate(question, completion) for completion in completions]
        share, others = None, list[Other]()
        if len(rows) > 1:
            groups = ranked(self._grouped(question, rows))
            rows, share = [groups[0].members[0]], round(groups[0].share, 4)
            others = [Other(group.members[0].pred, round(group.share, 4)) for group in groups[1:]]
        best, first = rows[0], completions[0]
        result, failure = self._run(question, best.pred)
        issues = find_issues(best.pred, question.text, self._ddl(question)) if best.pred else ()
        return Answer(
            sql=best.pred,
            reasoning=read_answer(best.text).reasoning,
            issues=[f"{issue.name}: {issue.detail}" if issue.detail else issue.name for issue in issues],
            repairs=list(best.repairs or ()),
            raw=best.raw,
            share=share,
            alternatives=others,
            result=result,
            failure=failure,
            prompt_tokens=first.prompt_tokens,
            completion_tokens=sum(completion.completion_tokens for completion in completions),
            cut=any(completion.finish_reason == "length" for completion in completions),
        )

    def _ddl(self, question: Question) -> str:
        """What issues may look at: never a client's text, because it is read by building it."""
        return render_ddl(self.databases.schema(question.database)) if question.database else ""

    def _candidate(self, question: Question, completion: Completion) -> Candidate:
        sql = read_answer(completion.text).sql
        row = Candidate(completion.key, question.database or "", sql, completion.text, completion.sample)
        if not self.options.repair or question.database is None:
            return row
        mended = repair(sql, self.databases.file(question.database))
        return replace(row, pred=mended.sql, raw=sql, repairs=mended.changes) if mended.changes else row

    def _grouped(self, question: Question, rows: list[Candidate]) -> list[Candidate]:
        """Samples of one result share a group; without a database, those that are the same query do."""
        if question.database is not None:
            return self._runner.run([rows])[0]
        forms = [canonical(row.pred) for row in rows]
        numbers = {form: number for number, form in enumerate(dict.fromkeys(forms))}
        return [
            replace(row, group=numbers[form], standing="good" if row.pred else "failed")
            for row, form in zip(rows, forms, strict=True)
        ]

    def _run(self, question: Question, sql: str) -> tuple[Result | None, ServeError | None]:
        if not question.execute or question.database is None:
            return None, None
        try:
            return self.databases.run(question.database, sql), None
        except ServeError as problem:
            return None, problem


def whole(work: Generator[str, None, Answer]) -> Answer:
    """What a generator of :meth:`Answerer.ask` returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
