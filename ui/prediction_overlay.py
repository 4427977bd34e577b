"""A map laid on its film: colours, opacity and outlines, drawn anew without computing the map."""

import numpy as np
from numpy.typing import NDArray

# Anchors from no evidence to the strongest, as (R, G, B); all grow lighter or redder steadily.
_ANCHORS = {
    "Heat": [(60, 0, 10), (170, 20, 20), (240, 90, 20), (255, 180, 50), (255, 245, 170)],
    "Blue to yellow": [
        (20, 40, 110),
        (40, 90, 150),
        (100, 140, 140),
        (190, 185, 90),
        (255, 230, 50),
    ],
    "Rainbow": [(0, 0, 150), (0, 130, 255), (60, 230, 160), (255, 220, 0), (230, 30, 0)],
}
COLOUR_MAPS = tuple(_ANCHORS)
OUTLINE_LEVELS = (0.5, 0.75)
_OUTLINE = (255, 210, 40)


def colours(name: str) -> NDArray[np.uint8]:
    """Return a colour map as uint8 (256, 3)."""
    anchors = np.array(_ANCHORS[name], dtype=float)
    positions = np.linspace(0, 255, len(anchors))
    levels = np.arange(256)
    channels = [np.interp(levels, positions, anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def overlay(
    film: NDArray[np.uint8], heatmap: NDArray[np.float32], name: str, opacity: float
) -> NDArray[np.uint8]:
    """Return the film (H, W) under its map (H, W) in [0, 1] as RGB (H, W, 3).

    A place is covered in proportion to its value, so that the film stays clear where the map says
    nothing; `opacity` in [0, 1] is that of the strongest place.
    """
    colour = colours(name)[np.rint(heatmap * 255).astype(np.uint8)].astype(np.float32)
    cover = (np.float32(opacity) * heatmap)[..., np.newaxis]  # (H, W) -> (H, W, 1)
    grey = film[..., np.newaxis].astype(np.float32)
    return np.rint(grey * (1 - cover) + colour * cover).astype(np.uint8)


def outlined(
    film: NDArray[np.uint8], heatmap: NDArray[np.float32], opacity: float
) -> NDArray[np.uint8]:
    """Return the film with lines where its map passes OUTLINE_LEVELS, as RGB (H, W, 3).

    Each line has a dark rim, so that it is seen on bright and on dark ground.
    """
    picture = np.repeat(film[..., np.newaxis], 3, axis=2).astype(np.float32)
    width = max(1, round(max(film.shape) / 400))
    for level in OUTLINE_LEVELS:
        line = _edges(heatmap >= level)
        for colour, grown in (((0, 0, 0), 2 * width), (_OUTLINE, width)):
            where = _grown(line, grown)
            picture[where] += np.float32(opacity) * (np.float32(colour) - picture[where])
    return np.rint(picture).astype(np.uint8)


def legend_html(name: str, outline: bool) -> str:
    """Return what the colours or the lines mean, as HTML."""
    if outline:
        return (
            '<p class="legend">Outer line: half of the map\'s maximum. Inner line: three quarters.'
            "</p>"
        )
    stops = ", ".join(f"rgb{tuple(int(v) for v in colours(name)[i])}" for i in range(0, 256, 51))
    return (
        '<p class="legend">weak <span role="img" aria-label="Colour scale from weak to strong" '
        f'style="background: linear-gradient(to right, {stops})"></span> strong, on the map\'s own '
        "scale</p>"
    )


def _edges(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    edge = np.zeros_like(mask)
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    edge[1:] |= mask[1:] != mask[:-1]
    return edge


def _grown(line: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    grown = line.copy()
    for axis in (0, 1):
        wide = grown.copy()
        for shift in range(1, by + 1):
            ahead = [slice(None), slice(None)]
            behind = [slice(None), slice(None)]
            ahead[axis], behind[axis] = slice(shift, None), slice(None, -shift)
            wide[tuple(ahead)] |= grown[tuple(behind)]
            wide[tuple(behind)] |= grown[tuple(ahead)]
        grown = wide
    return grown
