"""Honest evaluation: protocols, fresh networks, reference columns, and the records they leave."""

from __future__ import annotations

from infodistill.evaluation.evaluating import evaluate

__all__ = ["evaluate"]
