"""The commented configuration that ``queueactors init`` writes."""

from __future__ import annotations

TEMPLATE = """\
# The configuration of a queueactors runtime.
#
# Check it with:  queueactors check FILE      Run it with:  queueactors run FILE
# Durations are seconds, or "250ms", "30s", "5m", "2h", "7d".
# ${VAR}, ${VAR:-default} and ${VAR:?message} put environment variables into strings; $$ is a $.

schema = 1                      # version of this format; required
# include = ["queues.d/*.toml"] # more files, relative to this one; default none

[runtime]
name = "queueactors"            # name in logs and in the tree; default "queueactors"
data_dir = "var"                # directory for the runtime's own files; default "var"
log_level = "info"              # debug, info, warning, error or critical; default "info"

# [metrics]                     # numbers of everything, for Prometheus; see docs/metrics.md
# listen = "127.0.0.1:9464"     # where /metrics, /healthz and /readyz are served; default nowhere
# namespace = "queueactors"     # what all names begin with; default "queueactors"
# max_queues = 1000             # queues with series of their own; default 1000
# max_workers = 1000            # workers with series of their own; default 1000

# [control]                     # what status, stop, insert and so on talk to; see docs/control.md
# socket = "var/control.sock"   # or false: none; default <data_dir>/control.sock
# clients = 100                 # connections at a time; default 100
# timeout = "10s"               # duration that a slow client is waited for; default "10s"
# max_line = 67108864           # bytes of a request or an answer; default 64 MiB

# [store.disk]                  # a file: its queues outlast the process
# type = "sqlite"               # or "memory", "redis", or "module:Class"; required
# path = "var/disk.sqlite"      # the file; default <data_dir>/<name>.sqlite
# durability = "process"        # what it outlasts: "process", or "power" cuts; default "process"

# [store.shared]                # a server: any number of machines share its queues
# type = "redis"                # needs queueactors[redis], and Redis >= 7.0 or Valkey
# url = "redis://localhost:6379" # or rediss:// for TLS, or unix:///path; may have a password
# prefix = "queueactors"        # what the names of its keys begin with; default "queueactors"

# What every queue, worker or supervisor has that does not say otherwise.
[defaults.queue]
mailbox = 1024                  # operations that may wait for a queue; default 1024

[queue.emails]
kind = "timed"                  # what kind of queue it is; required
reservation_time = "30s"        # duration of a reservation; required
unique = false                  # whether a value goes in only once; default false
max_reservations = 5            # reservations of one message; default no limit
# max_length = 1000             # messages that it may hold; default no limit
on_exhausted = "bury"           # after the last one: drop, bury or a queue; default "drop"
values = ["hello", "world"]     # go in once, into a new queue; default none
store = "memory"                # name of the store that keeps it; default "memory"
# codec = "msgpack"             # or json, bytes, pickle, "module:Class"; default "msgpack"
# type = "myapp.mail:Email"     # class that msgpack and json decode into; default none
# sync_fn = "myapp.mail:pending" # "module:function" that refills it; default none
# sync_args = []                # arguments of sync_fn; default none
# sync_interval = "10s"         # duration between two refills; required with sync_fn
# sync_timeout = "1m"           # duration until a refill is given up; default never

[queue.lines]
kind = "channel"                # from many senders to one receiver; in memory only
limit = 100                     # values that it may hold; default no limit
snapshot = true                 # whether values are copied as they are sent; default true

# [queue.rows]
# kind = "batch"                # collects items, and hands them to a function many at a time
# process = "myapp.rows:add"    # called with the queue and a list of items; required
# flush_size = 100              # items that the buffer is flushed at; default 1
# flush_pushes = 0              # pushes that it is flushed at; default 0, never for that
# flush_timeout = "1s"          # duration from the first item until then; default 0, never
# buffer = "appending"          # or "merging", "module:function"; default "appending"
# merge_key = "myapp.rows:key"  # key of an item; required with "merging"
# merge = "myapp.rows:add_up"   # what becomes of two items of one key; likewise
# workers = 1                   # calls at a time; default 1
# batches = 10                  # batches that a call gets at most; default 1
# retry = { policy = "exponential", attempts = 5 } # when, how often; default for ever
# max_claims = 3                # claims in vain, of so many attempts each; default no limit

[worker.mailer]
queue = "emails"                # name of the queue to work on; required
handler = "builtins:print"      # "module:function", called with each delivery; required
args = []                       # more arguments of the handler; default none
concurrency = 1                 # handlers at a time; default 1
max_runtime = "5m"              # duration until a handler is cancelled; default never
shutdown = "5s"                 # duration that handlers get to finish at a stop; default "5s"
# backoff = "10s"               # duration until a retry, a function or a table like retry above

# Without a supervisor of yours, the runtime supervises queues and workers itself.
[supervisor.mail]
strategy = "one_for_all"        # or one_for_one, rest_for_one; default "one_for_one"
intensity = 3                   # restarts allowed within the period; default 1
period = "10s"                  # duration that restarts are counted in; default "5s"
auto_shutdown = "never"         # or any_significant, all_significant; default "never"
on_give_up = "escalate"         # end the daemon, or "park" the supervisor; default "escalate"

[[supervisor.mail.child]]       # in the order of starting
queue = "emails"                # or worker, supervisor, or start = "module:function"
restart = "permanent"           # or transient, temporary; default "permanent"

[[supervisor.mail.child]]
worker = "mailer"
shutdown = "10s"                # duration, "brutal" or "infinity"; default "5s"
"""
