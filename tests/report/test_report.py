"""What is shown is what the ledger holds."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image

from text2sql import ledger
from text2sql.errors import UserError
from text2sql.evaluate import EvaluateOptions, Report, Score, wilson
from text2sql.infer import InferOptions
from text2sql.recipe import load_recipe, options_from
from text2sql.report import compare, render
from text2sql.report.readme import FIGURE, fill, toy_chart
from text2sql.report.tables import NAMES, TABLES, markdown

ROOT = Path(__file__).parents[2]
MARKED = "# Title\n\n<!-- results:toy -->\n<!-- /results -->\n\ntext\n\n<!-- results:bench -->\nold\n<!-- /results -->\nend\n"


def row(experiment="toy.base", seed=1, accuracy=0.5, **changes):
    metrics = {"execution_accuracy": accuracy, "execution_accuracy_easy": accuracy, "n_easy": 40, "n_hard": 60}
    whole = ledger.Row(
        experiment, "tiny", seed, "test", 100, "spider-test-suite", "greedy", metrics, "python -m x", "abc", "0f", "2 CPU cores", 1.0
    )  # fmt: skip
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


def test_other_metrics_stand_in_one_cell():
    rows = [row("bench.packing", metrics={"ratio": 2.34567, "pairwise_accuracy": 0.5, "pairs": 20000, "part/ratio": 1})]
    lines = markdown("bench", rows, "en").splitlines()
    assert lines[2:] == [
        "| `bench.packing` | ratio 2.346; pairwise accuracy 50.0 %; pairs 20,000 | 100 | 2 CPU cores |"
    ]


def test_splits_of_an_experiment_are_told_apart():
    rows = [replace(row("bench.plan_memory", metrics={"ratio": 1}), split=split) for split in ("one", "two")]
    assert [line.split(" | ")[0] for line in markdown("bench", rows, "en").splitlines()[2:]] == [
        "| `bench.plan_memory` one", "| `bench.plan_memory` two"
    ]  # fmt: skip


def test_only_between_the_markers_is_changed():
    text = fill(MARKED, [row()], "en", "README.md")
    assert text.startswith("# Title\n\n<!-- results:toy -->\n\n| Model |")
    assert text.endswith("<!-- results:bench -->\n\nNo measurement yet.\n\n<!-- /results -->\nend\n")
    assert fill(text, [row()], "en", "README.md") == text


def test_wrong_markers_are_named():
    with pytest.raises(UserError, match="no table 'tyo'"):
        fill("<!-- results:tyo -->\n<!-- /results -->", [], "en", "README.md")
    with pytest.raises(UserError, match="not closed"):
        fill("<!-- results:toy -->\n", [], "en", "README.md")


def test_render_check_and_stale(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger.append(path, row())
    (tmp_path / "README.md").write_text(MARKED)
    (tmp_path / "README.zh-CN.md").write_text(MARKED)
    card = tmp_path / "models" / "tiny-base" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text("<!-- results:toy -->\n<!-- /results -->\n")
    names = ["README.md", "README.zh-CN.md", "models/tiny-base/README.md", str(FIGURE)]
    assert render(tmp_path, path, check=True) == names
    assert not (tmp_path / FIGURE).exists()
    assert render(tmp_path, path) == names
    assert render(tmp_path, path, check=True) == []
    with Image.open(tmp_path / FIGURE) as image:
        assert image.width > 1000
    ledger.append(path, row("toy.lora_qv_sft", accuracy=0.75))
    command = [sys.executable, "-m", "text2sql.report", "--check", f"ledger={path}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: stale: {', '.join(names)}; run `python -m text2sql.report`\n"
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


def test_every_named_experiment_is_in_a_table():
    shown = [name for spec in TABLES.values() for name in spec.experiments]
    assert all(
        any(name == other or (other.endswith(".") and name.startswith(other)) for other in shown) for name in NAMES
    )


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
    command = [
        sys.executable,
        "-m",
        "text2sql.report",
        "compare",
        f"base={base}",
        f"LoRA q/v={tuned}",
        f"output={output}",
    ]
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
        assert set(large) - set(tiny) == {"max_model_len"}
        assert all(options.temperature == 0 and options.enable_thinking is False for options in found)
