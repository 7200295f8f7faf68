"""OTP-style supervision for trio: child specs, supervisors, actors, a registry.

Knows nothing of queues; `queueactors` is built on it.
"""

from typing import TYPE_CHECKING

from ._lazy import lazy_exports

if TYPE_CHECKING:
    from ._actor import Actor, ActorRef, LaterReply
    from ._backoff import Backoff
    from ._child import ChildStatus, TellsDown, current_child
    from ._dynamic import DynamicChild, DynamicSupervisor
    from ._errors import (
        ActorCrashedError,
        ActorDownError,
        ActorError,
        ChildAlreadyPresentError,
        ChildAlreadyStartedError,
        ChildError,
        ChildNotFoundError,
        ChildRestartingError,
        ChildRunningError,
        ChildSpecError,
        ChildStartError,
        DownReason,
        MaxChildrenError,
        NameTakenError,
        NotRegisteredError,
        RestartIntensityError,
        Shutdown,
        SupervisorsError,
        SupervisorStoppedError,
        describe,
        did_you_mean,
    )
    from ._exceptions import bare_nursery
    from ._mailbox import Mailbox, Operation, OperationState, PendingReply
    from ._nested import ChildOptions, SupervisorStart, child_spec, dynamic_child_spec
    from ._open import open_dynamic_supervisor, open_supervisor
    from ._registry import Registry, RegistryEvent
    from ._spec import (
        IGNORE,
        MAILBOX,
        AutoShutdown,
        ChildCounts,
        ChildInfo,
        ChildSpec,
        ChildState,
        ChildType,
        OnGiveUp,
        RestartType,
        ShutdownTime,
        StartFunction,
        Strategy,
        SupervisorFlags,
        Tree,
        check_childspecs,
    )
    from ._supervisor import Supervisor
    from ._traps import Trap, TrapKind, find_traps
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "._actor": "Actor ActorRef LaterReply",
            "._backoff": "Backoff",
            "._child": "ChildStatus TellsDown current_child",
            "._dynamic": "DynamicChild DynamicSupervisor",
            "._errors": (
                "ActorCrashedError ActorDownError ActorError ChildAlreadyPresentError "
                "ChildAlreadyStartedError ChildError ChildNotFoundError "
                "ChildRestartingError ChildRunningError ChildSpecError ChildStartError "
                "DownReason MaxChildrenError NameTakenError NotRegisteredError "
                "RestartIntensityError Shutdown SupervisorStoppedError SupervisorsError "
                "describe did_you_mean"
            ),
            "._exceptions": "bare_nursery",
            "._mailbox": "Mailbox Operation OperationState PendingReply",
            "._nested": "ChildOptions SupervisorStart child_spec dynamic_child_spec",
            "._open": "open_dynamic_supervisor open_supervisor",
            "._registry": "Registry RegistryEvent",
            "._spec": (
                "AutoShutdown ChildCounts ChildInfo ChildSpec ChildState ChildType IGNORE MAILBOX "
                "OnGiveUp RestartType ShutdownTime StartFunction Strategy SupervisorFlags "
                "Tree check_childspecs"
            ),
            "._supervisor": "Supervisor",
            "._traps": "Trap TrapKind find_traps",
        },
    )

__all__ = [
    "IGNORE",
    "MAILBOX",
    "Actor",
    "ActorCrashedError",
    "ActorDownError",
    "ActorError",
    "ActorRef",
    "AutoShutdown",
    "Backoff",
    "ChildAlreadyPresentError",
    "ChildAlreadyStartedError",
    "ChildCounts",
    "ChildError",
    "ChildInfo",
    "ChildNotFoundError",
    "ChildOptions",
    "ChildRestartingError",
    "ChildRunningError",
    "ChildSpec",
    "ChildSpecError",
    "ChildStartError",
    "ChildState",
    "ChildStatus",
    "ChildType",
    "DownReason",
    "DynamicChild",
    "DynamicSupervisor",
    "LaterReply",
    "Mailbox",
    "MaxChildrenError",
    "NameTakenError",
    "NotRegisteredError",
    "OnGiveUp",
    "Operation",
    "OperationState",
    "PendingReply",
    "Registry",
    "RegistryEvent",
    "RestartIntensityError",
    "RestartType",
    "Shutdown",
    "ShutdownTime",
    "StartFunction",
    "Strategy",
    "Supervisor",
    "SupervisorFlags",
    "SupervisorStart",
    "SupervisorStoppedError",
    "SupervisorsError",
    "TellsDown",
    "Trap",
    "TrapKind",
    "Tree",
    "bare_nursery",
    "check_childspecs",
    "child_spec",
    "current_child",
    "describe",
    "did_you_mean",
    "dynamic_child_spec",
    "find_traps",
    "open_dynamic_supervisor",
    "open_supervisor",
]
