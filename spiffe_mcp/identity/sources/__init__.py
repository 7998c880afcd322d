"""Where identities come from: adapters that hold the newest SVIDs and bundles."""
