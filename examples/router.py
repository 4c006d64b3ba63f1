"""Links each user to the least loaded pod, and to another pod if the pod of the user is not alive.

The example uses the emulator. To run it on a server, pass a Redis URL:

    python examples/router.py [URL]
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from podlink import LeastLoaded, LinkRouter, PodState, StatefulExecutor

NAMESPACE, SERVICE = f"example-{time.time_ns():x}", "chat"
USERS = [f"user-{number}" for number in range(12)]


def heartbeat(executor: StatefulExecutor, pod: int, load: float) -> None:
    """Write the state of a pod. Each pod does this every few seconds."""
    executor.set_service_state(NAMESPACE, SERVICE, pod, str(PodState(load, time.time())))


def show(title: str, router: LinkRouter) -> None:
    """Resolve all users, and print how many each pod has."""
    pods = Counter(router.resolve(NAMESPACE, user, SERVICE) for user in USERS)
    counts = ", ".join(f"pod {pod} has {count}" for pod, count in sorted(pods.items()))
    print(f"{title:<28}{counts}")


def main(url: str) -> None:
    policy = LeastLoaded(stale_after=30)
    with StatefulExecutor(url) as executor:
        for pod, load in ((0, 0), (1, 2), (2, 4)):
            heartbeat(executor, pod, load)
        # Do not cache pod states; by default a router caches them for a second.
        with LinkRouter(executor, policy=policy, states_ttl=0.0) as router:
            show("linked by load:", router)
            show("links do not change:", router)

            executor.set_service_state(NAMESPACE, SERVICE, 0, "draining")
            show("pod 0 drains, users move:", router)

            heartbeat(executor, 0, 0)
            show("pod 0 is back, none moves:", router)

            executor.remove_linked_pod(NAMESPACE, USERS[0], SERVICE)
            router.forget(NAMESPACE, USERS[0], SERVICE)
            pod = router.resolve(NAMESPACE, USERS[0], SERVICE)
            print(f"{USERS[0]} is linked again, to pod {pod}")
            print(router.stats())

        executor.batch_remove_linked_pod(NAMESPACE, USERS, SERVICE)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "emulator://")
