"""Every code block in the README and in docs/ runs, and the lists in docs/ are complete."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, get_args

import pytest

from queueactors import load_config
from queueactors.cores.batch import BatchCore, BatchState
from tests.examples.kit_wordcount import plainly, told, wordcount
from tests.listed import bound_keys, documented_events, logged_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.listed import LoggedEvent

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[object]:
    """Return the code blocks in a language, each with where it stands."""
    return [
        pytest.param(
            match[2], id=f"{page.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}"
        )
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for match in BLOCK.finditer(text)
        if match[1] == language
    ]


def test_every_block_is_in_a_language_that_a_test_runs() -> None:
    languages = {match[1] for page in PAGES for match in BLOCK.finditer(page.read_text("utf-8"))}

    assert languages <= {"python", "toml", "sh", "text", "mermaid"}


@pytest.mark.parametrize(
    "name", ["timed-queue.md", "message-queue.md", "batch-queue.md", "configuration.md"]
)
def test_what_shows_the_cores_tables_is_drawn_from_them(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    redrawn = runpy.run_path(str(ROOT / "docs/diagrams.py"))["redrawn"]

    assert redrawn(page, name) == page, "run: python docs/diagrams.py"
    shown = (
        "    buried --> ready: kick\n",
        '| `"error"` | > 0 |',
        "| `Fixed(4, 5)` |",
        "| `ttl` |",
    )
    for line in shown:
        assert redrawn(page.replace(line, ""), name) == page


Step = tuple[str, str | None, str | None]


class BatchLife:
    """A random history of a batch core: which steps its batches take, and what causes them."""

    def __init__(self, on_exhausted: str, dice: Random) -> None:
        self.steps: set[Step] = set()
        self._options: Final = {"flush_size": 0, "max_claims": 2, "on_exhausted": on_exhausted}
        self._core = BatchCore(**self._options)  # type: ignore[arg-type] # those above
        self._keys: list[int] = []
        self._dice = dice
        self._now = 1

    def _states(self) -> dict[int, BatchState]:
        return {number: each.state for number, each in self._core.records.messages.items()}

    def _do(self, cause: str, operation: Callable[[], object]) -> object:
        before = self._states()
        answer = operation()
        after = self._states()
        for number in before.keys() | after.keys():
            step = cause, before.get(number), after.get(number)
            if step[1] != step[2]:
                self.steps.add(step)
        return answer

    def _killed(self) -> None:
        """Let the process end that has the claims."""
        records = self._core.records
        for batch in records.messages.values():
            if batch.state == "claimed":
                batch.deadline_at = self._now
        self._keys.clear()
        self._core = BatchCore(records=records, **self._options)  # type: ignore[arg-type]
        self._core.advance(self._now)

    def go_on(self) -> None:
        """Do something at random."""
        core, now = self._core, self._now
        core.push(now, ["item"])
        key = self._keys.pop() if self._keys else 0
        dead = [number for number, state in self._states().items() if state == "dead"][:1]
        some = {
            "flush": lambda: core.flush(now),
            "success": lambda: core.done(now, key, 1),
            "failure": lambda: core.failed(now, key, "no", 5),
            "in vain": lambda: core.failed(now, key, "no", None, self._dice.choice([0, 20])),
            "stop": lambda: core.give_back(now, key),
            "kick": lambda: core.kick(now),
            "posted": lambda: core.remove(now, dead),
            "refused there": lambda: [*map(partial(core.bury_dead, now), dead)],
            "killed": self._killed,
        }
        self._do("cooldown over", lambda: core.advance(now))
        cause = self._dice.choice(list(some))
        self._do(cause, some[cause])
        if key and cause not in {"success", "failure", "in vain", "stop", "killed"}:
            self._keys.append(key)
        claimed = self._do("claim", lambda: self._core.claim(now, 2))
        if claimed is not None:
            self._keys.append(claimed.key)  # type: ignore[attr-defined] # a `Claimed`
        self._now += self._dice.randrange(1, 10)


def test_the_life_of_a_batch_that_is_drawn_is_the_one_that_the_core_leads() -> None:
    drawn = runpy.run_path(str(ROOT / "docs/diagrams.py"))["BATCH"]
    found: set[Step] = set()

    for on_exhausted in ("drop", "bury", "failed"):
        life = BatchLife(on_exhausted, Random(1))
        for _ in range(400):
            life.go_on()
        found |= life.steps

    assert found == {step[:3] for step in drawn}
    assert {step[1] for step in drawn} == {None, *get_args(BatchState)}


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_a_python_block_runs(code: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    program = tmp_path / "example.py"
    program.write_text(code, encoding="utf-8")
    server = {"REDIS_URL": request.getfixturevalue("valkey")} if "REDIS_URL" in code else {}

    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=tmp_path,
        env=os.environ | server,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    expected = re.findall(r"# -> (.*)", code)  # what a line of the block says that it prints
    assert [line.rstrip() for line in done.stdout.splitlines()] == expected


@pytest.mark.parametrize("text", blocks("toml"))
def test_a_toml_block_is_a_configuration(text: str, tmp_path: Path) -> None:
    file = tmp_path / "queues.toml"
    file.write_text(text, encoding="utf-8")
    arguments = {"pending": "", "send": "delivery", "process": "queue, items", "key": "item"}
    arguments["merge"] = "old, new"
    functions = [f"def {name}({those}): pass\n" for name, those in arguments.items()]
    (tmp_path / "myapp.py").write_text("".join(functions))
    (tmp_path / "redis-password").write_text("a secret")

    assert load_config(file).queues


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.no_cover
def test_the_first_command_of_the_readme_runs_the_main_job_from_a_fresh_clone(
    tmp_path: Path,
) -> None:
    job, *_ = [block.values[0] for block in blocks("sh")]  # type: ignore[attr-defined] # a param
    clone = tmp_path / "queueactors"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)

    done = subprocess.run(
        ["bash", "-e", "-c", job],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    count = told(done.stdout)
    assert count == plainly(wordcount())
    assert count.unreadable
    assert count.files > 1000
    assert len(re.findall(r"^\w+ +[\d,]+$", done.stdout, re.MULTILINE)) == 20


@pytest.mark.slow
def test_the_commands_of_the_page_on_stores_run_on_the_file_of_its_first_program(
    tmp_path: Path,
) -> None:
    text = (ROOT / "docs/stores.md").read_text(encoding="utf-8")
    first = {"toml": "queues.toml", "python": "program.py"}
    shell = "set -e\n"
    for language, code in BLOCK.findall(text):
        if language in first:
            (tmp_path / first.pop(language)).write_text(code, encoding="utf-8")
        elif language == "sh":
            shell += code
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run([sys.executable, "program.py"], cwd=tmp_path, check=True, capture_output=True)

    done = subprocess.run(
        ["bash", "-c", shell],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "emails.jsonl: 2 messages of 1 queue" in done.stdout
    assert done.stdout.count("emails-again: 2 messages from emails.jsonl") == 1
    assert "emails-again: these 2 messages were imported at " in done.stdout
    assert "backup.sqlite: schema version" in done.stdout


@pytest.mark.slow
def test_the_commands_of_the_page_on_scaling_out_move_the_queue_of_its_configuration(
    tmp_path: Path, valkey: str
) -> None:
    text = (ROOT / "docs/scaling-out.md").read_text(encoding="utf-8")
    found = BLOCK.findall(text)
    (config,) = [code for language, code in found if language == "toml" and "store.disk" in code]
    (tmp_path / "queues.toml").write_text(config, encoding="utf-8")
    program = """if True:
        import sys, trio, queueactors
        async def main():
            async with queueactors.open_runtime("queues.toml") as runtime:
                emails = runtime.queue("emails")
                if len(sys.argv) > 1:
                    await emails.insert(*sys.argv[1:])
                else:
                    print([each.value for each in await emails.reserve_many(9)])
                    await runtime.drop("emails")
        trio.run(main)
    """
    shell = "".join(code for language, code in found if language == "sh")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-ec", f'python -c "$1" ann bob\n{shell}python -c "$1"', "-", program],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "REDIS_URL": valkey},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "shared: 2 records of 1 queue" in done.stdout
    assert "['ann', 'bob']" in done.stdout


def test_docs_list_exactly_the_events_that_are_logged() -> None:
    page = (ROOT / "docs/events.md").read_text(encoding="utf-8")

    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)

    assert sorted(listed) == sorted({each.name for each in logged_events()})


@pytest.mark.parametrize("event", logged_events(), ids=lambda each: f"{each.name}@{each.where}")
def test_an_event_has_the_level_and_the_keys_that_docs_list(event: LoggedEvent) -> None:
    row = documented_events()[event.name]
    level = min(row.levels) if event.level == "log" else event.level  # a computed one: any of them

    assert row.faults({"log_level": level, **dict.fromkeys(event.keys)}) == []


def test_docs_list_no_key_of_an_event_that_no_code_gives_it() -> None:
    given: dict[str, set[str]] = {}
    opened = {each.name for each in logged_events() if each.is_open}
    for each in logged_events():
        given.setdefault(each.name, set()).update(each.keys)

    for name, row in documented_events().items():
        if name not in opened:
            assert row.keys <= given[name] | row.common | bound_keys(), name


def test_the_glossary_is_in_order() -> None:
    lines = (ROOT / "docs/glossary.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1].strip().lower() for line in lines if line.startswith("| ")][2:]
    words = [row.partition(" (")[0] for row in rows]

    assert words == sorted(words)
