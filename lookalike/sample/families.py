"""The families of products, in the order of the sample."""

from lookalike.sample import bags, cars, chairs, clocks, lamps, mugs, shoes, vases
from lookalike.sample.family import Family

FAMILIES: tuple[Family, ...] = (
    chairs.FAMILY,
    lamps.FAMILY,
    mugs.FAMILY,
    bags.FAMILY,
    shoes.FAMILY,
    cars.FAMILY,
    vases.FAMILY,
    clocks.FAMILY,
)
