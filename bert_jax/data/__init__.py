"""Documents in, batches out: shards of token ids, pairs, and a seekable stream.

Nothing here imports JAX; Grain, which does, is imported only where a stream is iterated.
"""
