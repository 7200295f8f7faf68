%% timed_queue_server, the reference of our timed queue, on OTP. Its modules are on the code path.
%%
%% erl ... -eval "on_timed_queue:main(\"cycles_100\", \"50000\")" prints one line of JSON. Rates
%% are per second of CPU time of the whole emulator, like those of the other peers.
-module(on_timed_queue).

-export([main/2]).

-define(QUEUE, bench).
-define(DEPTH, 1000). % messages that are in the queue all the time
-define(BATCH, 100).
-define(RESERVATION_MS, 60000).

main(Measure, Count) ->
  Fillers = [{filler, Number} || Number <- lists:seq(1, ?DEPTH)],
  {ok, _} = timed_queue_server:start_link(#{ queue_name => ?QUEUE
                                           , reservation_time => ?RESERVATION_MS
                                           , queue_config => #{unique => true}
                                           , values => Fillers
                                           }),
  io:format("{\"value\": ~p}~n", [measure(Measure, list_to_integer(Count))]),
  halt().

measure("cycles_1", Count) -> per_second(1, Count, fun cycles/2);
measure("cycles_100", Count) -> per_second(100, Count, fun cycles/2);
measure("batches", Count) -> per_second(1, Count, fun batches/2).

%% Insert and delete are casts, reserve is a call: it has no other ones.
cycles(_Client, 0) -> ok;
cycles(Client, Left) ->
  timed_queue_server:insert(?QUEUE, [{Client, Left}]),
  finish_one(),
  cycles(Client, Left - 1).

%% Only an insert takes many values.
batches(_Client, Left) when Left < ?BATCH -> ok;
batches(Client, Left) ->
  timed_queue_server:insert(?QUEUE, [{Client, Left, Each} || Each <- lists:seq(1, ?BATCH)]),
  [finish_one() || _ <- lists:seq(1, ?BATCH)],
  batches(Client, Left - ?BATCH).

finish_one() ->
  {Key, _Value} = timed_queue_server:reserve(?QUEUE),
  timed_queue_server:delete(?QUEUE, Key).

per_second(Clients, Count, Work) ->
  Before = cpu_ms(),
  Running = [spawn_monitor(fun() -> Work(Client, Count div Clients) end)
             || Client <- lists:seq(1, Clients)],
  [receive {'DOWN', Monitor, process, _, normal} -> ok end || {_, Monitor} <- Running],
  timed_queue_server:reserve(?QUEUE), % answered once the last casts are carried out
  Count * 1000 / max(cpu_ms() - Before, 1).

cpu_ms() ->
  {Total, _SinceLast} = statistics(runtime),
  Total.
