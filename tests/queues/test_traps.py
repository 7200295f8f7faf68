"""The traps that a prototype of the one loop met, and the tests that keep us out of each."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from queueactors.testing import TIMED_RULES, rule_name

TESTS = Path(__file__).parent.parent
RULES = "queueactors.testing"  # the contract of the timed queue
LOOP = "queues/test_loop.py"
MAILBOX = "supervisors/test_mailbox.py"

TRAPS: dict[str, tuple[str, ...]] = {
    "1 a waiter served by a batch that dies hangs, and cannot be cancelled": (
        "queues/test_crashes.py::test_those_who_were_served_before_the_crash_keep_what_they_got",
        "queues/test_crashes.py::test_a_fault_at_any_statement_of_the_core_harms_only_one_operation",
        "queues/test_histories.py::test_any_history_with_crashes_goes_as_without_them",
    ),
    "2 keys that are bumped until they are free take quadratic time": (
        "cores/test_time.py::test_many_operations_in_one_instant_take_linear_time",
        "cores/test_order.py::test_keys_increase_strictly_within_one_instant_and_over_restarts",
        "cores/test_order.py::test_a_key_is_never_given_out_twice_though_its_message_is_gone",
    ),
    "3 a sender is woken that the actor has taken already": (
        f"{MAILBOX}::test_a_reader_may_take_what_a_cancelled_sender_is_just_sending",
        "queues/test_loop.py::test_a_full_mailbox_refuses_casts_and_nothing_else",
    ),
    "4 a deadline that is not rounded up spins under MockClock": (
        "test_clock.py::test_at_a_deadline_the_clock_has_reached_its_instant",
        "queues/test_loop.py::test_a_deadline_costs_one_turn",
    ),
    "5 withdrawn operations pile up, and fill a mailbox": (
        "supervisors/test_mailbox.py::test_withdrawn_operations_do_not_pile_up",
        "supervisors/test_mailbox.py::test_a_full_mailbox_of_withdrawn_calls_takes_casts",
        "queues/test_loop.py::test_calls_withdrawn_while_the_actor_is_down_block_nobody",
        "queues/test_cancellation.py::test_calls_that_are_withdrawn_at_once_do_not_pile_up",
    ),
    "6 waiters that are taken from the front of a dict take quadratic time": (
        "queues/test_loop.py::test_lanes_are_left_from_the_front_in_linear_time",
    ),
    "7 a queued bound method points at the core of a dead incarnation": (
        "queues/test_crashes.py::test_what_was_queued_is_carried_out_by_the_next_incarnation",
    ),
    "8 Ctrl-C lands half way inside the core": (
        "queues/test_loop.py::test_ctrl_c_in_the_middle_of_an_operation_waits_until_it_is_over",
    ),
    "9 what is buffered is lost when its reader dies": (
        "supervisors/test_mailbox.py::test_what_waits_survives_the_death_of_its_reader",
        "queues/test_crashes.py::test_crash_after_crash_loses_nothing",
    ),
    "10 a long mailbox lets nobody else run": (
        "queues/test_loop.py::test_a_long_mailbox_lets_other_tasks_run_after_each_batch",
    ),
    "11 a waiter waits for ever when its queue stops": (
        "queues/test_loop.py::test_a_stop_answers_everybody",
        "queues/test_ends.py::test_whoever_waits_is_answered_or_waits_on",
        f"{RULES}::a_queue_that_stops_tells_all_who_wait_and_goes_on_after",
        "stores/test_commit.py::test_a_queue_is_stopped_only_after_its_commit",
    ),
    "12 a timer fires in the wrong await, and dead heap entries pile up": (
        "queues/test_loop.py::test_a_timer_does_not_fire_in_a_turn",
        f"{LOOP}::test_a_timer_that_fires_together_with_a_message_does_not_end_the_turn",
        "cores/test_indexes.py::test_a_large_lazy_heap_is_swept_in_slices_and_stays_in_order",
        "cores/test_reservations.py::test_touched_reservations_leave_nothing_behind",
    ),
    "13 a deadlock spins without end under MockClock": ("conftest.py::alarm",),
    "14 an operation that checks for cancellation after its answer loses a message": (
        "queues/test_cancellation.py::test_a_cancelled_operation_has_not_happened",
        "queues/test_cancellation.py::test_a_reserved_block_finishes_its_message_or_gives_it_back",
    ),
    "15 a new reserve overtakes those who wait": (
        f"{RULES}::a_new_taker_does_not_overtake_one_that_waits",
        f"{RULES}::takers_are_served_in_the_order_in_which_they_began_to_wait",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_each_trap_has_its_tests(trap: str) -> None:
    for test in TRAPS[trap]:
        file, name = test.split("::")
        if file == RULES:
            assert name in map(rule_name, TIMED_RULES)
        else:
            parsed = ast.parse((TESTS / file).read_text(encoding="utf-8"))
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            assert name in [each.name for each in parsed.body if isinstance(each, functions)]
