"""Published methods, one file each, and the selection baselines."""

from __future__ import annotations

from infodistill.methods import selection
from infodistill.methods.cafe import cafe
from infodistill.methods.datm import datm
from infodistill.methods.dc import dc
from infodistill.methods.dcc import dcc
from infodistill.methods.dd import dd
from infodistill.methods.dm import dm
from infodistill.methods.dream import dream
from infodistill.methods.dsa import dsa
from infodistill.methods.frepo import frepo
from infodistill.methods.ftd import ftd
from infodistill.methods.idc import idc
from infodistill.methods.idm import idm
from infodistill.methods.iid import iid
from infodistill.methods.ld import ld
from infodistill.methods.ld_ridge import ld_ridge
from infodistill.methods.mtt import mtt
from infodistill.methods.ncfm import ncfm
from infodistill.methods.nearest import nearest
from infodistill.methods.pdd import pdd
from infodistill.methods.rtp import rtp
from infodistill.methods.seqmatch import seqmatch
from infodistill.methods.sldd import sldd
from infodistill.methods.tesla import tesla

__all__ = [
    "cafe",
    "datm",
    "dc",
    "dcc",
    "dd",
    "dm",
    "dream",
    "dsa",
    "frepo",
    "ftd",
    "idc",
    "idm",
    "iid",
    "ld",
    "ld_ridge",
    "mtt",
    "ncfm",
    "nearest",
    "pdd",
    "rtp",
    "selection",
    "seqmatch",
    "sldd",
    "tesla",
]
