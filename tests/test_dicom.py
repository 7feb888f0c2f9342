"""DICOM images are read as they are meant, refused in one sentence, and rid of what identifies."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

from course_utils.data.dicom import KEPT, deidentify, read_dicom
from course_utils.errors import CourseError

RAMP = np.array([[0, 100, 200], [300, 400, 500]], np.uint16)
KEY = b"stays in the hospital"
SECRETS = ("Doe^Jane", "12345", "20190401", "St. Elsewhere", "20240229", "ward 3")


def record_of(pixels=RAMP, photometric="MONOCHROME2", bits=12, **elements):
    """Return a record with these pixels, an invented patient and more elements."""
    record = pydicom.Dataset()
    record.file_meta = pydicom.dataset.FileMetaDataset()
    record.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    record.SOPClassUID, record.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    record.StudyInstanceUID, record.SeriesInstanceUID = generate_uid(), generate_uid()
    record.PatientName, record.PatientID, record.PatientBirthDate = SECRETS[:3]
    record.InstitutionName, record.StudyDate, record.Modality = *SECRETS[3:5], "CR"
    record.private_block(0x0099, "EXAMPLE", create=True).add_new(1, "LO", SECRETS[5])
    record.set_pixel_data(pixels, photometric, bits_stored=bits)
    for name, value in elements.items():
        setattr(record, name, value)
    return record


def written(record):
    file = io.BytesIO()
    record.save_as(file, enforce_file_format=True)
    return file.getvalue()


def lut(levels, bits, **more):
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(levels), 0, bits])
    item.add_new("LUTData", "US", list(levels))
    for name, value in more.items():
        setattr(item, name, value)
    return [item]


def test_without_a_window_an_image_goes_from_its_smallest_to_its_largest_value():
    assert read_dicom(record_of()).tolist() == [[0, 51, 102], [153, 204, 255]]
    assert read_dicom(record_of(np.array([[3, 7, 10]], np.uint16))).tolist() == [[0, 146, 255]]  # 145.7 is rounded


def test_a_constant_image_is_black():
    assert (read_dicom(record_of(np.full((2, 2), 7, np.uint16))) == 0).all()


def test_a_window_is_one_of_rescaled_values():
    record = record_of(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=-800, WindowWidth=401)
    assert read_dicom(record).tolist() == [[0, 128, 255], [255, 255, 255]]
    assert read_dicom(record, window=(-400, 401)).tolist() == [[0, 0, 0], [128, 255, 255]]


def test_a_modality_table_comes_before_the_window():
    table = lut(range(500, -1, -1), 16, ModalityLUTType="US")
    assert read_dicom(record_of(ModalityLUTSequence=table))[0, 0] == 255


def test_of_several_windows_the_first_is_taken():
    record = record_of(WindowCenter=[100, 400], WindowWidth=[201, 11])
    assert read_dicom(record).tolist() == [[1, 128, 255], [255, 255, 255]]


def test_a_file_may_ask_for_a_smooth_window_of_its_own():
    smooth = record_of(WindowCenter=250, WindowWidth=200, VOILUTFunction="SIGMOID")
    expected = 255 / (1 + np.exp(-4 * (RAMP - 250.0) / 200))
    assert np.abs(read_dicom(smooth) - expected).max() <= 0.5
    straight = read_dicom(record_of(WindowCenter=250, WindowWidth=200))
    assert not np.array_equal(read_dicom(smooth), straight)
    assert np.array_equal(read_dicom(smooth, window=(250, 200)), straight)  # what is asked for is linear


def test_a_window_of_width_one_cuts():
    assert read_dicom(record_of(WindowCenter=250, WindowWidth=1)).tolist() == [[0, 0, 0], [255, 255, 255]]


def test_a_window_of_width_zero_is_refused():
    with pytest.raises(CourseError, match="width 0.0 is impossible"):
        read_dicom(record_of(WindowCenter=250, WindowWidth=0))


def test_a_table_of_shades_is_followed():
    record = record_of(VOILUTSequence=lut([4095] * 250 + [0] * 251, 12), WindowCenter=0, WindowWidth=1)
    assert read_dicom(record).tolist() == [[255] * 3, [0] * 3]
    assert read_dicom(record, window=(250, 1)).tolist() == [[0] * 3, [255] * 3]  # what is asked for goes first
    assert (read_dicom(record_of(VOILUTSequence=lut([200] * 501, 8))) == 200).all()


def test_in_monochrome1_the_largest_value_is_black():
    assert np.array_equal(read_dicom(record_of(photometric="MONOCHROME1")), 255 - read_dicom(record_of()))


def test_colours_become_gray():
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0, 0], colours[1, 1] = (255, 0, 0), (255, 255, 255)
    assert read_dicom(record_of(colours, "RGB", 8)).tolist() == [[76, 0], [0, 255]]


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_dcmtk.dcm", "SC_ybr_full_422_uncompressed.dcm", "MR_small_RLE.dcm"])
def test_files_of_other_makers_are_read(name):
    image = read_dicom(get_testdata_file(name))
    assert image.dtype == np.uint8 and image.ndim == 2 and np.ptp(image) > 100


def test_a_slice_of_ct_needs_its_rescaling():
    path = get_testdata_file("CT_small.dcm")
    image = read_dicom(path, window=(40, 400))
    unscaled = pydicom.dcmread(path)
    unscaled.RescaleIntercept = 0
    assert (image == 0).mean() > 0.1 and (read_dicom(unscaled, window=(40, 400)) == 255).mean() > 0.7


def test_several_frames_are_refused():
    with pytest.raises(CourseError, match="holds 2 frames"):
        read_dicom(record_of(np.stack([RAMP, RAMP])))


def test_a_palette_is_refused():
    with pytest.raises(CourseError, match="PALETTE COLOR"):
        read_dicom(get_testdata_file("examples_palette.dcm"))


def test_a_record_without_image_is_refused():
    with pytest.raises(CourseError, match="no image, but a RTPLAN"):
        read_dicom(get_testdata_file("rtplan.dcm"))


def test_a_compression_without_decoder_names_the_plugin():
    record = record_of()
    record.file_meta.TransferSyntaxUID = JPEGLSLossless
    with pytest.raises(CourseError, match="JPEG-LS Lossless.*needs a plugin.*pyjpegls"):
        read_dicom(record)


def test_pixels_that_are_cut_short_are_refused():
    with pytest.raises(CourseError, match="damaged or incomplete"):
        read_dicom(record_of(PixelData=b"\x00\x01"))


def test_what_is_no_dicom_file_is_refused(tmp_path):
    (tmp_path / "chest.dcm").write_bytes(b"no DICOM")
    with pytest.raises(CourseError, match="chest.dcm is no DICOM file"):
        read_dicom(tmp_path / "chest.dcm")
    with pytest.raises(CourseError, match="There is no file"):
        read_dicom(tmp_path / "missing.dcm")


def test_nothing_that_identifies_is_left():
    record = record_of(VOILUTSequence=lut([0] * 501, 12, LUTExplanation="for Jane Doe^Jane"))
    before, after = written(record), written(deidentify(record, KEY))
    assert all(secret.encode() in before and secret.encode() not in after for secret in SECRETS)
    assert not any(record[name].value.encode() in after for name in ("StudyInstanceUID", "SOPInstanceUID"))


def test_the_image_stays_as_it_is():
    record = record_of(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=-800, WindowWidth=401)
    clean = pydicom.dcmread(io.BytesIO(written(deidentify(record, KEY))))
    assert np.array_equal(read_dicom(clean), read_dicom(record))


@pytest.mark.parametrize("name", sorted(KEPT - {"PixelData", "LUTDescriptor", "LUTData", "ModalityLUTType"}))
def test_each_listed_element_is_kept(name):
    tables = {"ModalityLUTSequence": lut([1], 16, ModalityLUTType="US"), "VOILUTSequence": lut([1], 12)}
    numbers = {"RescaleSlope": 2, "RescaleIntercept": 1, "WindowCenter": 3, "WindowWidth": 4, "NumberOfFrames": 1}
    words = {"RescaleType": "US", "VOILUTFunction": "SIGMOID", "BurnedInAnnotation": "NO", "PlanarConfiguration": 0}
    record = record_of(**tables, **numbers, **words)
    clean = deidentify(record, KEY)
    assert clean[name] == record[name] and clean.PixelData == record.PixelData
    assert (clean.PatientIdentityRemoved, clean.DeidentificationMethod) == ("YES", "Only listed elements kept")


def test_a_pseudonym_is_one_of_patient_and_key():
    one, other = record_of(), record_of(PatientID="67890")
    pseudonym = deidentify(one, KEY).PatientID
    assert pseudonym == deidentify(record_of(), KEY).PatientID != deidentify(other, KEY).PatientID
    assert pseudonym != deidentify(one, b"another key").PatientID


def test_files_of_one_series_stay_together():
    one, two = record_of(), record_of()
    two.SeriesInstanceUID = one.SeriesInstanceUID
    clean = deidentify(one, KEY), deidentify(two, KEY)
    assert clean[0].SeriesInstanceUID == clean[1].SeriesInstanceUID
    assert clean[0].SOPInstanceUID != clean[1].SOPInstanceUID


def test_burnt_in_text_and_a_missing_number_are_refused():
    with pytest.raises(CourseError, match="BurnedInAnnotation is YES"):
        deidentify(record_of(BurnedInAnnotation="YES"), KEY)
    with pytest.raises(CourseError, match="no PatientID"):
        deidentify(record_of(PatientID=""), KEY)
