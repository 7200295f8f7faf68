"""Section K of the conformance list: scale, up to 10,000 children."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import pytest
import structlog
import trio

from supervisors import ChildSpec, open_dynamic_supervisor, open_supervisor

from .kit import NO_BACKOFF, Boom, idle, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisors import ChildStatus


@pytest.fixture(autouse=True)
def nothing_else() -> Iterator[None]:
    """Let neither events nor the garbage collector take time: what they cost is not linear."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(50),
    )
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    structlog.configure(**before)


async def seconds_for(children: int) -> float:
    """Start, crash once, and stop that many children; return the processor time it took."""
    crashed: set[int] = set()

    async def brittle(number: int, *, task_status: ChildStatus) -> None:
        task_status.started()
        if number not in crashed:
            crashed.add(number)
            raise Boom
        await trio.sleep_forever()

    specs = [
        ChildSpec(id=str(n), start=brittle, args=(n,), backoff=NO_BACKOFF) for n in range(children)
    ]
    began = time.process_time()
    async with open_supervisor(specs, intensity=children) as supervisor:
        await settle()
        assert supervisor.count_children().active == children
    assert len(crashed) == children
    return time.process_time() - began


@pytest.mark.slow
@pytest.mark.no_cover
async def test_time_grows_linearly_with_the_children() -> None:  # K 107
    await seconds_for(200)
    small = min([await seconds_for(1000) for _ in range(3)])
    large = await seconds_for(10_000)

    assert large < 25 * small


@pytest.mark.slow
@pytest.mark.no_cover
async def test_temporary_children_end_in_linear_time() -> None:  # K 108
    async def run(children: int) -> float:
        began = time.process_time()
        async with open_supervisor() as supervisor:
            for number in range(children):
                await supervisor.start_child(
                    ChildSpec(id=str(number), start=idle, restart="temporary")
                )
            for number in range(children):
                await supervisor.terminate_child(str(number))
            assert supervisor.which_children() == ()
        return time.process_time() - began

    small = min([await run(500) for _ in range(3)])

    assert await run(5000) < 25 * small


@pytest.mark.slow
@pytest.mark.no_cover
async def test_dynamic_children_take_linear_time() -> None:  # K 107, 108
    async def seconds_for(number: int) -> float:
        spec = ChildSpec(id="a", start=idle)
        began = time.process_time()
        async with open_dynamic_supervisor() as pool:
            children = [await pool.start_child(spec) for _ in range(number)]
            assert pool.count_children().active == number
            for child in children[::2]:
                await child.terminate()
            assert pool.count_children().specs == number // 2
        assert {child.state for child in children} == {"finished", "stopped"}
        return time.process_time() - began

    small = min([await seconds_for(500) for _ in range(2)])

    assert await seconds_for(10_000) < 50 * small
