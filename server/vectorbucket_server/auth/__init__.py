"""Who calls, and what they may do: credentials, signatures, API keys, policies.

Rules of this package: it knows no socket and no gRPC; a call's metadata comes in as pairs. What is
secret is in no message, no log line and no ``repr``.
"""
