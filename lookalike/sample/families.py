"""The families of products, in the order of the sample."""

from lookalike.sample import chairs, lamps, mugs, vases
from lookalike.sample.family import Family

FAMILIES: tuple[Family, ...] = (chairs.FAMILY, lamps.FAMILY, mugs.FAMILY, vases.FAMILY)
