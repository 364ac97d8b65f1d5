"""The estimators: scikit-learn's numbers where it has them, and what its users have asked for."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn import neural_network as theirs
from sklearn.exceptions import ConvergenceWarning

import ermin
from ermin import MLPClassifier, MLPRegressor, _arrays, _core
from ermin.samples import hold_back

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
TWO = np.where(X[:, 0] + X[:, 1] ** 2 > 0.7, "yes", "no")
THREE = np.digitize(X[:, 0] + 0.3 * RNG.normal(size=120), [-0.5, 0.5])
LABELS = (X[:, :3] + 0.3 * RNG.normal(size=(120, 3)) > 0).astype(int)
NUMBERS = np.sin(X[:, 0]) + 0.1 * RNG.normal(size=120)
SEVERAL = np.stack([NUMBERS, X[:, 1] ** 2], axis=1)
WEIGHTS = RNG.uniform(0.1, 2, size=120)
TASKS = {
    "two classes": (MLPClassifier, TWO),
    "three classes": (MLPClassifier, THREE),
    "labels": (MLPClassifier, LABELS),
    "a number": (MLPRegressor, NUMBERS),
    "several numbers": (MLPRegressor, SEVERAL),
}
task = pytest.mark.parametrize("name", TASKS)


def bits(estimator):
    return [array.tobytes() for array in (*estimator.coefs_, *estimator.intercepts_)]


def held_back(model, y):
    """The rows of X that a fit of `model` to them validated on."""
    sample = model._sample(X, X, y, None, model._net(), None)
    return hold_back(
        sample, model.validation_fraction, model._strata(sample.targets), _arrays.seed(model._seed)
    )


def distributions(n_classes=3):
    Q = RNG.dirichlet(np.ones(n_classes), size=len(X))
    return Q / Q.sum(axis=1, keepdims=True)


# ------------------------------------------------------------------------------------------ equal to scikit-learn's


def both(cls, y, sample_weight=None, **parameters):
    """Ours and scikit-learn's with the same parameters, fitted to the same rows."""
    parameters = {"hidden_layer_sizes": (7, 5), "max_iter": 12, "random_state": 3, **parameters}
    other = getattr(theirs, cls.__name__)
    return tuple(
        kind(**parameters).fit(X, y, **({} if sample_weight is None else {"sample_weight": sample_weight}))
        for kind in (cls, other)
    )


def assert_same_run(ours, other, rtol=1e-8):
    assert (ours.n_iter_, ours.t_, ours.n_layers_, ours.n_outputs_) == (
        other.n_iter_, other.t_, other.n_layers_, other.n_outputs_,
    )  # fmt: skip
    assert ours.out_activation_ == other.out_activation_
    np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=rtol)
    np.testing.assert_allclose(ours.best_loss_, other.best_loss_, rtol=rtol)
    assert ours.loss_ == ours.loss_curve_[-1]
    for mine, its in zip(ours.coefs_ + ours.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-6, atol=1e-9)


@task
@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "adam", "epsilon": 1e-14},
        {"solver": "sgd", "learning_rate_init": 0.02},
        {"solver": "sgd", "learning_rate_init": 0.02, "nesterovs_momentum": False, "alpha": 0.5},
        {
            "solver": "sgd",
            "learning_rate_init": 0.1,
            "momentum": 0,
            "learning_rate": "invscaling",
            "power_t": 0.3,
        },
    ],
)
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_a_run_is_scikit_learns(name, parameters, activation):
    cls, y = TASKS[name]
    assert_same_run(*both(cls, y, activation=activation, shuffle=False, batch_size=50, **parameters))


def test_a_poisson_run_is_scikit_learns():
    y = RNG.poisson(np.exp(0.5 * SEVERAL))
    assert_same_run(*both(MLPRegressor, y, loss="poisson", shuffle=False, solver="sgd"))
    assert_same_run(
        *both(MLPRegressor, y, WEIGHTS, loss="poisson", shuffle=False, solver="sgd", batch_size=120)
    )


@task
def test_a_weighted_run_is_scikit_learns(name):
    cls, y = TASKS[name]
    assert_same_run(*both(cls, y, WEIGHTS, shuffle=False, solver="sgd", batch_size=120, alpha=0.1))


def test_an_adaptive_learning_rate_falls_as_scikit_learns():
    ours, other = both(
        MLPClassifier, TWO, shuffle=False, solver="sgd", learning_rate="adaptive", tol=0.01, max_iter=150,
        n_iter_no_change=3, learning_rate_init=0.05,
    )  # fmt: skip
    assert_same_run(ours, other, rtol=1e-6)
    rates = ours.history_.learning_rate
    assert rates[0] == 0.05
    np.testing.assert_allclose(np.unique(rates), np.unique(0.05 / 5.0 ** np.arange(len(np.unique(rates)))))
    assert ours._optimizer.learning_rate <= 1e-6


def test_inverse_scaling_is_by_the_rows_seen():
    model = MLPRegressor(solver="sgd", learning_rate="invscaling", power_t=0.25, max_iter=4).fit(X, NUMBERS)
    expected = 0.001 / (np.arange(4) * 120 + 1.0) ** 0.25
    np.testing.assert_allclose(model.history_.learning_rate, expected, rtol=1e-14)


# With several numbers scikit-learn's gradient is not that of its loss, and its search ends elsewhere.
@pytest.mark.parametrize("name", [name for name in TASKS if name != "several numbers"])
def test_lbfgs_finds_what_scikit_learn_finds(name):
    cls, y = TASKS[name]
    ours, other = both(
        cls, y, solver="lbfgs", alpha=0.1, max_iter=15, hidden_layer_sizes=(5,), activation="tanh"
    )
    assert ours.n_iter_ == other.n_iter_
    np.testing.assert_allclose(ours.loss_, other.loss_, rtol=1e-4)


@pytest.mark.parametrize("y", [TWO, SEVERAL])
@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_lbfgs_ends_where_the_gradient_vanishes(y, activation):
    cls = MLPClassifier if y is TWO else MLPRegressor
    model = cls(
        hidden_layer_sizes=(5,),
        activation=activation,
        solver="lbfgs",
        alpha=0.5,
        tol=1e-9,
        max_iter=4000,
        random_state=0,
    ).fit(X, y)
    targets = y if y is SEVERAL else (y == "yes").astype(float)
    loss = "squared_error" if y is SEVERAL else "binary_cross_entropy"
    net = model._net()
    value, weights, biases = net.gradient(X, targets, loss=loss)
    penalty = 0.5 * 0.5 * sum((w * w).sum() for w in net.weights) / len(X)
    assert model.loss_ == pytest.approx(value / (2 if y is SEVERAL else 1) + penalty)
    for slope, weight in zip(weights, net.weights, strict=True):
        np.testing.assert_allclose(slope + 0.5 * weight / len(X), 0, atol=2e-4)
    for slope in biases:
        np.testing.assert_allclose(slope, 0, atol=2e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["relu", "logistic"])
def test_the_first_parameters_are_scikit_learns_bits(dtype, activation):
    parameters = {
        "hidden_layer_sizes": (6,),
        "activation": activation,
        "learning_rate_init": 1e-300,
        "max_iter": 1,
    }
    for seed in (7, np.random.RandomState(7)):  # scikit-learn's
        ours = MLPClassifier(random_state=seed, **parameters).fit(X.astype(dtype), THREE)
        other = theirs.MLPClassifier(
            random_state=7, **parameters
        ).fit(X.astype(dtype), THREE)  # fmt: skip
        assert bits(ours) == bits(other)


# ----------------------------------------------------------------------------------------------------- determinism


@task
@pytest.mark.parametrize("early_stopping", [False, True])
def test_calls_of_partial_fit_equal_fit_bit_for_bit(name, early_stopping):
    cls, y = TASKS[name]
    parameters = {
        "batch_size": 32,
        "random_state": 5,
        "early_stopping": early_stopping,
        "n_iter_no_change": 30,
    }
    whole = cls(hidden_layer_sizes=(8,), max_iter=9, **parameters).fit(X, y)
    parts = cls(hidden_layer_sizes=(8,), **parameters)
    classes = np.arange(3) if y is LABELS else np.unique(y)
    for _ in range(9):
        parts.partial_fit(X, y, **({"classes": classes} if cls is MLPClassifier else {}))
        assert not parts.converged_
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.validation_scores_ == whole.validation_scores_
    assert (parts.best_epoch_, parts.t_) == (whole.best_epoch_, whole.t_)
    if early_stopping:  # the end of a stream is not known: only `converged_` puts the best epoch back
        assert parts._best_vector.tobytes() == whole._best_vector.tobytes()
        assert whole._net()._vector.tobytes() == whole._best_vector.tobytes()
    else:
        assert bits(parts) == bits(whole)


@task
def test_the_same_seed_gives_the_same_bits_at_every_level_and_thread_count(name):
    cls, y = TASKS[name]
    results = set()
    level = _core.simd_level()
    try:
        for known in _core.simd_levels():
            _core.set_simd_level(known)
            for n_jobs in (1, 2):
                model = cls(
                    hidden_layer_sizes=(9,),
                    activation="gelu",
                    early_stopping=True,
                    max_iter=5,
                    random_state=0,
                    n_jobs=n_jobs,
                ).fit(X, y)
                results.add((*bits(model), *model.loss_curve_, model.predict(X).tobytes()))
    finally:
        _core.set_simd_level(level)
    assert len(results) == 1


def test_no_random_state_never_reads_numpys_global_state():
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002  # what is to be left alone
    np.random.seed(0)  # noqa: NPY002  # as above
    first = MLPRegressor(max_iter=2).fit(X, NUMBERS)
    np.random.seed(0)  # noqa: NPY002  # as above
    state = np.random.get_state()[1].tobytes()  # noqa: NPY002  # as above
    second = MLPRegressor(max_iter=2).fit(X, NUMBERS)
    assert bits(first) != bits(second)
    assert np.random.get_state()[1].tobytes() == state  # noqa: NPY002  # as above
    del before


def test_a_random_state_goes_on():
    state = np.random.RandomState(3)  # scikit-learn's
    first = MLPRegressor(max_iter=2, random_state=state).fit(X, NUMBERS)
    assert bits(first) != bits(MLPRegressor(max_iter=2, random_state=state).fit(X, NUMBERS))


def test_sparse_rows_give_the_bits_of_dense_ones():
    from scipy import sparse

    rows = np.where(np.abs(X) > 0.7, X, 0)
    dense = MLPClassifier((8,), early_stopping=True, max_iter=6, random_state=0).fit(rows, THREE)
    for form in (sparse.csr_array, sparse.csc_array, sparse.csr_matrix):
        model = MLPClassifier((8,), early_stopping=True, max_iter=6, random_state=0).fit(form(rows), THREE)
        assert bits(model) == bits(dense)
        assert (model.predict_proba(form(rows)) == dense.predict_proba(rows)).all()
        own = MLPClassifier((8,), refit=True, max_iter=6, random_state=0)
        own.fit(form(rows[:80]), THREE[:80], X_val=form(rows[80:]), y_val=THREE[80:])


def test_float32_is_followed_or_forced():
    assert MLPRegressor(max_iter=1).fit(X, NUMBERS).coefs_[0].dtype == np.float64
    assert MLPRegressor(max_iter=1).fit(X.astype(np.float32), NUMBERS).coefs_[0].dtype == np.float32
    forced = MLPRegressor(max_iter=1, dtype="float32").fit(X, NUMBERS)
    assert {array.dtype for array in forced.coefs_ + forced.intercepts_} == {np.dtype(np.float32)}
    assert forced.predict(X).dtype == np.float32
    assert (
        MLPRegressor(max_iter=1, dtype="float64").fit(X.astype(np.float32), NUMBERS).coefs_[0].dtype
        == np.float64
    )
    exact = MLPRegressor(max_iter=20, random_state=0).fit(X, NUMBERS)
    short = MLPRegressor(max_iter=20, random_state=0, dtype="float32").fit(X, NUMBERS)
    np.testing.assert_allclose(short.predict(X), exact.predict(X), atol=1e-5)


# ------------------------------------------------------------------------------------------------------ validation


@task
def test_early_stopping_keeps_the_epoch_of_the_least_loss_on_unseen_rows(name):
    cls, y = TASKS[name]
    model = cls(
        hidden_layer_sizes=(30,), early_stopping=True, learning_rate_init=0.05, max_iter=100, random_state=1
    ).fit(X, y)
    curve = np.array(model.validation_loss_curve_)
    assert len(curve) == len(model.loss_curve_) == model.n_iter_ == model.history_.stopped_epoch
    assert model.validation_scores_ == list(-curve)
    assert model.best_epoch_ == 1 + curve.argmin() == model.history_.best_epoch
    assert model.best_validation_score_ == -curve.min()
    assert model.best_loss_ is None
    assert (model.history_.validation_loss == curve).all()
    chosen = held_back(model, y)
    assert chosen.sum() == 12
    again = cls(hidden_layer_sizes=(30,), learning_rate_init=0.05, max_iter=1, random_state=1)
    again.fit(X[~chosen], y[~chosen], X_val=X[chosen], y_val=y[chosen])
    assert again.validation_loss_curve_[0] == pytest.approx(curve[0], rel=1e-12)


def test_the_run_stops_when_the_validation_loss_makes_no_progress():
    model = MLPClassifier(
        (30,), early_stopping=True, learning_rate_init=0.05, n_iter_no_change=4, random_state=1
    )
    model.fit(X, THREE)
    assert model.history_.stop_reason == "patience"
    best, count = np.inf, 0
    for loss in model.validation_loss_curve_:
        count = count + 1 if -loss < -best + model.tol else 0
        best = min(best, loss)
    assert count == 5 == model._no_improvement_count
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(X, THREE)


def test_validation_rows_are_drawn_by_class():
    y = np.array([0] * 60 + [1] * 40 + [2] * 19 + [3])
    model = MLPClassifier(early_stopping=True, validation_fraction=0.25, max_iter=1, random_state=0).fit(X, y)
    chosen = held_back(model, y)
    counts = np.bincount(y[chosen], minlength=4)
    assert counts.sum() == 30
    assert np.abs(counts[:3] - np.array([60, 40, 19]) * 30 / 119).max() < 1
    assert counts[3] == 0  # a class of one row trains
    binary = MLPClassifier(early_stopping=True, max_iter=1, random_state=0).fit(X, np.arange(120) < 20)
    chosen = held_back(binary, np.arange(120) < 20)
    assert chosen[:20].sum() == 2


@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss", "a function"])
def test_any_scorer_chooses_the_epoch(scoring):
    from sklearn.metrics import accuracy_score, log_loss

    def function(model, rows, y):
        return accuracy_score(y, model.predict(rows))

    given = function if scoring == "a function" else scoring
    model = MLPClassifier((20,), scoring=given, learning_rate_init=0.05, max_iter=20, random_state=0)
    model.fit(X[:80], TWO[:80], X_val=X[80:], y_val=TWO[80:])
    scores = np.array(model.validation_scores_)
    assert model.best_epoch_ == 1 + scores.argmax()  # of equal ones the earlier
    last = (
        -log_loss(TWO[80:], model.predict_proba(X[80:]))
        if scoring == "neg_log_loss"
        else accuracy_score(TWO[80:], model.predict(X[80:]))
    )
    assert last == pytest.approx(scores.max())


def test_regressors_score_by_default_with_r2():
    from sklearn.metrics import r2_score

    model = MLPRegressor(
        hidden_layer_sizes=(20,), scoring=None, early_stopping=True, max_iter=30, random_state=0
    )
    model.fit(
        X[:80], SEVERAL[:80], WEIGHTS[:80], X_val=X[80:], y_val=SEVERAL[80:], sample_weight_val=WEIGHTS[80:]
    )
    expected = r2_score(SEVERAL[80:], model.predict(X[80:]), sample_weight=WEIGHTS[80:])
    assert max(model.validation_scores_) == pytest.approx(expected)


def test_a_validation_set_of_ones_own_is_weighted():
    model = MLPRegressor(hidden_layer_sizes=(20,), max_iter=5, random_state=0)
    model.fit(X[:80], NUMBERS[:80], X_val=X[80:], y_val=NUMBERS[80:], sample_weight_val=WEIGHTS[80:])
    loss = np.average(0.5 * (model.predict(X[80:]) - NUMBERS[80:]) ** 2, weights=WEIGHTS[80:])
    assert min(model.validation_loss_curve_) == pytest.approx(loss)
    assert model.best_loss_ == min(model.loss_curve_)


@pytest.mark.parametrize("own", [False, True])
def test_refit_trains_again_on_all_rows_for_the_best_number_of_epochs(own):
    parameters = {"hidden_layer_sizes": (30,), "learning_rate_init": 0.05, "random_state": 2}
    model = MLPClassifier(**parameters, early_stopping=True, refit=True, n_iter_no_change=5)
    if own:
        model.fit(X[:90], TWO[:90], X_val=X[90:], y_val=TWO[90:])
    else:
        model.fit(X, TWO)
    assert 1 < model.best_epoch_ < model.n_iter_
    whole = MLPClassifier(**parameters, max_iter=model.best_epoch_, n_iter_no_change=np.inf).fit(X, TWO)
    assert bits(model) == bits(whole)


def test_warm_starts_and_streams_go_on_recording():
    model = MLPClassifier((8,), max_iter=4, warm_start=True, early_stopping=True, random_state=0).fit(X, TWO)
    model.fit(X, TWO)
    assert model.n_iter_ == 4
    assert len(model.loss_curve_) == len(model.validation_scores_) == len(model.history_.seconds) == 8
    assert (np.diff(model.history_.seconds) > 0).all()
    assert model.validation_scores_[model.best_epoch_ - 1] == model.best_validation_score_


def test_a_stream_knows_when_it_has_converged_and_puts_the_best_back():
    model = MLPClassifier(
        (30,), early_stopping=True, learning_rate_init=0.05, n_iter_no_change=4, random_state=1
    )
    whole = pickle.loads(pickle.dumps(model)).fit(X, TWO)
    for _ in range(200):
        if model.partial_fit(X, TWO, classes=["no", "yes"]).converged_:
            break
    assert model.converged_
    assert model.loss_curve_ == whole.loss_curve_
    assert bits(model) == bits(whole)
    model.partial_fit(X, TWO)  # and it goes on from there


# ------------------------------------------------------------------------------------------ what people asked for


def test_a_negative_class_weight_is_named():
    with pytest.raises(ValueError, match=r"class_weight\['no'\] is -1, but must be at least 0"):
        MLPClassifier(class_weight={"no": -1}, max_iter=3, random_state=0).fit(X, TWO)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dropout", 0.1),
        ("label_smoothing", 0.1),
        ("mixup_alpha", 0.2),
        ("weight_decay", 0.1),
        ("callbacks", [print]),
    ],
)
def test_lbfgs_refuses_what_it_would_not_do(name, value):
    with pytest.raises(
        ValueError, match=f"{name} is .*, but is for the solvers 'sgd' and 'adam'; solver is 'lbfgs'"
    ):
        MLPClassifier(solver="lbfgs", **{name: value}).fit(X, TWO)


def test_class_weights_are_weights_of_rows():
    by_class = {"no": 3.0, "yes": 0.5}
    rows = np.where(TWO == "no", 3.0, 0.5)
    ours = MLPClassifier(class_weight=by_class, max_iter=3, random_state=0).fit(X, TWO)
    assert bits(ours) == bits(MLPClassifier(max_iter=3, random_state=0).fit(X, TWO, rows))
    both_weights = MLPClassifier(class_weight=by_class, max_iter=3, random_state=0).fit(X, TWO, WEIGHTS)
    assert bits(both_weights) == bits(MLPClassifier(max_iter=3, random_state=0).fit(X, TWO, rows * WEIGHTS))
    balanced = MLPClassifier(class_weight="balanced", max_iter=3, random_state=0).fit(X, THREE)
    rows = (120 / (3 * np.bincount(THREE)))[THREE]
    weighted = MLPClassifier(max_iter=3, random_state=0).fit(X, THREE, rows)
    np.testing.assert_allclose(balanced.coefs_[0], weighted.coefs_[0], rtol=1e-9)
    Q = distributions()
    soft = MLPClassifier(class_weight={0: 2.0}, max_iter=3, random_state=0).fit(X, Q)
    weighted = MLPClassifier(max_iter=3, random_state=0).fit(X, Q, 1 + Q[:, 0])
    np.testing.assert_allclose(soft.coefs_[0], weighted.coefs_[0], rtol=1e-9)
    own = MLPClassifier(class_weight="balanced", max_iter=3, random_state=0)
    own.fit(X[:80], THREE[:80], X_val=X[80:], y_val=THREE[80:])
    in_training = 80 / (3 * np.bincount(THREE[:80]))  # the same weights for the rows to validate on
    plain = MLPClassifier(max_iter=3, random_state=0).fit(
        X[:80], THREE[:80], in_training[THREE[:80]], X_val=X[80:], y_val=THREE[80:],
        sample_weight_val=in_training[THREE[80:]],
    )  # fmt: skip
    np.testing.assert_allclose(own.validation_loss_curve_, plain.validation_loss_curve_, rtol=1e-12)
    with pytest.raises(ValueError, match="class_weight has 'maybe', which is none of the classes"):
        MLPClassifier(class_weight={"maybe": 2.0}).fit(X, TWO)
    several = [{0: 1, 1: 2}, {0: 1, 1: 1}, {0: 3, 1: 1}]
    labelled = MLPClassifier(class_weight=several, max_iter=3, random_state=0).fit(X, LABELS)
    rows = (1.0 + LABELS[:, 0]) * (3 - 2.0 * LABELS[:, 2])
    assert bits(labelled) == bits(MLPClassifier(max_iter=3, random_state=0).fit(X, LABELS, rows))
    with pytest.raises(ValueError, match="class_weight is a list, which is for several labels"):
        MLPClassifier(class_weight=several).fit(X, TWO)
    with pytest.raises(ValueError, match='class_weight="balanced" is not for partial_fit'):
        MLPClassifier(class_weight="balanced").partial_fit(X, TWO, classes=["no", "yes"])


def test_distributions_as_targets():
    Q = distributions()
    log_loss = MLPClassifier((8,), max_iter=30, random_state=0).fit(X, Q)
    kl = MLPClassifier((8,), loss="kl", max_iter=30, random_state=0).fit(X, Q)
    assert bits(kl) == bits(log_loss)
    entropy = -(Q * np.log(Q)).sum(axis=1).mean()
    np.testing.assert_allclose(np.array(log_loss.loss_curve_) - kl.loss_curve_, entropy, rtol=1e-9)
    assert log_loss.classes_.tolist() == [0, 1, 2]
    assert log_loss.out_activation_ == "softmax"
    assert (log_loss.predict(X) == log_loss.predict_proba(X).argmax(axis=1)).all()
    one_hot = np.eye(3)[THREE]
    hard = MLPClassifier((8,), loss="kl", max_iter=3, random_state=0)
    np.testing.assert_allclose(
        hard.fit(X, one_hot).predict_proba(X), hard.fit(X, THREE).predict_proba(X), rtol=1e-12
    )
    stream = MLPClassifier((8,), max_iter=3, random_state=0)
    for _ in range(3):
        stream.partial_fit(X, Q, classes=[0, 1, 2])
    assert stream.loss_curve_ == MLPClassifier((8,), max_iter=3, random_state=0).fit(X, Q).loss_curve_
    scored = MLPClassifier((8,), scoring=None, early_stopping=True, max_iter=3, random_state=0).fit(X, Q)
    assert 0 <= scored.best_validation_score_ <= 1


def test_label_smoothing_is_learning_from_softened_targets():
    parameters = {"hidden_layer_sizes": (8,), "solver": "sgd", "max_iter": 5, "random_state": 0}
    smooth = MLPClassifier(label_smoothing=0.3, **parameters).fit(X, THREE)
    soft = MLPClassifier(**parameters).fit(X, 0.7 * np.eye(3)[THREE] + 0.1)
    np.testing.assert_allclose(smooth.coefs_[0], soft.coefs_[0], rtol=1e-12)


@pytest.mark.parametrize("parameter", [{"dropout": 0.3}, {"mixup_alpha": 0.4}])
@task
def test_dropout_and_mixup_train_otherwise_and_predict_plainly(parameter, name):
    cls, y = TASKS[name]
    plain = cls(hidden_layer_sizes=(16,), max_iter=5, random_state=0).fit(X, y)
    regular = cls(hidden_layer_sizes=(16,), max_iter=5, random_state=0, **parameter).fit(X, y)
    assert bits(regular) == bits(
        cls(hidden_layer_sizes=(16,), max_iter=5, random_state=0, **parameter).fit(X, y)
    )
    assert bits(regular) != bits(plain)
    assert regular.predict(X).tobytes() == regular.predict(X).tobytes()
    h = np.maximum(X @ regular.coefs_[0] + regular.intercepts_[0], 0)
    logits = h @ regular.coefs_[1] + regular.intercepts_[1]
    mine = regular.decision_function(X) if cls is MLPClassifier else regular.predict(X)
    np.testing.assert_allclose(mine.reshape(logits.shape), logits, rtol=1e-9, atol=1e-12)


def test_weight_decay_is_decoupled():
    parameters = {"hidden_layer_sizes": (8,), "solver": "sgd", "learning_rate_init": 0.1, "max_iter": 1}
    start = MLPRegressor(**{**parameters, "learning_rate_init": 1e-300}, random_state=0).fit(X, NUMBERS)
    plain = MLPRegressor(**parameters, random_state=0).fit(X, NUMBERS)
    decayed = MLPRegressor(weight_decay=0.5, **parameters, random_state=0).fit(X, NUMBERS)
    for after, before, without in zip(decayed.coefs_, start.coefs_, plain.coefs_, strict=True):
        np.testing.assert_allclose(after, without - 0.1 * 0.5 * before, rtol=1e-9, atol=1e-12)
    assert (decayed.intercepts_[0] == plain.intercepts_[0]).all()


@pytest.mark.parametrize(
    "activation", ["leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "sigmoid"]
)
def test_more_activations(activation):
    model = MLPRegressor(
        hidden_layer_sizes=(16,), activation=activation, learning_rate_init=0.02, random_state=0
    ).fit(X, NUMBERS)
    assert model.score(X, NUMBERS) > 0.8
    assert model._net().activation == (activation,)


def test_quantiles_hold_their_share_of_the_rows():
    for q in (0.1, 0.5, 0.9):
        model = MLPRegressor(
            ermin.Quantile(q),
            (),
            n_iter_no_change=100,
            random_state=0,
            learning_rate_init=0.02,
            max_iter=600,
            alpha=0,
        )
        below = (model.fit(X, NUMBERS).predict(X) > NUMBERS).mean()
        assert abs(below - q) < 0.05


def test_a_gaussian_knows_its_spread():
    x = np.repeat([[-1.0], [1.0]], 4000, axis=0)
    y = np.random.default_rng(1).normal(size=8000) * np.where(x[:, 0] > 0, 2.0, 0.5) + 3
    model = MLPRegressor("gaussian_nll", (8,), learning_rate_init=0.02, random_state=0, batch_size=500).fit(
        x, y
    )
    mean, deviation = model.predict([[-1.0], [1.0]], return_std=True)
    np.testing.assert_allclose(deviation, [y[:4000].std(), y[4000:].std()], rtol=0.08)
    np.testing.assert_allclose(mean, 3, atol=0.2)
    assert (model.predict([[-1.0], [1.0]]) == mean).all()
    several = MLPRegressor("gaussian_nll", (8,), max_iter=2).fit(X, SEVERAL)
    assert [values.shape for values in several.predict(X, return_std=True)] == [(120, 2), (120, 2)]
    with pytest.raises(ValueError, match="return_std=True needs loss 'gaussian_nll', but loss is 'huber'"):
        MLPRegressor("huber", max_iter=1).fit(X, NUMBERS).predict(X, return_std=True)


@pytest.mark.parametrize("loss", ["hinge", "perceptron", "squared_error"])
@pytest.mark.parametrize("y", [TWO, THREE, LABELS])
def test_other_losses_of_classes(loss, y):
    model = MLPClassifier((16,), loss=loss, learning_rate_init=0.02, max_iter=60, random_state=0).fit(X, y)
    assert (model.predict(X) == y).mean() > 0.8
    assert hasattr(model, "predict_proba") == hasattr(model, "predict_log_proba") == (loss == "squared_error")


@task
def test_logits_and_the_logarithms_of_probabilities(name):
    cls, y = TASKS[name]
    if cls is MLPRegressor:
        return
    model = cls(hidden_layer_sizes=(8,), max_iter=20, random_state=0).fit(X, y)
    logits, P, log_P = model.decision_function(X), model.predict_proba(X), model.predict_log_proba(X)
    np.testing.assert_allclose(np.exp(log_P), P, rtol=1e-12)
    if name == "three classes":
        np.testing.assert_allclose(log_P, logits - np.logaddexp.reduce(logits, axis=1)[:, None], rtol=1e-12)
        np.testing.assert_allclose(P.sum(axis=1), 1)
    else:
        column = P[:, 1] if name == "two classes" else P
        np.testing.assert_allclose(column, 1 / (1 + np.exp(-logits)), rtol=1e-12)
    far = model.predict_log_proba(1e6 * X)
    assert np.isfinite(far).all()
    assert (far < -1000).any()
    assert logits.shape == {"two classes": (120,), "three classes": (120, 3), "labels": (120, 3)}[name]


def test_callbacks_see_every_epoch_and_may_stop():
    seen = []

    def watch(state):
        seen.append((state.epoch, state.loss, state.validation_loss, state.net.predict_proba(X)))
        return "stop" if state.epoch == 4 else None

    model = MLPClassifier((8,), callbacks=[watch], early_stopping=True, random_state=0).fit(X, THREE)
    assert [epoch for epoch, *_ in seen] == [1, 2, 3, 4]
    assert [loss for _, _, loss, _ in seen] == model.validation_loss_curve_
    assert (seen[model.best_epoch_ - 1][3] == model.predict_proba(X)).all()
    assert model.history_.stop_reason == "callback"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_comes_out_and_leaves_the_best_parameters(error):
    nets = {}

    def interrupt(state):
        nets[state.epoch] = state.net.predict_proba(X)
        if state.epoch == 6:
            raise error

    model = MLPClassifier((8,), callbacks=[interrupt], early_stopping=True, random_state=0)
    with pytest.raises(error):
        model.fit(X, THREE)
    assert (model.predict_proba(X) == nets[model.best_epoch_]).all()
    assert model.history_.stop_reason == "interrupted"


def test_a_diverging_run_ends_with_nan_and_the_best_parameters():
    model = MLPRegressor(
        hidden_layer_sizes=(20,),
        activation="identity",
        solver="sgd",
        learning_rate_init=1,
        early_stopping=True,
        random_state=0,
    )
    with pytest.warns(
        RuntimeWarning, match=r"the loss was not finite in epoch \d+; the parameters of epoch 1 "
    ):
        model.fit(X, NUMBERS)
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(X)).all()
    assert model.history_.stop_reason == "diverged"
    hopeless = MLPRegressor()
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        hopeless.fit(1e300 * X, NUMBERS)
    assert not hasattr(hopeless, "coefs_")


def test_a_signal_ends_a_fit():
    import _thread
    import threading

    rows = np.random.default_rng(0).normal(size=(5000, 20))
    model = MLPRegressor(hidden_layer_sizes=(100,), max_iter=10**6, n_iter_no_change=np.inf)
    threading.Timer(0.3, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(rows, rows[:, 0])
    assert np.isfinite(model.predict(rows)).all()


def test_warnings_point_at_the_caller():
    for run in (
        lambda: MLPRegressor(max_iter=1).fit(X, NUMBERS),
        lambda: MLPRegressor(solver="lbfgs", max_iter=1).fit(X, NUMBERS),
        lambda: MLPRegressor(batch_size=1000, tol=1e9, n_iter_no_change=1).fit(X, NUMBERS),
    ):
        with pytest.warns(UserWarning, match=".") as seen:
            run()
        assert {warning.filename for warning in seen} == {__file__}


def test_lbfgs_leaves_no_epochs_behind():
    model = MLPRegressor(max_iter=3, random_state=0).fit(X, NUMBERS)
    model.set_params(solver="lbfgs").fit(X, NUMBERS)
    assert not hasattr(model, "history_")
    assert not hasattr(model, "loss_curve_")
    model.set_params(solver="adam", warm_start=True).fit(X, NUMBERS)
    assert len(model.loss_curve_) == 3


def test_verbose_prints_what_scikit_learn_prints(capsys):
    MLPClassifier((4,), verbose=True, early_stopping=True, max_iter=2, random_state=0).fit(X, TWO)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Iteration 1, loss = ")
    assert lines[1].startswith("Validation score: -")
    assert len(lines) == 4
    MLPClassifier((4,), verbose=True, solver="lbfgs", max_iter=2, random_state=0).fit(X, TWO)
    assert capsys.readouterr().out.startswith("Iteration 1, loss = ")


# ---------------------------------------------------------------------------------------- parameters as attributes


def test_parameters_may_be_replaced_and_changed_in_place():
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(X, NUMBERS)
    model.intercepts_[-1] += 1.0
    moved = model.predict(X)
    model.intercepts_[-1] = model.intercepts_[-1] - 1.0
    np.testing.assert_allclose(moved - model.predict(X), 1.0)
    model.coefs_ = [np.zeros_like(W) for W in model.coefs_]
    assert (model.predict(X) == model.intercepts_[-1]).all()
    model.coefs_[0] = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"weights\[0\]|columns|shape"):
        model.predict(X)


def test_a_pickle_goes_on_as_if_nothing_had_happened():
    model = MLPClassifier((8,), batch_size=32, early_stopping=True, random_state=0)
    model.partial_fit(X, THREE, classes=[0, 1, 2])
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.predict_proba(X) == model.predict_proba(X)).all()
    for _ in range(3):
        assert bits(copy.partial_fit(X, THREE)) == bits(model.partial_fit(X, THREE))
    assert copy.history_.loss.tolist() == model.history_.loss.tolist()


@task
def test_a_file_holds_a_fitted_estimator(name, tmp_path):
    cls, y = TASKS[name]
    model = cls(
        hidden_layer_sizes=(8, 4), early_stopping=True, n_iter_no_change=np.inf, max_iter=4, random_state=0
    )
    model.fit(X.astype(np.float32), y).save(tmp_path / "model.safetensors")
    same = ermin.load(tmp_path / "model.safetensors")
    assert type(same) is cls
    assert same.get_params() == model.get_params()
    assert bits(same) == bits(model)
    assert same.predict(X).tobytes() == model.predict(X).tobytes()
    assert same.predict(X).dtype == model.predict(X).dtype
    assert same.history_.to_dict() == model.history_.to_dict()
    assert (same.loss_curve_, same.validation_scores_) == (model.loss_curve_, model.validation_scores_)
    same.partial_fit(X.astype(np.float32), y)
    assert len(same.loss_curve_) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"alpha": {"code": "1"}}}, "does not describe an estimator"),
        ({"parameters": {"alpha": {"array": [1]}}}, "does not describe an estimator"),
        ({"parameters": {"omega": 1}}, "the file has 'omega', which this version of ermin does not know"),
        ({"learned": {"fit": 1}}, "the file has 'fit', which this version of ermin does not know"),
    ],
)
def test_files_that_describe_something_else(change, message):
    from ermin import estimator_files

    description, tensors = estimator_files.described(MLPRegressor(max_iter=1).fit(X, NUMBERS))
    with pytest.raises(ValueError, match=message):
        estimator_files.restored(MLPRegressor, {**description, **change}, tensors)


def test_files_of_other_parameters(tmp_path):
    import pandas as pd

    path = tmp_path / "model.safetensors"
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = MLPClassifier([4], class_weight={"no": 2.0, "yes": 1.0}, solver="lbfgs", max_iter=3).fit(
        frame, TWO
    )
    model.save(path)
    same = ermin.load(path)
    assert same.class_weight == model.class_weight
    assert same.feature_names_in_.tolist() == list("abcd")
    assert (same.predict(frame) == model.predict(frame)).all()
    MLPRegressor(ermin.Quantile(0.2), max_iter=1).fit(X, NUMBERS).save(path)
    assert ermin.load(path).loss == ermin.Quantile(0.2)
    MLPRegressor(ermin.Huber(2.0), max_iter=1).fit(X, NUMBERS).save(path)
    assert ermin.load(path).loss == ermin.Huber(2.0)
    with pytest.raises(
        TypeError, match="the estimator cannot be saved: callbacks is <built-in function print>"
    ):
        MLPRegressor(max_iter=1, callbacks=[print], verbose=False).fit(X, NUMBERS).save(path)
    with pytest.raises(TypeError, match="random_state is RandomState"):
        MLPRegressor(max_iter=1, random_state=np.random.RandomState(0)).fit(X, NUMBERS).save(path)
    with pytest.raises(Exception, match="not fitted"):
        MLPRegressor().save(path)


def test_a_stream_survives_other_parameters():
    model = MLPRegressor(hidden_layer_sizes=(4,), solver="sgd", momentum=0, random_state=0).partial_fit(
        X, NUMBERS
    )
    for parameters in ({"solver": "adam"}, {"solver": "sgd", "momentum": 0.9}, {"activation": "tanh"}):
        model.set_params(**parameters).partial_fit(X, NUMBERS)
    assert np.isfinite(model.predict(X)).all()
    h = np.tanh(X @ model.coefs_[0] + model.intercepts_[0])
    np.testing.assert_allclose(
        model.predict(X), (h @ model.coefs_[1] + model.intercepts_[1])[:, 0], rtol=1e-9
    )


# ------------------------------------------------------------------------------------------- in scikit-learn's world


def test_it_works_inside_scikit_learn():
    from sklearn.base import clone
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    base = MLPClassifier((8,), learning_rate_init=0.02, max_iter=40, random_state=0)
    assert bits(clone(base).fit(X, TWO)) == bits(base.fit(X, TWO))
    search = GridSearchCV(
        make_pipeline(StandardScaler(), base),
        {"mlpclassifier__hidden_layer_sizes": [(4,), (8, 4)], "mlpclassifier__dropout": [0.0, 0.2]},
        cv=3,
    )
    assert search.fit(X, TWO).score(X, TWO) > 0.8
    P = cross_val_predict(base, X, THREE, method="predict_proba", cv=3)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    calibrated = CalibratedClassifierCV(base, cv=3).fit(X, TWO)
    assert calibrated.score(X, TWO) > 0.8
    vote = VotingClassifier([("mlp", base), ("lr", LogisticRegression())], voting="soft").fit(X, TWO)
    assert vote.score(X, TWO) > 0.7


def test_frames_pass_through_with_their_names():
    import pandas as pd
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pd.DataFrame(X, columns=list("abcd"))
    model = MLPClassifier((8,), scoring="accuracy", early_stopping=True, max_iter=4, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(frame, pd.Series(TWO))
        pipeline = make_pipeline(StandardScaler(), model).set_output(transform="pandas").fit(frame, TWO)
    assert model.feature_names_in_.tolist() == pipeline[-1].feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])


def test_a_pipeline_routes_and_transforms_the_validation_set():
    import sklearn
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier((8,), early_stopping=True, max_iter=5, random_state=0)
        model.set_fit_request(sample_weight=True, X_val=True, y_val=True)
        pipeline = Pipeline(
            [("scale", StandardScaler().set_fit_request(sample_weight=False)), ("model", model)],
            transform_input=["X_val"],
        )
        pipeline.fit(X[:80], TWO[:80], sample_weight=WEIGHTS[:80], X_val=X[80:], y_val=TWO[80:])
    scaler = StandardScaler().fit(X[:80])
    alone = MLPClassifier((8,), early_stopping=True, max_iter=5, random_state=0)
    alone.fit(
        scaler.transform(X[:80]), TWO[:80], WEIGHTS[:80], X_val=scaler.transform(X[80:]), y_val=TWO[80:]
    )
    assert bits(pipeline["model"]) == bits(alone)


def test_workers_of_joblib_have_one_thread_each(tmp_path):
    import joblib

    model = MLPClassifier((8,), max_iter=3, random_state=0)
    fitted = joblib.Parallel(n_jobs=2)(joblib.delayed(model.fit)(X, TWO) for _ in range(2))
    assert {tuple(bits(each)) for each in fitted} == {tuple(bits(model.fit(X, TWO)))}
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(model._n_threads)() for _ in range(2)) == [1, 1]
    threads = joblib.Parallel(n_jobs=2, prefer="threads")
    assert threads(joblib.delayed(model._n_threads)() for _ in range(2)) == [1, 1]
    assert model._n_threads() is None
    joblib.dump(model, tmp_path / "model.joblib")
    assert bits(joblib.load(tmp_path / "model.joblib")) == bits(model)
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert (mapped.predict_proba(X) == model.predict_proba(X)).all()
    assert model.set_params(n_jobs=3)._n_threads() == 3
    assert model.set_params(n_jobs=-1)._n_threads() >= 1


def test_labels_of_every_kind():
    from scipy import sparse

    for y in (TWO, TWO == "yes", THREE - 5, THREE.astype(float), LABELS):
        model = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, y)
        assert model.predict(X).dtype == np.asarray(y).dtype
        assert set(np.unique(model.predict(X))) <= set(np.unique(y))
    model = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, sparse.csr_array(LABELS))
    assert sparse.issparse(model.predict(X))
    assert set(MLPClassifier(max_iter=2).fit(X, TWO.astype(object)).predict(X)) <= {"no", "yes"}
    one = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, np.full(120, "only"))
    assert (one.predict(X) == "only").all()


def test_what_an_import_and_a_fit_load():
    script = """
import sys
import sklearn.base
before = set(sys.modules)
import numpy as np
from ermin import MLPClassifier
X = np.random.default_rng(0).normal(size=(100, 3))
MLPClassifier(early_stopping=True, tol=1.0).fit(X, X[:, 0] > 0).predict_proba(X)
print(*sorted(name for name in set(sys.modules) - before if name.startswith(("sklearn", "scipy", "pandas"))))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) <= {
        "sklearn.utils.multiclass",
        "sklearn.utils._unique",
        "sklearn.utils.metaestimators",
    }


def test_without_scikit_learn_an_error_says_what_to_install():
    script = "import sys; sys.modules['sklearn'] = None; import ermin; ermin.MLPClassifier"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert 'ImportError: the estimators need scikit-learn: pip install "ermin[sklearn]"' in run.stderr


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (5, 0)}, r"hidden_layer_sizes must be > 0, got \[5, 0\]"),
        ({"activation": "relo"}, "The 'activation' parameter of MLPClassifier must be a str among"),
        (
            {"dropout": 1.0},
            r"The 'dropout' parameter of MLPClassifier must be a float in the range \[0.0, 1.0\)",
        ),
        ({"loss": "poisson"}, "The 'loss' parameter of MLPClassifier"),
        ({"random_state": -1}, "The 'random_state' parameter"),
        ({"n_jobs": 0}, "n_jobs is 0, but must be"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "The validation set is too small"),
        ({"early_stopping": True, "validation_fraction": 0.999}, "the resulting train set will be empty"),
        ({"scoring": "acuracy", "early_stopping": True}, "acuracy"),
        ({"callbacks": print}, "The 'callbacks' parameter"),
    ],
)
def test_wrong_parameters(parameters, message):
    from sklearn.exceptions import NotFittedError

    model = MLPClassifier(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(X, TWO)
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": TWO[:-1]}, "inconsistent numbers of samples"),
        ({"y": NUMBERS}, "Unknown label type"),
        ({"y": np.stack([THREE, THREE], axis=1)}, "Multioutput target data is not supported"),
        ({"y": 0.5 * distributions()}, "sum"),
        ({"sample_weight": np.zeros(120)}, "at least one (non-zero number|row)"),
        ({"sample_weight": -WEIGHTS}, "sample_weight"),
        ({"sample_weight": WEIGHTS[1:]}, "sample_weight.shape"),
        ({"X_val": X}, "y_val is None, but X_val is given"),
        ({"y_val": TWO}, "X_val is None, but y_val or sample_weight_val is given"),
        ({"X_val": X[:, :2], "y_val": TWO}, "X has 2 features, but MLPClassifier is expecting 4"),
        ({"X_val": X, "y_val": np.full(120, "maybe")}, "y_val has classes that y has not: "),
    ],
)
def test_wrong_data(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(max_iter=2).fit(X, **{"y": TWO, **arguments})


def test_weights_that_leave_nothing_to_validate_on():
    weights = np.zeros(120)
    weights[0] = 1.0
    with pytest.raises(
        ValueError, match=r"sample_weight is 0 for all rows that are (held back|left to train on)"
    ):
        MLPRegressor(early_stopping=True, random_state=0).fit(X, NUMBERS, weights)


def test_wrong_data_of_other_kinds():
    with pytest.raises(ValueError, match="X_val is for the solvers 'sgd' and 'adam'"):
        MLPClassifier(solver="lbfgs").fit(X, TWO, X_val=X, y_val=TWO)
    with pytest.raises(ValueError, match="loss is 'hinge', but y holds distributions"):
        MLPClassifier(loss="hinge").fit(X, distributions())
    with pytest.raises(ValueError, match="at least 0"):
        MLPRegressor("poisson").fit(X, NUMBERS)
    with pytest.raises(ValueError, match="y has 2 columns, but the network has learned 1"):
        MLPRegressor(max_iter=1, warm_start=True).fit(X, NUMBERS).fit(X, SEVERAL)
    with pytest.raises(ValueError, match="y holds multilabel, but the estimator has learned labels"):
        MLPClassifier(max_iter=1).fit(X, TWO).partial_fit(X, LABELS)
    with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger than sample size"):
        MLPClassifier(batch_size=1000, max_iter=1).fit(X, TWO)
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
