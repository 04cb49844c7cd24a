"""One scan of HemSeg-200 or HemSeg-500: image as NIfTI or rebuilt from DICOM, mask with the value of its class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnunet_multitask.dataset_conversion.dicom_geometry import StackGeometry
from nnunet_multitask.dataset_conversion.sources import LoadedCase, SourceCase
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import Volume, read_image, read_mask, repair_geometry

if TYPE_CHECKING:
    from nnunet_multitask.dataset_conversion.dicom_headers import SliceHeader

# what makes a scan unfit for its mask, without anything being damaged
EXCLUDING_FAULTS = ("shape-differs", "geometry-differs", "several-series", "ambiguous-slices")

_MASK_VALUES = (0, 1)


@dataclass(frozen=True)
class HemSegReader:
    """Reads a scan in a worker process.

    Args:
        foreground: value that the blood gets in the new mask.
        from_dicom: the images of the case are DICOM slices.
        study, patient: as the list names them, compared with the DICOM headers; None is not compared.
    """

    foreground: int = 1
    from_dicom: bool = False
    study: str | None = None
    patient: str | None = None

    def __call__(self, source: SourceCase) -> LoadedCase:
        """Return image and mask on one grid.

        Raises:
            InputError, InputErrors: files that cannot be read, mask values other than 0 and 1, slices that do not
                make the image of the mask (the codes of ``EXCLUDING_FAULTS``).
        """
        if source.mask is None:
            raise ValueError("a scan of HemSeg has a mask")
        errors: list[InputError] = []
        mask = None
        try:
            mask = read_mask(source.mask, _MASK_VALUES)
        except InputError as error:
            errors.append(error)
        try:
            if self.from_dicom:
                case = self._rebuild(source, mask)
            else:
                image = read_image(source.images[0])
                case = LoadedCase((image,), None, {image.path: image.sha256})
        except InputErrors as several:
            errors.extend(several.errors)
        except InputError as error:
            errors.append(error)
        if errors or mask is None:
            raise InputErrors(errors)
        inputs = {**case.inputs, mask.path: mask.sha256}
        return replace(case, mask=self._with_class(mask), inputs=inputs)

    def _with_class(self, mask: Volume) -> Volume:
        if self.foreground == 1:
            return mask
        return replace(mask, array=mask.array * np.array(self.foreground, mask.array.dtype), changed=True)

    def _rebuild(self, source: SourceCase, mask: Volume | None) -> LoadedCase:
        """Stack the slices as the masks were made.

        The authors let ITK read the slices in the order of their positions along the normal. ITK writes the plane of
        the first slice as direction of the whole image, and the distance from the first position to the last, divided
        by the number of gaps, as spacing. Where the gantry is tilted, that distance runs along the table: the image is
        taken for a box at right angles, a little too high (by 1 / cos of the tilt). The mask lies on these voxels, so
        the image has to; slices are not moved.
        """
        from nnunet_multitask.dataset_conversion.dicom_headers import read_header
        from nnunet_multitask.dataset_conversion.dicom_series import group_stacks
        from nnunet_multitask.dataset_conversion.dicom_stack import load_stack

        headers: list[SliceHeader] = []
        errors: list[InputError] = []
        for path in source.images:
            try:
                headers.append(read_header(path))
            except InputError as error:
                errors.append(error)
        if errors:
            raise InputErrors(errors)
        stacks, alone = group_stacks(headers)
        if len(stacks) != 1 or alone:
            fault = f"expected one stack of parallel slices, got {len(stacks)} and {len(alone)} single slices"
            raise InputError("several-series", source.images[0].parent, fault, "look at the slices of the list")
        loaded = load_stack(stacks[0])
        if loaded.duplicates:
            fault = f"expected one image at each position, got {len(loaded.duplicates)} more, of other names"
            raise InputError("ambiguous-slices", loaded.duplicates[0].path, fault, "look at the slices of the list")
        image = _itk_volume([pixels.array for pixels in loaded.pixels], loaded.geometry, loaded.headers[0].path)
        if mask is not None:
            image = repair_geometry(mask, image)
        signs = sum(pixels.sign_repaired for pixels in loaded.pixels)
        attributes = {
            **source.case.attributes,
            "gantry_tilt_degrees": round(loaded.geometry.tilt_degrees, 2),
            "slice_distance_mm": round(float(loaded.geometry.gaps_mm.mean()), 4),
        }
        return LoadedCase(
            (image,),
            None,
            {Path(path.parent.name, path.name): digest for path, digest in loaded.inputs.items()},
            repairs=(f"signed pixels of {signs} slices were declared as unsigned",) if signs else (),
            warnings=self._contradictions(headers, source),
            case=replace(source.case, attributes=attributes),
        )

    def _contradictions(self, headers: list[SliceHeader], source: SourceCase) -> tuple[str, ...]:
        warnings = []
        for name, expected, found in (
            ("study", self.study, {header.study_uid for header in headers}),
            ("patient", self.patient, {header.patient_id for header in headers}),
        ):
            if expected is not None and found - {expected, ""}:
                others = ", ".join(sorted(found - {expected, ""}))
                fault = f"expected slices of the {name} {expected} as the list says, their headers say {others}"
                warnings.append(f"[wrong-{name}] {source.case_id}: {fault} -> compare image and mask")
        return tuple(warnings)


def _itk_volume(slices: list[np.ndarray], geometry: StackGeometry, path: Path) -> Volume:
    """Return the slices as ITK's series reader places them."""
    spacing_z_mm = float(np.linalg.norm(geometry.offsets_mm[-1])) / (len(slices) - 1)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.affine(spacing_z_mm)
    spacing_mm = (spacing_z_mm, geometry.pixel_spacing_mm[0], geometry.pixel_spacing_mm[1])
    return Volume(np.stack(slices), spacing_mm, affine, path, changed=True)
