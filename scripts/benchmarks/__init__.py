"""`scripts/bench`: what a call costs through this mesh and through its peers, side by side in one run."""
