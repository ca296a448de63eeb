"""What there is to say of data that was read: one sentence for each of its notes that a user should know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from infodistill.data.walk import HARMLESS
from infodistill.progress import counted
from infodistill.real import RealData

_NAMED = 4

Say = Callable[[str], None]


def announce(real: RealData, say: Say) -> None:
    """Say what was read: when the request is known to be sound, so that a mistake stays one sentence."""
    for line in told(real):
        say(line)


def told(real: RealData) -> list[str]:
    """The lines every command begins with: what was read, then `sentences` of its notes."""
    test = "" if real.test is None else f", {len(real.test)} test images"
    head = f"{real.name}, {len(real)} images {real.shape}, {real.num_classes} classes{test}"
    return [f"data: {line}" for line in (head, *sentences(real.notes))]


def facts_of(real: RealData) -> dict[str, Any]:
    """The same, JSON-able: name, images, shape, classes, test_images, and the sentences as `notes`."""
    return {
        "name": real.name,
        "images": len(real),
        "shape": list(real.shape),
        "classes": real.num_classes,
        "test_images": 0 if real.test is None else len(real.test),
        "notes": sentences(real.notes),
    }


def sentences(notes: Mapping[str, Any]) -> list[str]:
    """Sentences on sizes, on whatever was left out, and on the test images, from the notes of `load_data`."""
    return [*_sizes(notes), *_left_out(notes), *_test(notes)]


def scope(real: RealData) -> str | None:
    """What an accuracy is over, where some classes have no test images; None where all have."""
    if real.test is None or bool(real.test.counts.all()):
        return None
    missing = [name for name, count in zip(real.class_names, real.test.counts.tolist(), strict=True) if not count]
    over = f"accuracy is over {real.num_classes - len(missing)} of {real.num_classes} classes"
    return f"{over}, there are no test images of {_few(missing)}"


def _sizes(notes: Mapping[str, Any]) -> Iterator[str]:
    if size := notes.get("size"):
        yield f"size: {size}"


def _left_out(notes: Mapping[str, Any]) -> Iterator[str]:
    if skipped := notes.get("skipped_corrupt"):
        first = notes.get("skipped_corrupt_first", ())
        yield f"left out {counted(skipped, 'unreadable image')}" + (f", the first: {first[0]}" if first else "")
    if ignored := notes.get("ignored_files"):
        yield f"ignored {counted(ignored, 'file')}{_endings(notes.get('ignored_endings', {}))}"
    if outside := notes.get("images_outside_classes"):
        yield f"ignored {counted(outside, 'image')} beside the class folders: a class is a folder"
    if linked := notes.get("linked_folders"):
        yield f"followed {counted(linked, 'link')} to folders"
    if loops := notes.get("ignored_links"):
        yield f"ignored {counted(loops, 'link')} to folders above them: they would bring in other classes or never end"
    if unread := notes.get("unread_folders"):
        yield f"not read: {_few([f'{name}/' for name in unread])}"


def _test(notes: Mapping[str, Any]) -> Iterator[str]:
    if test := notes.get("test"):
        yield f"test: {test}"
    if missing := notes.get("classes_without_test_images"):
        yield f"no test images of {_few(missing)}: accuracy will not be over all classes"


def _endings(counts: Mapping[str, int]) -> str:
    """Endings with their counts, the frequent first; files that nobody takes for images are no alarm."""
    ranked = sorted((name for name in counts if name != HARMLESS), key=lambda name: (-counts[name], name))
    if not ranked:
        return f" ({HARMLESS})" if counts else ""
    shown = [f"{name} {counts[name]}" for name in ranked[:_NAMED]] + ["..."] * (len(ranked) > _NAMED)
    quiet = [f"{HARMLESS} {counts[HARMLESS]}"] if HARMLESS in counts else []
    return f" that are no images this reads ({', '.join([*shown, *quiet])})"


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
