"""scikit-learn's own tests of its multi-layer perceptrons, with only the import changed, and its estimator checks."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.utils.estimator_checks import parametrize_with_checks

import ermin

pytestmark = pytest.mark.filterwarnings("ignore")  # scikit-learn's tests are written for its own settings

LEFT_OUT = {
    "test_gradient": "calls the private _loss_grad_lbfgs; test_estimators.py checks gradients against differences",
    "test_learning_rate_warmstart": (
        "compares the private optimizer's rate with C's pow to the last bit; test_estimators.py checks the rule"
    ),
    "test_early_stopping_stratified": (
        "expects an error for a class of one row, which here stays with the training rows (a deliberate difference)"
    ),
    "test_preserve_feature_names": (
        "expects early_stopping to end before max_iter by the accuracy; here it selects by the loss (a deliberate "
        "difference), which still falls; test_estimators.py checks the names"
    ),
    "test_predict_proba_multilabel": (
        "expects ties between probabilities that round to 1; predict_log_proba tells them apart (a deliberate "
        "difference)"
    ),
    "test_mlp_partial_fit_after_fit": (
        "expects partial_fit to refuse early_stopping, with which it works here (a deliberate difference)"
    ),
}
"""Tests of scikit-learn's that are not run, each with its reason."""


@pytest.fixture
def global_random_seed():
    """The seed of scikit-learn's tests where its environment names none."""
    return 42


def test_few_tests_are_left_out():
    assert len(LEFT_OUT) <= 8


spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
theirs, ours = "from sklearn.neural_network import", "from ermin import"
source = Path(spec.origin).read_text()
assert source.count(theirs) == 1
namespace = {"__name__": __name__}
exec(compile(source.replace(theirs, ours), spec.origin, "exec"), namespace)  # the point is to run their tests
assert namespace["MLPClassifier"] is ermin.MLPClassifier
assert set(LEFT_OUT) <= set(namespace)
globals().update(
    {name: test for name, test in namespace.items() if name.startswith("test_") and name not in LEFT_OUT}
)


@parametrize_with_checks([ermin.MLPClassifier(), ermin.MLPRegressor()])
def test_every_check_of_scikit_learn(estimator, check):
    check(estimator)
