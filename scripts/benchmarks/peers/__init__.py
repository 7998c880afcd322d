"""The targets: one module each, with its configuration and how it is started."""
