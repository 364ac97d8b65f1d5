"""Targets, splits, and models of tables with their files."""

import json
import os

import numpy as np
import polars as pl
import pytest

import ermin
from ermin import files
from ermin.preprocessing import Preprocessing
from ermin.tabular import TableModel, Target, split_rows


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["b", "a", "b"], "classification", ("a", "b")),
        ([True, False, False], "classification", (False, True)),
        ([0, 1] * 5, "classification", (0, 1)),
        (list(range(10)) * 5, "classification", tuple(range(10))),
        ([3.0, 1.0] * 5, "classification", (1, 3)),
        ([10, 9, 100] * 5, "classification", (9, 10, 100)),
        (list(range(21)) * 10, "regression", ()),
        (list(range(10)) * 4, "regression", ()),
        ([0.5, 1.0] * 10, "regression", ()),
        ([1e90, -1e90] * 10, "regression", ()),
    ],
)
def test_which_task_it_is(values, task, classes):
    target = Target.decide(pl.Series("y", values))
    assert target.task == task
    assert target.rule
    assert target.classes == classes
    assert list(map(type, target.classes)) == list(map(type, classes))


def test_the_task_as_asked_for():
    whole = pl.Series("y", [1, 2, 3, 4] * 10)
    assert Target.decide(whole, "regression").task == "regression"
    assert Target.decide(pl.Series("y", [0.5, 1.5] * 5), "classification").classes == ("0.5", "1.5")
    with pytest.raises(ValueError, match="target 'y' holds 'a', but regression needs numbers"):
        Target.decide(pl.Series("y", ["1", "a", "b"]), "regression")
    with pytest.raises(ValueError, match="target 'y' holds 'true', but regression needs numbers"):
        Target.decide(pl.Series("y", [True, False]), "regression")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "has no values"),
        (["a", "a"], r"one value only \(a\)"),
        ([1.5, 1.5], r"one value only \(1.5\)"),
        ([1e300, 1.0], "holds numbers beyond 1e\\+100"),
        ([[1], [2]], "must hold numbers or classes"),
        ([f"n{i}" for i in range(30)], "30 classes in 30 rows, too few"),
    ],
)
def test_targets_that_cannot_be_learned(values, message):
    with pytest.raises(ValueError, match=f"target 'y' .*{message}"):
        Target.decide(pl.Series("y", values))


def test_encoding():
    target = Target.decide(pl.Series("y", ["b", "a", "c", "a"] * 5))
    assert target.encode(pl.Series("y", ["c", "a", " b "])).tolist() == [2, 0, 1]
    number = Target.decide(pl.Series("y", np.arange(100) / 7))
    values = number.encode(pl.Series("y", [1.0, 2.0, 6.0]))
    scaled = number.scaled_by(values)
    assert (scaled.centre, scaled.scale) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values)))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_split_shares_out_all_rows(task):
    y = np.random.default_rng(0).integers(0, 3, 1000) if task == "classification" else np.arange(1000) / 3
    parts = split_rows(y, task, 0.25, 0.125, 7)
    assert sorted(np.concatenate(parts)) == list(range(1000))
    assert [len(part) for part in parts] == [625, 250, 125]
    assert all((np.diff(part) > 0).all() for part in parts)
    again, other = split_rows(y, task, 0.25, 0.125, 7), split_rows(y, task, 0.25, 0.125, 8)
    for part, same, different in zip(parts, again, other, strict=True):
        np.testing.assert_array_equal(part, same)
        assert not np.array_equal(part, different)


def test_a_split_keeps_the_classes_shares():
    y = np.repeat([0, 1, 2], [700, 200, 100])
    for part, fraction in zip(split_rows(y, "classification", 0.2, 0.3, 0), (0.5, 0.2, 0.3), strict=True):
        assert np.abs(np.bincount(y[part]) - fraction * np.bincount(y)).max() <= 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.2), (0.45, 0.5)])
def test_each_class_keeps_a_training_row(seed, validation, test):
    y = np.repeat(np.arange(12), [60, 60, 1, 1, 2, 2, 3, 4, 5, 8, 20, 30])
    train, _, _ = split_rows(y, "classification", validation, test, seed)
    assert set(y[train]) == set(y)


@pytest.mark.parametrize(
    ("n", "validation", "test", "message"),
    [
        (100, 0.0, 0.2, "validation is 0"),
        (100, 0.2, 1.0, "test is 1"),
        (100, 0.5, 0.5, "must leave rows to train on"),
        (2, 0.2, 0.2, "2 rows are too few"),
        (4, 0.1, 0.1, "4 rows are too few"),
    ],
)
def test_splits_that_cannot_be(n, validation, test, message):
    with pytest.raises(ValueError, match=message):
        split_rows(np.arange(n) / 2, "regression", validation, test, 0)


def table_model(target):
    """A model with a network that is not trained: enough to be saved and to predict."""
    rng = np.random.default_rng(0)
    days = [f"2024-01-{1 + i % 28:02}" for i in range(60)]
    frame = pl.DataFrame({"x": rng.normal(size=60), "c": rng.choice(["u", "v", None], 60), "w": days})
    described = Target.decide(target)
    preprocessing = Preprocessing.learn(frame)
    if described.task == "regression":
        described = described.scaled_by(described.encode(target))
    output = "softmax" if described.classes else "identity"
    sizes = [len(preprocessing.inputs), 7, len(described.classes) or 1]
    return TableModel(ermin.MLP(sizes, output=output, rng=3), preprocessing, described), frame


TARGETS = {
    "text": pl.Series("y", ["b", "é", "c d"] * 20),
    "boolean": pl.Series("y", [True, False] * 30),
    "whole": pl.Series("y", [10, 20, 30] * 20),
    "number": pl.Series("y", np.arange(60) * 1.5 + 1000),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_saved_model_predicts_the_same(tmp_path, name):
    model, frame = table_model(TARGETS[name])
    path = tmp_path / "model.safetensors"
    model.save(path)
    same = ermin.load(path)
    assert os.listdir(tmp_path) == ["model.safetensors"]
    assert repr(same) == repr(model)
    assert same.target == model.target
    assert same.preprocessing.columns == model.preprocessing.columns
    said = same.predict(frame)
    np.testing.assert_array_equal(said, model.predict(frame))
    assert said.shape == (60,)
    if name == "number":
        assert 900 < said.mean() < 1200
        with pytest.raises(TypeError, match="predict_proba needs classes"):
            same.predict_proba(frame)
    else:
        proba = same.predict_proba(frame)
        assert proba.dtype == np.float64
        np.testing.assert_array_equal(proba, model.predict_proba(frame))
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=0, atol=1e-15)
        assert set(said.tolist()) <= set(TARGETS[name].to_list())
        assert said.tolist() == [same.classes[i] for i in proba.argmax(axis=1)]


def test_probabilities_are_the_softmax_of_the_logits():
    model, frame = table_model(TARGETS["text"])
    logits = model.net.logits(model.preprocessing.transform(frame)).astype(float)
    e = np.exp(logits)
    np.testing.assert_allclose(model.predict_proba(frame), e / e.sum(axis=1, keepdims=True), rtol=1e-14)


def test_a_file_that_describes_something_else_is_refused(tmp_path):
    model, _ = table_model(TARGETS["text"])
    network, tensors = model.net._to_file()
    path = tmp_path / "model"
    files.save(path, "table", {"network": network}, {f"network.{k}": v for k, v in tensors.items()})
    with pytest.raises(ValueError, match="does not describe a model of a table"):
        ermin.load(path)
    model.preprocessing.columns = model.preprocessing.columns[:1]
    model.save(path)
    with pytest.raises(ValueError, match="does not fit its columns"):
        ermin.load(path)


def test_the_description_is_json_in_the_file(tmp_path):
    model, _ = table_model(TARGETS["text"])
    model.save(tmp_path / "model")
    data = (tmp_path / "model").read_bytes()
    size = int.from_bytes(data[:8], "little")
    described = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["ermin"])["description"]
    assert described["target"]["classes"] == ["b", "c d", "é"]
    assert [column["name"] for column in described["columns"]] == ["x", "c", "w"]
