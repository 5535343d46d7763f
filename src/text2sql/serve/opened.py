"""Opens what a serving recipe names: databases, engine (vLLM's server included) and the answerer over both."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from text2sql.generate import check_engine, open_engine
from text2sql.generate.types import EngineSettings
from text2sql.rag.search import open_retriever
from text2sql.serve.answer import Answerer
from text2sql.serve.databases import Databases
from text2sql.serve.options import ServeOptions


@contextmanager
def open_answerer(options: ServeOptions, *, vllm: bool = True) -> Iterator[Answerer]:
    """An answerer that is ready; with ``vllm``, ``engine: vllm`` or ``auto`` may start vLLM's server.

    Without it, ``auto`` means transformers, which is ready sooner: for one person at a terminal.

    Raises:
        UserError: a database, the model or the engine is missing.
    """
    if not vllm and options.engine == "auto":
        options = replace(options, engine="transformers")
    with ExitStack() as stack:
        databases = stack.enter_context(Databases(options))
        settings: EngineSettings = options
        if check_engine(options) == "vllm":
            from text2sql.generate.vllm_server import vllm_server

            settings = stack.enter_context(vllm_server(options))
        engine = stack.enter_context(open_engine(settings, options.limits.timeout))
        retriever = stack.enter_context(open_retriever(options.references)) if options.references else None
        yield stack.enter_context(Answerer(options, databases, engine, retriever))
