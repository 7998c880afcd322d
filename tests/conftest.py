"""For every test: property tests are patient with a busy machine, and fail for what they find alone."""

import os

# Before gRPC is loaded: its handlers of a fork kill one child in sixty, while its threads are busy.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from hypothesis import HealthCheck, settings

settings.register_profile(
    "patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")
