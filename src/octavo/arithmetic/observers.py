"""What an activation looks like over many examples, in bounded memory, and the range that its codes should span.

A first pass over the examples gives each channel's extremes, the means of channels and of their products, and a strided
sample of rows (`Channels`). A second one fills a histogram between extremes that are known by then (`Histogram`), for
ranges that leave outliers out. The memory needed does not depend on the number of examples.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Range = tuple[float, float]  # the lowest and the highest number that has a code of its own
BINS = 2048
PERCENTILE = 99.99  # of the numbers of a tensor; half of the rest is cut off on either side
STRIP = 256  # channels whose products are summed at a time: half of them are those of others, mirrored
SHRINKS = 64  # ends of the range that the search for the smallest error tries on each side


class Channels:
    """Extremes, moments and a sample of rows [tokens, width] that come in parts.

    `low`, `high` float32 [width]; `count` rows were seen. The sample is strided, so that it has short and long texts in
    the proportion in which they came: at least `keep` rows, where there were as many, and less than twice that.
    """

    def __init__(self, keep: int, *, moments: bool = True) -> None:
        """See parts; `keep` is the size of the sample, without `moments` there is no covariance."""
        self._keep, self._stride = keep, 1
        self._products = Products() if moments else None
        self._sample: FloatArray | None = None
        self._sum: NDArray[np.float64] = np.zeros(0)
        self.count = 0
        self.low = self.high = np.zeros(0, np.float32)

    def update(self, rows: FloatArray) -> None:
        """See some rows [n, width], n at least 1."""
        low, high = rows.min(axis=0), rows.max(axis=0)
        total = rows.sum(axis=0, dtype=np.float64)
        new = rows[-self.count % self._stride :: self._stride]
        if self._sample is not None:
            low, high = np.minimum(self.low, low), np.maximum(self.high, high)
            total = self._sum + total
            new = np.concatenate([self._sample, new])
        while len(new) >= 2 * self._keep:
            new, self._stride = new[::2], 2 * self._stride
        self.low, self.high, self._sum = low, high, total
        self._sample = np.array(new)
        self.count += len(rows)
        if self._products is not None:
            self._products.update(rows)

    def take_covariance(self) -> FloatArray:
        """That of all rows, float32 [width, width]. It can be asked once."""
        assert self._products is not None
        products, self._products = self._products, None
        return products.take()

    def take_moment(self) -> FloatArray:
        """E[x x^T] by the covariance and the mean, float32 [width, width]. It can be asked once."""
        moment, mean = self.take_covariance(), self.mean.astype(np.float32)
        moment += np.outer(mean, mean)
        return moment

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each channel."""
        return self._sum / self.count

    @property
    def rows(self) -> FloatArray:
        """The sampled rows, float32 [n, width]."""
        assert self._sample is not None
        return self._sample


class Products:
    """Sums of (x - mean)(x - mean)^T over rows that come in parts; the upper triangle is kept, in strips.

    Parts are merged by the formula of Chan, Golub and LeVeque (1983, "Algorithms for Computing the Sample Variance"):

        S = S_1 + S_2 + n_1 n_2 / (n_1 + n_2) (mean_1 - mean_2)(mean_1 - mean_2)^T

    Each part is around its own mean, and nothing is taken away from a sum: large means would be all that float32 has
    room for, and what is left of a difference could have negative eigenvalues.
    """

    def __init__(self) -> None:
        self._sums: FloatArray = np.zeros((0, 0), np.float32)
        self._mean = np.zeros(0)
        self._count = 0

    def update(self, rows: FloatArray) -> None:
        """See rows [n, width]."""
        count, width = rows.shape
        if not len(self._sums):
            self._sums, self._mean = np.zeros((width, width), np.float32), np.zeros(width)
        mean, seen = rows.mean(axis=0, dtype=np.float64), self._count
        self._count += count
        moved = mean - self._mean
        part, near = np.empty((count + 1, width), np.float32), mean.astype(np.float32)
        np.subtract(rows, near, out=part[:-1])
        part[:-1] -= (mean - near).astype(np.float32)  # rows that are alike differ by less than a mean is rounded by
        part[-1] = moved * np.sqrt(seen * count / self._count)  # the last term of the formula
        self._mean += moved * (count / self._count)
        for first in range(0, width, STRIP):
            self._sums[first : first + STRIP, first:] += part[:, first : first + STRIP].T @ part[:, first:]

    def take(self) -> FloatArray:
        """The covariance, float32 [width, width]; the sums are given away."""
        sums, self._sums = self._sums, np.zeros((0, 0), np.float32)
        sums /= np.float32(self._count)
        for first in range(0, len(sums), STRIP):  # whole strips: the other half of one is not mirrored into itself
            sums[first + STRIP :, first : first + STRIP] = sums[first : first + STRIP, first + STRIP :].T
        return sums


class Histogram:
    """Counts of a tensor's numbers in equal bins between extremes that are known."""

    def __init__(self, low: float, high: float, bins: int = BINS) -> None:
        self.low, self.high = low, high
        self.counts = np.zeros(bins, np.int64)

    def update(self, x: FloatArray) -> None:
        """See some numbers, of any shape; what lies outside by a rounding error goes into the outermost bins."""
        inside = np.clip(x, self.low, self.high)
        self.counts += np.histogram(inside, bins=len(self.counts), range=(self.low, self.high))[0]

    @property
    def centers(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return np.asarray((edges[:-1] + edges[1:]) / 2)


def percentile_range(histogram: Histogram, percentile: float = PERCENTILE) -> Range:
    """The range that holds `percentile` percent of the numbers, as much being cut off at either end.

    Exact to the width of a bin. A percentile of 100 gives the range of the extremes.
    """
    cut = (100 - percentile) / 200 * histogram.counts.sum()
    below, above = np.cumsum(histogram.counts), np.cumsum(histogram.counts[::-1])
    width = (histogram.high - histogram.low) / len(histogram.counts)
    first, last = int(np.argmax(below > cut)), int(np.argmax(above > cut))
    return histogram.low + first * width, histogram.high - last * width


def mse_range(histogram: Histogram) -> Range:
    """The range whose 8-bit codes reproduce the numbers with the smallest mean squared error.

    The upper end is moved first, then the lower one, each over `SHRINKS` equal steps to zero; as in Banner et al. 2019
    (arXiv:1810.05723), with the histogram in place of their model of the distribution.
    """
    low, high = min(0.0, histogram.low), max(0.0, histogram.high)
    steps = np.arange(SHRINKS, 0, -1) / SHRINKS
    high = min((high * step for step in steps), key=lambda end: _squared_error(histogram, low, end))
    low = min((low * step for step in steps), key=lambda end: _squared_error(histogram, end, high))
    return low, high


def _squared_error(histogram: Histogram, low: float, high: float) -> float:
    """The mean squared error of rounding the bins' centers to 256 codes between the two ends."""
    x = histogram.centers
    step = (high - low) / 255
    if step <= 0:
        return float(np.sum(histogram.counts * x**2))
    rounded = low + np.clip(np.rint((x - low) / step), 0, 255) * step
    return float(np.sum(histogram.counts * (x - rounded) ** 2))
