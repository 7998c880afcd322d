"""Signed tool manifests: what a publisher signed, and whether a live tool is still that. Pure."""
