"""vLLM's server started by the recipe, behind the API: the same greedy answers as transformers', and samples."""

from dataclasses import replace

import pytest

from text2sql.generate import open_engine
from text2sql.generate.vllm_engine import vllm_python
from text2sql.generate.vllm_server import vllm_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(vllm_python() is None, reason="vLLM is not installed (bash scripts/setup.sh vllm)"),
]
QUESTIONS = [
    "how many keepers are there",
    "how many animals are there for each species",
    "show the pet name of animals where weight kg above 300",
    "what is the average pay grade of keepers",
    "show the label of enclosures ordered by area sqm descending",
]


def test_the_api_in_front_of_vllm(options, serving) -> None:
    settings = replace(options, engine="vllm", max_model_len=1024, adapter_name_or_path=None)
    with vllm_server(settings) as there, open_engine(there, 60) as vllm, serving(vllm) as client, serving() as own:
        for question in QUESTIONS:
            body = {"question": question, "database": "zoo"}
            assert (
                client.post("/v1/text2sql", json=body).json()["sql"]
                == own.post("/v1/text2sql", json=body).json()["sql"]
            )
        voted = client.post("/v1/text2sql", json={"question": QUESTIONS[2], "database": "zoo", "n": 8}).json()
        assert 0 < voted["share"] <= 1 and voted["usage"]["completion_tokens"] > 8
        with client.stream(
            "POST", "/v1/text2sql", json={"question": QUESTIONS[0], "database": "zoo", "stream": True}
        ) as reply:
            assert "".join(reply.iter_text()).count("event: delta") > 2
        long = {
            "question": "a",
            "schema": "CREATE TABLE t (" + ", ".join(f"column_{i} TEXT" for i in range(500)) + ");",
        }
        refused = client.post("/v1/text2sql", json=long)
        assert refused.status_code == 422 and "1024 tokens" in refused.text
