"""podlink stores in Redis which pod of a service holds the state of which user.

`StatefulExecutor` and `AsyncStatefulExecutor` have the operations that read and write these links.
`LinkRouter` and `AsyncLinkRouter` choose a live pod for a user. The public API is what this module
exports.
"""

from podlink.aio.executor import AsyncStatefulExecutor
from podlink.aio.manager import AsyncRedisManager
from podlink.aio.router import AsyncLinkRouter
from podlink.cache import RouterStats
from podlink.config import RedisConfig
from podlink.drain import DrainProgress
from podlink.errors import (
    ErrorCode,
    ErrorCount,
    ErrorMetrics,
    InternalError,
    InvalidParameterError,
    LinkExistsError,
    LuaScriptError,
    NotFoundError,
    OperationTimeoutError,
    PodNotFoundError,
    RedisConnectionError,
    RedisOperationError,
    ServiceNotFoundError,
    StatefulError,
)
from podlink.executor import StatefulExecutor
from podlink.keys import DELETE_NOW, PERSIST_FOREVER
from podlink.manager import RedisManager
from podlink.models import (
    HealthStatus,
    PodLink,
    PoolStats,
    Repair,
    ReplaceResult,
    ServiceState,
    StoredKey,
    TrySetResult,
    WorkloadState,
)
from podlink.router import LinkRouter
from podlink.routing import LeastLoaded, PodState, Policy

__version__ = "0.2.0"

__all__ = [
    "DELETE_NOW",
    "PERSIST_FOREVER",
    "AsyncLinkRouter",
    "AsyncRedisManager",
    "AsyncStatefulExecutor",
    "DrainProgress",
    "ErrorCode",
    "ErrorCount",
    "ErrorMetrics",
    "HealthStatus",
    "InternalError",
    "InvalidParameterError",
    "LeastLoaded",
    "LinkExistsError",
    "LinkRouter",
    "LuaScriptError",
    "NotFoundError",
    "OperationTimeoutError",
    "PodLink",
    "PodNotFoundError",
    "PodState",
    "Policy",
    "PoolStats",
    "RedisConfig",
    "RedisConnectionError",
    "RedisManager",
    "RedisOperationError",
    "Repair",
    "ReplaceResult",
    "RouterStats",
    "ServiceNotFoundError",
    "ServiceState",
    "StatefulError",
    "StatefulExecutor",
    "StoredKey",
    "TrySetResult",
    "WorkloadState",
    "__version__",
]
