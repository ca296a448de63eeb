"""Rows of the admission table, see `table.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from infodistill.distillation import Distillation
from infodistill.real import RealData

ROWS: Mapping[str, Callable[[RealData], Distillation]] = {}
