"""Synthetic microscope films and shape pictures with true masks, ids and words; NumPy only.

`CellFilm` draws an endless, seeded film of drifting and dividing cells; it is the film behind
`demo://cells`. `draw_shapes` draws coloured shapes with words that describe them.
"""

from stream.synth.film import MIN_VISIBLE_PX, MIN_VISIBLE_SHARE, CellFilm, draw_frames
from stream.synth.shapes import draw_shapes
from stream.synth.spec import LOOKS, MAX_OBJECTS, CellFilmSpec, FilmFrame

__all__ = [
    "LOOKS",
    "MAX_OBJECTS",
    "MIN_VISIBLE_PX",
    "MIN_VISIBLE_SHARE",
    "CellFilm",
    "CellFilmSpec",
    "FilmFrame",
    "draw_frames",
    "draw_shapes",
]
