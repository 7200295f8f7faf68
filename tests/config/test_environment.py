from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors.config._environment import MissingVariableError, escape, interpolate

from .helpers import QUEUE, faults, load

ENVIRON = {"A": "one", "EMPTY": "", "API_KEY": "hunter2", "DOLLAR": "$A"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("x${A}y${A}", "xoneyone"),
        ("${NONE:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${NONE:-}", ""),
        ("${EMPTY}", ""),
        ("${A:?why}", "one"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("$", "$"),
        ("${DOLLAR}", "$A"),
    ],
)
def test_a_reference_is_replaced_by_its_variable(text: str, value: str) -> None:
    assert interpolate(text, ENVIRON).value == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${B}", "the variable B is not set: set it, or write a default: ${B:-default}"),
        ("${B:?ask ops}", "the variable B is not set: ask ops"),
        (
            "${EMPTY:?}",
            "the variable EMPTY is not set: set it, or write a default: ${EMPTY:-default}",
        ),
        (
            "${1}",
            (
                "expected ${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:PATH}; "
                "write $$ for a dollar sign"
            ),
        ),
    ],
)
def test_a_variable_that_is_missing_is_an_error(text: str, message: str) -> None:
    with pytest.raises(MissingVariableError, match=f"^{re.escape(message)}$"):
        interpolate(text, ENVIRON)


@given(st.text("$A{}_:-? x"), st.text("$A{} "))
def test_a_text_as_shown_means_the_same_value(text: str, variable: str) -> None:
    environ = {"A": variable}
    try:
        result = interpolate(text, environ)
    except MissingVariableError:
        return

    assert interpolate(result.shown, {}).value == result.value


@given(st.text())
def test_an_escaped_text_means_itself(text: str) -> None:
    assert interpolate(escape(text), {}).value == text


def test_a_secret_is_shown_by_name() -> None:
    text = interpolate("redis://${A}:${API_KEY}@${my_pass_word:-x}", ENVIRON)

    assert text.shown == "redis://one:${API_KEY}@${my_pass_word}"
    assert text.secrets == ("API_KEY", "my_pass_word")
    assert text.variables == ("A", "API_KEY", "my_pass_word")


def test_a_missing_variable_is_the_only_fault_of_its_value(folder: object) -> None:
    assert faults(QUEUE + 'sync_fn = "${FN}"\nsync_interval = 1\nmailbox = "${N}"') == [
        (
            "q.toml:5: queue.a.sync_fn: the variable FN is not set: set it, or write a default: "
            "${FN:-default}"
        ),
        (
            "q.toml:7: queue.a.mailbox: the variable N is not set: set it, or write a default: "
            "${N:-default}"
        ),
    ]


def test_text_from_a_variable_becomes_what_the_option_wants(folder: object) -> None:
    config = load(
        '[queue.b]\nkind = "timed"\nreservation_time = "${T}"\nmailbox = "${N}"\n'
        'unique = "${YES}"\nvalues = ["${N}"]\n',
        {"N": "8", "YES": "true", "T": "1.5"},
    )

    options = config.queues["b"].options
    assert (options.mailbox, options.unique, options.reservation_time) == (8, True, 1.5)
    assert options.values == ("8",)


@pytest.mark.parametrize(
    ("line", "value", "rule"),
    [
        ("mailbox", "eight", "an int"),
        ("unique", "yes", "true or false"),
        ("mailbox", "1.0", "an int"),
    ],
)
def test_text_from_a_variable_must_fit(folder: object, line: str, value: str, rule: str) -> None:
    assert faults(QUEUE + f'{line} = "${{V}}"', {"V": value}) == [
        f"q.toml:5: queue.a.{line}: expected {line} to be {rule}, got {value!r}"
    ]


def test_text_that_only_escapes_a_dollar_is_not_converted(folder: object) -> None:
    assert faults(QUEUE + 'mailbox = "$$8"') == [
        "q.toml:5: queue.a.mailbox: expected mailbox to be an int, got '$8'"
    ]


@pytest.mark.parametrize(
    "text",
    [
        QUEUE + 'mailbox = "${API_KEY}"',
        QUEUE + 'store = "${API_KEY}"',
        QUEUE + 'on_exhausted = "${API_KEY}"',
        QUEUE + 'sync_timeout = "${API_KEY}"',
        QUEUE + 'sync_fn = "${API_KEY}:x"',
        QUEUE + 'sync_fn = "os:${API_KEY}"',
        QUEUE + 'sync_args = "${API_KEY}"',
        QUEUE + 'sync_args = ["${API_KEY}"]',
        '[queue.a]\nkind = "${API_KEY}"',
        '[store.a]\ntype = "${API_KEY}"',
        '[store.a]\ntype = "${API_KEY}:X"',
        'runtime = "${API_KEY}"',
        'queue = "${API_KEY}"',
        'queue.a = "${API_KEY}"',
        'queue.a = ["${API_KEY}"]',
        'runtime.log_level = "${API_KEY}"',
        'include = ["${API_KEY}.toml"]',
        'include = "${API_KEY}"',
        'worker.a = { queue = "${API_KEY}", handler = "os:getpid" }',
        'supervisor.a = { child = "${API_KEY}" }',
        'supervisor.a = { child = ["${API_KEY}"] }',
        'supervisor.a = { child = [{queue = "${API_KEY}"}] }',
        'supervisor.a = { child = [{start = "os:getpid", id = "${API_KEY}", shutdown = "x"}] }',
        (
            'supervisor.a = { child = [{start = "os:getpid", id = "${API_KEY}"}, '
            '{start = "os:getpid", id = "${API_KEY}"}]}'
        ),
        'supervisor.a.backoff = { min = "${API_KEY}" }',
        'defaults.queue = "${API_KEY}"',
        'x = "${API_KEY}"',
    ],
)
def test_no_message_tells_a_secret(folder: object, text: str) -> None:
    for secret in ("hunter2", "hun.ter2"):
        assert "hun" not in "\n".join(faults(text, {"API_KEY": secret}))


def test_what_an_option_class_says_of_a_secret_is_not_repeated(folder: object) -> None:
    assert faults(QUEUE + 'mailbox = "${KEY_SIZE}"', {"KEY_SIZE": "-77"}) == [
        (
            "q.toml:5: queue.a.mailbox: the value from ${KEY_SIZE} is not accepted "
            "(it is secret, so no more is said)"
        )
    ]
