"""Configuration: a TOML file, or the same as Python data, read and checked before anything runs."""

from typing import TYPE_CHECKING

from supervisors._lazy import lazy_exports

if TYPE_CHECKING:
    from ._faults import ConfigError, Fault
    from ._jsonschema import json_schema
    from ._load import load_config
    from ._plan import Change, Item, Plan, make_plan
    from ._plan_text import plan_data, plan_text
    from ._render import as_json, render
    from ._schema import (
        ChildConfig,
        Config,
        ControlOptions,
        Origin,
        QueueConfig,
        RuntimeOptions,
        StoreConfig,
        SupervisorConfig,
    )
    from ._template import TEMPLATE
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "._faults": "ConfigError Fault",
            "._jsonschema": "json_schema",
            "._load": "load_config",
            "._plan": "Change Item Plan make_plan",
            "._plan_text": "plan_data plan_text",
            "._render": "as_json render",
            "._schema": (
                "ChildConfig Config ControlOptions Origin QueueConfig RuntimeOptions "
                "StoreConfig SupervisorConfig"
            ),
            "._template": "TEMPLATE",
        },
    )

__all__ = [
    "TEMPLATE",
    "Change",
    "ChildConfig",
    "Config",
    "ConfigError",
    "ControlOptions",
    "Fault",
    "Item",
    "Origin",
    "Plan",
    "QueueConfig",
    "RuntimeOptions",
    "StoreConfig",
    "SupervisorConfig",
    "as_json",
    "json_schema",
    "load_config",
    "make_plan",
    "plan_data",
    "plan_text",
    "render",
]
