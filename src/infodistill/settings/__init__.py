"""What a recipe can say: one strict model per family of methods, with tables for what several of them share.

A model holds no default that a paper disagrees on without saying so: shipped recipe files give every published value.
"""

from __future__ import annotations

from infodistill.settings.bilevel import Labelling, Regression, Remembering, Replayed
from infodistill.settings.entries import Expected, ExpertEntry, StudentEntry, TeacherEntry, TermEntry
from infodistill.settings.features import AdversaryEntry, Characteristic, Featured, PairEntry, Queued, Related
from infodistill.settings.formation import Formed, Progressive, Representative
from infodistill.settings.recipe import Aggregated, Matching, Recipe
from infodistill.settings.trajectory import Aligned, Flat, LogitEntry, Staged, Trajectory

__all__ = [
    "AdversaryEntry",
    "Aggregated",
    "Aligned",
    "Characteristic",
    "Expected",
    "ExpertEntry",
    "Featured",
    "Flat",
    "Formed",
    "Labelling",
    "LogitEntry",
    "Matching",
    "PairEntry",
    "Progressive",
    "Queued",
    "Recipe",
    "Regression",
    "Related",
    "Remembering",
    "Replayed",
    "Representative",
    "Staged",
    "StudentEntry",
    "TeacherEntry",
    "TermEntry",
    "Trajectory",
]
