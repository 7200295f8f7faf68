"""A collector for prometheus_client: our families among those of the rest of a program."""

from __future__ import annotations

from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Any, cast

import trio
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueactors._histogram import Buckets

    from ._values import Family, Labels, Metrics

AnyRuntime = Any  # type: ignore[explicit-any] # a `Runtime`, which is built on this


class PrometheusCollector(Collector):
    """Yields the metrics of a runtime to prometheus_client: give it to ``REGISTRY.register``.

    Make it in trio, where the runtime runs. It may be asked from any thread: from another one it
    waits until trio's loop has taken the numbers, and makes the families of them itself. Once
    that loop has ended there are none. ``REGISTRY.unregister`` it when the runtime has ended.

    Args:
      runtime: The `queueactors.Runtime`.

    Raises:
      RuntimeError: If it is not made in trio.
    """

    def __init__(self, runtime: AnyRuntime) -> None:
        self._runtime = runtime
        self._token = trio.lowlevel.current_trio_token()

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        try:
            metrics = self._metrics()
        except trio.RunFinishedError:
            return
        for family in metrics:
            yield _metric(family)

    def _metrics(self) -> Metrics:
        take = self._runtime.metrics
        if trio.lowlevel.in_trio_run() and trio.lowlevel.current_trio_token() is self._token:
            return cast("Metrics", take())
        return cast("Metrics", trio.from_thread.run_sync(take, trio_token=self._token))


def _metric(family: Family) -> Metric:
    # One sample is like another in its labels' names, as the tables have it.
    names = [name for name, _ in family.samples[0][0]]
    told = (family.name, family.help)
    match family.type:
        case "counter":
            counter = CounterMetricFamily(*told, labels=names, unit=family.unit)
            for labels, value in family.samples:
                counter.add_metric(_values(labels), cast("float", value))
            return counter
        case "gauge":
            gauge = GaugeMetricFamily(*told, labels=names, unit=family.unit)
            for labels, value in family.samples:
                gauge.add_metric(_values(labels), cast("float", value))
            return gauge
    histogram = HistogramMetricFamily(*told, labels=names, unit=family.unit)
    for labels, value in family.samples:
        buckets = cast("Buckets", value)
        bounds = map(floatToGoString, (*buckets.bounds, inf))
        counts = list(zip(bounds, accumulate(buckets.counts), strict=True))
        histogram.add_metric(_values(labels), counts, buckets.sum)
    return histogram


def _values(labels: Labels) -> list[str]:
    return [value for _, value in labels]
