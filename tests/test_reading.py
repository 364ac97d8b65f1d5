"""Tables as files: any separator, what columns hold, and clear words about what is no table."""

import datetime
import re

import narwhals as nw
import polars as pl
import pytest

from ermin.reading import as_polars, date_format, parse_dates, read_table


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
        return path

    return write


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_separator_and_line_end(write, separator, end):
    lines = ["a,b,c", "1,x,2.5", "2,y,-1e3", "3,x,0.5"]
    frame = read_table(write(end.join(line.replace(",", separator) for line in lines) + end))
    assert frame.columns == ["a", "b", "c"]
    assert frame.rows() == [(1, "x", 2.5), (2, "y", -1000.0), (3, "x", 0.5)]
    assert frame.dtypes == [pl.Int64, pl.String, pl.Float64]


def test_decimal_commas_where_the_comma_separates_nothing(write):
    frame = read_table(write("a;b;c\n1,5;1,5 kg;2\n-2,25;x;3\n"))
    assert frame["a"].to_list() == [1.5, -2.25]
    assert frame["b"].to_list() == ["1,5 kg", "x"]
    assert frame["c"].dtype == pl.Int64


def test_what_stands_for_a_missing_value(write):
    texts = ["", "?", "NA", "N/A", "nan", "null", "None", "  ", '""']
    frame = read_table(write("a,b\n1,x\n" + "".join(f"{text},{text}\n" for text in texts)))
    assert frame["a"].to_list() == [1] + [None] * len(texts)
    assert frame["b"].to_list() == ["x"] + [None] * len(texts)


def test_spaces_around_a_field_do_not_count(write):
    frame = read_table(write("a , b\n 1, x \n ?,y\n"))
    assert frame.columns == ["a", "b"]
    assert frame.rows() == [(1, "x"), (None, "y")]


def test_booleans_whatever_their_case(write):
    assert read_table(write("a,b\nTrue,true\nFALSE,maybe\n")).rows() == [(True, "true"), (False, "maybe")]


def test_columns_left_as_text(write):
    path = write("zip,n\n01234,1\n55555,2\n")
    assert read_table(path)["zip"].to_list() == [1234, 55555]
    assert read_table(path, text=["zip"])["zip"].to_list() == ["01234", "55555"]


def test_quotes_hold_separators_line_ends_and_quotes(write):
    frame = read_table(write('a,b\n"x, y",1\n"two\nlines",2\n"said ""no""",3\n'))
    assert frame["a"].to_list() == ["x, y", "two\nlines", 'said "no"']


def test_a_quote_within_a_field_is_a_character(write):
    frame = read_table(write('a,b\n1,2\n3,5" pipe\n5,6\n'))
    assert frame.rows() == [(1, "2"), (3, '5" pipe'), (5, "6")]


def test_blank_lines_and_a_byte_order_mark_are_skipped(write):
    assert read_table(write("\ufeffa,b\n1,2\n\n3,4\n\n\n")).rows() == [(1, 2), (3, 4)]


def test_a_nameless_column_is_called_by_its_number(write):
    assert read_table(write(",b\n1,2\n")).columns == ["column_1", "b"]


def test_a_name_that_looks_like_a_pattern_is_a_name(write):
    write("a\n1\n", "x1.csv")
    assert read_table(write("a,b\n1,2\n", "x*.csv")).columns == ["a", "b"]


def test_parquet(tmp_path):
    frame = pl.DataFrame({"a": [1, None], "when": [datetime.date(2024, 1, 2), None]})
    frame.write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").equals(frame)


RAGGED = "is ragged: line {} has {} fields, but the header has {}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("a,b\n", "has a header but no rows"),
        ("a,b\n\n\n", "has a header but no rows"),
        ("\na,b\n1,2\n", "has no header in its first line"),
        ("a,b\n1,2\n3\n", RAGGED.format(3, 1, 2)),
        ("a,b\n1,2\n3,4,5\n", RAGGED.format(3, 3, 2)),
        ('a,b\n"1\n1",2\n3\n', RAGGED.format(4, 1, 2)),
        ("a;b\n1;2\n3;4;5\n", RAGGED.format(3, 3, 2)),
        ("a,b,a\n1,2,3\n", "has 2 columns named 'a'"),
        (b"a,b\n\xe9t\xe9,2\n", "is not text in UTF-8"),
        (b"\xff\xfea\x00,\x00b\x00", "is not text in UTF-8"),
        (b"a,b\n1,\x002\n", "is not text"),
        ("a,b\n1," + "x" * 200_000 + "\n", "cannot be read as CSV"),
    ],
)
def test_what_is_no_table(write, text, message):
    path = write(text)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} .*{re.escape(message)}") as error:
        read_table(path)
    assert "\n" not in str(error.value)


def test_what_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.csv does not exist"):
        read_table(tmp_path / "nothing.csv")
    with pytest.raises(ValueError, match="is not a file"):
        read_table(tmp_path)


def test_what_is_no_parquet(write, tmp_path):
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_table(write("a,b\n1,2\n", "t.parquet"))
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "e.parquet")
    with pytest.raises(ValueError, match="has no rows"):
        read_table(tmp_path / "e.parquet")


@pytest.mark.parametrize(
    ("texts", "written", "first"),
    [
        (["2024-03-01", "2023-12-31"], "%Y-%m-%d", "2024-03-01 00:00"),
        (["2024/03/01"], "%Y/%m/%d", "2024-03-01 00:00"),
        (["1.3.2024", "31.12.2023"], "%d.%m.%Y", "2024-03-01 00:00"),
        (["01/03/2024", "02/03/2024"], "%d/%m/%Y", "2024-03-01 00:00"),
        (["03/01/2024", "12/31/2023"], "%m/%d/%Y", "2024-03-01 00:00"),
        (["1 Mar 2024"], "%d %b %Y", "2024-03-01 00:00"),
        (["2024-03-01 17:30", "2024-03-01 06:00"], "%Y-%m-%d %H:%M", "2024-03-01 17:30"),
        (["2024-03-01T17:30:00", "2024-03-01T17:30:00.5"], "%Y-%m-%dT%H:%M:%S%.f", "2024-03-01 17:30"),
        (["2024-03-01T17:30:00+02:00"], "%Y-%m-%dT%H:%M:%S%.f%#z", "2024-03-01 15:30"),
        (["2024-03-01T17:30:00Z"], "%Y-%m-%dT%H:%M:%S%.f%#z", "2024-03-01 17:30"),
        (["2024-03-01", "soon"], "", None),
        (["2024-13-01", "2024-01-13"], "", None),
        (["1.2.3", "4.5.6"], "", None),
        (["12-2024", "20240301"], "", None),
        (["a", "b"], "", None),
    ],
)
def test_how_dates_are_written(texts, written, first):
    assert date_format(pl.Series([*texts, None])) == written
    if written:
        dates = parse_dates(pl.Series([*texts, None, "neither"]), written)
        assert dates[0] == datetime.datetime.fromisoformat(first)
        assert dates.null_count() == 2


def test_any_dataframe_is_taken_column_by_column():
    frame = pl.DataFrame(
        {
            "whole": [1, None, 3],
            "number": [1.5, None, -2.0],
            "text": ["x", None, "y"],
            "flag": [True, None, False],
            "when": [datetime.datetime(2024, 3, 1), None, datetime.datetime(2024, 3, 2, 12)],
        }
    )
    assert as_polars(frame) is frame
    # Narwhals' own wrapper stands in for the dataframes that it knows.
    same = as_polars(nw.from_native(frame))
    assert same.columns == frame.columns
    assert same["text"].to_list() == ["x", None, "y"]
    assert same["flag"].to_list() == [True, None, False]
    assert same["when"].to_list() == frame["when"].to_list()
    assert same["whole"].fill_nan(None).to_list() == [1, None, 3]


def test_what_is_no_dataframe():
    with pytest.raises(TypeError, match=r"a table is needed .*, not list"):
        as_polars([[1, 2]])
