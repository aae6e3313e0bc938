"""Engines: the seam (base) and the rooms behind it, which never see each other.

Rules of this package: only app.py chooses an engine; an engine's third-party packages are imported
inside its own room, so that an installation that uses one engine need not have the packages of
another.
"""
