"""More than one process: independent jobs through Ray (`fanout`), classes of one distillation over ranks (`ranks`)."""

from __future__ import annotations
