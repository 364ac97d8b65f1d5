"""Saving and loading: the same bits back, whole files only, and nothing else taken for a model."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

import ermin
from ermin import files


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_was_saved_is_loaded(tmp_path, dtype):
    net = ermin.MLP([4, 5, 3], activation="selu", output="softmax", dtype=dtype, rng=0)
    path = tmp_path / "a model.safetensors"
    net.save(path)
    same = ermin.load(path)
    X = np.random.default_rng(0).normal(size=(7, 4))
    np.testing.assert_array_equal(same.predict_proba(X), net.predict_proba(X))
    assert repr(same) == repr(net)
    assert os.listdir(tmp_path) == ["a model.safetensors"]


def test_the_same_network_is_the_same_file_and_safetensors_reads_it(tmp_path):
    for name in ("1", "2"):
        ermin.MLP([2, 3, 1], rng=0).save(tmp_path / name)
    first = (tmp_path / "1").read_bytes()
    assert first == (tmp_path / "2").read_bytes()
    size = int.from_bytes(first[:8], "little")
    import json

    header = json.loads(first[8 : 8 + size])
    assert set(header) == {"__metadata__", "weights.0", "biases.0", "weights.1", "biases.1"}
    start, end = header["weights.0"]["data_offsets"]
    weights = np.frombuffer(first[8 + size + start : 8 + size + end], dtype="<f4").reshape(2, 3)
    np.testing.assert_array_equal(weights, ermin.MLP([2, 3, 1], rng=0).weights[0])


def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path):
    script = "import os, sys, ermin; os.umask(0o027); ermin.MLP([1, 1], rng=0).save(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "model")], check=True)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640


def test_saving_where_nothing_can_be_written_leaves_nothing(tmp_path):
    net = ermin.MLP([1, 1], rng=0)
    with pytest.raises(OSError, match="nowhere"):
        net.save(tmp_path / "nowhere" / "model")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        net.save(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == []


@pytest.mark.parametrize(
    "change",
    [
        {"dropout": 2},
        {"dropout": {"schedule": "Cosine"}},
        {"dropout": {"schedule": "Never", "value": 0.1}},
        {"dropout": None},
        {"sizes": "many"},
        {"sizes": [3, 0]},
        {"activation": ["none"]},
    ],
)
def test_a_description_that_fits_no_network_is_refused(change, tmp_path):
    net = ermin.MLP([3, 2, 1], rng=0)
    description, tensors = net._to_file()
    files.save(tmp_path / "net.safetensors", "network", description | change, tensors)
    with pytest.raises(ValueError, match="the file does not describe a network"):
        ermin.load(tmp_path / "net.safetensors")


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing does not exist"):
        ermin.load(tmp_path / "nothing")
    path = tmp_path / "model"
    for content in (b"", b"text", b"\xff" * 100, (2**40).to_bytes(8, "little") + b"{}"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a model saved by ermin"):
            ermin.load(path)
    ermin.MLP([2, 1], rng=0).save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        ermin.load(path)
    with pytest.raises(ValueError, match="directory"):
        ermin.load(tmp_path)
