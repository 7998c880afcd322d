"""Who a peer is: SPIFFE IDs, X.509-SVIDs, bundles, and the verification of a chain."""
