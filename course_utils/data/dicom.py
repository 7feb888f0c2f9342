"""X-ray images out of DICOM files: pixels as they are meant to be seen, without what identifies the patient."""

import hmac
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing, get_decoder, pixel_array
from pydicom.uid import generate_uid

from course_utils.errors import CourseError

GRAY, INVERTED, COLOUR = "MONOCHROME2", "MONOCHROME1", ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
# All else is dropped: a list of what to delete is never complete.
KEPT = {
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PlanarConfiguration", "PhotometricInterpretation", "NumberOfFrames", "PixelData", "Modality", "SOPClassUID",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "ModalityLUTSequence", "VOILUTSequence", "LUTDescriptor", "LUTData", "ModalityLUTType", "BurnedInAnnotation",
}  # fmt: skip
RENUMBERED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def read_dicom(file: str | Path | pydicom.Dataset, window: tuple[float, float] | None = None) -> np.ndarray:
    """Read one grayscale image: rescaled, windowed, black where the least was measured.

    The values stored in the file are first turned into what the machine measured (modality LUT or rescale slope and
    intercept), then a window chooses the values between black and white. Of several windows in the file the first is
    taken; without any, the image goes from its smallest to its largest value. Colours are turned into gray.

    Parameters
    ----------
    file : str, pathlib.Path or pydicom.Dataset
    window : (centre, width), optional
        In units of the rescaled values, such as (40, 400) Hounsfield for soft tissue; instead of the file's own.

    Returns
    -------
    ndarray of uint8, shape (height, width)

    Raises
    ------
    CourseError
        If the file is no DICOM image, holds several frames, has colours from a palette or an impossible window, or
        is compressed so that no installed package can read it.

    References
    ----------
    DICOM PS3.3, C.7.6.3.1.2 (photometric interpretation), C.11.1 (modality LUT), C.11.2 (VOI LUT)
    """
    record = file if isinstance(file, pydicom.Dataset) else _read_file(Path(file))
    if "PixelData" not in record:
        raise CourseError(f"The DICOM file holds no image, but a {record.get('Modality', 'record')}.")
    if (frames := int(record.get("NumberOfFrames") or 1)) > 1:
        raise CourseError(f"The DICOM file holds {frames} frames; accepted is one: write the one you mean by itself.")
    photometric = record.PhotometricInterpretation
    if photometric not in (GRAY, INVERTED, *COLOUR):
        raise CourseError(f"The pixels are {photometric}; accepted are {GRAY}, {INVERTED} and {', '.join(COLOUR)}.")
    pixels = _decoded(record)
    if photometric in COLOUR:
        return np.asarray(Image.fromarray(_stretched(pixels, 0, 2**record.BitsStored - 1)).convert("L"))
    shades = _windowed(apply_modality_lut(pixels, record), record, window)
    return 255 - shades if photometric == INVERTED else shades


def deidentify(record: pydicom.Dataset, key: bytes) -> pydicom.Dataset:
    """Return a copy with the image and what is needed to show it; the patient's number becomes a pseudonym.

    Images of one patient keep one pseudonym, so that data can still be split by patients. Only who has the key can
    compute it again from the number. This is a lesson's sketch of DICOM PS3.15, annex E, no replacement of it.

    Parameters
    ----------
    record : pydicom.Dataset
        As `pydicom.dcmread` gives it.
    key : bytes
        A secret that stays in the hospital.

    Raises
    ------
    CourseError
        If there is no PatientID, or the file says itself that text is burnt into the image. Where it says nothing,
        which is the rule, somebody has to look.
    """
    if record.get("BurnedInAnnotation") == "YES":
        raise CourseError("BurnedInAnnotation is YES: the pixels hold text that may identify; cover it first.")
    if not record.get("PatientID"):
        raise CourseError("The record has no PatientID: without one there is no pseudonym to group images by patient.")

    def coded(text: str) -> str:
        return hmac.new(key, text.encode(), "sha256").hexdigest()

    clean = _kept(record)
    clean.file_meta = pydicom.dataset.FileMetaDataset()
    clean.file_meta.TransferSyntaxUID = record.file_meta.TransferSyntaxUID
    for number in RENUMBERED:  # files of one series stay together
        setattr(clean, number, generate_uid(entropy_srcs=[coded(str(record.get(number, "")))]))
    clean.PatientID = coded(record.PatientID)[:16]
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = "Only listed elements kept"
    return clean


def _read_file(path: Path) -> pydicom.Dataset:
    if not path.is_file():
        raise CourseError(f"There is no file {path}.")
    try:
        return pydicom.dcmread(path)
    except (pydicom.errors.InvalidDicomError, EOFError) as error:
        raise CourseError(
            f"{path.name} is no DICOM file, or is damaged; accepted are files as PACS export them."
        ) from error


def _decoded(record: pydicom.Dataset) -> np.ndarray:
    """Return the stored values; refuse a compression that no installed package reads, by the name of one that does."""
    syntax = record.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax.is_encapsulated:
        decoder = get_decoder(syntax)
        if not decoder.is_available:
            plugins = "; or ".join(decoder.missing_dependencies)
            raise CourseError(f"The pixels are compressed as {syntax.name}, which needs a plugin: {plugins}.")
    try:
        return pixel_array(record)
    except (ValueError, RuntimeError, AttributeError) as error:
        raise CourseError(f"The pixels cannot be read, because the file is damaged or incomplete: {error}") from error


def _windowed(values: np.ndarray, record: pydicom.Dataset, window: tuple[float, float] | None) -> np.ndarray:
    """Return shades of gray from 0 to 255, by the given window, the file's table, its first window, or all values."""
    if window is None and record.get("VOILUTSequence"):
        levels = 2 ** record.VOILUTSequence[0].LUTDescriptor[2] - 1
        return _stretched(apply_voi(values.astype(int), record), 0, levels)
    if window is None and record.get("WindowCenter") is None:
        return _stretched(values, values.min(), values.max())
    target = pydicom.Dataset()  # eight bits, not rescaled: pydicom then ends at 0 and 255
    target.PhotometricInterpretation, target.PixelRepresentation, target.BitsStored = GRAY, 0, 8
    target.VOILUTFunction = record.get("VOILUTFunction", "LINEAR") if window is None else "LINEAR"
    target.WindowCenter, target.WindowWidth = window or (record.WindowCenter, record.WindowWidth)
    try:
        return np.rint(apply_windowing(values, target)).astype("uint8")
    except ValueError as error:
        raise CourseError(f"The window of width {target.WindowWidth} is impossible: {error}.") from error


def _stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(255 * (values.astype(float) - low) / max(high - low, 1e-9)).astype("uint8")


def _kept(record: pydicom.Dataset) -> pydicom.Dataset:
    """Return the listed elements, those inside sequences too."""
    clean = pydicom.Dataset()
    for element in record:
        if element.keyword not in KEPT:
            continue
        value = [_kept(item) for item in element.value] if element.VR == "SQ" else element.value
        clean.add(pydicom.DataElement(element.tag, element.VR, value))
    return clean
