"""The example of a service: what can be said of it without docker and without systemd's process 1.

The unit is verified by systemd's own tool, where it is there. The Dockerfile is carried out: its
steps run as shell, in a directory that stands for the root of the image.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import attrs
import pytest

from queueactors import load_config

ROOT: Final = Path(__file__).parents[2]
SERVICE: Final = ROOT / "examples" / "service"
DOCKERFILE: Final = (SERVICE / "Dockerfile").read_text(encoding="utf-8")
UNIT: Final = (SERVICE / "queueactors.service").read_text(encoding="utf-8")


# -- the unit --------------------------------------------------------------------------------------


def unit(key: str) -> list[str]:
    """Return the values of a key of the unit."""
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    command = tmp_path / "queueactors"  # it must be there, and is not run
    command.touch(0o755)
    file = tmp_path / "mailer.service"
    file.write_text(UNIT.replace("/opt/mailer/bin/queueactors", str(command)), encoding="utf-8")

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False
    )

    told = [line for line in verified.stderr.splitlines() if "mailer" in line]
    assert told == []
    assert verified.returncode == 0


def test_the_unit_and_the_configuration_fit_together() -> None:
    config = load_config(SERVICE / "queues.toml", environ={})

    (stop,) = unit("TimeoutStopSec")
    (watchdog,) = unit("WatchdogSec")
    assert unit("Type") == ["notify"]
    assert int(stop) > sum(worker.shutdown for worker in config.workers.values()) + 10
    assert int(watchdog) >= 10
    assert unit("RestartPreventExitStatus") == ["2"]
    assert unit("WorkingDirectory") == [f"/var/lib/{unit('StateDirectory')[0]}"]
    assert config.warnings == ()


def test_the_commands_of_the_unit_are_commands() -> None:
    for line in unit("ExecStart") + unit("ExecReload")[:1]:
        program, command, file, *options = shlex.split(line)
        told = subprocess.run(
            [sys.executable, "-m", "queueactors", command, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert program == "/opt/mailer/bin/queueactors"
        assert file == "/etc/mailer/queues.toml"
        assert all(option in told.stdout for option in options)
    assert unit("ExecReload")[1] == "/bin/kill -HUP $MAINPID"


# -- the container ---------------------------------------------------------------------------------


@attrs.frozen
class Step:
    """An instruction of a Dockerfile."""

    word: str
    text: str

    @property
    def words(self) -> list[str]:
        """What stands behind it, as a list: JSON, or words."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


def steps() -> list[Step]:
    """Return the instructions of the Dockerfile."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    split = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [Step(word, text) for word, text in split]


def step(word: str) -> Step:
    """Return the last instruction of a sort."""
    return [each for each in steps() if each.word == word][-1]


def variables() -> dict[str, str]:
    return dict(word.split("=", 1) for word in step("ENV").words)


class Image:
    """Carries out the Dockerfile: each stage has a directory for its root.

    Args:
      path: Where the directories are made, and the commands that change the machine are replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stages: dict[str, Path] = {}
        self._stand_ins = path / "bin"
        self._stand_ins.mkdir()
        for name in ("useradd", "chown"):
            script = self._stand_ins / name
            script.write_text(f'#!/bin/sh\necho {name} "$@" >> {path}/asked\n', encoding="utf-8")
            script.chmod(0o755)
        (self._stand_ins / "python3").symlink_to(sys.executable)
        self.root = path
        for each in steps():
            getattr(self, f"_{each.word.lower()}", lambda _: None)(each)

    @property
    def asked(self) -> str:
        """What was asked of the commands that change the machine."""
        return (self._path / "asked").read_text(encoding="utf-8")

    def within(self, text: str) -> str:
        """Return a command with the image's paths where they are here."""
        return re.sub(r"(?<![\w/.])/(opt|src|etc|var/lib)(?=/|\b)", rf"{self.root}/\1", text)

    def _from(self, each: Step) -> None:
        name = each.words[-1]
        self.root = self._stages[name] = self._path / f"stage-{len(self._stages)}"
        for folder in ("opt", "etc", "var/lib"):
            (self.root / folder).mkdir(parents=True)

    def _copy(self, each: Step) -> None:
        words = each.words
        above = ROOT
        if words[0].startswith("--from="):
            above = self._stages[words.pop(0).partition("=")[2]]
        *sources, target = words
        for source in sources:
            to = self.root / target.lstrip("/")
            if target.endswith("/"):
                to /= Path(source).name
            to.parent.mkdir(parents=True, exist_ok=True)
            found = above / source.lstrip("/")
            if found.is_dir():
                shutil.copytree(found, to, symlinks=True)
            else:
                shutil.copy(found, to)

    def _run(self, each: Step) -> None:
        environ = os.environ | {
            "PATH": f"{self._stand_ins}:{os.environ['PATH']}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        environ.pop("PYTHONPATH", None)
        done = subprocess.run(
            ["sh", "-e", "-c", self.within(each.text)],
            env=environ,
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{each.text}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
@pytest.mark.long
def test_the_steps_of_the_dockerfile_make_a_daemon_that_runs_and_is_ready(tmp_path: Path) -> None:
    image = Image(tmp_path)
    assert image.asked == (
        "useradd --system --uid 10001 --user-group --no-create-home mailer\n"
        f"chown 10001:10001 {image.root}/var/lib/mailer\n"
    )
    python = next((image.root / "opt/mailer/bin").glob("python3"))
    data = image.root / "var/lib/mailer"
    environ = {
        "PATH": os.environ["PATH"],
        "STATE_DIRECTORY": str(data),
        "METRICS_LISTEN": "127.0.0.1:0",
    }
    run = [image.within(word) for word in step("CMD").words]
    program = [str(python), "-P", "-m", "queueactors"]

    with subprocess.Popen(
        [*program, *run], cwd=data, env=environ, stderr=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stderr is not None
        port = None
        for line in daemon.stderr:
            event = json.loads(line)
            port = event["port"] if event["event"] == "metrics_listening" else port
            if event["event"] == "supervisor_started" and event["supervisor"] == "mailer":
                break
        health = subprocess.run(
            [*program, "ready", f"127.0.0.1:{port}"],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        daemon.terminate()
        daemon.communicate(timeout=30)

    assert (health.returncode, health.stdout) == (0, "ready\n")
    assert daemon.returncode == 0
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "disk.sqlite").is_file()


def test_the_container_stops_in_order_and_is_nobody_special() -> None:
    assert step("STOPSIGNAL").text == "SIGTERM"
    assert step("USER").words == ["10001:10001"]
    assert step("ENTRYPOINT").words == ["queueactors"]
    assert step("WORKDIR").text == step("VOLUME").text == variables()["STATE_DIRECTORY"]


def test_commands_within_the_container_find_the_daemon() -> None:
    config = load_config(SERVICE / "queues.toml", environ=variables())

    assert variables()["QUEUEACTORS_SOCKET"] == f"{config.runtime.data_dir}/control.sock"


def test_the_health_check_asks_where_the_daemon_listens() -> None:
    config = load_config(SERVICE / "queues.toml", environ=variables())
    _, _, check = step("HEALTHCHECK").text.partition("CMD ")

    assert json.loads(check)[:2] == ["queueactors", "ready"]
    assert str(config.metrics.listen).rpartition(":")[2] == json.loads(check)[2].rpartition(":")[2]
    assert step("EXPOSE").text == json.loads(check)[2].rpartition(":")[2]


def test_what_the_files_name_is_in_the_checkout() -> None:
    copied = [
        source
        for each in steps()
        if each.word == "COPY" and "--from" not in each.text
        for source in each.words[:-1]
    ]
    compose = (SERVICE / "compose.yaml").read_text(encoding="utf-8")
    readme = (SERVICE / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"examples/service/[\w.]+", DOCKERFILE + UNIT + compose + readme)

    assert len(copied) == 7
    assert all((ROOT / name).exists() for name in [*copied, *named])
    assert "context: ../..\n" in compose
    for name in re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", readme, re.MULTILINE):
        assert all((SERVICE / each).is_file() for each in re.findall(r"`([\w.]+)`", name))


def test_compose_gives_workers_their_time() -> None:
    config = load_config(SERVICE / "queues.toml", environ={})
    compose = (SERVICE / "compose.yaml").read_text(encoding="utf-8")
    grace = re.search(r"^    stop_grace_period: (\d+)s$", compose, re.MULTILINE)

    assert grace is not None
    assert int(grace[1]) > sum(worker.shutdown for worker in config.workers.values()) + 10
