"""The engine milvus: all is kept in a Milvus that any number of servers share.

Rules of this room:

- Milvus is the truth and all there is: nothing is kept on this machine, so a server may be stopped,
  replaced or joined by others at any time.
- pymilvus is imported by connection.py and failures.py only.
- What a filter means is said in filters/matcher.py; pushdown.py says the same to Milvus.
"""
