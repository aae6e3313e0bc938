"""Switches off what gRPC does when a process forks. Imported before grpc is, for that effect.

The embedded engine saves graphs in forked children (engine/embedded/forked.py). gRPC's handlers
take every fork for one whose child goes on using gRPC, and stop or crash it in a process that has
calls under way; those children never touch gRPC.

Rules of this file: it sets one variable, which gRPC reads when it is imported, unless somebody has
set it already.

Source: gRPC's ``doc/fork_support.md``; Python's package switches the handlers on by default.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
