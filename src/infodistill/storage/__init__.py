"""What a synthetic set stores and how it is read: bases, tiles, labels, what it starts from, and its finished form."""
