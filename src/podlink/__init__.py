"""podlink: which pod of a service holds the state of which user, kept in Redis.

`StatefulExecutor` and `AsyncStatefulExecutor` have the operations. Everything public is importable
from here; the modules behind are described in their own first paragraphs.
"""

from podlink.aio.executor import AsyncStatefulExecutor
from podlink.aio.manager import AsyncRedisManager
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
    ReplaceResult,
    ServiceState,
    TrySetResult,
    WorkloadState,
)

__version__ = "0.1.0"

__all__ = [
    "DELETE_NOW",
    "PERSIST_FOREVER",
    "AsyncRedisManager",
    "AsyncStatefulExecutor",
    "DrainProgress",
    "ErrorCode",
    "ErrorCount",
    "ErrorMetrics",
    "HealthStatus",
    "InternalError",
    "InvalidParameterError",
    "LinkExistsError",
    "LuaScriptError",
    "NotFoundError",
    "OperationTimeoutError",
    "PodLink",
    "PodNotFoundError",
    "PoolStats",
    "RedisConfig",
    "RedisConnectionError",
    "RedisManager",
    "RedisOperationError",
    "ReplaceResult",
    "ServiceNotFoundError",
    "ServiceState",
    "StatefulError",
    "StatefulExecutor",
    "TrySetResult",
    "WorkloadState",
    "__version__",
]
