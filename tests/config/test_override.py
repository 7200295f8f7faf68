"""Files that say ``override = true``."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueactors.config import load_config, render

from .helpers import QUEUE, faults, load

MAIN = (
    'include = ["site.toml"]\n[runtime]\nname = "main"\nlog_level = "debug"\n'
    + QUEUE
    + 'mailbox = 7\nvalues = ["x"]\n'
)


def site(text: str, name: str = "site.toml") -> None:
    Path(name).write_text("override = true\n" + text, encoding="utf-8")


def test_it_overrides_key_by_key(folder: Path) -> None:
    site('[runtime]\nname = "site"\n[queue.a]\nmailbox = 8\nunique = false\n')

    config = load(MAIN + "[defaults.queue]\nunique = true\n")

    options = config.queues["a"].options
    assert (config.runtime.name, config.runtime.log_level) == ("site", "debug")
    assert (options.mailbox, options.values, options.reservation_time) == (8, ("x",), 1)
    assert options.unique is False  # said, if only there: more than what a default says


def test_what_it_says_has_its_place_there(folder: Path) -> None:
    site("[queue.a]\nmailbox = 8\n")
    assert "mailbox = 8  # site.toml:3" in render(load(MAIN))

    site('[queue.a]\n\nmailbox = 0\nuniqe = 1\nvalues = "x"\n')
    assert [each.partition(" expected")[0] for each in faults(MAIN)] == [
        "site.toml:4: queue.a.mailbox:",
        "site.toml:5: queue.a.uniqe: unknown key 'uniqe' (did you mean 'unique'?)",
        "site.toml:6: queue.a.values:",
    ]


def test_tables_and_arrays_are_replaced_as_a_whole(folder: Path) -> None:
    child = '[[supervisor.s.child]]\nstart = "builtins:print"\nid = "{}"\n'
    main = MAIN + "[supervisor.s]\nintensity = 3\nbackoff = {min = 1, max = 9}\n"
    site("[supervisor.s]\nbackoff = {max = 5}\n" + child.format("z"))

    supervisor = load(main + child.format("x") + child.format("y")).supervisors["s"]

    assert supervisor.flags.intensity == 3
    assert supervisor.options["backoff"].max == 5
    assert supervisor.options["backoff"].min == 0.1
    assert [child.id for child in supervisor.children] == ["z"]


def test_a_variable_that_is_overridden_is_not_needed(folder: Path) -> None:
    site('[queue.a]\nvalues = ["y"]\n')

    config = load(MAIN.replace('"x"', '"${NOT_SET:?}"'))

    assert config.queues["a"].options.values == ("y",)


def test_later_ones_override_earlier_ones_in_the_order_of_the_includes(folder: Path) -> None:
    Path("d").mkdir()
    for number in (2, 1, 3):
        site(f"[queue.a]\nmailbox = {number}\n", f"d/{number}.toml")

    assert load(MAIN.replace("site.toml", "d/*.toml")).queues["a"].options.mailbox == 3


def test_it_overrides_files_that_are_included_after_it(folder: Path) -> None:
    site("[queue.b]\nmailbox = 8\n")
    Path("zz.toml").write_text(QUEUE.replace("a]", "b]"), encoding="utf-8")

    config = load(MAIN.replace('"site.toml"', '"site.toml", "zz.toml"'))

    assert config.queues["b"].options.mailbox == 8


def test_defaults_may_be_overridden_or_added(folder: Path) -> None:
    site("[defaults.queue]\nunique = true\n[defaults.worker]\nconcurrency = 2\n")

    config = load(MAIN + "[defaults.queue]\nunique = false\nmax_reservations = 2\n")

    options = config.queues["a"].options
    assert (options.unique, options.max_reservations) == (True, 2)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "[queue.aa]\nmailbox = 1",
            "site.toml:2: queue.aa: there is no queue 'aa' to override (did you mean 'a'?)",
        ),
        ("queue.a = 1", "site.toml:2: queue.a: expected a to be a table, got 1"),
        ("queue = 1", "site.toml:2: queue: expected queue to be a table, got 1"),
        ("runtime = 1", "site.toml:2: runtime: expected runtime to be a table, got 1"),
        ("[queu.a]", "site.toml:2: queu: unknown table 'queu' (did you mean 'queue'?)"),
    ],
)
def test_it_only_overrides_what_is_there(folder: Path, text: str, fault: str) -> None:
    site(text)

    assert faults(MAIN) == [fault]


def test_the_main_file_has_nothing_to_override(folder: Path) -> None:
    assert faults("override = true") == ["q.toml:2: override: only an included file may override"]
    assert load_config({"override": False}) == load_config({})


@pytest.mark.parametrize("value", ["1", '"true"', "[]"])
def test_override_is_true_or_false(folder: Path, value: str) -> None:
    Path("site.toml").write_text(f"override = {value}", encoding="utf-8")

    (fault,) = faults(MAIN)

    assert fault.startswith("site.toml:1: override: expected override to be true or false, got ")


def test_without_it_a_table_in_two_files_is_a_fault_that_names_both(folder: Path) -> None:
    Path("site.toml").write_text("[queue.a]\nmailbox = 8\n", encoding="utf-8")

    assert faults(MAIN) == [
        "site.toml:1: queue.a: it is defined twice: also at q.toml:6",
    ]


def test_without_it_an_included_file_has_no_runtime(folder: Path) -> None:
    Path("site.toml").write_text("[runtime]\nname = 'x'\n", encoding="utf-8")

    assert faults(MAIN) == [
        (
            "site.toml:1: runtime: an included file may not have [runtime], "
            "unless it says override = true"
        )
    ]
