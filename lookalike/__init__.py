"""The front door for programs: `from lookalike import SearchEngine, Query`.

Names are resolved on first use, so importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.search.query import Box, Query, SearchResult
    from engine.search.search_engine import SearchEngine
    from webui.client import Client

__all__ = ["Box", "Client", "Query", "SearchEngine", "SearchResult"]

_HOMES = {
    "Box": "engine.search.query",
    "Client": "webui.client",
    "Query": "engine.search.query",
    "SearchEngine": "engine.search.search_engine",
    "SearchResult": "engine.search.query",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lookalike' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
