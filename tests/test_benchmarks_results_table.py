"""The tables of results, and the markers between which they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results_table
from benchmarks.pages import filled
from forwardforward.recipes import RECIPES, get


def summary(**changes: Any) -> dict[str, Any]:
    return {
        "data": "mnist",
        "recipe": "hinton",
        "widths": [1000, 1000, 1000],
        "epochs": 60,
        "seed": 0,
        "test_error": 1.5,
        "layer_errors": [2.0, 1.75, 1.625],
        "head_error": 1.25,
        "seconds": 300.0,
        "command": "python -m forwardforward train mnist --recipe hinton --seed 0 --threads 2 "
        "--checkpoint-minutes 0.5 --json",
        **changes,
    }


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_seeds_make_one_row() -> None:
    (row,) = cells(results_table.render([summary(seed=1, test_error=1.7, head_error=1.35), summary()]))
    assert row == [
        "hinton", "3×1000", "mnist", "60", "0, 1", "1.60 ± 0.14", "1.30 ± 0.07",
        "1.47 (Hinton's code)", "5.0", "1", "", "2", "", "",
        "`python -m forwardforward train mnist --recipe hinton --seed S`",
    ]  # fmt: skip


def test_what_was_not_measured_stays_empty() -> None:
    other = summary(recipe="backprop", widths=[500, 300, 300], layer_errors=None, head_error=None)
    (row,) = cells(results_table.render([other]))
    assert row[1] == "500, 2×300"
    assert row[5:8] == ["1.50", "", ""]


def test_other_lengths_and_widths_are_other_rows() -> None:
    rows = cells(results_table.render([summary(), summary(epochs=5), summary(widths=[2000] * 4)]))
    assert sorted(row[7] for row in rows) == ["", "1.36 (Hinton 2022)", "1.47 (Hinton's code)"]


def test_unfinished_runs_and_validation_errors_are_marked_and_meet_no_need() -> None:
    unfinished = summary(epochs=3, planned_epochs=60, test_error=9.0)
    validation = summary(measured_on="validation", test_error=None, validation_error=1.25)
    rows = {row[3]: row[5] for row in cells(results_table.render([unfinished, validation]))}
    assert rows == {"3 of 60, unfinished": "9.00", "60": "1.25 (validation)"}
    assert len(cells(results_table.render([unfinished, validation, summary(epochs=3), summary()]))) == 4
    _, missing = results_table.render_needs([unfinished, validation]).split("\n\n")
    assert "`hinton` on mnist" in missing


def test_a_seed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="seed twice"):
        results_table.render([summary(), summary()])


def test_a_table_by_need_shows_the_longest_training() -> None:
    some = [summary(epochs=5, test_error=2.5), summary(parameters=2_807_010)]
    table, missing = results_table.render_needs(some).split("\n\n")
    rows = {row[1]: row for row in cells(table)}
    assert set(rows) == {"`hinton`"}
    assert rows["`hinton`"][2:10] == ["mnist", "98.50", "5.0", "1", "2.8 M", "60", "", ""]
    assert missing.startswith("Not yet run at full length: ")
    assert "`hcl-ff` on cifar10" in missing
    assert "`hinton`" not in missing


def test_the_best_recipes_of_each_data_set() -> None:
    local = [("hinton", 60, 1.5), ("hinton", 5, 2.5), ("symba", 60, 1.25), ("mono", 10, 1.75), ("best-mlp", 60, 1.0)]
    runs = [summary(recipe=recipe, epochs=epochs, test_error=error) for recipe, epochs, error in local]
    runs += [summary(recipe="backprop", test_error=0.5), summary(recipe="imdb-bag", data="imdb", test_error=9.0)]
    runs += [summary(recipe="mono", planned_epochs=70, test_error=0.25)]  # unfinished
    rows = [(row[0], row[1].strip("`"), row[3]) for row in cells(results_table.render_best(runs))]
    assert rows == [
        ("imdb", "imdb-bag", "91.00"),
        ("mnist", "best-mlp", "99.00"),
        ("mnist", "symba", "98.75"),
        ("mnist", "hinton", "98.50"),
        ("mnist", "backprop", "99.50"),
    ]


def test_runs_with_teachers_are_other_rows() -> None:
    runs = [summary(), summary(teachers=1, test_error=1.0), summary(teachers=3, test_error=0.5)]
    rows = {row[0]: row[5] for row in cells(results_table.render(runs))}
    assert rows == {"hinton": "1.50", "hinton, 1 teacher": "1.00", "hinton, 3 teachers": "0.50"}


def test_a_recipe_stands_beside_the_baseline_of_its_network() -> None:
    runs = [
        summary(recipe="mono", epochs=10, test_error=1.25),
        summary(recipe="mono", epochs=10, test_error=1.75, seed=1),
        summary(recipe="mono", epochs=60, test_error=1.0, widths=[500]),  # no baseline has these widths
        summary(recipe="backprop", epochs=20, test_error=2.0),
        summary(recipe="backprop", epochs=10, test_error=9.0),
    ]
    table, missing = results_table.render_gaps(runs).split("\n\n")
    (row,) = cells(table)
    assert row[:2] + row[2:4] == ["mnist", "3×1000", "`mono`", "`backprop`"]
    assert row[4:10] == ["1.50 ± 0.35", "2.00", "-0.50", "10", "20", "2 and 1"]
    assert "`imdb-bag` beside `imdb-bag-backprop` on imdb" in missing
    assert "`mono`" not in missing


def ensemble(**changes: Any) -> dict[str, Any]:
    members = [
        summary(recipe="imdb-bag", data="imdb", widths=[32, 200], epochs=4, test_error=9.0, parameters=6_400_000),
        summary(recipe="imdb-symba", data="imdb", epochs=6, test_error=13.5, seconds=60.0, command="train --seed 1"),
    ]
    return {
        "data": "imdb",
        "members": members,
        "weights": [0.5, 0.5],
        "measured_on": "test",
        "test_error": 8.25,
        "validation_error": None,
        "command": "python -m forwardforward ensemble RUN RUN",
        **changes,
    }


def test_an_ensemble_is_a_row_with_the_cells_of_its_runs() -> None:
    run = summary(recipe="imdb-symba", data="imdb", epochs=6)
    *_, row = cells(results_table.render([ensemble(), run]))
    command = "python -m forwardforward train mnist --recipe hinton"
    assert row == [
        "mean of imdb-bag + imdb-symba", "32, 200 + 3×1000", "imdb", "4 + 6", "0", "8.25", "", "", "5.0 + 1.0", "1",
        "6.4 M + none", "1 + 2", "", "",
        f"`python -m forwardforward ensemble RUN RUN` of the runs by `{command}`, `train`",
    ]  # fmt: skip
    assert len(cells(results_table.render([ensemble(), run]))) == 2
    members = [{**run, "seed": seed} for seed in range(3)]
    weighted = ensemble(members=members, weights=[0.5, 0.25, 0.25], measured_on="validation", validation_error=7.5)
    (row,) = cells(results_table.render([weighted]))
    assert (row[0], row[4], row[5]) == ("weighted mean of 3×imdb-symba", "0 + 1 + 2", "7.50 (validation)")


def test_an_ensemble_is_selected_with_all_of_its_recipes_and_is_no_run() -> None:
    runs = [ensemble()]
    assert "mean of" in results_table.render_recipes(runs, ["imdb-bag", "imdb-symba"])
    assert "`imdb-bag`, `imdb-symba`" in results_table.render_recipes(runs, ["imdb-bag", "imdb-symba"])
    assert "mean of" not in results_table.render_recipes(runs, ["imdb-bag"])
    assert "mean of" not in results_table.render_needs(runs)
    assert "mean of" not in results_table.render_gaps(runs)


def test_the_baselines_have_the_networks_of_their_recipes() -> None:
    for data, *names in results_table.COUNTERPARTS:
        recipe, baseline = (get(name).for_dataset(data) for name in names)
        assert recipe.widths == baseline.widths
        assert recipe.augment == baseline.augment or repr(recipe.augment) == repr(baseline.augment)


def test_the_needs_name_recipes() -> None:
    assert {recipe for _, recipe, _ in results_table.NEEDS} <= set(RECIPES)


def test_a_page_is_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme, page = tmp_path / "README.md", tmp_path / "page.md"
    readme.write_text("before\n<!-- results:begin -->\nold\n<!-- results:end -->\nafter\n")
    page.write_text("<!-- results:begin symba, hinton -->\n<!-- results:end -->\n")
    (tmp_path / "one.json").write_text(json.dumps(summary()))
    (tmp_path / "speed.json").write_text(json.dumps({"ratio": 1.3}))
    arguments = [str(readme), str(page), "--results", str(tmp_path)]
    assert results_table.main([*arguments, "--check"]) == 1
    assert "page.md is stale" in capsys.readouterr().err
    assert results_table.main(arguments) == 0
    assert results_table.main([*arguments, "--check"]) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- results:begin -->\n| recipe |")
    assert text.endswith("|\n<!-- results:end -->\nafter\n")
    assert page.read_text().startswith("<!-- results:begin symba, hinton -->\n| recipe |")
    assert page.read_text().endswith("|\n\nNot yet run at full length: `symba`.\n<!-- results:end -->\n")
    readme.write_text("no markers")
    with pytest.raises(SystemExit):
        results_table.main(arguments)
    assert readme.read_text() == "no markers"


def test_the_pages_of_the_repository_are_up_to_date() -> None:
    assert results_table.main(["--check"]) == 0


def test_a_table_goes_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- table:begin -->\nold\n<!-- table:end -->\nb\n", encoding="utf-8")
    assert filled(page, "table", "new\n") == "a\n<!-- table:begin -->\nnew\n<!-- table:end -->\nb\n"
    assert filled(page, "table", lambda words: f"[{words}]") == "a\n<!-- table:begin -->\n[]\n<!-- table:end -->\nb\n"
    with pytest.raises(
        ValueError, match=r"page.md must contain <!-- absent:begin --> and, after it, <!-- absent:end -->"
    ):
        filled(page, "absent", "never\n")


def test_the_facts_of_a_row_are_those_of_the_run_or_of_its_recipe() -> None:
    recorded = summary(recipe="mono-conv-wide", data="cifar10", parameters=3_000_000, training_parameters=500_000)
    older = summary(recipe="backprop", parameters=2_797_010)
    other = summary(recipe="whitened", data="cifar10", views="Mirror(shift=1)", parameters=None)
    rows = {row[0]: row[9:14] for row in cells(results_table.render([recorded, older, other]))}
    assert rows["mono-conv-wide"] == ["2", "2.5 M (+ 0.5 M in training)", "1", "RandomCrop, RandomFlip", ""]
    assert rows["backprop"] == ["all", "2.8 M", "1", "", ""]
    assert rows["whitened"] == ["1", "", "1", "RandomCrop, RandomFlip", "Mirror(shift=1)"]
