"""What x86 without VNNI makes of an integer product."""

import numpy as np


def saturating_product(x, weight):
    """The product of u8 [n, in] and s8 [in, out], neighbouring products added in 16 bits, and how many did not fit."""
    total, saturated = np.zeros((len(x), weight.shape[1]), np.int32), 0
    for k in range(0, len(weight), 2):
        pair = x[:, k : k + 2].astype(np.int32) @ weight[k : k + 2].astype(np.int32)
        clipped = np.clip(pair, -(2**15), 2**15 - 1)
        saturated += int(np.count_nonzero(clipped != pair))
        total += clipped
    return total, saturated
