"""The command line: what it reads, prints, writes and refuses."""

import csv
import datetime
import io
import json
import math
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import ermin
from ermin.__main__ import main

PENGUINS = str(Path(__file__).parent.parent / "examples" / "penguins.csv")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command in an empty directory: its exit code, and what it printed on stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def report_of(run, *words):
    code, out, err = run("fit", *words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out, parse_constant=pytest.fail)


def write_csv(path, columns, separator=","):
    rows = zip(*columns.values(), strict=True)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(columns)
        writer.writerows(rows)


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


# --------------------------------------------------------------------------------------------------- the main job


def test_penguins_are_told_apart(run):
    """Test accuracy of at least 0.97 over ten seeds, and a loss far below the baseline's."""
    reports = [report_of(run, PENGUINS, "--target", "species", "--seed", seed) for seed in range(10)]
    assert np.mean([report["accuracy"]["test"] for report in reports]) >= 0.97
    assert np.mean([report["loss"]["test"] for report in reports]) < 0.1
    for report in reports:
        assert report["loss"]["test"] < report["baseline"]["loss"] / 4
        assert report["baseline"]["loss"] == pytest.approx(1.05, abs=0.05)
        rows = report["rows"]
        assert (rows["read"], rows["train"], rows["validation"], rows["test"]) == (344, 206, 69, 69)


def test_the_report_says_what_a_person_wants_to_know(run):
    code, out, err = run("fit", PENGUINS, "--target", "species")
    assert (code, err) == (0, "")
    assert "344 rows, 8 columns" in out
    assert re.search(r"^  sex +category, 2 levels: male, female; missing in \d+ rows$", out, re.MULTILINE)
    assert re.search(r"^  body_mass_g +number, median 4\d{3}, spread 1\d{3}", out, re.MULTILINE)
    assert "species: classification, because the values are text" in out
    assert "3 classes: Adelie, Chinstrap, Gentoo" in out
    assert "206 to train on, 69 to validate, 69 to test (seed 0)" in out
    assert "15-64-32-3, relu, softmax: 3,203 parameters" in out
    assert re.search(r"best epoch \d+ of \d+ \(no better in the 40 after it\)", out)
    assert re.search(r"^loss( +[\d.e-]+){4}$", out, re.MULTILINE)
    assert re.search(r"^accuracy( +[\d.]+){4}$", out, re.MULTILINE)
    assert "class frequencies" in out
    assert re.search(r"calibration error 0\.\d{4}, Brier score 0\.\d{4} \(test\)", out)
    assert re.search(r"[\d.]+ seconds: [\d.]+ to read, [\d.]+ to train", out)
    assert os.listdir() == []


def test_the_same_seed_is_the_same_report(run):
    def stable(seed):
        report = report_of(run, PENGUINS, "--target", "species", "--seed", seed, "--epochs", 5)
        return {key: value for key, value in report.items() if key != "seconds"}

    assert stable(3) == stable(3)
    assert stable(3)["test_rows"] != stable(4)["test_rows"]


def test_options_do_what_they_say(run):
    words = "--hidden 9,8,7 --activation tanh --epochs 7 --patience 3 --learning-rate 0.01 --weight-decay 0"
    more = "--batch-size 50 --validation 0.1 --test 0.5"
    report = report_of(run, PENGUINS, "--target", "species", *words.split(), *more.split())
    network = report["network"]
    assert (network["sizes"][1:], network["activation"]) == ([9, 8, 7, 3], "tanh")
    assert network["sizes"][0] == len(report["inputs"])
    assert report["training"] == {
        "epochs": 7, "patience": 3, "batch_size": 50, "learning_rate": 0.01, "weight_decay": 0.0, "seed": 0
    }  # fmt: skip
    assert len(report["history"]["loss"]) == report["stopped_epoch"] <= 7
    assert report["rows"]["test"] == 172
    linear = report_of(run, PENGUINS, "--target", "species", "--hidden", "none", "--epochs", 2)
    assert linear["network"]["sizes"] == [15, 3]
    assert linear["stop_reason"] == "epochs"
    number = report_of(run, PENGUINS, "--target", "year", "--task", "regression", "--epochs", 2)
    assert number["rule"] == "as asked for"
    assert report_of(run, PENGUINS, "--target", "year", "--epochs", 2)["classes"] == ["2007", "2008", "2009"]


# -------------------------------------------------------------------------- odd tables, and predictions from the file


def semicolons(n=300):
    rng = np.random.default_rng(1)
    x, z = rng.normal(size=(2, n))
    y = 3 * x - z * z + 40

    def comma(values):
        return [f"{value:.4f}".replace(".", ",") for value in values]

    return {"x": comma(x), "z": comma(z), "y": comma(y)}, ";", "regression"


def dates(n=400):
    rng = np.random.default_rng(2)
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=int(d)) for d in rng.integers(0, 1500, n)]
    y = ["rest" if day.isoweekday() > 5 else "work" for day in days]
    return (
        {"when": [f"{day:%d.%m.%Y}" for day in days], "noise": rng.random(n).round(3), "y": y},
        ",",
        "classification",
    )


def booleans(n=300):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, n)).round(4)
    y = [str(v) for v in (x[0] * x[1] > 0)]
    gone = np.where(rng.random(n) < 0.1, "", x[0].astype(str))
    return {"a": gone, "b": x[1], "y": np.where(np.arange(n) % 50 == 7, "", y)}, ",", "classification"


def ten_classes(n=1000):
    rng = np.random.default_rng(4)
    y = rng.integers(0, 10, n)
    x = np.stack([np.cos(y), np.sin(y)]) * 3 + rng.normal(size=(2, n)) * 0.3
    return {"u": x[0].round(4), "v": x[1].round(4), "y": y}, "\t", "classification"


def empty_column(n=200):
    rng = np.random.default_rng(5)
    x = rng.integers(0, 50, n)
    return (
        {"nothing": [""] * n, "x": x, "same": ["k"] * n, "id": range(1, n + 1), "y": x * 0.5 + 1},
        ",",
        "regression",
    )


def many_rows(n=20_000):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(4, n)).round(4)
    kind = rng.choice(["red", "green", "blue"], n)
    y = np.where(x[0] + x[1] * x[2] + (kind == "red") + rng.normal(size=n) > 0, "yes", "no")
    return {f"x{i}": values for i, values in enumerate(x)} | {"kind": kind, "y": y}, "|", "classification"


@pytest.mark.parametrize("table", [semicolons, dates, booleans, ten_classes, empty_column, many_rows])
def test_tables_work_as_they_come_and_the_report_is_what_predict_gives(run, table):
    columns, separator, task = table()
    write_csv("data.csv", columns, separator)
    more = ["--epochs", 20] if table is many_rows else []
    report = report_of(run, "data.csv", "--target", "y", "--save", "model", "--plot", "fit.png", *more)
    assert report["task"] == task
    assert sorted(os.listdir()) == ["data.csv", "fit.png", "model"]
    assert report["loss"]["test"] < report["baseline"]["loss"] * 0.75

    code, out, err = run("predict", "model", "data.csv")
    assert (code, err) == (0, "")
    said = read_csv(out)
    n = len(columns["y"])
    assert len(said) == n
    test = report["test_rows"]
    assert len(test) == report["rows"]["test"] == len(set(test))
    truth = [str(columns["y"][i]).replace(",", ".") for i in test]
    if task == "regression":
        errors = [float(said[i]["prediction"]) - float(y) for i, y in zip(test, truth, strict=True)]
        square = math.fsum(e * e for e in errors) / len(test)
        assert report["loss"]["test"] == pytest.approx(square / 2, rel=1e-12)
        assert report["rmse"]["test"] == pytest.approx(math.sqrt(square), rel=1e-12)
        spread = np.var([float(y) for y in truth])
        assert report["r2"] == pytest.approx(1 - square / spread, rel=1e-9)
        return
    truth = [y.lower() if table is booleans else y for y in truth]
    assert list(said[0]) == ["prediction", *(f"p_{name}" for name in report["classes"])]
    surprise = [-math.log(float(said[i][f"p_{y}"])) for i, y in zip(test, truth, strict=True)]
    assert report["loss"]["test"] == pytest.approx(math.fsum(surprise) / len(test), rel=1e-12)
    right = [said[i]["prediction"] == y for i, y in zip(test, truth, strict=True)]
    assert report["accuracy"]["test"] == pytest.approx(np.mean(right), rel=1e-12)
    for row in said:
        p = {name: float(row[f"p_{name}"]) for name in report["classes"]}
        assert math.fsum(p.values()) == pytest.approx(1, abs=1e-14)
        assert p[row["prediction"]] == max(p.values())


def test_what_the_odd_tables_are_taken_for(run):
    def columns_of(table):
        columns, separator, _ = table()
        write_csv("data.csv", columns, separator)
        report = report_of(run, "data.csv", "--target", "y", "--epochs", 1)
        return report, {column["name"]: column["treatment"] for column in report["columns"]}

    report, treated = columns_of(empty_column)
    assert treated["nothing"] == "dropped, empty"
    assert treated["same"] == "dropped, constant: k"
    assert treated["id"] == "dropped, numbers the rows"
    assert report["inputs"] == ["x"]
    report, treated = columns_of(dates)
    assert treated["when"].startswith("date written %d.%m.%Y, as days since 1970, ")
    report, treated = columns_of(booleans)
    assert report["classes"] == ["false", "true"]
    assert report["rows"]["without_target"] == 6
    assert report["inputs"] == ["a", "a missing", "b"]
    report, treated = columns_of(ten_classes)
    assert report["classes"] == [str(i) for i in range(10)]
    report, treated = columns_of(semicolons)
    assert treated["x"].startswith("number, ")


def test_a_large_table_gets_fewer_epochs_and_larger_batches(run, monkeypatch):
    columns, separator, _ = many_rows(30_000)
    write_csv("data.csv", columns, separator)
    monkeypatch.setattr("ermin.__main__.ROWS_VISITED", 18_000 * 25)
    monkeypatch.setattr("ermin.__main__.BATCH", 10)
    report = report_of(run, "data.csv", "--target", "y")
    assert (report["training"]["epochs"], report["training"]["batch_size"]) == (25, 18)


def test_the_baseline_says_the_training_rows_frequencies(run):
    report = report_of(run, PENGUINS, "--target", "island", "--epochs", 1, "--save", "model")
    with open(PENGUINS) as file:
        islands = [row["island"] for row in csv.DictReader(file)]
    _, test = set(), report["test_rows"]
    from ermin.tabular import split_rows

    y = np.array([report["classes"].index(island) for island in islands])
    train, _, same = split_rows(y, "classification", 0.2, 0.2, 0)
    assert same.tolist() == test
    frequency = {name: np.mean([islands[i] == name for i in train]) for name in report["classes"]}
    expected = -np.mean([math.log(frequency[islands[i]]) for i in test])
    assert report["baseline"]["loss"] == pytest.approx(expected, rel=1e-12)


def test_predictions_go_to_a_file_whole(run):
    run("fit", PENGUINS, "--target", "species", "--save", "model", "--epochs", 3)
    _, out, _ = run("predict", "model", PENGUINS)
    assert run("predict", "model", PENGUINS, "--output", "said.csv") == (0, "", "")
    assert Path("said.csv").read_text() == out
    assert sorted(os.listdir()) == ["model", "said.csv"]


def test_predictions_are_those_of_the_model_in_python(run):
    import polars as pl

    run("fit", PENGUINS, "--target", "species", "--save", "model", "--epochs", 3)
    _, out, _ = run("predict", "model", PENGUINS)
    model = ermin.load("model")
    frame = pl.read_csv(PENGUINS, null_values="NA", infer_schema_length=None)
    said = read_csv(out)
    assert [row["prediction"] for row in said] == model.predict(frame).tolist()
    proba = [[float(row[f"p_{name}"]) for name in model.classes] for row in said]
    np.testing.assert_array_equal(proba, model.predict_proba(frame))


def test_an_unseen_category_is_missing_with_one_warning(run):
    run("fit", PENGUINS, "--target", "species", "--save", "model", "--epochs", 3)
    lines = Path(PENGUINS).read_text().splitlines()
    for name, sex in (("gone.csv", "NA"), ("new.csv", "unheard-of")):
        rows = [re.sub(r",(fe)?male,", f",{sex},", line) for line in lines[1:40]]
        Path(name).write_text("\n".join([lines[0], *rows]) + "\n")
    _, expected, silent = run("predict", "model", "gone.csv")
    assert silent == ""
    code, out, err = run("predict", "model", "new.csv")
    assert (code, out) == (0, expected)
    assert err.count("\n") == 1
    assert re.fullmatch(r"ermin: warning: values unlike any .* \d+ in 'sex' \(as 'unheard-of'\)\n", err)


def test_the_picture_takes_the_format_of_its_name(run):
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        code, out, _ = run("fit", PENGUINS, "--target", "species", "--plot", f"fit.{kind}", "--epochs", 3)
        assert code == 0
        assert f"plot in fit.{kind}" in out
        assert Path(f"fit.{kind}").read_bytes().startswith(start)


# ------------------------------------------------------------------------------------------------------- the coin


def test_the_coin_tells_the_story_in_numbers(run):
    code, out, err = run("coin", "--p", 0.5, "--tosses", 100, "--seed", 1)
    assert (code, err) == (0, "")
    heads = int(re.search(r"100 tosses, (\d+) heads", out)[1])
    guess = heads / 100
    assert re.search(rf"^P~ .* {1 - guess:.6f} +{guess:.6f}$", out, re.MULTILINE)
    assert f"of {math.sqrt(guess * (1 - guess) / 100):.4f}" in out
    z = 1.959963984540054
    middle, half = guess + z * z / 200, z * math.sqrt(guess * (1 - guess) / 100 + z * z / 40000)
    low, high = ((middle + sign * half) / (1 + z * z / 100) for sign in (-1, 1))
    assert f"from {low:.4f} to {high:.4f}" in out
    kl = 0.5 * math.log(0.5 / guess) + 0.5 * math.log(0.5 / (1 - guess))
    assert f"KL(P ‖ P~) = {kl:.6f} nats" in out
    assert re.search(r"maximum likelihood: P~\(heads\) = 1 +inf$", out, re.MULTILINE)
    clipped = 0.5 * math.log(0.5) + 0.5 * math.log(0.5 / 1e-12)
    assert re.search(rf"no probability below 1e-12 +{clipped:.6f}$", out, re.MULTILINE)
    careful = 101 / 102
    kl = 0.5 * math.log(0.5 / careful) + 0.5 * math.log(0.5 / (1 - careful))
    assert re.search(rf"{careful:.6f} +{kl:.6f}$", out, re.MULTILINE)
    table = re.findall(r"^ +([\d,]+) +([\d.]+) +([\d.]+)$", out, re.MULTILINE)
    assert [row[0] for row in table] == ["10", "100", "1,000", "10,000", "100,000"]
    for n, error, theory in table:
        n = int(n.replace(",", ""))
        assert float(theory) == pytest.approx(0.5 / math.sqrt(n), abs=1e-6)
        # A root mean square of 400 has a relative standard deviation of 1/√800.
        assert float(error) == pytest.approx(float(theory), rel=5 / math.sqrt(800))


@pytest.mark.parametrize("p", [0, 1, 0.9, 1e-3])
def test_any_coin(run, p):
    code, out, err = run("coin", "--p", p, "--tosses", 7, "--plot", "coin.png")
    assert (code, err) == (0, "")
    assert ("Bad luck" in out) == (0 < p < 1)
    assert "nan" not in out
    assert Path("coin.png").read_bytes().startswith(b"\x89PNG")
    assert run("coin", "--p", p, "--tosses", 7)[1] == out[: out.index("\n\nplot in")] + "\n"


# ------------------------------------------------------------------------------------------------------ bad input


@pytest.fixture
def folder(run):
    """Files that are in the way."""
    Path("empty.csv").write_text("")
    Path("header.csv").write_text("a,y\n")
    Path("ragged.csv").write_text("a,y\n1,2\n3\n")
    Path("double.csv").write_text("a,a\n1,2\n")
    Path("latin.csv").write_bytes(b"a,y\n\xe9,1\n\xe8,2\n")
    Path("good.csv").write_text(
        "a,y\n" + "".join(f"{i % 7},{'no' if i % 7 < 3 else 'yes'}\n" for i in range(60))
    )
    Path("one.csv").write_text("a,y\n" + "".join(f"{i % 7},yes\n" for i in range(60)))
    Path("useless.csv").write_text("a,b,y\n" + "".join(f"5,,{i % 2}\n" for i in range(60)))
    Path("alone.csv").write_text("y\n" + "".join(f"{i % 2}\n" for i in range(60)))
    Path("few.csv").write_text("a,y\n1,0\n2,1\n")
    Path("names.csv").write_text("a,y\n" + "".join(f"{i % 7},n{i}\n" for i in range(60)))
    Path("other.csv").write_text("b,c\n1,2\n")
    Path("text.csv").write_text("a,y\n1,no\nred,yes\n")
    Path("directory").mkdir()
    assert run("fit", "good.csv", "--target", "y", "--epochs", 1, "--save", "model")[0] == 0
    Path("damaged").write_bytes(Path("model").read_bytes()[:-1] + b"\0")
    ermin.MLP([1, 2], output="softmax", rng=0).save("network")
    return sorted(os.listdir())


BAD = [
    ("fit nothing.csv --target y", "nothing.csv does not exist"),
    ("fit directory --target y", "directory is not a file"),
    ("fit empty.csv --target y", "empty.csv is empty"),
    ("fit header.csv --target y", "header.csv has a header but no rows"),
    ("fit ragged.csv --target y", "line 3 has 1 fields, but the header has 2"),
    ("fit double.csv --target a", "double.csv has 2 columns named 'a'"),
    ("fit latin.csv --target y", "is not text in UTF-8"),
    ("fit good.csv --target z", "good.csv has no column 'z' to predict; it has 'a', 'y'"),
    ("fit one.csv --target y", "target 'y' has one value only (yes)"),
    ("fit useless.csv --target y", "no column can be used to learn from: 'a' is constant: 5; 'b' is empty"),
    ("fit useless.csv --target b", "target 'b' has no values"),
    ("fit alone.csv --target y", "there is none but the target"),
    ("fit few.csv --target y", "2 rows are too few"),
    ("fit names.csv --target y", "target 'y' has 60 classes in 60 rows"),
    ("fit good.csv --target y --task regression", "regression needs numbers"),
    ("fit good.csv --target y --task other", "invalid choice: 'other'"),
    ("fit good.csv --target y --validation 0", "'0' is not a number between 0 and 1"),
    ("fit good.csv --target y --test 1.5", "--test: '1.5' is not a number between 0 and 1"),
    ("fit good.csv --target y --test nan", "--test: 'nan' is not a number between 0 and 1"),
    ("fit good.csv --target y --test 0.5 --validation 0.5", "must leave rows to train on"),
    ("fit good.csv --target y --epochs 0", "--epochs: '0' is not a whole number of at least 1"),
    ("fit good.csv --target y --patience x", "--patience: 'x' is not a whole number"),
    ("fit good.csv --target y --seed -1", "--seed: '-1' is not a whole number of at least 0"),
    ("fit good.csv --target y --batch-size 1.5", "--batch-size: '1.5' is not a whole number"),
    ("fit good.csv --target y --learning-rate 0", "--learning-rate: '0' is not a number greater than 0"),
    ("fit good.csv --target y --weight-decay -1", "weight_decay is -1.0, but must be at least 0"),
    ("fit good.csv --target y --hidden 64,x", "--hidden: '64,x' is not a list of sizes"),
    ("fit good.csv --target y --hidden 0", "--hidden: '0' is not a list of sizes"),
    ("fit good.csv --target y --activation other", "activation"),
    ("fit good.csv", "the following arguments are required: --target"),
    ("fit good.csv --target y --nonsense", "unrecognized arguments: --nonsense"),
    ("fit good.csv --target y --save nowhere/model", "--save: the directory nowhere does not exist"),
    ("fit good.csv --target y --save directory", "--save: directory is a directory"),
    ("fit good.csv --target y --save good.csv", "--save: good.csv is what is read"),
    ("fit good.csv --target y --plot nowhere/fit.png", "--plot: the directory nowhere does not exist"),
    ("fit good.csv --target y --plot fit.xyz", "--plot: fit.xyz must end in one of"),
    ("fit good.csv --target y --plot good.csv", "--plot: good.csv is what is read"),
    ("fit good.csv --target y --save fit.png --plot fit.png", "--plot: fit.png is written twice"),
    ("predict nothing good.csv", "nothing does not exist"),
    ("predict good.csv good.csv", "good.csv"),
    ("predict damaged good.csv", "damaged"),
    ("predict directory good.csv", "directory"),
    ("predict network good.csv", "network holds a MLP, but a model saved by `ermin fit` is needed"),
    ("predict model nothing.csv", "nothing.csv does not exist"),
    ("predict model ragged.csv", "line 3 has 1 fields"),
    ("predict model other.csv", "the table has no column 'a'"),
    ("predict model text.csv", "column 'a' holds 'red' in row 2, but must hold numbers"),
    ("predict model good.csv --output nowhere/said.csv", "--output: the directory nowhere does not exist"),
    ("predict model good.csv --output model", "--output: model is what is read"),
    ("predict model good.csv --output good.csv", "--output: good.csv is what is read"),
    ("predict model", "the following arguments are required: DATA"),
    ("coin --p 1.5", "p is 1.5"),
    ("coin --p -0.5", "p is -0.5"),
    ("coin --p nan", "p is NaN"),
    ("coin --p x", "--p: 'x' is not a number"),
    ("coin --tosses 0", "--tosses: '0' is not a whole number of at least 1"),
    ("coin --plot nowhere/coin.png", "--plot: the directory nowhere does not exist"),
    ("", "the following arguments are required: COMMAND"),
    ("nonsense", "invalid choice: 'nonsense'"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[words for words, _ in BAD])
def test_bad_input_gets_one_line_and_leaves_nothing(run, folder, words, message):
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith("ermin: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == folder


def test_where_nothing_may_be_written(run, folder, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    code, _, err = run("fit", "good.csv", "--target", "y", "--save", "new")
    assert (code, err) == (2, "ermin: error: --save: . cannot be written to: Permission denied\n")


def test_a_picture_that_fails_half_way_leaves_the_old_one(run, folder, monkeypatch):
    from matplotlib.figure import Figure

    Path("fit.png").write_text("old")

    def fail(self, path, **_):
        Path(path).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    code, _, err = run("fit", "good.csv", "--target", "y", "--plot", "fit.png", "--epochs", 1)
    assert code == 1
    assert re.fullmatch(r"ermin: internal failure: OSError: .*No space left on device\n", err)
    assert Path("fit.png").read_text() == "old"
    assert sorted(os.listdir()) == sorted([*folder, "fit.png"])


def test_an_internal_failure_is_one_line(run, folder, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("ermin.reading.read_table", fail)
    code, out, err = run("fit", "good.csv", "--target", "y")
    assert (code, out, err) == (1, "", "ermin: internal failure: RuntimeError: two lines\n")


@pytest.mark.parametrize("missing", ["polars", "narwhals"])
def test_a_missing_extra_is_named(run, folder, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    code, _, err = run("fit", "good.csv", "--target", "y")
    assert code == 2
    assert err == f'ermin: error: tables need {missing}: pip install "ermin[cli]"\n'


def test_plots_without_matplotlib(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    code, _, err = run("fit", "good.csv", "--target", "y", "--plot", "fit.png")
    assert (code, err) == (2, 'ermin: error: --plot needs matplotlib: pip install "ermin[plot]"\n')


def test_a_loss_that_diverges_is_a_warning_line(run, folder):
    Path("wild.csv").write_text("a,y\n" + "".join(f"{i % 7},{(i % 7) ** 2 + i * 1e-3}\n" for i in range(60)))
    code, out, err = run("fit", "wild.csv", "--target", "y", "--learning-rate", 1e30)
    assert code in (0, 2)
    assert re.fullmatch(r"ermin: (warning|error): .*not finite.*\n", err)
    assert (out == "") == (code == 2)


# ------------------------------------------------------------------------------------------- as a program of its own


def program(*words, **keywords):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ermin", *words],
        capture_output=True,
        text=True,
        timeout=120,
        **keywords,
    )


def test_version_and_help(run):
    assert run("--version") == (0, f"ermin {ermin.__version__}\n", "")
    for words in (["--help"], ["fit", "--help"], ["predict", "--help"], ["coin", "--help"]):
        code, out, err = run(*words)
        assert (code, err) == (0, "")
        assert out.startswith("usage: ermin")


def test_the_program(tmp_path):
    done = program(
        "fit", PENGUINS, "--target", "species", "--save", "model", "--json", "--epochs", "3", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["saved"] == "model"
    done = program("predict", "model", "nothing.csv", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ermin: error: nothing.csv does not exist\n"


def test_an_interrupt_saves_nothing(tmp_path):
    script = """
        import os, signal, sys, threading
        import ermin
        from ermin.__main__ import main
        train = ermin.fit
        def fit(*arguments, **keywords):
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            return train(*arguments, **keywords)
        ermin.fit = fit
        sys.exit(main(sys.argv[1:]))
    """
    words = [
        "fit",
        PENGUINS,
        "--target",
        "species",
        "--epochs",
        "100000000",
        "--patience",
        "100000000",
        "--save",
        "model",
    ]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "ermin: interrupted: nothing was saved\n"
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_a_reader_that_has_seen_enough(tmp_path):
    columns, separator, _ = many_rows()
    write_csv(tmp_path / "data.csv", columns, separator)
    assert (
        main(["fit", f"{tmp_path}/data.csv", "--target", "y", "--epochs", "1", "--save", f"{tmp_path}/model"])
        == 0
    )
    with subprocess.Popen(
        [sys.executable, "-m", "ermin", "predict", "model", "data.csv"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout.readline().strip() == b"prediction,p_no,p_yes"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_bar_with_both_losses_on_a_terminal(tmp_path):
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 120))
    words = [sys.executable, "-m", "ermin", "fit", PENGUINS, "--target", "species", "--epochs", "5", "--json"]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, timeout=120, check=True)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "5/5" in shown
    assert re.search(r"loss=[\d.]+, validation=[\d.]+", shown)
    json.loads(done.stdout)
