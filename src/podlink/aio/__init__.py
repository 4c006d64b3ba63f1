"""The asyncio API of podlink: the executor, the manager and the router.

They behave like the synchronous classes. Commands and the parsing of replies do not belong here:
both versions use `podlink.operations`.
"""

from podlink.aio.executor import AsyncStatefulExecutor
from podlink.aio.manager import AsyncRedisManager
from podlink.aio.router import AsyncLinkRouter

__all__ = ["AsyncLinkRouter", "AsyncRedisManager", "AsyncStatefulExecutor"]
