"""A distilled set in the forms other programs read, each with what it loses written beside it."""
