"""The embedded engine: RocksDB holds everything, hnswlib graphs in memory find it again.

Rules of this room (the reasons stand in server/ARCHITECTURE.md and server/DECISIONS.md):

- Store first, graph second: RocksDB is the truth, a generation is a hint that may be deleted at any
  time.
- A *label* names one version of one vector for ever; rows under a label never change. A *slot* is
  its place in a generation. The graph never sees a key or metadata; the store never sees a
  distance.
- One write mutex an index orders its writes; readers take no lock but the graph's read lock.
- rocksdict is imported by store.py only, hnswlib by graph.py only, bytes are known to schema.py
  only.
"""
