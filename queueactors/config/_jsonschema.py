"""`json_schema`: what editors want to know of a configuration."""

from __future__ import annotations


def json_schema() -> dict[str, object]:
    """Return the JSON schema (draft 2020-12) of a configuration file.

    Every key has a ``description``; a ``default``, if it has one that TOML can say; and, if it is
    a duration, ``"x-unit": "seconds"``. What the schema refuses, `load_config` refuses; ranges,
    what is required, and whether what has a name exists, only `load_config` knows.
    """
    from ._keys import make_schema  # which needs all options of everything

    return make_schema()
