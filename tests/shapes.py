"""The checker that verifies array shapes and types of pure functions while tests run (jaxtyping with beartype)."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
