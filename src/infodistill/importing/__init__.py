"""Sets that others published, as artefacts: tensors in `.pt` files, image folders, DD-Ranking's layout."""

from infodistill.importing.making import Imported, import_set
from infodistill.importing.request import Published
from infodistill.importing.spaces import SPACES

__all__ = ["SPACES", "Imported", "Published", "import_set"]
