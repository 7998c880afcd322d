"""Egress and ingress: the ordered steps of an exchange, and the listeners that run them."""
