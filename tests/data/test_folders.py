"""Data sets that come with folders of their own: Spider, BIRD, SynSQL; what is prepared side by side; archives."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from support.tables import DDL, lines, make, music, recipe, rows, write
from text2sql.data.parts import dataset_info
from text2sql.data.prepare import prepare
from text2sql.errors import UserError
from text2sql.recipe import load_recipe
from text2sql.recipe.keys import data_files
from text2sql.records import Example, read_jsonl

ROOT = Path(__file__).parents[2]
SQL = "SELECT name FROM singer WHERE age > 35"
TABLES = "CREATE TABLE singer (id INT PRIMARY KEY, name TEXT, age INT);"


@pytest.fixture
def root(tmp_path):
    """A folder with the database ``music``."""
    return music(tmp_path / "databases")


def test_spider_takes_train_others_too(tmp_path):
    music(tmp_path / "spider" / "database")
    row = {"db_id": "music", "question": "Who?", "query": SQL}
    for name, text in (("train_spider", "Who?"), ("train_others", "Who else?"), ("dev", "Who now?")):
        (tmp_path / "spider" / f"{name}.json").write_text(json.dumps([{**row, "question": text}]))
    given = [f"folder={tmp_path / 'spider'}", f"output={tmp_path / 'out'}", "tokenizer=null"]
    given += ["val_databases=0", "tables=null", f"values.folder={tmp_path}"]
    values = load_recipe(ROOT / "recipes/data/spider.yaml", [*given, "train=[train_spider.json,train_others.json]"])
    report = prepare(values, "spider.yaml")
    assert {name: found["kept"] for name, found in report["splits"].items()} == {"train": 2, "dev": 1}


def bird(tmp_path):
    """BIRD in the layout of its archives: questions, two folders of databases, and descriptions in two encodings."""
    for half, evidence in (("train", "old means age > 35"), ("dev", "")):
        root = music(tmp_path / "bird" / half / f"{half}_databases")
        (root / "music").rename(root / f"music_{half}")
        (root / f"music_{half}" / "music.sqlite").rename(root / f"music_{half}" / f"music_{half}.sqlite")
        told = root / f"music_{half}" / "database_description"
        told.mkdir()
        head = "original_column_name,column_name,column_description,data_format,value_description\n"
        text = f'{head}name, stage name ,the singer’s name,text,\nage,age,,integer,"commonsense evidence:\nin years: 0 if unknown"\n'
        (told / "singer.csv").write_bytes(("\ufeff" + text).encode() if half == "train" else text.encode("cp1252"))
        row = {"db_id": f"music_{half}", "question": "Who is old?", "evidence": evidence, "SQL": SQL}
        table = [row, {**row, "db_id": "gone"}]
        (tmp_path / "bird" / half / f"{half}.json").write_text(json.dumps(table))
    return tmp_path / "bird"


def test_bird_has_both_halves_and_its_descriptions(tmp_path):
    folder = bird(tmp_path)
    roots = f"[{folder}/train/train_databases,{folder}/dev/dev_databases]"
    given = [
        f"folder={folder}",
        f"database_root={roots}",
        f"output={tmp_path / 'out'}",
        "tokenizer=null",
        "val_databases=0",
    ]
    values = load_recipe(ROOT / "recipes/data/bird.yaml", [*given, f"values.folder={tmp_path}"])
    report = prepare(values, "bird.yaml")
    for half in ("train", "dev"):
        assert (report["splits"][half]["kept"], report["splits"][half]["rejected"]) == (1, {"missing database": 1})
        (example,) = read_jsonl(tmp_path / "out" / "examples" / f"{half}.jsonl", Example)
        assert "  name TEXT, -- stage name, the singer’s name; 'Ann'\n" in example.schema
        assert "  age INT -- in years: 0 if unknown\n" in example.schema
    assert "old means age > 35" in lines(tmp_path / "out" / "sft_train.jsonl")[0]["messages"][1]["content"]
    (folder / "dev/dev_databases/music_dev/database_description/singer.csv").write_text("original_column_name\n")
    assert prepare(values, "bird.yaml")["data_hash"] != report["data_hash"]
    with pytest.raises(UserError, match="descriptions: they stand beside the columns of schema_style=ddl_values only"):
        prepare({**values, "schema_style": "ddl"}, "bird.yaml")


def test_a_subset_by_difficulty_reads_no_more_than_it_needs(tmp_path, root):
    row = {"db_id": "music", "external_knowledge": "", "question_style": "Formal", "cot": "...", "sql": SQL}
    names = ("Simple", "Complex", "Simple", "Highly Complex", "Simple", "Complex")
    table = [{**row, "question": f"Who? {n}", "sql_complexity": name} for n, name in enumerate(names)]
    leak = {"question": "Who is it at 4?", "sql": "SELECT 1"}
    write(tmp_path / "dev.jsonl", [leak, {**leak, "question": "who 0"}])
    clean = {"against": [str(tmp_path / "dev.jsonl")], "rules": ["question"]}
    more = {"database_root": str(root), "subset": {"Simple": 2, "Complex": 5}, "decontaminate": clean}
    found, counts = make(tmp_path, "synsql", table, **more)
    assert [(e.question, e.difficulty) for e in found] == [
        ("Who? 1", "Complex"),
        ("Who? 2", "Simple"),
        ("Who? 5", "Complex"),
    ]
    assert counts["rejected"] == {"leak (question)": 1}
    by_sql, _ = make(
        tmp_path, "rows", [{**row, "schema": DDL} for row in rows(4)], output=str(tmp_path / "out"), subset={"easy": 3}
    )
    assert len(by_sql) == 3


def test_what_is_prepared_side_by_side_is_listed_in_one_place(tmp_path, caplog):
    write(tmp_path / "a.json", rows(2))
    for folder, name in (("one", "one"), ("two", "two"), ("three", "two"), ("two", "two")):
        prepare(recipe(tmp_path, {"train": ["a.json"]}, name=name, output=str(tmp_path / "prepared" / folder)), "r")
    listing = tmp_path / "prepared" / "dataset_info.json"
    known = json.loads(listing.read_text())
    names = {f"{name}_train{end}" for name in ("one", "two", "three") for end in ("", "_grpo")}
    assert set(known) == names
    assert known["two_train"]["file_name"] == "two/sft_train.jsonl"
    assert known["two_train_grpo"] == {"file_name": "two/examples/train.jsonl", "formatting": "text2sql"}
    assert all((listing.parent / entry["file_name"]).is_file() for entry in known.values())
    assert "a neighbour's data sets are two_*, so these are three_*" in caplog.text
    from llamafactory.data.parser import get_dataset_list

    assert len(get_dataset_list(["one_train", "two_train"], str(listing.parent))) == 2
    listing.write_text("[]")
    with pytest.raises(UserError, match="mend or remove it"):
        prepare(recipe(tmp_path, {"train": ["a.json"]}, output=str(tmp_path / "prepared" / "one")), "r")


def test_the_shipped_list_names_what_the_shipped_recipes_make():
    shipped = json.loads((ROOT / "data" / "dataset_info.json").read_text())
    for path in sorted((ROOT / "recipes" / "data").glob("*.yaml")):
        values = load_recipe(path, [])
        if "source" not in values or values.get("train") == []:  # for evaluation only
            continue
        splits = tuple(
            values.get("split")
            or values.get("files")
            or (["train", "val"] if values["source"] == "toy" else ["train", "dev"])
        )
        folder = Path(values["output"]).relative_to("data").as_posix()
        for name, entry in dataset_info(values["name"], splits, values.get("formats", ["messages"])).items():
            assert shipped[name] == {**entry, "file_name": f"{folder}/{entry['file_name']}"}


@pytest.mark.parametrize(
    "name", ["bird_train", "text2sql_dataset_val", "synthetic_text_to_sql_train", "process_train_grpo"]
)
def test_a_data_set_that_is_not_prepared_names_its_recipe(tmp_path, monkeypatch, name):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_bytes((ROOT / "data" / "dataset_info.json").read_bytes())
    monkeypatch.chdir(tmp_path)
    maker = name.partition("_train")[0].partition("_val")[0]
    with pytest.raises(UserError, match=f"prepare_data.sh recipes/data/{maker}.yaml`"):
        list(data_files({"dataset": name}, Path("r.yaml")))


@pytest.mark.parametrize("half", ["train", "dev"])
def test_birds_archives_are_unpacked_with_the_archive_inside(tmp_path, half):
    folder = bird(tmp_path) / half
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as inner:
        for path in sorted(folder.rglob("*")):
            if f"{half}_databases" in path.parts and path.is_file():
                inner.write(path, path.relative_to(folder))
    with zipfile.ZipFile(tmp_path / f"{half}.zip", "w") as outer:
        outer.write(folder / f"{half}.json", f"{half}_2024/{half}.json")
        outer.write(tmp_path / "inner.zip", f"{half}_2024/{half}_databases.zip")
        outer.writestr(f"__MACOSX/{half}_2024/{half}.json", "junk")

    def download(archive):
        arguments = ["bird", f"folder={tmp_path / 'cache'}", f"archive={archive}"]
        return subprocess.run(
            ["bash", "scripts/download_data.sh", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )

    done = download(tmp_path / f"{half}.zip")
    assert done.returncode == 0, done.stderr
    target = tmp_path / "cache" / half
    assert (target / f"{half}.json").is_file()
    assert (target / f"{half}_databases/music_{half}/database_description/singer.csv").is_file()
    assert not list(target.glob("*.zip")) and not list((tmp_path / "cache").glob("*.partial"))
    assert f"{target}: ready" in download(tmp_path / f"{half}.zip").stderr
    (tmp_path / "cache" / half / ".complete").unlink()
    (tmp_path / f"{half}.zip").write_bytes(b"cut short")
    failed = download(tmp_path / f"{half}.zip")
    assert failed.returncode == 2 and "could not be unpacked; is it whole" in failed.stderr.splitlines()[-1]
