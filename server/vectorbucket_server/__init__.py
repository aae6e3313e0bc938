"""The vectorbucket server: floors from settings down to the engines.

server/ARCHITECTURE.md draws them.

Rules of this package: an arrow points to a lower floor or stays within its package; nothing here
imports the client's private modules.
"""

from vectorbucket_server import fork_support as fork_support  # before grpc is imported
