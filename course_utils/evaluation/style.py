"""One quiet house style for every figure: legible from the back row and safe for colour-blind readers."""

import seaborn

# Seaborn's "colorblind" palette builds on Wong, "Points of view: Color blindness", Nature Methods 8, 441 (2011),
# https://doi.org/10.1038/nmeth.1618 .
PALETTE = tuple(seaborn.color_palette("colorblind").as_hex())

# Marker and colour say the same, for readers who tell colours apart badly; all are filled, as seaborn requires.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")

# One colour for one role in every notebook, so that a reader learns them once.
ROLE_COLOURS = {
    "transfer": PALETTE[0],
    "scratch": PALETTE[1],
    "upper bound": PALETTE[2],
    "wrong way": PALETTE[3],
    "reference": "#6b6b6b",
}

_SETTINGS = {
    # DejaVu Sans comes with Matplotlib, so figures have the same widths on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.title_fontsize": 12,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#404040",
    "lines.linewidth": 2.2,
    "lines.markersize": 7,
    "figure.figsize": (8, 4.6),
    "figure.dpi": 85,
    "savefig.dpi": 170,
    "figure.constrained_layout.use": True,
}


def use_course_style() -> None:
    """Apply the house style to every figure made from now on.

    Seaborn's "ticks" theme without the top and right spines, text of 12 points or more
    at a width of 8 inches, the colour-blind safe palette `PALETTE`, constrained layout.
    Colours with a fixed meaning are in `ROLE_COLOURS`.
    """
    seaborn.set_theme(style="ticks", palette=PALETTE, rc=_SETTINGS)
