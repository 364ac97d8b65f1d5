"""The risk by epoch over folds: what it is, and that processes and a Dask cluster give the bits of a loop."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.model_selection import KFold, StratifiedKFold

import ermin
from ermin import EpochRisk, MLPClassifier, MLPRegressor, cross_validate_epochs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 3))
y = (X[:, 0] * X[:, 1] + 0.5 * RNG.normal(size=150) > 0).astype(int)
WEIGHTS = RNG.uniform(0.5, 2, size=150)


def classifier(**parameters):
    return MLPClassifier((12,), learning_rate_init=0.02, max_iter=15, random_state=0, **parameters)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_each_fold_is_a_fit_judged_on_its_own_rows(weights):
    result = cross_validate_epochs(classifier(), X, y, cv=3, sample_weight=weights)
    assert result.risk.shape == result.training_risk.shape == (3, 15)
    for row, (training, held_back) in zip(result.risk, StratifiedKFold(3).split(X, y), strict=True):
        mine, theirs = (None, None) if weights is None else (weights[training], weights[held_back])
        model = classifier().fit(
            X[training], y[training], mine, X_val=X[held_back], y_val=y[held_back], sample_weight_val=theirs
        )
        assert row.tolist() == model.validation_loss_curve_
    mean = result.risk.mean(axis=0)
    np.testing.assert_allclose(result.mean, mean, rtol=1e-14)
    np.testing.assert_allclose(
        result.standard_error, result.risk.std(axis=0, ddof=1) / np.sqrt(3), rtol=1e-12
    )
    assert result.best_epoch == 1 + result.mean.argmin()


def test_nothing_stops_a_fold():
    eager = classifier(early_stopping=True, tol=1.0, n_iter_no_change=1, refit=True, scoring="accuracy")
    assert cross_validate_epochs(eager, X, y, cv=2).risk.shape == (2, 15)


def test_a_pipeline_learns_its_first_steps_without_the_fold():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    whole = cross_validate_epochs(make_pipeline(StandardScaler(), classifier()), 100 * X + 7, y, cv=KFold(2))
    plain = []
    for training, held_back in KFold(2).split(X):
        scaler = StandardScaler().fit((100 * X + 7)[training])
        rows = scaler.transform(100 * X + 7)
        plain.append(cross_validate_epochs(classifier(), rows, y, cv=[(training, held_back)]).risk[0])
    assert (whole.risk == np.array(plain)).all()


def test_processes_give_the_bits_of_a_loop():
    loop = cross_validate_epochs(classifier(), X, y, cv=4)
    processes = cross_validate_epochs(classifier(), X, y, cv=4, n_jobs=2)
    assert loop.risk.tobytes() == processes.risk.tobytes()
    assert loop.training_risk.tobytes() == processes.training_risk.tobytes()


@pytest.mark.filterwarnings("default")  # Dask's own
def test_a_dask_cluster_gives_the_bits_of_a_loop(tmp_path):
    distributed = pytest.importorskip("distributed", reason="the cluster is Dask's")
    import joblib

    loop = cross_validate_epochs(classifier(), X, y, cv=4)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):
        remote = cross_validate_epochs(classifier(), X, y, cv=4, n_jobs=-1)
        assert len(client.run(lambda: None)) == 2
        threads = client.run(lambda: ermin.MLPClassifier()._n_threads())
    assert set(threads.values()) == {1}
    assert loop.risk.tobytes() == remote.risk.tobytes()
    assert loop.training_risk.tobytes() == remote.training_risk.tobytes()


@pytest.mark.filterwarnings("default")  # dask-ml's own
def test_dask_ml_streams_through_partial_fit():
    wrappers = pytest.importorskip("dask_ml.wrappers", reason="the wrapper is dask-ml's")
    import dask.array as da

    rows, classes = da.from_array(X, chunks=(50, 3)), da.from_array(y, chunks=50)
    wrapped = wrappers.Incremental(classifier(), shuffle_blocks=False).fit(rows, classes, classes=[0, 1])
    plain = classifier()
    for first in (0, 50, 100):
        plain.partial_fit(X[first : first + 50], y[first : first + 50], classes=[0, 1])
    assert (wrapped.estimator_.predict_proba(X) == plain.predict_proba(X)).all()


def test_a_fold_that_diverges_shows_it():
    model = MLPRegressor(
        hidden_layer_sizes=(4,), solver="sgd", learning_rate_init=1e3, max_iter=30, random_state=0
    )
    result = cross_validate_epochs(model, X, X[:, 0], cv=2)
    assert np.isinf(result.risk[:, -1]).all()
    assert np.isfinite(result.risk[:, 0]).any()
    assert np.isinf(result.standard_error[-1])
    assert EpochRisk(np.full((2, 3), np.inf), np.ones((2, 3))).best_epoch == 0
    assert np.isnan(EpochRisk(np.ones((1, 3)), np.ones((1, 3))).standard_error).all()


def test_bad_input():
    with pytest.raises(ValueError, match="estimator has the solver 'lbfgs', which has no epochs"):
        cross_validate_epochs(MLPClassifier(solver="lbfgs"), X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        cross_validate_epochs(classifier(), X, y[1:])
