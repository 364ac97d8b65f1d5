"""The command line: `ermin fit`, `ermin predict`, `ermin coin`, also as ``python -m ermin``.

Exit codes: 0; 2 for wrong usage or bad data, with one line that says what, where and what is needed; 1 for an internal
failure; 130 for Ctrl-C. Files are written whole or not at all, and whether they can be is asked before any work.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

import ermin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from ermin.history import History
    from ermin.tabular import TableModel

EPOCHS, ROWS_VISITED, FEWEST_EPOCHS = 500, 30_000_000, 20
"""By default an epoch is one of at most 500, and of fewer (not below 20) where they would visit more rows than this."""
BATCH, LARGEST_BATCH = 64, 512
"""Rows a step by default: a thousandth of the training rows, within these bounds."""
WEIGHT_DECAY = 0.1
"""AdamW's, by default: over fourteen public tables it lowered the test loss of most, or left it."""
PIECE = 1000
"""Rows of predictions written at a time."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after the program's name; by default those of this process.

    Returns
    -------
    int
        The exit code.

    Examples
    --------
    >>> from ermin.__main__ import main
    >>> main(["coin", "--p", "2"])  # one line on stderr says what is wrong
    2
    """
    try:
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for category in (UserWarning, RuntimeWarning):
                warnings.simplefilter("always", category)
            warnings.showwarning = lambda message, *_, **__: _say("warning", message)
            arguments.run(arguments)
            sys.stdout.flush()
    except SystemExit as leaving:  # --help and --version
        return int(leaving.code or 0)
    except KeyboardInterrupt:
        _say("interrupted", "nothing was saved")
        return 130
    except BrokenPipeError:  # who reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, FileNotFoundError, ImportError) as error:
        _say("error", error)
        return 2
    except Exception as error:
        _say("internal failure", f"{type(error).__name__}: {error}")
        return 1
    return 0


def _say(what: str, message: object) -> None:
    """One line on stderr, whatever the message."""
    print(f"ermin: {what}: {' '.join(str(message).split())}", file=sys.stderr)


# ------------------------------------------------------------------------------------------------------------- usage


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ermin", description="Small neural networks with honest probabilities.")
    parser.add_argument("--version", action="version", version=f"ermin {ermin.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser(
        "fit",
        help="train a network on a table and report what it can do",
        description="Train on a CSV or Parquet table, keep the epoch with the least validation loss, and report.",
    )
    fit.set_defaults(run=_fit)
    fit.add_argument("data", metavar="DATA", help="the table; any of , ; tab | may separate its fields")
    fit.add_argument("--target", required=True, metavar="NAME", help="the column to predict")
    fit.add_argument(
        "--task", choices=("auto", "classification", "regression"), default="auto",
        help="auto: texts, booleans and whole numbers with few (up to 20) different values are classes",
    )  # fmt: skip
    _number(fit, "--validation", 0.2, _fraction, "fraction of the rows that chooses the epoch")
    _number(fit, "--test", 0.2, _fraction, "fraction of the rows that is only looked at for the report")
    _number(fit, "--seed", 0, _at_least(0), "decides the split, the first weights and the order of rows")
    fit.add_argument(
        "--hidden",
        type=_sizes,
        default=(64, 32),
        metavar="SIZES",
        help="hidden layers, as in 64,32, or none (64,32)",
    )
    fit.add_argument("--activation", default="relu", metavar="NAME", help="of the hidden layers (relu)")
    _number(
        fit,
        "--epochs",
        None,
        _at_least(1),
        "the most passes over the training rows (500, fewer for many rows)",
    )
    _number(fit, "--patience", 40, _at_least(1), "stop after so many epochs without a lower validation loss")
    _number(fit, "--learning-rate", 3e-3, _positive, "of AdamW")
    _number(fit, "--weight-decay", WEIGHT_DECAY, _float, "of AdamW")
    _number(fit, "--batch-size", None, _at_least(1), "rows a step (64, more for many rows)")
    fit.add_argument(
        "--save", metavar="FILE", help="write network, preprocessing and classes, for `ermin predict`"
    )
    fit.add_argument(
        "--plot", metavar="FILE", help="draw learning curves and reliability, as .png, .svg, .pdf ..."
    )
    fit.add_argument(
        "--json", action="store_true", help="print the report as JSON, with the numbers of the test rows"
    )

    predict = commands.add_parser(
        "predict",
        help="apply a saved model to a table",
        description="Write a line of CSV for each row: the prediction, and each class's probability.",
    )
    predict.set_defaults(run=_predict)
    predict.add_argument("model", metavar="MODEL", help="what `ermin fit --save` wrote")
    predict.add_argument("data", metavar="DATA", help="a table with the columns the model was trained on")
    predict.add_argument("--output", metavar="FILE", help="by default standard output")

    coin = commands.add_parser(
        "coin",
        help="P, Q and P~, told with a coin",
        description="Toss a coin, estimate it, and see how far the estimate is from the truth, and why.",
    )
    coin.set_defaults(run=_coin)
    _number(coin, "--p", 0.5, _float, "the coin's probability of heads")
    _number(coin, "--tosses", 100, _at_least(1), "how often it is tossed")
    _number(coin, "--seed", 1, _at_least(0), "which tosses")
    coin.add_argument(
        "--plot", metavar="FILE", help="draw P~ as the tosses come in, and its error by their number"
    )
    return parser


def _number(
    parser: argparse.ArgumentParser, option: str, default: Any, kind: Callable[[str], Any], what: str
) -> None:
    """An option that takes a number, and whose help names its default."""
    said = what if default is None else f"{what} ({default:g})"
    parser.add_argument(option, type=kind, default=default, metavar="N", help=said)


def _at_least(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        number = int(text) if text.lstrip("+-").isdecimal() else None
        if number is None or number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return number

    return whole


def _fraction(text: str) -> float:
    number = _float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return number


def _positive(text: str) -> float:
    number = _float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0")
    return number


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _sizes(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of sizes such as 64,32, nor none")
    return sizes


# ------------------------------------------------------------------------------------------------------------- files


def _check_can_write(option: str, path: str | None, *sources: str) -> None:
    """Refuse, before any work, a path that could not be written at its end, or whose writing would destroy a source."""
    if path is None:
        return
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise ValueError(f"{option}: the directory {folder} does not exist")
    if os.path.isdir(path):
        raise ValueError(f"{option}: {path} is a directory, but must be a file")
    for source in sources:
        if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
            raise ValueError(f"{option}: {path} is what is read, and would be overwritten")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{option}: {folder} cannot be written to: {error.strerror}") from None


def _check_picture(path: str | None, *sources: str) -> None:
    """The same for a picture, whose format must be one that Matplotlib writes."""
    if path is None:
        return
    _check_can_write("--plot", path, *sources)
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise ImportError('--plot needs matplotlib: pip install "ermin[plot]"') from None
    kinds = sorted(FigureCanvasBase.get_supported_filetypes())
    if os.path.splitext(path)[1].lower().lstrip(".") not in kinds:
        raise ValueError(f"--plot: {path} must end in one of .{', .'.join(kinds)}")


@contextmanager
def _whole_file(path: str) -> Iterator[str]:
    """A name beside `path` to write under; the file takes its own name when all of it is there."""
    folder, name = os.path.split(path)
    draft = os.path.join(folder, f".{name}.{os.getpid()}.part")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        if os.path.exists(draft):
            os.remove(draft)


def _write_picture(figure: Any, path: str) -> None:
    with _whole_file(path) as draft:
        figure.savefig(draft, format=os.path.splitext(path)[1].lower().lstrip("."))


# --------------------------------------------------------------------------------------------------------------- fit


def _fit(options: argparse.Namespace) -> None:
    _check_can_write("--save", options.save, options.data)
    _check_picture(options.plot, options.data)
    if options.plot and options.save and os.path.realpath(options.plot) == os.path.realpath(options.save):
        raise ValueError(f"--plot: {options.plot} is written twice, as --save names it too")
    from ermin.reading import read_table

    started = time.perf_counter()
    frame = read_table(options.data)
    read = time.perf_counter() - started
    model, history, report, (truth, predicted) = _learn(frame, options)
    if options.save:
        model.save(options.save)
    if options.plot:
        from ermin.plots import plot_fit

        _write_picture(plot_fit(history, truth, predicted), options.plot)
    report["seconds"] |= {"read": read, "total": time.perf_counter() - started}
    report |= {"data": options.data, "saved": options.save, "plot": options.plot}
    if options.json:
        print(json.dumps(_plain(report), allow_nan=False))
    else:
        _tell(report)


def _learn(
    frame: pl.DataFrame, options: argparse.Namespace
) -> tuple[TableModel, History, dict[str, Any], tuple[NDArray[Any], NDArray[Any]]]:
    """Split, prepare, train and judge: the model, its history, the report, and the test rows' truth and predictions."""
    from ermin.preprocessing import Preprocessing
    from ermin.tabular import TableModel, Target, split_rows

    if options.target not in frame.columns:
        names = ", ".join(map(repr, frame.columns[:20])) + (", ..." if frame.width > 20 else "")
        raise ValueError(f"{options.data} has no column {options.target!r} to predict; it has {names}")
    column = frame[options.target]
    present = column.is_not_null() & (column.is_finite() if column.dtype.is_float() else True)
    rows = np.flatnonzero(present.to_numpy())
    column = column.filter(present)
    target = Target.decide(column, options.task)
    y = target.encode(column)
    parts = dict(zip(("train", "validation", "test"), split_rows(
        y, target.task, options.validation, options.test, options.seed
    ), strict=True))  # fmt: skip
    table = frame.drop(options.target)
    preprocessing = Preprocessing.learn(table, rows[parts["train"]])
    X = preprocessing.transform(table[rows])
    classify = target.task == "classification"
    if not classify:
        target = target.scaled_by(y[parts["train"]])

    n_train = len(parts["train"])
    sizes = (X.shape[1], *options.hidden, len(target.classes) or 1)
    net = ermin.MLP(
        sizes, activation=options.activation, output="softmax" if classify else "identity", rng=options.seed
    )
    optimizer = ermin.AdamW(options.learning_rate, weight_decay=options.weight_decay)
    plan = {
        "epochs": options.epochs or max(FEWEST_EPOCHS, min(EPOCHS, ROWS_VISITED // n_train)),
        "batch_size": options.batch_size or max(BATCH, min(LARGEST_BATCH, n_train // 1000)),
        "patience": options.patience,
    }
    learned = y if classify else (y - target.centre) / target.scale
    started = time.perf_counter()
    history = ermin.fit(
        net,
        X[parts["train"]],
        learned[parts["train"]],
        validation=(X[parts["validation"]], learned[parts["validation"]]),
        optimizer=optimizer,
        progress=sys.stderr.isatty(),
        rng=options.seed,
        **plan,
    )
    seconds = time.perf_counter() - started
    if not classify:  # in the target's own units, as everything in the report
        unit = target.scale * target.scale
        history = replace(history, loss=history.loss * unit, validation_loss=history.validation_loss * unit)

    model = TableModel(net, preprocessing, target)
    predicted = model.probabilities(X) if classify else model.values(X)
    judge = _judge_classes if classify else _judge_numbers
    report = {
        "version": ermin.__version__,
        "target": target.name,
        "task": target.task,
        "rule": target.rule,
        "classes": [str(name) for name in target.names],
        "rows": {"read": frame.height, "without_target": frame.height - len(rows)}
        | {name: len(part) for name, part in parts.items()},
        "columns": [
            {"name": column.name, "kind": column.kind, "treatment": column.describe()}
            for column in preprocessing.columns
        ],
        "inputs": preprocessing.inputs,
        "network": {
            "sizes": list(sizes),
            "activation": options.activation,
            "output": net.output,
            "n_parameters": sum(array.size for array in net.parameters.values()),
        },
        "training": plan
        | {
            "seed": options.seed,
            "learning_rate": options.learning_rate,
            "weight_decay": options.weight_decay,
        },
        "best_epoch": history.best_epoch,
        "stopped_epoch": history.stopped_epoch,
        "stop_reason": history.stop_reason,
        **judge(y, predicted, parts),
        "seconds": {"fit": seconds},
        "test_rows": rows[parts["test"]].tolist(),
        "history": {"loss": history.loss.tolist(), "validation_loss": history.validation_loss.tolist()},
    }
    return model, history, report, (y[parts["test"]], predicted[parts["test"]])


def _judge_classes(y: NDArray[Any], proba: NDArray[Any], parts: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Losses and accuracies by part, and what always saying the training rows' class frequencies would give."""
    from ermin import metrics

    test = parts["test"]
    counts = np.bincount(y[parts["train"]], minlength=proba.shape[1])
    frequencies = np.broadcast_to(counts / counts.sum(), (len(test), proba.shape[1]))
    return {
        "loss_name": "KL, nats",
        "loss": {name: metrics.log_loss(y[part], proba[part]) for name, part in parts.items()},
        "accuracy": {
            name: float((proba[part].argmax(axis=1) == y[part]).mean()) for name, part in parts.items()
        },
        "brier_score": metrics.brier_score(y[test], proba[test]),
        "calibration_error": metrics.expected_calibration_error(y[test], proba[test]),
        "baseline": {
            "says": "class frequencies",
            "loss": metrics.log_loss(y[test], frequencies),
            "accuracy": float((y[test] == counts.argmax()).mean()),
        },
    }


def _judge_numbers(y: NDArray[Any], values: NDArray[Any], parts: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The same for numbers: half the mean squared error, its root, R², and what always saying the mean would give."""

    def mean_square(truth: NDArray[Any], said: Any) -> float:
        error = truth - said
        return float((error * error).sum() / len(truth))

    test = parts["test"]
    around_mean = mean_square(y[test], y[test].sum() / len(test))
    squares = {name: mean_square(y[part], values[part]) for name, part in parts.items()}
    baseline = mean_square(y[test], y[parts["train"]].sum() / len(parts["train"]))
    return {
        "loss_name": "half the mean squared error",
        "loss": {name: square / 2 for name, square in squares.items()},
        "rmse": {name: math.sqrt(square) for name, square in squares.items()},
        "r2": 1 - squares["test"] / around_mean if around_mean > 0 else None,
        "baseline": {"says": "mean", "loss": baseline / 2, "rmse": math.sqrt(baseline)},
    }


def _plain(value: Any) -> Any:
    """What JSON can hold: a number that is not finite becomes null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tell(report: dict[str, Any]) -> None:
    """The report for a person."""
    rows, network, seconds, baseline = (report[key] for key in ("rows", "network", "seconds", "baseline"))
    print(f"{report['data']}: {rows['read']:,} rows, {len(report['columns']) + 1} columns")
    width = max(len(column["name"]) for column in report["columns"])
    for column in report["columns"]:
        print(f"  {column['name']:<{width}}  {column['treatment']}")
    classes = report["classes"]
    shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    print(f"\ntarget    {report['target']}: {report['task']}, because {report['rule']}")
    if classes:
        print(f"          {len(classes)} classes: {shown}")
    left_out = f"; {rows['without_target']:,} without a target left out" if rows["without_target"] else ""
    print(
        f"rows      {rows['train']:,} to train on, {rows['validation']:,} to validate, {rows['test']:,} to test "
        f"(seed {report['training']['seed']}){left_out}"
    )
    print(
        f"network   {'-'.join(map(str, network['sizes']))}, {network['activation']}, {network['output']}: "
        f"{network['n_parameters']:,} parameters"
    )
    why = {
        "patience": f"no better in the {report['training']['patience']} after it",
        "epochs": "the most allowed",
    }
    reason = why.get(report["stop_reason"], report["stop_reason"])
    print(f"training  best epoch {report['best_epoch']} of {report['stopped_epoch']} ({reason})\n")

    print(f"{'':10}{'train':>12}{'validation':>12}{'test':>12}{'baseline':>12}")
    for name in ("loss", "accuracy", "rmse"):
        if name in report:
            numbers = "".join(f"{number:>12.5g}" for number in (*report[name].values(), baseline[name]))
            print(f"{name.upper() if name == 'rmse' else name:10}{numbers}")
    print(
        f"\nThe loss is {report['loss_name']}; the baseline always says the {baseline['says']}, on the test rows."
    )
    if "calibration_error" in report:
        print(
            f"calibration error {report['calibration_error']:.4f}, Brier score {report['brier_score']:.4f} (test)"
        )
    elif report["r2"] is not None:
        print(f"R² {report['r2']:.4f} (test)")
    print(f"{seconds['total']:.2f} seconds: {seconds['read']:.2f} to read, {seconds['fit']:.2f} to train")
    for what, path in (("model", report["saved"]), ("plot", report["plot"])):
        if path:
            print(f"{what} in {path}")


# ----------------------------------------------------------------------------------------------------------- predict


def _predict(options: argparse.Namespace) -> None:
    _check_can_write("--output", options.output, options.model, options.data)
    from ermin.reading import read_table
    from ermin.tabular import TableModel

    model = ermin.load(options.model)
    if not isinstance(model, TableModel):
        raise ValueError(
            f"{options.model} holds a {type(model).__name__}, but a model saved by `ermin fit` is needed"
        )
    import polars as pl

    frame = read_table(options.data, text=model.preprocessing.text_columns)
    X = model.preprocessing.transform(frame)
    names = model.target.names
    if names:
        proba = model.probabilities(X)
        said = [names[i] for i in proba.argmax(axis=1)]
        columns = {"prediction": said} | {f"p_{name}": proba[:, i] for i, name in enumerate(names)}
    else:
        columns = {"prediction": model.values(X)}
    table = pl.DataFrame(columns)
    if options.output is None:
        for start in range(0, table.height, PIECE):  # so that a reader who leaves is noticed
            sys.stdout.write(table[start : start + PIECE].write_csv(include_header=start == 0))
        return
    with _whole_file(options.output) as draft:
        table.write_csv(draft)


# -------------------------------------------------------------------------------------------------------------- coin


def _coin(options: argparse.Namespace) -> None:
    _check_picture(options.plot)
    from ermin import coin

    story = coin.toss(options.p, options.tosses, options.seed)
    print(coin.tell(story))
    if options.plot:
        from ermin.plots import plot_coin

        _write_picture(
            plot_coin(story.p, story.tosses, story.interval, story.n_tosses, story.errors), options.plot
        )
        print(f"\nplot in {options.plot}")


if __name__ == "__main__":
    sys.exit(main())
