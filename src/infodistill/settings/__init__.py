"""What a recipe can say: one strict model per family of methods, with tables for what several of them share.

A model holds no default that a paper disagrees on without saying so: shipped recipe files give every published value.
"""

from __future__ import annotations

from infodistill.settings.bilevel import Labelling, Regression, Remembering, Replayed
from infodistill.settings.entries import Expected, ExpertEntry, StudentEntry, TeacherEntry, TermEntry
from infodistill.settings.recipe import Matching, Recipe
from infodistill.settings.trajectory import Aligned, Flat, LogitEntry, Staged, Trajectory

__all__ = [
    "Aligned",
    "Expected",
    "ExpertEntry",
    "Flat",
    "Labelling",
    "LogitEntry",
    "Matching",
    "Recipe",
    "Regression",
    "Remembering",
    "Replayed",
    "Staged",
    "StudentEntry",
    "TeacherEntry",
    "TermEntry",
    "Trajectory",
]
