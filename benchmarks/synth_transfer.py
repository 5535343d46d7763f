"""What generated questions teach about human ones: the tiny model on Spider dev after training on either or both.

    python benchmarks/synth_transfer.py [--arms synth_only,train_only,synth_and_train] [--pairs 500] [--steps 400] [--ledger]

Questions are generated about the 20 databases of Spider dev; no question or query that Spider has about them is read for it.
Each arm is prepared with the prompts of recipes/data/spider.yaml, trained by recipes/tiny/spider_sft.yaml and scored on the
1,034 human questions. --register plain or --language zh say what other wording teaches. Every step resumes.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from frame import ROOT, SHARED, Shared, ToLedger, run, say

from text2sql.artifacts import digest, is_current, write_note
from text2sql.errors import UserError
from text2sql.records import write_jsonl
from text2sql.schema.tables_json import read_names
from text2sql.synth.own import write_for_database

_ARMS = ("synth_only", "train_only", "synth_and_train")
_OUT = ROOT / "outputs/synth_transfer"


def main(
    arms: Annotated[str, typer.Option(help="Of synth_only, train_only, synth_and_train.")] = ",".join(_ARMS),
    pairs: Annotated[int, typer.Option(help="Generated questions about each database.")] = 500,
    steps: int = 400,
    seeds: str = "42,43,44",
    register: str = "natural",
    language: str = "en",
    model: Path = Path("models/tiny-base"),
    questions: Annotated[int, typer.Option(help="Of Spider dev, to try it out; 0: all.")] = 0,
    out: Path = _OUT,
    shared: Shared = SHARED,
    ledger: ToLedger = False,
) -> None:
    """See the module's text."""
    spider, chosen = shared / "spider", arms.split(",")
    if unknown := set(chosen) - set(_ARMS):
        raise UserError(f"--arms: no {', '.join(sorted(unknown))}; there are {', '.join(_ARMS)}")
    if not (spider / "train_spider.json").is_file():
        raise UserError(f"{spider}/train_spider.json: not there; --shared names the folder that holds spider/")
    if ledger and questions:
        raise UserError("--ledger wants all questions: leave --questions out")
    generated = out.resolve() / f"generated_{register}_{language}.json"
    if any(arm != "train_only" for arm in chosen):
        _generate(spider, generated, pairs, register, language)
    files = {"synth_only": [generated], "train_only": [spider / "train_spider.json"]}
    files["synth_and_train"] = [*files["train_only"], *files["synth_only"]]
    for arm in chosen:
        data = out.resolve() / f"data_{arm}"
        _prepare(spider, files[arm], data)
        for seed in map(int, seeds.split(",")):
            overrides = _train(data, out.resolve() / f"{arm}_{seed}", arm, seed, steps, model)
            experiment = {"train_only": "spider.tiny_train_only"}.get(arm, f"spider.{arm}")
            _score(spider, data, overrides, seed, questions, experiment if ledger else "")


def _generate(spider: Path, target: Path, pairs: int, register: str, language: str) -> None:
    """Questions about every database that dev asks about, as rows in Spider's form."""
    names = read_names(spider / "tables.json")
    databases = sorted({row["db_id"] for row in json.loads((spider / "dev.json").read_text(encoding="utf-8"))})
    note = target.with_suffix(".meta.json")
    made_of = {"pairs": pairs, "databases": databases, "register": register, "language": language}
    made_of["synth"] = [digest(file) for file in sorted((ROOT / "src/text2sql/synth").iterdir()) if file.is_file()]
    if target.is_file() and is_current(note, made_of):
        return
    rows = []
    for db_id in databases:
        path = spider / "database" / db_id / f"{db_id}.sqlite"
        made = write_for_database(path, pairs, 42, (language,), register, names=names.get(db_id))
        rows += [{"question": e.question, "query": e.sql, "db_id": db_id} for e in made.examples]
        say(f"{db_id}: {len(made.examples)} questions")
    write_jsonl(target.with_suffix(".jsonl"), rows)
    target.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    write_note(note, made_of)


def _command(*words: object) -> None:
    text = [str(word) for word in words]
    if subprocess.run([sys.executable, "-m", "text2sql", *text], cwd=ROOT, check=False).returncode:
        raise UserError(f"text2sql {' '.join(text[:2])} failed; what it said is above")


def _prepare(spider: Path, files: list[Path], data: Path) -> None:
    listed = ",".join(str(file) for file in files)
    keys = [
        f"name={data.name}",
        f"output={data}",
        f"folder={spider}",
        f"files.train=[{listed}]",
        "files.dev=[dev.json]",
    ]
    _command("data", "recipes/data/spider.yaml", *keys, "vary=null", "suites=null", "val_databases=0")


def _train(data: Path, output: Path, arm: str, seed: int, steps: int, model: Path) -> Path:
    keys = [f"dataset={data.name}_train", f"dataset_dir={data}", f"output_dir={output}", f"model_name_or_path={model}"]
    _command("train", "recipes/tiny/spider_sft.yaml", *keys, f"seed={seed}", f"max_steps={steps}")
    return output


def _score(spider: Path, data: Path, output: Path, seed: int, questions: int, experiment: str) -> None:
    examples, answers = data / "examples/dev.jsonl", output / "eval/predictions.jsonl"
    limit = [f"limit={questions}"] if questions else []
    keys = [f"model_name_or_path={output}", f"examples={examples}", f"output={answers}", "engine=transformers"]
    _command("infer", "recipes/tiny/spider_infer.yaml", *keys, *limit)
    asked = [f"examples={examples}", f"predictions={answers}", f"output_dir={answers.parent}", *limit]
    asked += [f"database_root={spider}/database", f"seed={seed}", *([f"experiment={experiment}"] if experiment else [])]
    _command("evaluate", "recipes/tiny/spider_evaluate.yaml", *asked)


if __name__ == "__main__":
    run(main, __doc__)
