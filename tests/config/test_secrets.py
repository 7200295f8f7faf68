"""What is secret, where it comes from, and that nothing tells it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors.config import Config, load_config, render
from queueactors.config._environment import MASK, Secret, escape, interpolate, looks_secret
from queueactors.config._keys import option_names

from .helpers import QUEUE, faults, load

STORE = """
import attrs
@attrs.define
class Store:
    url: str = ""
    password: str = ""
    options: dict[str, object] = attrs.field(factory=dict)
    size: int = 0
"""
ENVIRON = {"HOST": "db", "USER": "ann", "DB": "hunter2", "URL": "redis://ann:hunter2@db/0"}


@pytest.fixture(autouse=True)
def own_store(folder: Path) -> None:
    Path("secret_store.py").write_text(STORE, encoding="utf-8")


def stored(text: str) -> Config:
    return load(f'[store.s]\ntype = "secret_store:Store"\n{text}\n', ENVIRON)


def printed(text: str) -> str:
    """Return what is printed of one line of a store's options, its place left out."""
    key = text.partition(" ")[0]
    (line,) = [each for each in render(stored(text)).split("\n") if each.startswith(f"{key} =")]
    return line.partition(", q.toml")[0].partition("  # q.toml")[0]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('url = "${URL}"', 'url = "${URL}"  # ${URL}'),
        ('url = "${URL}?db=1"', 'url = "${URL}?db=1"  # ${URL}'),
        ('url = "redis://${USER}:${DB}@${HOST}"', 'url = "redis://ann:${DB}@db"  # ${USER}, ${DB}'),
        ('url = "redis://:hunter2@${HOST}"', 'url = "redis://:***@db"  # ${HOST}, *** is a secret'),
        ('url = "redis://:hunter2@db"', 'url = "redis://:***@db"  # *** is a secret'),
        ('url = "redis://:hun@ter2@db"', 'url = "redis://:***@db"  # *** is a secret'),
        ('url = "x://db?password=hunter2&a=1"', 'url = "x://db?password=***&a=1"  # *** is a'),
        ('url = "http://db:80/a@b"', 'url = "http://db:80/a@b"'),
        ('url = "http://ann@db"', 'url = "http://ann@db"'),
        ('password = "${DB}"', 'password = "${DB}"  # ${DB}'),
        ('password = "hunter2"', 'password = "***"  # *** is a secret'),
        ('password = ""', 'password = ""'),
        (
            'options = { api_key = "${DB}", tokens = ["hunter2", 1], user = "${USER}" }',
            'options = {api_key = "${DB}", tokens = ["***", 1], user = "ann"}',
        ),
    ],
)
def test_print_shows_where_a_secret_is_from_and_not_what_it_is(line: str, shown: str) -> None:
    assert printed(line).startswith(shown)
    assert "hunter2" not in repr(stored(line).stores["s"].options)


def test_print_shows_secrets_when_it_is_told_to() -> None:
    config = stored('url = "redis://:hunter2@${HOST}"\npassword = "${DB}$$"')

    text = render(config, secrets=True)

    assert 'url = "redis://:hunter2@db"  # ' in text
    assert 'password = "hunter2$$"  # ' in text
    Path("again.toml").write_text(text, encoding="utf-8")
    assert load_config("again.toml", environ={}) == config


def test_a_file_holds_a_secret() -> None:
    Path("db.secret").write_text("hunt$er2\r\n\n", encoding="utf-8")
    config = stored('url = "x${file:db.secret}y"')

    assert config.stores["s"].options["url"] == "xhunt$er2y"
    assert printed('url = "x${file:db.secret}y"').startswith(
        f'url = "x${{file:{os.path.realpath("db.secret")}}}y"  # ${{file:'
    )
    Path("again.toml").write_text(render(config), encoding="utf-8")
    assert load_config("again.toml", environ={}) == config


def test_a_file_is_relative_to_the_one_that_names_it() -> None:
    Path("below").mkdir()
    Path("below/db.secret").write_text("ann", encoding="utf-8")
    Path("below/more.toml").write_text(
        QUEUE.replace("a]", "b]") + 'values = ["${file:db.secret}"]', encoding="utf-8"
    )

    config = load('include = ["below/*.toml"]')

    assert config.queues["b"].options.values == ("ann",)


def test_the_name_of_a_file_may_have_variables_as_systemd_credentials_need() -> None:
    Path("ann").write_text("x", encoding="utf-8")

    assert stored('url = "${file:${WHERE:-.}/${USER}}"').stores["s"].options["url"] == "x"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none", "cannot read {}/none: No such file or directory"),
        (".", "cannot read {}: it is no regular file"),
        ("binary", "cannot read {}/binary: it is not UTF-8"),
        ("large", "cannot read {}/large: it is larger than 1 MiB"),
        ("a\\u0000b", "cannot read {}/a\0b: its name has a zero byte in it"),
        ("${DB_PASSWORD}", "a secret may not be part of a file's name, which is shown"),
        ("${BRACE}", "the name of a file may not have a brace in it"),
        ("${NO}", "the variable NO is not set: set it, or write a default: ${{NO:-default}}"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_fault(name: str, told: str) -> None:
    Path("binary").write_bytes(b"\xff")
    Path("large").write_bytes(b"x" * (1024 * 1024 + 1))
    text = f'{QUEUE}values = ["${{file:{name}}}"]'

    found = faults(text, {"DB_PASSWORD": "hunter2", "BRACE": "a}b"})

    assert found == [f"q.toml:5: queue.a.values[0]: {told.format(Path.cwd())}"]


def test_what_is_wrong_with_a_secret_file_s_content_does_not_tell_it() -> None:
    Path("size").write_text("hunter2\n", encoding="utf-8")

    (fault,) = faults(QUEUE + 'mailbox = "${file:size}"')

    assert fault == (
        "q.toml:5: queue.a.mailbox: expected mailbox to be an int, "
        f"got '${{file:{Path.cwd()}/size}}'"
    )


@pytest.mark.parametrize(
    "line",
    [
        'password = ["hunter2"]',
        'size = "redis://:hunter2@db"',
        'size = "${URL}"',
        'options = "redis://:hunter2@db"',
        'urll = "redis://:hunter2@db"',
    ],
)
def test_no_fault_tells_a_secret_that_stands_in_the_file(line: str) -> None:
    (fault,) = faults(f'[store.s]\ntype = "secret_store:Store"\n{line}', ENVIRON)

    assert "hunter2" not in fault


def test_no_repr_of_a_configuration_tells_a_secret() -> None:
    Path("q.secret").write_text("hunter2", encoding="utf-8")
    config = load(
        QUEUE + 'values = ["${API_KEY}", {secret = "hunter2"}]\n[worker.w]\nqueue = "a"\n'
        'handler = "builtins:print"\nargs = ["${API_KEY}"]\n[supervisor.s]\n'
        '[[supervisor.s.child]]\nstart = "builtins:print"\nargs = ["${file:q.secret}"]\n',
        {"API_KEY": "hunter2"},
    )

    told = repr(config) + repr(dict(config.origins))

    assert config.workers["w"].args == ("hunter2",)
    assert "hunter2" not in told
    assert told.count(f"'{MASK}'") == 3


def test_a_secret_is_a_string_like_any_other() -> None:
    secret = Secret("hunter2")

    assert (secret, f"{secret}", hash(secret)) == ("hunter2", "hunter2", hash("hunter2"))
    assert repr(secret) == "'***'"
    assert type(pickle.loads(pickle.dumps(secret))) is str  # noqa: S301 - our own


def test_a_value_of_a_queue_is_a_plain_string_for_codecs_know_no_other() -> None:
    options = (
        load(QUEUE + 'values = ["${KEY}", {password = "x"}]', {"KEY": "a"}).queues["a"].options
    )

    first, second = options.values
    assert (type(first), type(second["password"])) == (str, str)


def test_no_option_of_ours_looks_secret() -> None:
    assert [name for name in option_names() if looks_secret(name)] == []


@given(
    before=st.text("ab:/@$?& ", max_size=6),
    password=st.text("abc12-/:$%", max_size=12),
    after=st.text("ab:/$?& ", max_size=6),
)
def test_no_password_of_a_url_is_shown(before: str, password: str, after: str) -> None:
    marked = f"<{password}>"  # so that it is nowhere else
    literal = interpolate(escape(f"{before}redis://u:{marked}@{after}"), {})
    variable = interpolate("x://u:${P}@h", {"P": marked})
    whole = interpolate("${P}", {"P": f"redis://:{marked}@h"})

    for text in (literal, variable, whole):
        assert text.secret
        assert marked in text.value
        assert marked not in text.shown
        assert escape(marked) not in text.shown
