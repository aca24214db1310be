"""This library with `durability="os"`, where flushes are what a work costs most."""

from __future__ import annotations

import ours


class Library(ours.Library):
    name = "unflushed"
    durability = "os"
