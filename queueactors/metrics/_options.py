"""The options of the metrics: the table ``[metrics]`` of a configuration."""

from __future__ import annotations

from importlib.util import find_spec
from ipaddress import ip_address
from typing import Final

import attrs

from queueactors._options import Checks

from ._values import NAME

HIGHEST_PORT: Final = 65_535


@attrs.frozen(kw_only=True)
class MetricsOptions:
    """What the metrics are called, how many there may be, and whether they are served.

    Args:
      listen: ``"ADDRESS:PORT"``: serve them there by HTTP. An IPv6 address stands in brackets;
        port 0: any that is free. None: they are not served.
      namespace: What all names begin with.
      max_queues: How many queues have series of their own (>= 1): the first that were defined.
        All others together are the queue ``_other``, by kind.
      max_workers: Likewise of workers, by nothing.
      liq_names: Whether batch queues' numbers come by seed 003's names as well, ``liq_items`` and
        so on, with the label ``queue``: for dashboards that know these.

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.
    """

    listen: str | None = None
    namespace: str = "queueactors"
    max_queues: int = 1000
    max_workers: int = 1000
    liq_names: bool = False

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        if self.listen is not None and parse_address(self.listen) is None:
            rule = "an address and a port, such as '127.0.0.1:9464' or '[::1]:9464'"
            checks.refuse("listen", rule, self.listen)
        elif self.listen is not None and find_spec("h11") is None:
            told = "listen needs h11, which is not installed: pip install 'queueactors[metrics]'"
            checks.faults.append(("listen", told))
        namespace: object = self.namespace
        if not isinstance(namespace, str) or NAME.fullmatch(namespace) is None:
            checks.refuse("namespace", "letters, digits and _, no digit first", namespace)
        checks.integer("max_queues", self.max_queues, least=1)
        checks.integer("max_workers", self.max_workers, least=1)
        checks.boolean("liq_names", self.liq_names)
        checks.done()

    @property
    def traps(self) -> list[tuple[str, str]]:
        """What is valid and yet likely to surprise: the option, and why."""
        address = None if self.listen is None else parse_address(self.listen)
        if address is None or _is_loopback(address[0]):
            return []
        told = (
            "the metrics are served to other machines, without a password: they tell the names "
            "of queues and workers; use 127.0.0.1 unless a firewall says who may ask"
        )
        return [("listen", told)]


def parse_address(listen: object) -> tuple[str, int] | None:
    """Return the host and the port of an address; None: it is none."""
    if not isinstance(listen, str):
        return None
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    right = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= HIGHEST_PORT
    named = bool(host) and host.isprintable() and not set(host) & set(" /[]@")
    if not (colon and right and named) or (":" in host) is not bracketed:
        return None
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
