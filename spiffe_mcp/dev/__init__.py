"""The mesh on one machine: an embedded SPIFFE provider and a demo."""
