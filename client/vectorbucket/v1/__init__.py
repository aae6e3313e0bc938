"""The generated messages and stubs of proto/vectorbucket/v1; see scripts/generate_protos.py.

Rules of this folder: everything but this file is generated, checked in and never edited.
"""
