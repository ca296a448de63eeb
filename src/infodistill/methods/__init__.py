"""Published methods, one file each, and the selection baselines."""

from __future__ import annotations

from infodistill.methods import selection
from infodistill.methods.dc import dc
from infodistill.methods.dm import dm
from infodistill.methods.dsa import dsa

__all__ = ["dc", "dm", "dsa", "selection"]
