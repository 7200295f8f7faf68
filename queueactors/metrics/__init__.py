"""Metrics: the numbers of a runtime as families, as text, for prometheus_client, and by HTTP."""

from typing import TYPE_CHECKING

from ._options import MetricsOptions
from ._values import Family, FamilyType, Labels, Metrics, Sample

if TYPE_CHECKING:
    from ._prometheus import PrometheusCollector

__all__ = [
    "Family",
    "FamilyType",
    "Labels",
    "Metrics",
    "MetricsOptions",
    "PrometheusCollector",
    "Sample",
]


def __getattr__(name: str) -> object:
    """Import the bridge to prometheus_client when it is asked for: it is an extra."""
    if name == "PrometheusCollector":
        try:
            from ._prometheus import PrometheusCollector
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("prometheus_client"):
                raise
            raise ImportError(
                "PrometheusCollector needs prometheus_client, which is not installed: "
                "pip install 'queueactors[metrics]'"
            ) from error
        return PrometheusCollector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
