"""Plans and reloads over the control socket, and what becomes of the front ends in a reload."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol, cast

import pytest
import trio

from queueactors import ConfigError, Fault, ReloadRefusedError, Runtime, open_runtime
from queueactors.control import ControlClosedError, open_control

from .kit import raw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from supervisors import ChildStatus
    from tests.conftest import Events


class Write(Protocol):
    """Writes a configuration's file, and returns its path."""

    def __call__(self, more: str = ..., *, control: str = ..., name: str = ...) -> str: ...


QUEUE = '[queue.jobs]\nkind = "timed"\nreservation_time = 30\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration's file, and return its path."""

    def written(more: str = QUEUE, *, control: str = "socket = true", name: str = "q.toml") -> str:
        text = f'schema = 1\n[runtime]\ndata_dir = "{tmp_path}"\n[control]\n{control}\n{more}'
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return written


def states(runtime: Runtime) -> dict[str, str]:
    """Return what each front end is at."""
    groups = {group.id: group for group in runtime.tree().children}
    return {child.id: child.state for child in groups["front_ends"].children}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast("int", probe.getsockname()[1])


# -- plan and reload -------------------------------------------------------------------------------


async def test_a_plan_tells_what_a_reload_would_do_and_does_nothing(
    tmp_path: Path, write: Write
) -> None:
    async with open_runtime(write()) as runtime, open_control(tmp_path / "control.sock") as client:
        other = write(QUEUE + "max_length = 3\n", name="other.toml")

        plan = await client.plan(other)

        assert plan == await runtime.plan(other)
        assert plan["queue", "jobs"].changes[0].after == "3"
        assert (await client.plan()).is_empty
        assert runtime.queue("jobs").options.max_length is None


async def test_a_reload_tells_what_has_become_of_each_part(tmp_path: Path, write: Write) -> None:
    async with open_runtime(write()) as runtime, open_control(tmp_path / "control.sock") as client:
        write(QUEUE + 'max_length = 3\n[queue.news]\nkind = "channel"\n')

        result = await client.reload()

        told = [(each.name, each.action, each.outcome) for each in result.children]
        assert told == [("jobs", "changed", "done"), ("news", "added", "done")]
        assert runtime.queue("jobs").options.max_length == 3
        assert (await client.reload()).children == ()


async def test_a_reload_without_a_file_is_of_that_which_it_was_opened_with(
    tmp_path: Path, write: Write
) -> None:
    async with open_runtime(write()) as runtime, open_control(tmp_path / "control.sock") as client:
        await client.reload(write("", name="other.toml"), removed="keep")
        assert runtime.queue_names() == ()
        assert (await client.status()).config == str(tmp_path / "other.toml")

        await client.reload()

        assert runtime.queue_names() == ("jobs",)


async def test_what_is_removed_is_drained_or_kept(tmp_path: Path, write: Write) -> None:
    async with open_runtime(write()) as runtime, open_control(tmp_path / "control.sock") as client:
        await client.insert("jobs", 1)
        drained = await client.reload(write(""))
        await client.reload(write())
        assert (await client.queues())[0].at_hand == 1
        kept = await client.reload(write(""), removed="keep")

        assert [each.outcome for each in drained.children] == ["draining"]
        assert [each.outcome for each in kept.children] == ["done"]
        assert runtime.queue_names() == ()


async def test_faults_come_as_they_are_and_nothing_changes(tmp_path: Path, write: Write) -> None:
    async with open_runtime(write()) as runtime, open_control(tmp_path / "control.sock") as client:
        bad = write(QUEUE + "max_length = -1\nnonsense = 1\n", name="bad.toml")
        for ask in (client.plan, client.reload):
            with pytest.raises(ConfigError) as caught:
                await ask(bad)

            paths = ["queue.jobs.max_length", "queue.jobs.nonsense"]
            assert [each.path for each in caught.value.faults] == paths
            assert isinstance(caught.value.faults[0], Fault)
            assert caught.value.faults[0].line == 9
        never = write('[queue.jobs]\nkind = "channel"\n', name="never.toml")
        assert [each.path for each in (await client.plan(never)).faults] == ["queue.jobs.kind"]
        with pytest.raises(ConfigError, match=r"kind cannot change while the runtime runs"):
            await client.reload(never)
        assert runtime.queue("jobs").kind == "timed"


async def test_a_relative_path_is_the_clients(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_runtime(write()), open_control(tmp_path / "control.sock") as client:
        monkeypatch.chdir(tmp_path)

        assert (await client.plan("q.toml")).is_empty
        with pytest.raises(ValueError, match=r"expected config to be an absolute path, got 'q"):
            await client.call("plan", {"config": "q.toml"}, made=object)


async def test_only_one_reload_at_a_time(tmp_path: Path, write: Write) -> None:
    async with open_runtime(write()) as runtime, open_control(tmp_path / "control.sock") as client:
        await runtime._running.lock.acquire()  # noqa: SLF001 - another one is under way

        with pytest.raises(ReloadRefusedError, match=r"^another reload is under way"):
            await client.reload()


async def test_a_runtime_without_a_file_needs_one(tmp_path: Path) -> None:
    tables = {"runtime": {"data_dir": str(tmp_path)}, "control": {"socket": True}}
    async with open_runtime(tables), open_control(tmp_path / "control.sock") as client:
        with pytest.raises(ValueError, match=r"^the runtime was not opened from a file"):
            await client.reload()


async def broken(*, task_status: ChildStatus) -> None:
    await trio.lowlevel.checkpoint()
    raise OSError("no such thing")


async def test_what_does_not_start_is_parked_and_told(tmp_path: Path, write: Write) -> None:
    async with open_runtime(write()) as runtime, open_control(tmp_path / "control.sock") as client:
        child = f'[[supervisor.s.child]]\nstart = "{__name__}:broken"\nid = "b"\n'

        result = await client.reload(write(QUEUE + "max_length = 3\n" + child))

        assert "no such thing" in str(result.failed)
        assert runtime.queue("jobs").options.max_length == 3


# -- the front ends --------------------------------------------------------------------------------


async def test_another_address_of_the_metrics_leaves_clients_connected(
    tmp_path: Path, write: Write
) -> None:
    metrics = '[metrics]\nlisten = "127.0.0.1:{}"\n'
    async with (
        open_runtime(write(metrics.format(0))) as runtime,
        open_control(tmp_path / "control.sock") as client,
    ):
        port = free_port()

        result = await client.reload(write(metrics.format(port)))

        assert [(each.what, each.outcome) for each in result.children] == [("metrics", "done")]
        assert runtime.metrics_address == ("127.0.0.1", port)
        assert (await client.status()).ready


async def test_metrics_go_off_and_on_again(tmp_path: Path, write: Write) -> None:
    metrics = '[metrics]\nlisten = "127.0.0.1:0"\n'
    async with open_runtime(write()) as runtime, open_control(tmp_path / "control.sock") as client:
        for _ in range(2):
            await client.reload(write(QUEUE + metrics))
            address = runtime.metrics_address
            assert address is not None
            async with await trio.open_tcp_stream(*address):
                pass
            assert set(states(runtime)) == {"metrics", "control"}

            await client.reload(write())
            assert runtime.metrics_address is None
            assert set(states(runtime)) == {"control"}


async def test_the_first_front_end_comes_and_the_last_one_goes() -> None:
    on = {"metrics": {"listen": "127.0.0.1:0"}}
    async with open_runtime({}) as runtime:
        for _ in range(2):
            await runtime.reload(on)
            assert states(runtime) == {"metrics": "running"}

            await runtime.reload({})
            assert "front_ends" not in [each.id for each in runtime.tree().children]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_port_in_use_parks_that_front_end_and_tells(
    tmp_path: Path, write: Write, *, alone: bool
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        metrics = f'[metrics]\nlisten = "127.0.0.1:{taken.getsockname()[1]}"\n'
        control = "socket = false" if alone else "socket = true"
        async with open_runtime(write(control=control)) as runtime:
            result = await runtime.reload(write(QUEUE + metrics, control=control))

            (failed,) = result.failed
            assert failed.what == "metrics"
            assert "the metrics cannot be served at 127.0.0.1, port" in str(failed.error)
            assert states(runtime)["metrics"] == "parked"
            assert runtime.metrics_address is None
            assert "metrics" in runtime.not_ready()[0]
            if not alone:
                async with open_control(tmp_path / "control.sock") as client:
                    assert (await client.status()).parked == ("metrics",)
            taken.close()
            await runtime.start("metrics")
            assert runtime.metrics_address is not None


async def test_a_front_end_that_an_operator_has_stopped_stays_so() -> None:
    async with open_runtime({"metrics": {"listen": "127.0.0.1:0"}}) as runtime:
        await runtime.stop("metrics")

        await runtime.reload({"metrics": {"listen": f"127.0.0.1:{free_port()}"}})

        assert states(runtime) == {"metrics": "stopped"}
        await runtime.start("metrics")
        assert runtime.metrics_address is not None


async def test_a_reload_that_changes_the_socket_answers_its_client_first(
    tmp_path: Path, write: Write, events: Events
) -> None:
    metrics = '[metrics]\nlisten = "127.0.0.1:0"\n'
    async with open_runtime(write(metrics)) as runtime:
        address = runtime.metrics_address
        async with open_control(tmp_path / "control.sock") as client:
            result = await client.reload(write(metrics, control='socket = true\ntimeout = "5s"'))

            assert [(each.what, each.outcome) for each in result.children] == [
                ("control", "pending")
            ]
            await until(lambda: outcomes(events) == ["pending", "done"])
            with pytest.raises(ControlClosedError):
                await client.status()
        assert runtime.metrics_address == address
        async with open_control(tmp_path / "control.sock") as client:
            assert (await client.plan()).is_empty


async def test_a_socket_can_go_elsewhere_and_be_turned_off(
    tmp_path: Path, write: Write, events: Events
) -> None:
    async with open_runtime(write()) as runtime:
        async with open_control(tmp_path / "control.sock") as client:
            await client.reload(write(control=f'socket = "{tmp_path}/other.sock"'))
        await until(lambda: outcomes(events) == ["pending", "done"])
        assert not await trio.Path(tmp_path / "control.sock").exists()
        async with open_control(tmp_path / "other.sock") as client:
            await client.reload(write(control="socket = false"))
        await until(lambda: outcomes(events)[2:] == ["pending", "done"])
        assert not await trio.Path(tmp_path / "other.sock").exists()
        assert runtime.supervisor.state_of("front_ends") is None
        await until(lambda: len(runtime.tree().children) == 4)
        assert not [each.id for each in runtime.tree().children if "aside" in each.id]

        await runtime.reload(write())

        async with open_control(tmp_path / "control.sock") as client:
            assert (await client.status()).ready


async def test_a_change_of_the_socket_happens_though_nobody_reads_the_answer(
    tmp_path: Path, write: Write, events: Events
) -> None:
    async with open_runtime(write()):
        async with raw(tmp_path) as client:
            write(control=f'socket = "{tmp_path}/other.sock"')
            await client.say({"id": 1, "method": "reload"})
            await until(lambda: "reloaded" in [each["event"] for each in events])

        await until(lambda: outcomes(events) == ["pending", "done"])
        async with open_control(tmp_path / "other.sock") as other:
            assert (await other.status()).ready


async def test_a_socket_that_cannot_be_made_is_parked_and_logged(
    tmp_path: Path, write: Write, events: Events
) -> None:
    async with open_runtime(write()) as runtime:
        async with open_control(tmp_path / "control.sock") as client:
            await client.reload(write(control=f'socket = "{tmp_path}/q.toml/no.sock"'))
        await until(lambda: outcomes(events) == ["pending", "failed"])
        assert states(runtime)["control"] == "parked"

    steps = [each for each in events if each["event"] == "reload_step"]
    assert "cannot be made" in str(steps[1]["error"])


async def test_a_reload_by_other_ways_changes_the_socket_at_once(
    tmp_path: Path, write: Write
) -> None:
    async with open_runtime(write()) as runtime:
        result = await runtime.reload(write(control=f'socket = "{tmp_path}/other.sock"'))

        assert [(each.what, each.outcome) for each in result.children] == [("control", "done")]
        assert not await trio.Path(tmp_path / "control.sock").exists()
        async with open_control(tmp_path / "other.sock") as client:
            assert (await client.status()).ready


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a child of its own does."""
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - it tells nobody
            await trio.sleep(0.005)


def outcomes(events: Events) -> list[object]:
    """Return what was logged of each part of all reloads."""
    return [each["outcome"] for each in events if each["event"] == "reload_step"]
