"""Published methods, one file each, and the selection baselines."""

from __future__ import annotations

from infodistill.methods import selection
from infodistill.methods.datm import datm
from infodistill.methods.dc import dc
from infodistill.methods.dd import dd
from infodistill.methods.dm import dm
from infodistill.methods.dsa import dsa
from infodistill.methods.frepo import frepo
from infodistill.methods.ftd import ftd
from infodistill.methods.ld import ld
from infodistill.methods.ld_ridge import ld_ridge
from infodistill.methods.mtt import mtt
from infodistill.methods.rtp import rtp
from infodistill.methods.seqmatch import seqmatch
from infodistill.methods.sldd import sldd
from infodistill.methods.tesla import tesla

__all__ = [
    "datm",
    "dc",
    "dd",
    "dm",
    "dsa",
    "frepo",
    "ftd",
    "ld",
    "ld_ridge",
    "mtt",
    "rtp",
    "selection",
    "seqmatch",
    "sldd",
    "tesla",
]
