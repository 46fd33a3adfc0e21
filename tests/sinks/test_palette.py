import itertools

import numpy as np

from stream.sinks.palette import colour_of, hex_of


def test_a_colour_belongs_to_its_id():
    assert colour_of(7) == colour_of(7)
    assert hex_of(7) == "#{:02x}{:02x}{:02x}".format(*colour_of(7))


def test_twelve_neighbouring_ids_are_far_apart_and_bright():
    colours = [np.array(colour_of(number), dtype=float) for number in range(1, 13)]
    apart = [np.abs(a - b).max() for a, b in itertools.combinations(colours, 2)]
    assert min(apart) >= 24
    assert min(colour @ (0.2126, 0.7152, 0.0722) for colour in colours) > 110


def test_ids_of_a_month_have_colours():
    assert all(0 <= channel <= 255 for channel in colour_of(2_500_000))
