"""What columns become: scaled numbers, dates, one-hot categories, missing values, and what is dropped."""

import datetime
import math
import warnings

import narwhals as nw
import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ermin.preprocessing import Column, Preprocessing


def squash(z):
    return z / math.sqrt(1 + (z / 3) ** 2)


def inputs_of(values, name="x", new=None):
    """What a column becomes: its inputs by name, for its own values or others."""
    frame = pl.DataFrame({name: values}, strict=False)
    preprocessing = Preprocessing.learn(frame)
    out = preprocessing.transform(frame if new is None else pl.DataFrame({name: new}, strict=False))
    assert out.dtype == np.float32
    return dict(zip(preprocessing.inputs, out.T, strict=True))


def test_numbers_are_scaled_by_median_and_quartiles():
    values = [1.0, 2.0, 4.0, 8.0, 100.0]
    got = inputs_of(values)
    np.testing.assert_allclose(got["x"], [squash((v - 4) / (8 - 2)) for v in values], rtol=1e-6)


def test_where_quartiles_are_equal_the_others_set_the_scale():
    values = [0] * 97 + [10, 20, 60]
    np.testing.assert_allclose(inputs_of(values)["x"][-3:], [squash(v / 20) for v in (10, 20, 60)], rtol=1e-6)
    np.testing.assert_allclose(inputs_of([0] * 99 + [1])["x"][-1], squash(1), rtol=1e-6)


@example([-1.7e308, 1.7e308, 1.0, None])
@example([5e-324, 0.0, 1e-320, 1.0])
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.none(), min_size=1, max_size=20))
def test_inputs_are_finite_and_bounded_and_keep_the_order(values):
    column = Column.learn(pl.Series("x", values, dtype=pl.Float64))
    out = np.full((len(values), len(column.inputs)), np.nan, dtype=np.float32)
    if column.kind == "dropped":
        return
    column.fill(pl.Series("x", values, dtype=pl.Float64), out)
    assert np.isfinite(out).all()
    assert (np.abs(out) <= 3).all()
    if column.scaling:
        present = [
            (v, z) for v, z in zip(values, out[:, 0], strict=True) if v is not None and math.isfinite(v)
        ]
        ordered = [z for _, z in sorted(present)]
        assert ordered == sorted(ordered)


def test_a_missing_number_is_the_median_and_says_so():
    got = inputs_of([1.0, None, 2.0, float("nan"), 3.0, float("inf")])
    assert list(got) == ["x", "x missing"]
    assert got["x missing"].tolist() == [0, 1, 0, 1, 0, 1]
    assert got["x"][[1, 3, 5]].tolist() == [0, 0, 0]
    # Where training had none missing there is no input that could say so.
    assert {k: v.tolist() for k, v in inputs_of([1.0, 2.0, 3.0], new=[None, 2.0]).items()} == {"x": [0, 0]}


def test_a_number_that_is_constant_where_present_leaves_its_indicator():
    got = inputs_of([7, None, 7, None])
    assert {name: values.tolist() for name, values in got.items()} == {"x missing": [0, 1, 0, 1]}


def test_categories_are_one_hot_commonest_first():
    got = inputs_of(["b", "a", "b", None, "c", "a", "b"])
    assert list(got) == ["x=b", "x=a", "x=c", "x missing"]
    assert np.array(list(got.values())).sum(axis=0).tolist() == [1] * 7
    assert got["x=b"].tolist() == [1, 0, 1, 0, 0, 0, 1]
    assert got["x missing"].tolist() == [0, 0, 0, 1, 0, 0, 0]


def test_booleans_are_a_category_also_when_they_come_as_text():
    got = inputs_of([True, False, True], new=["TRUE", "false"])
    assert {name: values.tolist() for name, values in got.items()} == {"x=true": [1, 0], "x=false": [0, 1]}


def test_of_many_levels_the_rarest_share_an_input():
    values = [f"v{i:03}" for i in range(100) for _ in range(2 + (i < 50))]
    got = inputs_of(values, new=["v000", "v049", "v099", "v063", "v062"])
    assert len(got) == 64
    assert got["x=(another)"].tolist() == [0, 0, 1, 1, 0]
    assert got["x=v062"].tolist() == [0, 0, 0, 0, 1]


def test_unseen_levels_are_missing_with_one_warning():
    learned = pl.DataFrame({"x": ["a", "b", None, "a"], "y": ["c", "d", "c", "d"], "n": [1, 5, 3, 2]})
    preprocessing = Preprocessing.learn(learned)
    new = pl.DataFrame({"x": ["z", "a", "w"], "y": ["c", "e", None], "n": [1, 5, 3]})
    with pytest.warns(UserWarning, match=r"2 in 'x' \(as 'z'\); 1 in 'y' \(as 'e'\)") as seen:
        out = preprocessing.transform(new)
    assert len(seen) == 1
    gone = new.with_columns(x=pl.Series([None, "a", None]), y=pl.Series(["c", None, None]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(out, preprocessing.transform(gone))


def test_dates_become_numbers():
    days = [datetime.datetime(2024, 1, 1) + datetime.timedelta(days=17 * i, hours=i % 24) for i in range(50)]
    got = inputs_of(days)
    assert list(got) == ["x: days since 1970", "x: day of the year", "x: day of the week", "x: hour"]
    weekdays = np.array([day.isoweekday() for day in days])
    low, middle, high = np.quantile(weekdays, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(
        got["x: day of the week"], [squash((d - middle) / (high - low)) for d in weekdays], rtol=1e-6
    )
    since = np.array([(day - datetime.datetime(1970, 1, 1)).total_seconds() / 86400 for day in days])
    low, middle, high = np.quantile(since, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(
        got["x: days since 1970"], [squash((d - middle) / (high - low)) for d in since], atol=1e-6
    )
    year = np.array([day.timetuple().tm_yday for day in days])
    assert (np.argsort(got["x: day of the year"], kind="stable") == np.argsort(year, kind="stable")).all()


def test_dates_written_as_text_are_read_as_in_training():
    training = ["03/25/2024", "04/01/2024", "12/31/2023", "05/07/2024", None]
    preprocessing = Preprocessing.learn(pl.DataFrame({"when": training}))
    assert preprocessing.columns[0].date_format == "%m/%d/%Y"
    assert preprocessing.text_columns == ["when"]
    # Alone, this would be read as the 4th of March.
    alone = preprocessing.transform(pl.DataFrame({"when": ["04/03/2024"]}))
    true = Column.learn(
        pl.Series("when", [datetime.date(2024, 3, 25), datetime.date(2024, 4, 1), datetime.date(2023, 12, 31),
                           datetime.date(2024, 5, 7), None])
    )  # fmt: skip
    out = np.empty((1, len(true.inputs)), dtype=np.float32)
    true.fill(pl.Series("when", [datetime.date(2024, 4, 3)]), out)
    np.testing.assert_array_equal(alone, out)
    with pytest.warns(UserWarning, match="1 in 'when' \\(as '2024-04-03'\\)"):
        other = preprocessing.transform(pl.DataFrame({"when": ["2024-04-03", None]}))
    np.testing.assert_array_equal(other[0], other[1])


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([None, None, None], "empty"),
        ([float("nan")] * 3, "empty"),
        ([float("inf"), None, float("-inf")], "empty"),
        ([5, 5, 5], "constant: 5"),
        (["x", "x", "x"], "constant: x"),
        (["2024-01-01"] * 3, "constant: 2024-01-01"),
        (["ann", "bob", "cy"], "every text is different"),
        ([f"n{i}" for i in range(80)] + ["n0"] * 10, "nearly every text is different, as in names: 80 of 90"),
        ([1, 2, 3, 4], "numbers the rows"),
        ([0, 1, 2, 3], "numbers the rows"),
        ([[1], [2], [3]], "neither number, date nor text"),
    ],
)
def test_what_is_dropped_and_why(values, why):
    column = Column.learn(pl.Series("x", values))
    assert column.kind == "dropped"
    assert why in column.why
    assert column.describe() == f"dropped, {column.why}"
    assert column.inputs == []


def test_numbers_of_rows_are_recognised_among_training_rows():
    frame = pl.DataFrame({"id": range(1, 101), "year": range(1900, 2000), "x": [i % 7 for i in range(100)]})
    rows = np.array([3, 10, 17, 44, 80, 99])
    kinds = [column.kind for column in Preprocessing.learn(frame, rows).columns]
    assert kinds == ["dropped", "number", "number"]


def test_only_training_rows_are_learned_from():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": rng.normal(size=50), "c": rng.choice(["a", "b"], 50)})
    rows = np.arange(0, 50, 2)
    changed = frame.with_columns(
        x=pl.Series([x if i % 2 == 0 else 1e9 for i, x in enumerate(frame["x"])]),
        c=pl.Series([c if i % 2 == 0 else "new" for i, c in enumerate(frame["c"])]),
    )
    assert Preprocessing.learn(frame, rows).columns == Preprocessing.learn(changed, rows).columns
    assert Preprocessing.learn(frame).columns != Preprocessing.learn(changed).columns


def test_columns_are_found_by_name_in_any_frame():
    frame = pl.DataFrame({"x": [1.0, None, 3.0], "c": ["a", None, "a"], "b": [True, False, True]})
    preprocessing = Preprocessing.learn(frame)
    expected = preprocessing.transform(frame)
    np.testing.assert_array_equal(
        preprocessing.transform(frame.select("b", "c", "x").with_columns(more=1)), expected
    )
    np.testing.assert_array_equal(preprocessing.transform(nw.from_native(frame)), expected)
    assert preprocessing.transform(frame.clear()).shape == (0, expected.shape[1])


def test_numbers_may_come_as_text_but_must_be_numbers():
    preprocessing = Preprocessing.learn(pl.DataFrame({"x": [1.0, 2.0, 5.0]}))
    np.testing.assert_array_equal(
        preprocessing.transform(pl.DataFrame({"x": ["2", None]})),
        preprocessing.transform(pl.DataFrame({"x": [2, None]})),
    )
    with pytest.raises(ValueError, match="column 'x' holds 'red' in row 3, but must hold numbers"):
        preprocessing.transform(pl.DataFrame({"x": ["1", None, "red"]}))


def test_a_lacking_column_is_named():
    preprocessing = Preprocessing.learn(pl.DataFrame({"x": [1, 3, 2], "y": [5, 1, 1], "k": [1, 1, 1]}))
    with pytest.raises(ValueError, match="no column 'x', 'y'"):
        preprocessing.transform(pl.DataFrame({"k": [1]}))
    preprocessing.transform(pl.DataFrame({"x": [1], "y": [1]}))  # what was dropped is not asked for


def test_no_usable_column():
    with pytest.raises(ValueError, match=r"no column can be used .*'a' is constant: 1; 'b' is empty"):
        Preprocessing.learn(pl.DataFrame({"a": [1, 1], "b": [None, None]}))
    with pytest.raises(ValueError, match="there is none but the target"):
        Preprocessing.learn(pl.DataFrame())


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 2.0, 3.0, None, 5.0], "number, median 2.5, spread 1.75; missing in 1 row"),
        (["a", "b", "a", None, None], "category, 2 levels: a, b; missing in 2 rows"),
        (
            ["2024-01-01", "2024-01-05", "2024-02-07"],
            "date written %Y-%m-%d, as days since 1970, day of the year, ",
        ),
        ([7, None, 7], "number, constant where present; missing in 1 row"),
    ],
)
def test_columns_say_how_they_are_treated(values, text):
    assert Column.learn(pl.Series("x", values)).describe().startswith(text)
