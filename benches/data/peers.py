"""Searches vectors with others, one thread each. Prints a row a peer: mean over the questions of the best of 15 rounds."""

import sys
import time

import apsw
import faiss
import numpy
import sqlite_vec
from usearch.index import Index, MetricKind, search

TOP = 10
path, asked, dim = sys.argv[1], sys.argv[2], int(sys.argv[3])
vectors = numpy.fromfile(path, dtype="<f4").reshape(-1, dim)
queries = numpy.fromfile(asked, dtype="<f4").reshape(-1, dim)
faiss.omp_set_num_threads(1)
exact = [set(numpy.argsort(-(vectors @ query), kind="stable")[:TOP]) for query in queries]


def row(name, find, build=0.0):
    total, hits = 0.0, 0
    for query, wanted in zip(queries, exact):
        times = []
        for _ in range(15):
            begin = time.perf_counter()
            found = find(query)
            times.append(time.perf_counter() - begin)
        total += min(times)
        hits += len(wanted & {int(one) for one in found})
    ms, recall = 1e3 * total / len(queries), hits / (TOP * len(queries))
    print(f"peer={name} ms={ms:.4f} recall@{TOP}={recall:.3f} build_ms={1e3 * build:.0f}")


begin = time.perf_counter()
flat = faiss.IndexFlatIP(dim)
flat.add(vectors)
row("faiss-flat", lambda query: flat.search(query[None], TOP)[1][0], time.perf_counter() - begin)

row(
    "usearch-exact",
    lambda query: search(vectors, query, TOP, MetricKind.IP, exact=True, threads=1).keys.flatten(),
)

begin = time.perf_counter()
graph = Index(ndim=dim, metric="ip", dtype="f32")
graph.add(numpy.arange(len(vectors)), vectors, threads=1)
build = time.perf_counter() - begin
row("usearch-hnsw", lambda query: graph.search(query, TOP, threads=1).keys.flatten(), build)

begin = time.perf_counter()
# Python's own module may be built without extensions.
db = apsw.Connection(":memory:")
db.enable_load_extension(True)
db.load_extension(sqlite_vec.loadable_path())
db.execute(f"create virtual table v using vec0(e float[{dim}] distance_metric=cosine)")
with db:
    rows = ((at, vector.tobytes()) for at, vector in enumerate(vectors))
    db.executemany("insert into v (rowid, e) values (?, ?)", rows)
build = time.perf_counter() - begin
row(
    "sqlite-vec",
    lambda query: [one for (one,) in db.execute(f"select rowid from v where e match ? and k = {TOP}", (query.tobytes(),))],
    build,
)
