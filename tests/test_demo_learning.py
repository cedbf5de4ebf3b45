"""Learning in plain numpy, on data whose answer is known."""

import numpy as np

from leo_runtime.demo.learning import adapt_means, fit_mixture, fit_network, responsibilities

RNG = np.random.default_rng(7)
NEAR = np.concatenate([RNG.normal(-5, 1, (300, 2)), RNG.normal(5, 2, (600, 2))])


def test_a_mixture_finds_the_parts_of_its_data() -> None:
    mixture = fit_mixture(NEAR, 2, iterations=30, seed=0)
    order = np.argsort(mixture.means[:, 0])
    assert np.allclose(mixture.means[order], [[-5, -5], [5, 5]], atol=0.3)
    assert np.allclose(np.exp(mixture.log_weights[order]), [1 / 3, 2 / 3], atol=0.02)
    assert np.allclose(mixture.variances[order], [[1, 1], [4, 4]], rtol=0.25)


def test_learning_a_mixture_makes_its_data_likelier() -> None:
    likely = [responsibilities(fit_mixture(NEAR, 4, iterations=n, seed=1), NEAR)[1] for n in (1, 3, 10, 30)]
    assert likely == sorted(likely)


def test_means_move_only_where_there_is_evidence() -> None:
    mixture = fit_mixture(NEAR, 2, iterations=30, seed=0)
    moved = adapt_means(mixture, np.full((1000, 2), 8.0))
    low, high = np.argsort(mixture.means[:, 0])
    assert np.allclose(moved.means[low], mixture.means[low], atol=0.01)
    assert np.allclose(moved.means[high], 8.0, atol=0.1)


def test_a_network_learns_what_no_line_divides() -> None:
    rows = RNG.uniform(-1, 1, (2000, 2))
    classes = (rows[:, 0] * rows[:, 1] > 0).astype(int)
    network = fit_network(rows, classes, (16, 16), epochs=30, seed=3, rate=1e-2, dropout=0.0)
    values = (rows - network.mean) / network.scale
    for i, (weights, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        values = (np.maximum(values, 0) if i else values) @ weights + bias
    assert (values.argmax(axis=1) == classes).mean() > 0.95


def test_the_same_seed_gives_the_same_network() -> None:
    rows, classes = RNG.normal(size=(200, 3)), RNG.integers(0, 2, 200)
    first, again = (fit_network(rows, classes, (8,), epochs=2, seed=5).arrays() for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
