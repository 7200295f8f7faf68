from __future__ import annotations

import pickle

import pytest

from queueactors import config
from queueactors._errors import QueueActorsError
from queueactors.config import ConfigError, Fault
from queueactors.config._faults import dotted


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault("q.toml", 3, "queue.a", "wrong"), "q.toml:3: queue.a: wrong"),
        (Fault("q.toml", None, "queue.a", "wrong"), "q.toml: queue.a: wrong"),
        (Fault("q.toml", 3, "", "wrong"), "q.toml:3: wrong"),
        (Fault(None, None, "queue.a", "wrong"), "queue.a: wrong"),
        (Fault(None, None, "", "very\r\n  wrong"), "very wrong"),
    ],
)
def test_a_fault_leaves_out_what_is_not_known(fault: Fault, text: str) -> None:
    assert str(fault) == text


def test_faults_are_sorted_by_file_line_and_path_and_each_is_told_once() -> None:
    faults = [
        Fault("b", 1, "a", "m"),
        Fault("a", 10, "a", "m"),
        Fault("a", 9, "b", "m"),
        Fault("a", 9, "a", "m"),
        Fault("a", None, "z", "m"),
        Fault("a", 9, "a", "m"),
    ]

    error = ConfigError(faults)

    assert str(error) == "a: z: m\na:9: a: m\na:9: b: m\na:10: a: m\nb:1: a: m"
    assert len(error.faults) == 5


def test_the_error_survives_pickling() -> None:
    error = ConfigError([Fault("q.toml", 3, "queue.a", "wrong")])

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert (type(copy), copy.faults, str(copy)) == (ConfigError, error.faults, str(error))


def test_the_error_is_ours_and_a_value_error() -> None:
    assert issubclass(ConfigError, QueueActorsError)
    assert issubclass(ConfigError, ValueError)


def test_a_path_is_dotted_with_indexes_and_quotes_where_they_must_be() -> None:
    path = dotted(("supervisor", "a.b", "child", 1, "worker"))

    assert path == 'supervisor."a.b".child[1].worker'


def test_everything_public_is_exported() -> None:
    assert all(hasattr(config, name) for name in config.__all__)
