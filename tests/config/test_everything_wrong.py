"""One file with everything wrong: all of it is reported, sorted, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .helpers import faults

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
include = ["nothing.toml"]
[queu.a]
[defaults.worker]
concurency = 1
[runtime]
log_level = "loud"
[store.disk]
type = "rocks"
[queue.a]
kind = "timed"
reservation_time = "30"
unique = 1
store = "disc"
on_exhausted = "a"
[queue.b]
kind = "timd"
[queue.c]
kind = "timed"
max_reservations = 0
sync_args = [1]
[worker.w]
queue = "zz"
handler = "os:nothing"
concurrency = "${N}"
[supervisor.r]
strategy = "one_for_al"
intensity = -1
[[supervisor.r.child]]
queue = "a"
significant = true
backoff = { min = 5, max = 1 }
[[supervisor.r.child]]
queue = "a"
worker = "w"
[[supervisor.r.child]]
supervisor = "r"
args = [1]
[[supervisor.r.child]]
queue = "a"
"""

EXPECTED = """\
q.toml:2: include[0]: there is no such file
q.toml:3: queu: unknown table 'queu' (did you mean 'queue'?)
q.toml:5: defaults.worker.concurency: unknown key 'concurency' (did you mean 'concurrency'?)
q.toml:7: runtime.log_level: expected log_level to be 'debug', 'info', 'warning', 'error' or \
'critical', got 'loud'
q.toml:9: store.disk.type: expected type to be one of 'memory', 'sqlite', 'redis' or a target \
'module:Class', got 'rocks'
q.toml:12: queue.a.reservation_time: expected reservation_time to be seconds >= 0 or a duration \
such as '250ms', '30s', '5m', '2h' or '7d', got '30'
q.toml:13: queue.a.unique: expected unique to be true or false, got 1
q.toml:14: queue.a.store: there is no store 'disc' (did you mean 'disk'?)
q.toml:15: queue.a.on_exhausted: a queue cannot be its own dead letter queue; use 'bury' or 'drop'
q.toml:17: queue.b.kind: expected kind to be 'timed', 'message', 'batch', 'log', \
'capacity' or 'channel', got 'timd' (did you mean 'timed'?)
q.toml:18: queue.c: reservation_time is required
q.toml:20: queue.c.max_reservations: expected max_reservations to be an int >= 1, got 0
q.toml:21: queue.c.sync_args: sync_args needs a sync_fn
q.toml:23: worker.w.queue: there is no queue 'zz'
q.toml:24: worker.w.handler: 'os:nothing': there is no 'nothing'
q.toml:25: worker.w.concurrency: the variable N is not set: set it, or write a default: \
${N:-default}
q.toml:27: supervisor.r.strategy: expected strategy to be 'one_for_one', 'one_for_all' or \
'rest_for_one', got 'one_for_al' (did you mean 'one_for_all'?)
q.toml:28: supervisor.r.intensity: expected intensity to be an int >= 0, got -1
q.toml:31: supervisor.r.child[0].significant: a permanent child cannot be significant: \
it never ends for good
q.toml:32: supervisor.r.child[0].backoff.max: expected backoff max to be >= min (5.0), got 1.0
q.toml:33: supervisor.r.child[1]: expected exactly one of queue, worker, supervisor, start, \
got queue and worker
q.toml:37: supervisor.r.child[2].supervisor: supervisors in a cycle: r -> r
q.toml:38: supervisor.r.child[2].args: args goes with start only
q.toml:40: supervisor.r.child[3].queue: it is placed twice: also at \
supervisor.r.child[0].queue (q.toml:30)
"""


def test_all_faults_of_a_file_are_reported_at_once_and_sorted(folder: Path) -> None:
    assert "\n".join(faults(TEXT)) + "\n" == EXPECTED
