"""What ARCHITECTURE.md promises: direction of imports, rooms for unsafe, what an import loads, no libm."""

import ast
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import ermin
from ermin import _core

ROOT = Path(__file__).parent.parent
RUST = ROOT / "rust"
PYTHON = ROOT / "python" / "ermin"

# Each module of the core may use the ones before it, and those of its own folder.
RUST_ORDER = [
    "error",
    "simd",
    "math",
    "random",
    "parallel",
    "sum",
    "gemm",
    "rows",
    "prob",
    "mlp",
    "file",
    "py",
]

# Each Python module may import those named; those that load lazily inside a function are not counted.
PYTHON_IMPORTS = {
    "__init__": {"_core"},
    "_arrays": set(),
    "files": {"_core"},
    "optimizers": {"_arrays", "schedules"},
    "schedules": {"_arrays"},
    "estimates": {"_arrays", "_core"},
    "distributions": {"_arrays", "_core"},
    "bernoulli": {"_arrays", "_core", "distributions", "estimates"},
    "categorical": {"_arrays", "_core", "distributions", "estimates"},
    "divergences": {"_arrays", "_core", "distributions"},
    "layers": {"_arrays", "schedules"},
    "network": {"_arrays", "_core", "files", "layers", "losses", "schedules"},
    "losses": {"_arrays"},
    "history": set(),
    "training": {"_arrays", "_core", "history", "losses", "optimizers", "schedules"},
    "metrics": {"_arrays", "divergences"},
    "reading": set(),
    "preprocessing": {"reading"},
    "tabular": {
        "_arrays",
        "categorical",
        "files",
        "metrics",
        "network",
        "optimizers",
        "preprocessing",
        "reading",
        "training",
    },
    "solvers": {"_core", "history", "schedules", "training"},
    "estimator_files": {"losses", "network"},
    "samples": {"_arrays", "training"},
    "perceptron": {
        "_arrays",
        "_core",
        "estimator_files",
        "files",
        "history",
        "network",
        "samples",
        "solvers",
    },
    "classifier": {"_arrays", "distributions", "perceptron"},
    "cross_validation": set(),
    "displays": {"metrics", "plots"},
    "regressor": {"distributions", "losses", "perceptron", "solvers"},
    "coin": {"bernoulli", "divergences"},
    "plots": {"metrics"},
    "__main__": {"coin", "metrics", "reading", "tabular"},
}


def rust_files():
    return sorted(RUST.rglob("*.rs"))


def module_of(path):
    """The top-level module a Rust file belongs to."""
    return path.relative_to(RUST).parts[0].removesuffix(".rs")


def without_tests(text):
    return text.split("#[cfg(test)]")[0]


def test_rust_modules_use_only_what_stands_before_them():
    for path in rust_files():
        module = module_of(path)
        if module == "lib":
            continue
        text = without_tests(path.read_text())
        used = set(re.findall(r"\bcrate::(\w+)", text)) - {module}
        for grouped in re.findall(r"\bcrate::\{([^}]*)\}", text):
            used |= set(re.findall(r"(\w+)(?:::|,|$)", grouped)) & set(RUST_ORDER)
        # The one cycle: a vector's element type names the constants that math needs of it.
        if module == "simd":
            used -= {"math"}
        allowed = set(RUST_ORDER[: RUST_ORDER.index(module)])
        assert used <= allowed, f"{path.relative_to(ROOT)} uses {sorted(used - allowed)}"


def test_lib_rs_lists_every_module():
    declared = set(re.findall(r"^(?:pub )?mod (\w+);", (RUST / "lib.rs").read_text(), re.MULTILINE))
    assert declared == {module_of(path) for path in rust_files()} - {"lib"}
    assert declared <= set(RUST_ORDER)


def test_only_py_knows_python():
    for path in rust_files():
        if module_of(path) != "py":
            assert not re.search(r"\b(pyo3|numpy)::", path.read_text()), path


def test_unsafe_stands_in_four_rooms_with_its_reason():
    for path in rust_files():
        text = without_tests(path.read_text())
        inside = path.relative_to(RUST).as_posix()
        if re.search(r"\bunsafe\b(?!_code)", re.sub(r"//.*", "", text)):
            assert inside.startswith(("simd/", "rows/")) or inside in ("gemm.rs", "py/array.rs"), inside
        if "target_feature" in text or "target_arch" in text:
            assert inside.startswith("simd/"), inside


def test_nothing_is_called_utils():
    names = {path.stem for folder in (RUST, PYTHON, ROOT / "tests") for path in folder.rglob("*.*")}
    assert not names & {"utils", "util", "common", "helpers", "misc"}


def test_python_modules_import_only_what_they_may():
    modules = {path.stem for path in PYTHON.glob("*.py")}
    assert modules <= set(PYTHON_IMPORTS)
    for name in modules:
        tree = ast.parse((PYTHON / f"{name}.py").read_text())
        used = set()
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module == "ermin":
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ermin."):
                used.add(node.module.split(".")[1])
        assert used <= PYTHON_IMPORTS[name], f"{name} imports {sorted(used - PYTHON_IMPORTS[name])}"


def test_every_public_name_is_documented_with_an_example():
    for name in ermin.__all__:
        value = getattr(ermin, name)
        if name != "__version__":
            assert value.__doc__, name
            assert ">>>" in value.__doc__, name
    assert set(dir(ermin)) == set(ermin.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = ermin.nothing


def test_an_import_loads_numpy_and_the_native_module_only():
    script = """
import json, sys, threading
import numpy
before = set(sys.modules), threading.active_count()
import os
tasks = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
import ermin
now = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
print(json.dumps([sorted(set(sys.modules) - before[0]), threading.active_count() - before[1], now - tasks]))
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    loaded, threads, tasks = json.loads(run.stdout)
    assert {name for name in loaded if name.startswith("ermin")} == {"ermin", "ermin._core"}
    extras = {"scipy", "sklearn", "matplotlib", "polars", "narwhals", "pandas"}
    assert not {name.split(".")[0] for name in loaded} & extras
    assert (threads, tasks) == (0, 0)


def undefined_symbols(path):
    """The dynamic symbols that an ELF shared object (64-bit, little-endian) wants from others."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01"
    start, size, count = (*struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HH", data, 58))
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size) for i in range(count)]
    names = []
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind != 11:  # SHT_DYNSYM
            continue
        text = sections[link][4]
        for place in range(offset, offset + length, entry):
            name, _, _, section = struct.unpack_from("<IBBH", data, place)
            if section == 0 and name:
                names.append(data[text + name : data.index(b"\0", text + name)].decode())
    return names


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the module as an ELF file")
def test_the_module_takes_nothing_inexact_from_libm():
    names = undefined_symbols(Path(_core.__file__))
    assert "malloc" in names  # the reader reads
    stems = "exp|exp2|expm1|log|log2|log10|log1p|pow|sin|cos|tan|sincos|asin|acos|atan|atan2|sinh|cosh|tanh|erf|erfc"
    stems += "|cbrt|hypot|tgamma|lgamma"
    assert not [name for name in names if re.fullmatch(rf"({stems})[fl]?(@.*)?", name)]
