"""Asks the generator: each distinct prompt once, and never again after a restart.

Answers are appended to a journal as they come and stay there until the trees that they belong to are written. A run that was
killed grows the same trees again from its journal, up to the first prompt without an answer.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from text2sql.artifacts import append_text, digest_of, remove, whole_lines
from text2sql.errors import UserError
from text2sql.generate import Decoding, Engine, Request
from text2sql.prompts import Message
from text2sql.records import as_line, read_jsonl, write_jsonl

logger = logging.getLogger(__name__)
_LONGEST_PAUSE = 60.0


def prompt_key(messages: Sequence[Message], n: int) -> str:
    """What stands for a prompt, asked for ``n`` samples."""
    return digest_of([list(messages), n])


class Asker:
    """A generator with a memory.

    A prompt that gets no answer, or only empty ones, is asked up to ``tries`` times with a pause that doubles from ``pause``
    seconds. ``calls`` counts calls of the generator, ``asked`` prompts that it was given, ``seconds`` the time that it took.
    """

    def __init__(self, engine: Engine, decoding: Decoding, journal: Path, tries: int = 3, pause: float = 5.0) -> None:
        self._engine, self._decoding, self._tries, self._pause = engine, decoding, tries, pause
        self._journal = journal
        self.calls, self.asked, self.seconds = 0, 0, 0.0
        whole_lines(journal)
        rows = read_jsonl(journal, dict) if journal.is_file() else ()
        self._known: dict[str, list[str]] = {row["prompt"]: row["texts"] for row in rows}

    def ask(self, prompts: Mapping[str, Sequence[Message]], n: int) -> dict[str, list[str]]:
        """``n`` samples for each prompt, by its key; a prompt that gets none is left out.

        Raises:
            UserError: the generator answers nothing at all.
        """
        started = time.monotonic()
        for turn in range(self._tries):
            rest = {key: list(messages) for key, messages in prompts.items() if key not in self._known}
            if not rest:
                break
            if turn:
                pause = min(self._pause * 2 ** (turn - 1), _LONGEST_PAUSE)
                logger.warning("%d prompts have no answer yet; asking again in %.0f s", len(rest), pause)
                time.sleep(pause)
            failure = self._call(rest, n)
            if failure is not None and turn == self._tries - 1 and not any(key in self._known for key in prompts):
                raise failure
        self.seconds += time.monotonic() - started
        return {key: self._known[key] for key in prompts if key in self._known}

    def _call(self, prompts: Mapping[str, list[Message]], n: int) -> UserError | None:
        """Ask once; returns why prompts are left without an answer where the generator says so."""
        self.calls += 1
        self.asked += len(prompts)
        requests = [Request(key, messages) for key, messages in prompts.items()]
        texts: dict[str, list[str]] = {}
        try:
            for completion in self._engine.generate(requests, replace(self._decoding, n=n)):
                own = texts.setdefault(completion.key, [])
                own.append(completion.text)
                if len(own) == n:
                    self._keep(completion.key, own)
        except UserError as error:
            return error
        return None

    def _keep(self, key: str, texts: list[str]) -> None:
        if any(text.strip() for text in texts):
            append_text(self._journal, as_line({"prompt": key, "texts": texts}))
            self._known[key] = texts

    def forget(self, keep: set[str]) -> None:
        """Forget all answers but those to the prompts ``keep``, because their trees are written."""
        self._known = {key: texts for key, texts in self._known.items() if key in keep}
        if self._known:
            write_jsonl(self._journal, ({"prompt": key, "texts": texts} for key, texts in self._known.items()))
        else:
            remove(self._journal)
