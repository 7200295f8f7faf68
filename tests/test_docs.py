"""Every code block in the README and in docs/ runs, and the lists in docs/ are complete."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from queueactors import load_config

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


@pytest.mark.parametrize("name", ["timed-queue.md", "message-queue.md"])
def test_what_shows_the_cores_tables_is_drawn_from_them(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    redrawn = runpy.run_path(str(ROOT / "docs/diagrams.py"))["redrawn"]

    assert redrawn(page, name) == page, "run: python docs/diagrams.py"
    for line in ("    buried --> ready: kick\n", '| `"error"` | > 0 |'):
        assert redrawn(page.replace(line, ""), name) == page


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_a_python_block_runs(code: str, tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text(code, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=tmp_path,
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
    (tmp_path / "myapp.py").write_text("def pending(): return []\ndef send(delivery): pass\n")

    assert load_config(file).queues


@pytest.mark.slow
@pytest.mark.long
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
    assert re.search(r"[\d,]+ files, [\d,]+ identifiers", done.stdout)


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


def logged() -> set[str]:
    """Return the name of every event that the code logs."""
    call = re.compile(
        r"(?:log\.(?:debug|info|warning|error|critical|exception)|_notice)\(\s*\"(\w+)\""
    )
    files = [*ROOT.glob("supervisors/**/*.py"), *ROOT.glob("queueactors/**/*.py")]
    return {name for file in files for name in call.findall(file.read_text(encoding="utf-8"))}


def test_docs_list_exactly_the_events_that_are_logged() -> None:
    page = (ROOT / "docs/events.md").read_text(encoding="utf-8")

    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)

    assert sorted(listed) == sorted(logged())
