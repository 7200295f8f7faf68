"""Where a configuration comes from: files, mappings, includes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from queueactors.config import Config, ConfigError, Fault, load_config, render

from .helpers import QUEUE, faults, load, mapping_faults


def test_nothing_is_an_empty_configuration_with_a_memory_store() -> None:
    config = load_config(None)

    assert (config.schema, config.file) == (1, None)
    assert (config.queues, config.workers, config.supervisors) == ({}, {}, {})
    assert config.stores["memory"].type == "memory"


def test_a_config_is_returned_as_it_is() -> None:
    config = Config()

    assert load_config(config) is config


def test_a_path_object_is_a_file(folder: Path) -> None:
    load(QUEUE)

    config = load_config(folder / "q.toml")

    assert config.file == str(folder / "q.toml")
    assert list(config.queues) == ["a"]


def test_the_environment_is_that_of_the_process_by_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUEACTORS_TEST", "here")

    config = load_config({"runtime": {"name": "${QUEUEACTORS_TEST}"}})

    assert config.runtime.name == "here"


def test_anything_else_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"^expected source to be a path, .*: 3$"):
        load_config(3)  # type: ignore[arg-type]


def test_tables_keep_the_order_of_the_file(folder: Path) -> None:
    config = load(QUEUE.replace("a]", "z]") + QUEUE)

    assert list(config.queues) == ["z", "a"]


def test_a_mapping_says_the_same_as_a_file(folder: Path) -> None:
    text = QUEUE + '[worker.w]\nqueue = "a"\nhandler = "os:getpid"\nargs = [1]\n'
    data = {
        "queue": {"a": {"kind": "timed", "reservation_time": 1}},
        "worker": {"w": {"queue": "a", "handler": os.getpid, "args": (1,)}},
    }

    assert load_config(data) == load(text)


def test_none_in_a_mapping_is_an_option_that_is_not_set() -> None:
    table = {"kind": "timed", "reservation_time": 1, "max_reservations": None}

    assert load_config({"queue": {"a": table}}).queues["a"].options.max_reservations is None


def test_a_mapping_has_faults_without_a_place() -> None:
    data: dict[object, object] = {"queue": {"a.b": {"kind": "timed"}}, "schema": 2, 3: 4}

    assert mapping_faults(cast("dict[str, object]", data)) == [
        "expected every key to be a string, got 3",
        'queue."a.b": reservation_time is required',
        "schema: this version reads schema 1, got 2",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "q.toml: schema: schema = 1 is required, at the top of the file"),
        ("\nschema = 2", "q.toml:2: schema: this version reads schema 1, got 2"),
        ("schema = true", "q.toml:1: schema: this version reads schema 1, got True"),
        ("schema = 1\na = ?", "q.toml:2: not valid TOML: Invalid value (column 5)"),
        ("schema = 1\na = '", 'q.toml:2: not valid TOML: Expected "\'" (at the end of the file)'),
        (
            "a = 1\na = 2",
            "q.toml:2: not valid TOML: Cannot overwrite a value (at the end of the file)",
        ),
        ("a = " + "[" * 9000, "q.toml: values are nested too deeply"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(folder: Path, text: str, fault: str) -> None:
    Path("q.toml").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_config("q.toml")

    assert str(caught.value) == fault


@pytest.mark.parametrize("depth", [*range(150, 500, 7)])
def test_no_depth_of_nesting_is_too_much_for_an_error(folder: Path, depth: int) -> None:
    try:
        render(load(f"{QUEUE}values = {'[' * depth + ']' * depth}"))
    except ConfigError as error:
        assert str(error) == "q.toml: values are nested too deeply"  # noqa: PT017 - or loaded


def test_a_byte_order_mark_and_line_ends_of_windows_are_accepted(folder: Path) -> None:
    Path("q.toml").write_bytes(b"\xef\xbb\xbfschema = 1\r\n\r\n[runtime]\r\nname = 3\r\n")

    with pytest.raises(ConfigError, match=r"^q.toml:4: runtime.name: expected name to be a string"):
        load_config("q.toml")


def test_a_number_with_too_many_digits_is_a_fault(folder: Path) -> None:
    (told,) = faults("a = " + "9" * 5000)

    assert told.startswith("q.toml: not valid TOML: Exceeds the limit")


def test_a_file_that_is_not_utf_8_is_a_fault_with_its_line(folder: Path) -> None:
    Path("q.toml").write_bytes(b"schema = 1\n# \xff\n")

    with pytest.raises(ConfigError) as caught:
        load_config("q.toml")

    told = "the file is not UTF-8: unexpected byte 0xff"
    assert caught.value.faults == (Fault("q.toml", 2, "", told),)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("none.toml", "none.toml: cannot read the file: No such file or directory"),
        (".", ".: cannot read the file: Is a directory"),
        ("a\0b", "a\0b: cannot read the file: its name has a zero byte in it"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(folder: Path, file: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file)

    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[queu.a]", "q.toml:2: queu: unknown table 'queu' (did you mean 'queue'?)"),
        ("stores = 1", "q.toml:2: stores: unknown key 'stores' (did you mean 'store'?)"),
        ("queue = 1", "q.toml:2: queue: expected queue to be a table, got 1"),
        ("queue.a = 1", "q.toml:2: queue.a: expected a to be a table, got 1"),
        ("runtime = 1", "q.toml:2: runtime: expected runtime to be a table, got 1"),
        ('queue.""=1', 'q.toml:2: queue."": expected a name that is not empty'),
        ("include = 1", "q.toml:2: include: expected include to be an array of strings"),
        ("include = [1]", "q.toml:2: include[0]: expected a file or a pattern, got 1"),
        ("include = [\n'x.toml']", "q.toml:3: include[0]: there is no such file"),
        (
            'include = ["a\\u0000/*"]',
            "q.toml:2: include[0]: no file can have this name: it has a NUL in it",
        ),
        (
            "runtime.log_level = 'inf'",
            (
                "q.toml:2: runtime.log_level: expected log_level to be 'debug', 'info', 'warning', "
                "'error' or 'critical', got 'inf' (did you mean 'info'?)"
            ),
        ),
        (
            "runtime.name = ''",
            "q.toml:2: runtime.name: expected name to be a non-empty string, got ''",
        ),
    ],
)
def test_what_is_wrong_at_the_top(folder: Path, text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_included_files_are_merged_in_sorted_order(folder: Path) -> None:
    Path("conf/more").mkdir(parents=True)
    for name in "cab":
        text = QUEUE.replace("queue.a", f"queue.{name}")
        Path(f"conf/more/{name}.toml").write_text(text, encoding="utf-8")
    Path("conf/q.toml").write_text('schema = 1\ninclude = ["more/*.toml", "no*"]', encoding="utf-8")

    config = load_config("conf/q.toml")

    assert list(config.queues) == ["a", "b", "c"]
    assert config.origins["queue.b.kind"].file == "conf/more/b.toml"


def test_a_file_that_is_included_on_two_ways_is_read_once(folder: Path) -> None:
    Path("a.toml").write_text('include = ["c.toml"]', encoding="utf-8")
    Path("c.toml").write_text(QUEUE, encoding="utf-8")

    assert list(load('include = ["a.toml", "c.toml"]').queues) == ["a"]


def test_a_mapping_includes_from_the_current_directory(folder: Path) -> None:
    Path("c.toml").write_text(QUEUE, encoding="utf-8")

    assert list(load_config({"include": ["c.toml"]}).queues) == ["a"]


def test_the_same_table_in_two_files_is_a_fault_that_names_both(folder: Path) -> None:
    Path("b.toml").write_text(f"\n{QUEUE}x = 1\n[defaults.queue]", encoding="utf-8")

    assert faults(f'include = ["b.toml"]\n[defaults.queue]\n{QUEUE}') == [
        "b.toml:2: queue.a: it is defined twice: also at q.toml:4",
        "b.toml:6: defaults.queue: it is defined twice: also at q.toml:3",
    ]


def test_files_that_include_each_other_are_a_fault(folder: Path) -> None:
    Path("b.toml").write_text('\ninclude = ["q.toml"]', encoding="utf-8")

    assert faults('include = ["b.toml"]') == [
        "b.toml:2: include[0]: the file includes itself: q.toml -> b.toml -> q.toml"
    ]


def test_an_included_file_may_not_have_a_runtime_or_another_schema(folder: Path) -> None:
    Path("b.toml").write_text("schema = 2\nruntime.name = 'x'\nqueue.b.z = 1", encoding="utf-8")

    assert faults('include = ["b.toml"]') == [
        "b.toml:1: schema: this version reads schema 1, got 2",
        (
            "b.toml:2: runtime: an included file may not have [runtime], "
            "unless it says override = true"
        ),
        "b.toml:3: queue.b: kind is required: timed, message, batch, log, capacity, channel",
    ]


def test_a_fault_in_an_included_file_is_reported_with_the_others(folder: Path) -> None:
    Path("b.toml").write_text("a = ?", encoding="utf-8")

    assert faults('include = ["b.toml"]\nx = 1') == [
        "b.toml:1: not valid TOML: Invalid value (column 5)",
        "q.toml:3: x: unknown key 'x'",
    ]


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, trio, attrs, structlog, supervisors, queueactors._options\n"
        "before = set(sys.modules)\n"
        "import queueactors.config\n"
        "print(*sorted(set(sys.modules) - before))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    loaded = set(result.stdout.split())
    assert {"tomllib", "cattrs", "glob", "graphlib", "json"}.isdisjoint(loaded)
