"""Stores of objects: `base` says what one is, `uri` finds the one that a text means."""

from __future__ import annotations

from .base import Content, Info, Store, check_folder, check_name
from .cache import Cache, CachedStore, FolderCache, MemoryCache
from .count import CountingStore, rounds
from .http import HttpStore
from .local import LocalStore
from .memory import MemoryStore
from .object import ObjectStore, StorageOptions
from .retry import RetryingStore
from .uri import parse_uri
from .web import write_listing

__all__ = [
    "Cache",
    "CachedStore",
    "Content",
    "CountingStore",
    "FolderCache",
    "HttpStore",
    "Info",
    "LocalStore",
    "MemoryCache",
    "MemoryStore",
    "ObjectStore",
    "RetryingStore",
    "StorageOptions",
    "Store",
    "check_folder",
    "check_name",
    "parse_uri",
    "rounds",
    "write_listing",
]
