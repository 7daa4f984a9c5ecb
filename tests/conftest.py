"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# The same examples in each run, so that a change is not refused for what was there before it, and
# no failure for a machine that was busy. To look for more: pytest --hypothesis-profile=explore
settings.register_profile(
    "suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile("suite")


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also where a shell has put all of it into the background.

    What a shell starts so ignores SIGINT, and what that starts inherits it.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
