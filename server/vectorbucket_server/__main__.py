"""``python -m vectorbucket_server`` is the command ``vectorbucket-server``.

Rules of this file: nothing but the call.
"""

from vectorbucket_server.cli import main

main()
