"""The gRPC floor: what a call means, from the bytes that arrive to the bytes that leave.

Rules of this package: it sees an engine only through ``engine.base``; only ``convert.py`` knows
both messages and the model; errors are raised as leaves of ``vectorbucket.errors`` and rendered
once, in ``call_scope.py``; every RPC asks ``resources.py`` first.
"""
