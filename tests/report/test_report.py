"""What is shown is what the ledger holds."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image

from text2sql import ledger
from text2sql.errors import UserError
from text2sql.evaluate.answers import EvaluateOptions
from text2sql.evaluate.score import Report, Score, wilson
from text2sql.infer import InferOptions
from text2sql.recipe import load_recipe, options_from
from text2sql.report.figure import compare
from text2sql.report.readme import FIGURE, READMES, fill, render, toy_chart
from text2sql.report.tables import ACCURACIES, BLOCKS, MEASUREMENTS, WORDS, markdown

ROOT = Path(__file__).parents[2]
MARKED = "# Title\n\n<!-- results:toy -->\n<!-- /results -->\n\ntext\n\n<!-- results:bench_table -->\nold\n<!-- /results -->\nend\n"


def row(experiment="toy.base", seed=1, accuracy=0.5, **changes):
    metrics = {"execution_accuracy": accuracy, "execution_accuracy_easy": accuracy, "n_easy": 40, "n_hard": 60}
    whole = ledger.Row(
        experiment=experiment,
        profile="tiny",
        seed=seed,
        split="test",
        n=100,
        protocol="spider-test-suite",
        decoding="greedy",
        metrics=metrics,
        command="python -m x",
        git="abc",
        data_hash="0f",
        machine="2 CPU cores",
        seconds=1.0,
    )
    return replace(whole, **changes)


def test_tables_show_mean_spread_and_conditions():
    rows = [row(), *(row("toy.full_sft", seed, value) for seed, value in ((1, 0.7), (2, 0.8), (3, 0.9)))]
    lines = markdown("toy", rows, "en").splitlines()
    assert lines[2] == "| tiny base, untuned | 50.0 | 50.0 | - | - | - | 100 | test | spider-test-suite | greedy | 1 |"
    assert lines[3].startswith("| all weights | 80.0 ± 10.0 | 80.0 ± 10.0 |")
    assert lines[3].endswith("| 1, 2, 3 |")
    assert len({line.count("|") for line in lines}) == 1
    assert "微型基座" in markdown("toy", rows, "zh")


def test_splits_have_rows_of_their_own_and_newer_runs_win():
    rows = [row(accuracy=0.1), row(split="test_heldout", accuracy=0.2), row(accuracy=0.3)]
    lines = markdown("toy", rows, "en").splitlines()[2:]
    assert [line.split(" | ")[1] for line in lines] == ["30.0", "20.0"]


def planned(split, estimated, measured=200.0, **changes):
    metrics = {"estimated_mb": estimated, "measured_mb": measured}
    return row("bench.plan_memory", metrics=metrics, split=split, command="plan_memory.py --ledger", **changes)


def test_other_measurements_are_told_in_words_one_split_a_row():
    lines = markdown(
        "bench_table", [planned("one", 1.0), planned("two", 20000.4), planned("one", 180.6)], "en"
    ).splitlines()
    what = "Peak memory of a training process as `text2sql plan` estimates it, case"
    command = "`python benchmarks/plan_memory.py --ledger`"
    assert lines[2:] == [
        f"| {what} `one` | 181 MB estimated, 200 MB measured | {command} | 2 CPU cores |",
        f"| {what} `two` | 20,000 MB estimated, 200 MB measured | {command} | 2 CPU cores |",
    ]
    with pytest.raises(UserError, match=r"bench.new: words.yaml"):
        markdown("bench_table", [row("bench.new")], "en")
    with pytest.raises(UserError, match=r"bench.packing: .* lacks 'ratio'"):
        markdown("bench_table", [row("bench.packing")], "en")


def test_sentences_take_their_figures_from_the_ledger():
    rows = [row("toy.lora_qv_sft", seed, value) for seed, value in ((1, 0.6), (2, 0.7))]
    rows.append(row("toy.lora_qv_sft", split="test_heldout", accuracy=0.1))
    assert markdown("grpo_note", rows, "en").endswith("plain LoRA on q, v reaches 65.0%.")
    assert markdown("grpo_note", rows, "zh").endswith("普通 LoRA（q、v）达到 65.0%。")
    packing = row("bench.packing", metrics={"ratio": 1.96})
    assert markdown("measured", [packing], "en").startswith("With packing, the tiny model trains on 2.0 times")
    assert markdown("measured", [], "en") == "No measurement yet."


def test_both_languages_tell_the_same_figures():
    for texts in WORDS["sentences"].values():
        for english, chinese in zip(texts["en"], texts["zh"], strict=True):
            assert sorted(re.findall(r"{.+?}", english)) == sorted(re.findall(r"{.+?}", chinese)) != []


def test_only_between_the_markers_is_changed():
    text = fill(MARKED, [row()], "en", "README.md")
    assert text.startswith("# Title\n\n<!-- results:toy -->\n\n| Model |")
    assert text.endswith("<!-- results:bench_table -->\n\nNo measurement yet.\n\n<!-- /results -->\nend\n")
    assert fill(text, [row()], "en", "README.md") == text


def test_wrong_markers_are_named():
    with pytest.raises(UserError, match="no block 'tyo'"):
        fill("<!-- results:tyo -->\n<!-- /results -->", [], "en", "README.md")
    with pytest.raises(UserError, match="not closed"):
        fill("<!-- results:toy -->\n", [], "en", "README.md")


def test_render_check_and_stale(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger.append(path, row())
    (tmp_path / "README.md").write_text(MARKED)
    (tmp_path / "README.zh-CN.md").write_text(MARKED)
    for folder in ("results", "models/tiny-base"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "README.md").write_text("<!-- results:toy -->\n<!-- /results -->\n")
    names = ["README.md", "README.zh-CN.md", "results/README.md", "models/tiny-base/README.md", str(FIGURE)]
    assert render(tmp_path, path, check=True) == names
    assert not (tmp_path / FIGURE).exists()
    assert render(tmp_path, path) == names
    assert render(tmp_path, path, check=True) == []
    with Image.open(tmp_path / FIGURE) as image:
        assert image.width > 1000
    ledger.append(path, row("toy.lora_qv_sft", accuracy=0.75))
    command = [sys.executable, "-m", "text2sql.report", "--check", "--ledger", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: stale: {', '.join(names)}; run `text2sql report`\n"
    (tmp_path / "README.md").write_text("no markers")
    assert render(tmp_path, path) == names[1:]


def test_the_figure_mixes_no_conditions(caplog):
    rows = [row(), row("toy.full_sft", protocol="spider-exec"), row("toy.lora_qv_sft", seed=2, accuracy=0.6)]
    chart = toy_chart(rows)
    assert chart is not None
    assert [series.label for series in chart.series] == ["tiny base, untuned", "LoRA on q, v"]
    assert "toy.full_sft is left out" in caplog.text
    assert chart.groups == ("easy\nn = 40", "medium\nn = 0", "hard\nn = 60", "extra\nn = 0", "all\nn = 100")
    assert chart.series[1].values == (0.6, None, None, None, 0.6)
    assert toy_chart([row("toy.full_sft")]) is None


def test_the_repository_is_not_stale():
    assert render(ROOT, ROOT / ledger.LEDGER, check=True) == []


def test_every_block_and_every_measurement_is_shown():
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in READMES]
    shown = {found for text in texts for found in re.findall(r"<!-- results:(\w+) -->", text)}
    assert shown == set(BLOCKS)
    english, chinese = (set(re.findall(r"<!-- results:(\w+) -->", text)) for text in texts[:2])
    assert english == chinese
    assert {name for names in ACCURACIES.values() for name in names} == set(WORDS["names"])
    measured = {row.experiment for row in ledger.read(ROOT / ledger.LEDGER)} - set(WORDS["names"])
    assert measured <= set(WORDS["measurements"]), "what is measured is told; some words wait for their measurement"
    assert all(name.startswith(sum(MEASUREMENTS.values(), ())) for name in WORDS["measurements"])


def report(folder, name, accuracies, **changes):
    scores = {
        level: Score(50, 50 * a, a, *wilson(50 * a, 50)) for level, a in zip(("easy", "hard"), accuracies, strict=True)
    }
    correct = sum(score.correct for score in scores.values())
    overall = Score(100, correct, correct / 100, *wilson(correct, 100))
    made = Report("spider-test-suite", "test", "greedy", 1, overall, scores, {"match": 1}, {}, 0.5, "0f", 1.0)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(asdict(replace(made, **changes))))
    return path


def test_compare_prints_and_draws(tmp_path):
    base, tuned = report(tmp_path, "base", (0.5, 0.1)), report(tmp_path, "tuned", (0.9, 0.3))
    output = tmp_path / "plots" / "comparison.png"
    command = [sys.executable, "-m", "text2sql.report", "compare", f"base={base}"]
    refused = subprocess.run([*command, "tuned.json"], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (2, "error: 'tuned.json': write LABEL=REPORT.json\n")
    command += [f"LoRA q/v={tuned}", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "LoRA q/v" in done.stdout
    assert "+30.0 points" in done.stdout
    with Image.open(output) as image:
        assert image.format == "PNG"


def test_reports_of_other_conditions_are_not_compared(tmp_path):
    base, other = report(tmp_path, "a", (0.5, 0.1)), report(tmp_path, "b", (0.5, 0.1), protocol="spider-exec")
    with pytest.raises(UserError, match="cannot be compared: measured with spider-exec"):
        compare({"a": base, "b": other}, tmp_path / "x.png")
    with pytest.raises(UserError, match="two reports or more"):
        compare({"a": base}, tmp_path / "x.png")


@pytest.mark.parametrize(("name", "kind"), [("infer", InferOptions), ("evaluate", EvaluateOptions)])
def test_recipes_are_accepted_and_twins_agree(name, kind):
    found = []
    for profile in ("tiny", "qwen3_1p7b"):
        path = ROOT / "recipes" / profile / f"{name}.yaml"
        found.append(options_from(kind, load_recipe(path, []), str(path)))
        assert all(f"# {label} " in path.read_text() for label in ("Launch", "Hardware", "Memory", "Batch", "Expected"))
    if name == "infer":
        tiny, large = (load_recipe(ROOT / "recipes" / profile / "infer.yaml", []) for profile in ("tiny", "qwen3_1p7b"))
        assert set(large) - set(tiny) == {"max_model_len", "tensor_parallel_size", "gpu_memory_utilization"}
        assert all(options.temperature == 0 and options.enable_thinking is False for options in found)
