"""Input channels made from a head CT: windows, the inside of the skull, and a left-right mirrored copy.

The steps run in this order: strip, then window, then mirror. A window is stored as 0 ... 255 under the channel name
``rgb_to_0_1``, for which nnU-Net divides by 255 and does nothing else: no statistics of the data enter, air and the
padding of patches are both 0, and an image without windows is refused at prediction instead of being misread.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnunet_multitask.errors import InputError
from nnunet_multitask.files import Volume

AIR_HU = -1000
WINDOW_CHANNEL = "rgb_to_0_1"  # nnU-Net's name of the scheme that divides by 255
WINDOW_LEVELS = 255
MADE_CHANNELS = "made_channels"  # key of dataset.json: what was made of the source's channels


@dataclass(frozen=True)
class Window:
    """A range of Hounsfield units that is stretched over all grey levels."""

    name: str
    centre_hu: float
    width_hu: float


WINDOWS = {
    window.name: window
    for window in (
        Window("brain", 40, 80),  # Radiopaedia, "Windowing (CT)"; most solutions of the RSNA 2019 challenge
        Window("subdural", 80, 200),  # the same
        Window("bone", 600, 2800),  # the same
        Window("tissue", 40, 380),  # soft tissue, the same
        Window("stroke", 40, 40),  # the same, the wider of its two windows for grey against white matter
        Window("stroke-narrow", 32, 8),  # Lev et al., Radiology 213:150 (1999)
        Window("ct-ich", 40, 120),  # Hssayeni et al., Data 5:14 (2020), and the papers on their data set
        Window("ct-ich-bone", 700, 3200),  # Hssayeni et al. 2020
    )
}


@dataclass(frozen=True)
class ChannelOptions:
    """Which channels a converter makes of a CT; without any the image stays as it is.

    Args:
        windows: names of ``WINDOWS``, or ``NAME=CENTRE/WIDTH`` in HU; each becomes a channel.
        skull_strip: what is outside the skull becomes air first.
        mirror_channel: a left-right mirrored copy of each channel follows.
    """

    windows: tuple[str, ...] = ()
    skull_strip: bool = False
    mirror_channel: bool = False

    @property
    def changes_images(self) -> bool:
        """Whether the source's images are not taken as they are."""
        return bool(self.windows) or self.skull_strip or self.mirror_channel


def parse_window(text: str) -> Window:
    """Return a standard window by its name, or the one that ``NAME=CENTRE/WIDTH`` describes.

    Raises:
        InputError: an unknown name, or numbers that describe no window.
    """
    name, sign, numbers = text.partition("=")
    if not sign:
        if text in WINDOWS:
            return WINDOWS[text]
        near = difflib.get_close_matches(text, WINDOWS, n=1, cutoff=0.0)[0]
        remedy = f"did you mean {near}? Another window is written NAME=CENTRE/WIDTH, for example liver=60/160"
        raise InputError("unknown-window", "--windows", f"expected {', '.join(WINDOWS)}, got {text!r}", remedy)
    try:
        centre, width = (float(number) for number in numbers.split("/"))
    except ValueError:
        centre = width = math.nan
    if not (re.fullmatch(r"[\w-]+", name) and math.isfinite(centre) and math.isfinite(width) and width > 0):
        fault = f"expected NAME=CENTRE/WIDTH in Hounsfield units, the width above 0, got {text!r}"
        raise InputError("bad-window", "--windows", fault, "write for example liver=60/160")
    return Window(name, centre, width)


def parse_windows(texts: Sequence[str]) -> tuple[Window, ...]:
    """Return the windows in their order; none gives none.

    Raises:
        InputError: as for ``parse_window``, or a name twice.
    """
    windows = tuple(parse_window(text) for text in texts)
    names = [window.name for window in windows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        fault = f"expected each window once, got {', '.join(twice)} twice"
        raise InputError("duplicate-window", "--windows", fault, "remove one, or name it otherwise")
    return windows


def check_options(options: ChannelOptions, source_names: Sequence[str], intensities_are_hu: bool = True) -> None:
    """Check that the channels can be made of a source.

    Args:
        options: what is wanted.
        source_names: names of the source's channels.
        intensities_are_hu: the source says that its CT is in Hounsfield units.

    Raises:
        InputError: an impossible window, or windows or skull stripping of something else than HU.
    """
    parse_windows(options.windows)
    wanted = [name for name, used in (("--windows", options.windows), ("--skull-strip", options.skull_strip)) if used]
    others = [name for name in source_names if name.lower() != "ct"]
    if not wanted or (intensities_are_hu and not others):
        return
    found = f"the channels {', '.join(source_names)}" if others else "intensities that are none"
    raise InputError(
        "no-hounsfield",
        " and ".join(wanted),
        f"expected a CT in Hounsfield units (channel name CT), got {found}",
        "leave the option out, or convert the CT in Hounsfield units",
    )


def channel_names(options: ChannelOptions, source_name: str = "CT") -> list[str]:
    """Return the names by which nnU-Net normalises the channels that ``make_channels`` makes of one image.

    Args:
        options: what is wanted.
        source_name: name of the source's channel, kept where there is no window.
    """
    names = [WINDOW_CHANNEL] * len(options.windows) or [source_name]
    return names * 2 if options.mirror_channel else names


def describe_channels(options: ChannelOptions, source_name: str = "CT") -> list[str]:
    """Return in words what each channel is that ``make_channels`` makes, for the report."""
    texts = [f"{w.name}: {w.centre_hu:g}/{w.width_hu:g} HU" for w in parse_windows(options.windows)] or [source_name]
    if options.skull_strip:
        texts = [f"{text}, inside of the skull" for text in texts]
    return texts + ([f"{text}, mirrored left-right" for text in texts] if options.mirror_channel else [])


def make_channels(image: Volume, options: ChannelOptions) -> tuple[Volume, ...]:
    """Return the channels that one image becomes.

    Args:
        image: (Z, Y, X), in Hounsfield units where windows or skull stripping are wanted.
        options: what is wanted; without any option the image itself is the only channel.

    Returns:
        One volume for each of ``channel_names``, all on the voxels of ``image``: uint8 for windows, else its own type.

    Raises:
        InputError: an impossible window, or no skull where one is to be stripped.
    """
    windows = parse_windows(options.windows)
    if options.skull_strip:
        image = strip_skull(image)
    channels = [apply_window(image, window) for window in windows] or [image]
    if options.mirror_channel:
        channels += [mirror(channel) for channel in channels]
    return tuple(channels)


def apply_window(image: Volume, window: Window) -> Volume:
    """Return an image through a window: 0 at its lower end and below, 255 at its upper end and above.

    Args:
        image: (Z, Y, X), Hounsfield units.
        window: centre and width; the grey levels are width/255 HU apart.
    """
    lower = window.centre_hu - window.width_hu / 2
    array = image.array.astype(np.float32)
    array -= np.float32(lower)
    array *= np.float32(WINDOW_LEVELS / window.width_hu)
    np.clip(array, 0, WINDOW_LEVELS, out=array)
    return replace(image, array=np.rint(array, out=array).astype(np.uint8), changed=True)


def strip_skull(image: Volume) -> Volume:
    """Return an image in which the skull and everything outside is air: -1000 HU, or 0 in an unsigned type.

    Raises:
        InputError: no skull that encloses anything is found.
    """
    from nnunet_multitask.dataset_conversion.skull_strip import find_intracranial

    air = image.array.dtype.type(0 if image.array.dtype.kind == "u" else AIR_HU)
    return replace(image, array=np.where(find_intracranial(image), image.array, air), changed=True)


def stripping_warning(image: Volume, stripped: Volume, mask: Volume) -> InputError | None:
    """Say whether skull stripping cut labelled voxels away.

    Args:
        image, stripped: (Z, Y, X), before and after ``strip_skull``.
        mask: (Z, Y, X) on the same voxels; every value but 0 is looked at together.

    Returns:
        A warning with their number, or None; None for an empty mask, too.
    """
    labelled = mask.array > 0
    lost = int(np.count_nonzero(labelled & (image.array != stripped.array)))
    if not lost:
        return None
    fault = f"expected all labelled voxels inside of the skull, got {lost} of {np.count_nonzero(labelled)} outside"
    return InputError("label-outside-skull", mask.path, fault, "look at the case; convert it without --skull-strip")


def mirror(image: Volume) -> Volume:
    """Return the image flipped along the array axis that runs nearest to left-right, on the voxels of the original."""
    return replace(image, array=np.flip(image.array, patient_axes(image)[2]), changed=True)


def patient_axes(image: Volume) -> tuple[int, int, int]:
    """Return the array axes (of Z, Y, X) nearest to the patient's inferior-superior, posterior-anterior, left-right.

    Each axis is named once, also where an oblique image lies at 45 degrees.
    """
    directions = np.abs(image.affine[:3, :3]) / np.linalg.norm(image.affine[:3, :3], axis=0)  # rows RAS, columns x y z
    axes = [0, 0, 0]
    for _ in range(3):
        world, voxel = np.unravel_index(int(directions.argmax()), (3, 3))
        axes[2 - int(world)] = 2 - int(voxel)
        directions[world], directions[:, voxel] = -1, -1
    return axes[0], axes[1], axes[2]
