"""The REST side: the OSS dialect, as a client of the contract.

Rules of this package: it knows no engine and no service; whatever it answers it was told by an RPC,
or could be told from the request alone. It keeps nothing between two requests.
"""
