"""The metadata filter language: text to expression (parser), expression to predicate (matcher).

Rules of this package: it knows no engine and no message of the contract; an engine that pushes
filters down, or evaluates them its own way, keeps that beside itself and agrees with ``matcher``.
Nothing is imported here, because model.py needs the nodes before it can offer what the matcher
needs.
"""
