"""The cluster that this process is connected to, and the node that it runs on."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from octavo.errors import InputError, MissingExtraError


def require_ray() -> Any:
    """Ray, imported.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError("Ray is not installed", then="pip install 'octavo[ray]'") from None
    return ray


def node() -> str:
    """The node's address as Ray has it, and its name."""
    ray = sys.modules.get("ray")
    address = f"{ray.util.get_node_ip_address()}, " if ray is not None and ray.is_initialized() else ""
    return f"{address}{platform.node()}"


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Ray, connected: to the cluster at the address, or the one that it finds, or one here; what begins here ends here.

    Raises:
        InputError: there is no cluster at the address.
        MissingExtraError: Ray is not installed.
    """
    ray = require_ray()
    own = not ray.is_initialized()
    if own:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # docs.ray.io/en/latest/cluster/usage-stats.html
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error", include_dashboard=False)
        except Exception as error:  # Ray raises plain ones too
            what = "Ray does not start here" if address is None else "there is no Ray cluster"
            raise InputError(what, got=error, where=address) from None
    try:
        yield
    finally:
        if own:
            ray.shutdown()
