"""The composition root: configuration in, bound listeners out."""
