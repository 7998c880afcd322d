"""One tamper-evident record for every decision."""
