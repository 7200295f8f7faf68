from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors.config import TEMPLATE, Config, as_json, load_config, render

from .helpers import QUEUE, load

ENVIRON = {"N": "8", "HOST": "a$b", "API_KEY": "hunter2"}

EVERYTHING = """
include = ["more.toml"]
runtime.name = "a \\" # \\u007f $$ ${HOST}"
[defaults.queue]
mailbox = "${N}"
[store.own]
type = "rendered_store:Store"
url = "redis://:${API_KEY}@${HOST}"
[queue."a.b"]
kind = "timed"
reservation_time = "${T:-30s}"
store = "own"
values = [1, -2.5, true, "x", "${API_KEY}", "${N}", [], {a = "b", "c d" = 1},
  1979-05-27T07:32:00Z, 1979-05-27, 07:32:00, inf, 1e99]
sync_fn = "os:getpid"
sync_interval = 0
[worker.w]
queue = "a.b"
handler = "os:getpid"
backoff = "1m"
[supervisor.r]
significant = false
period = "2h"
[[supervisor.r.child]]
start = "os:path.join"
args = ["${HOST}"]
backoff = {min = "${N}ms", jitter = 0}
[[supervisor.r.child]]
id = "x"
worker = "w"
shutdown = "infinity"
on_give_up = "park"
[[supervisor.r.child]]
supervisor = "s"
[supervisor.s]
"""


@pytest.fixture
def everything(folder: Path) -> Config:
    text = "import attrs\n@attrs.define\nclass Store:\n    url: str\n    size: int = 3\n"
    Path("rendered_store.py").write_text(text, encoding="utf-8")
    Path("more.toml").write_text(QUEUE, encoding="utf-8")
    return load(EVERYTHING, ENVIRON)


def test_what_is_printed_loads_again_as_the_same(everything: Config) -> None:
    Path("again.toml").write_text(render(everything), encoding="utf-8")

    again = load_config("again.toml", environ=ENVIRON)

    assert again == everything
    assert again != attrs.evolve(again, schema=2)


def test_every_value_says_where_it_came_from(everything: Config) -> None:
    lines = [line for line in render(everything).split("\n") if line and line[0] != "["]

    assert [line for line in lines if "  # " not in line] == []
    assert "schema = 1  # q.toml:1" in lines
    assert 'kind = "timed"  # more.toml:2' in lines
    assert "unique = false  # default" in lines
    assert "mailbox = 8  # ${N}, defaults.queue, q.toml:6" in lines
    assert "reservation_time = 30.0  # ${T}, q.toml:12" in lines
    assert "# max_reservations is not set  # default" in lines
    assert 'url = "redis://:${API_KEY}@a$$b"  # ${API_KEY}, ${HOST}, q.toml:9' in lines
    assert "size = 3  # default" in lines
    assert 'id = "start.path.join"  # default' in lines
    assert 'start = "os:path.join"  # q.toml:26' in lines
    assert "backoff = {min = 0.008, jitter = 0}  # ${N}, q.toml:28" in lines


def test_what_is_printed_as_json_loads_again_as_the_same(everything: Config) -> None:
    data = json.loads(json.dumps(as_json(everything)["config"]))
    queue = data["queue"]["a.b"]
    assert queue.pop("values")[-2:] == ["inf", 1e99]

    again = load_config(data, environ=ENVIRON)

    options = attrs.evolve(everything.queues["a.b"].options, values=())
    queues = dict(everything.queues) | {
        "a.b": attrs.evolve(everything.queues["a.b"], options=options)
    }
    assert again == attrs.evolve(everything, queues=queues)


def test_json_says_where_values_came_from(everything: Config) -> None:
    origins = as_json(everything)["origins"]

    assert isinstance(origins, dict)
    assert origins["store.own.url"] == {
        "file": "q.toml",
        "line": 9,
        "table": None,
        "variables": ("API_KEY", "HOST"),
        "secret": True,
    }
    assert origins['queue."a.b".mailbox']["table"] == "defaults.queue"
    assert "hunter2" not in repr(as_json(everything))
    assert "hunter2" in repr(as_json(everything, secrets=True))


def test_no_secret_is_printed(everything: Config) -> None:
    assert "hunter2" not in render(everything)


def test_an_id_that_would_tell_a_secret_is_not_printed(folder: Path) -> None:
    text = QUEUE + "[supervisor.r]\nchild = [{queue = '${KEY}'}]"

    printed = render(load(text, {"KEY": "a"}))

    assert printed.endswith('queue = "${KEY}"  # ${KEY}, q.toml:6\n')


def test_a_mapping_is_where_values_were_given() -> None:
    printed = render(load_config({"runtime": {"name": "x", "data_dir": "${D:-y}"}}, environ={}))

    assert 'name = "x"  # given\ndata_dir = "y"  # ${D}, given\nlog_level = "info"  # default' in (
        printed
    )


def test_what_toml_cannot_say_is_a_comment() -> None:
    table = {"kind": "timed", "reservation_time": 1, "max_reservations": None}
    table |= {"values": [None], "sync_fn": lambda: (), "sync_interval": 1}

    printed = render(load_config({"queue": {"a": table}}))

    assert "# max_reservations is not set  # given" in printed
    assert "# values cannot be written: None  # given" in printed
    assert "# sync_fn cannot be written: <function " in printed


_VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.builds(int.__lshift__, st.just(1), st.just(99_999)),
        st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.dates(),
        st.times(),
        st.datetimes(timezones=st.sampled_from([None, dt.UTC])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("render") / "again.toml"


@given(values=st.lists(_VALUES, max_size=4), name=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_value_is_printed_as_itself(again: Path, values: list[object], name: str) -> None:
    escaped = _escaped(values)
    table = {"kind": "timed", "reservation_time": 1, "values": escaped}
    config = load_config({"queue": {name or "x": table}})

    again.write_bytes(render(config).encode())

    assert load_config(again) == config
    assert list(config.queues[name or "x"].options.values) == values


def test_what_is_not_printable_is_printed_with_escapes() -> None:
    values = ["\x9b2J\x7f\u202e\U000e0001é"]
    table = {"kind": "timed", "reservation_time": 1, "values": values}

    printed = render(load_config({"queue": {"a\x9b\n": table}}))

    assert printed.replace("\n", "").isprintable()
    assert r'values = ["\u009b2J\u007f\u202e\U000e0001é"]' in printed


def _escaped(value: object) -> object:
    """Return a value with the dollar signs in its strings doubled."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return value


def test_the_template_loads_in_an_empty_folder(folder: Path) -> None:
    Path("queues.toml").write_text(TEMPLATE, encoding="utf-8")

    config = load_config("queues.toml", environ={})

    assert list(config.queues) == ["emails", "lines"]
    assert config.workers["mailer"].handler is print


def test_every_option_of_the_template_has_a_comment() -> None:
    lines = [line for line in TEMPLATE.split("\n") if " = " in line]

    assert [line for line in lines if line.count("#") < 1 + line.startswith("# ")] == [
        'worker = "mailer"'
    ]


def test_a_dollar_sign_in_a_default_is_escaped(folder: Path) -> None:
    config = load(QUEUE.replace("a]", "'${B}']") + "[supervisor.r]\nchild = [{queue = '$${B}'}]")

    Path("again.toml").write_text(render(config), encoding="utf-8")

    assert load_config("again.toml", environ={}) == config
