"""What the server tells its operator: log lines now, metrics, traces and health when they come.

Rules of this package: it knows the contract and the domain, not the floors above.
"""
