"""How a computation runs. Terms never mention device, dtype or chunk: Views apply the policy for them."""

from __future__ import annotations

from infodistill.compute.execution import backward
from infodistill.compute.policy import Policy, capabilities, is_out_of_memory, resolve
from infodistill.compute.views import View

__all__ = ["Policy", "View", "backward", "capabilities", "is_out_of_memory", "resolve"]
