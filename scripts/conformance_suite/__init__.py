"""The official MCP conformance suite, straight to a server and through two agents: what differs.

    __main__    the command: what is run, what is printed, when it fails
    packages    the suite and the SDK's own server and client, pinned, in a cache outside the tree
    everything  the SDK's server on a port of the kernel's choice (a process of its own)
    meshed      two agents that allow everything, before any URL
    client      one client scenario through two agents (a process of its own, started by the suite)
    suite       one run of the suite
    results     what a run has found, read from its files
    comparison  two runs side by side: pure
    page        the comparison in words: pure

It knows of MCP only that the suite speaks it.
"""
