"""The asyncio shells of podlink: the executor, the manager and the router.

Nothing is decided here that is not decided in the synchronous ones; what is sent and how replies
are read is in `podlink.operations`, for both.
"""

from podlink.aio.executor import AsyncStatefulExecutor
from podlink.aio.manager import AsyncRedisManager
from podlink.aio.router import AsyncLinkRouter

__all__ = ["AsyncLinkRouter", "AsyncRedisManager", "AsyncStatefulExecutor"]
