"""The OSS Vectors dialect: HTTP requests in, RPCs out, and back.

Rules of this package: it knows no socket and no HTTP library, only what a request says and what a
response is to say; the RPCs are called in ``translator.py`` and nowhere else. Everything else here
is a function of its arguments.
"""
