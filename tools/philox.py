"""Philox4x32-10 (src/core/random.c) on arrays: what the makers of goldens draw from."""

import numpy as np

LOW = np.uint64(0xFFFFFFFF)


def philox(key, *counter):
    """The blocks at these counters, each of the four a number or an array: u32 [n,4]."""
    k0, k1 = key
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(c, np.uint64) for c in counter))
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & LOW,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & LOW,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], -1).astype(np.uint32)


def stream(seed, purpose, layer, count):
    """The first count words of kn_rng_at(seed, purpose, layer, 0, 0)."""
    blocks = np.arange((count + 3) // 4)
    key = seed & 0xFFFFFFFF, seed >> 32
    return philox(key, blocks, 0, 0, purpose << 16 | layer).reshape(-1)[:count]
