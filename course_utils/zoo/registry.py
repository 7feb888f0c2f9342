"""The zoo: what must be known of a pretrained network before it is loaded.

References
----------
Top-1 on the ImageNet validation photos, as published: https://keras.io/api/applications (the networks of
Keras), the docstring of `keras.applications.MobileNetV3Small` (MobileNetV3),
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (EfficientNet-Lite),
https://pytorch.org/vision/stable/models.html (MobileNetV2 of PyTorch).
Licences of the weights that Keras serves: the section "License" of each network in
https://github.com/keras-team/keras/blob/2.3.1/docs/templates/applications.md, and
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet (EfficientNet),
https://github.com/google/automl/tree/master/efficientnetv2 (EfficientNetV2),
https://github.com/tensorflow/models/tree/master/research/slim/nets/mobilenet (MobileNetV3),
https://github.com/facebookresearch/ConvNeXt (ConvNeXt).
"""

from dataclasses import dataclass
from difflib import get_close_matches

import pandas as pd

from course_utils.errors import CourseError


@dataclass(frozen=True)
class Backbone:
    """One network of the zoo."""

    name: str  # to load it by; for a downloaded one also its name in `keras.applications`
    module: str  # of `keras.applications`, with its preprocessing; empty for a carried network
    style: str  # of that preprocessing: "caffe", "tf" and "torch" as in `keras.applications`, "own" otherwise
    input_size: int  # height and width in pixels that it was trained at, as Keras builds it
    parameters: int | None  # number of weights; None where they have no ImageNet head
    parameters_without_head: int
    features: int  # length of the pooled features
    top1: float  # published share of ImageNet validation photos that its first guess names, with one crop
    licence: str  # of the weights
    asset: str = ""  # weights of a carried network in the catalog

    @property
    def carried(self) -> bool:
        """Whether the weights come from a package index rather than from the download server of Keras."""
        return bool(self.asset)

    @property
    def has_head(self) -> bool:
        """Whether the weights include the 1000 ImageNet classes."""
        return self.parameters is not None

    @property
    def smallest_input(self) -> int:
        """Smallest height and width that its strides allow, in pixels."""
        return {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}.get(self.name, 32)


_mit = "MIT (origin of the weights not stated)"
# name, module, style, input size, weights with and without head, features, top-1, licence, asset
_ROWS = [
    ("EfficientNetLite0", "", "own", 224, 4_694_024, 3_413_024, 1280, 0.751, "Apache-2.0", "efficientnet_lite0"),
    ("EfficientNetLite1", "", "own", 240, 5_470_344, 4_189_344, 1280, 0.767, "Apache-2.0", "efficientnet_lite1"),
    ("EfficientNetLite2", "", "own", 260, 6_150_168, 4_869_168, 1280, 0.776, "Apache-2.0", "efficientnet_lite2"),
    # 0.719 is published for PyTorch's own weights of this network.
    ("MobileNetV2Torch", "", "torch", 224, None, 2_257_984, 1280, 0.719, _mit, "mobilenet_v2"),
    ("ResNet50", "resnet50", "caffe", 224, 25_636_712, 23_587_712, 2048, 0.749, "MIT"),
    ("ResNet101", "resnet", "caffe", 224, 44_707_176, 42_658_176, 2048, 0.764, "MIT"),
    ("ResNet152", "resnet", "caffe", 224, 60_419_944, 58_370_944, 2048, 0.766, "MIT"),
    # The figures of ResNetV2 were published for images of 299 pixels; with its head Keras takes 224 only.
    ("ResNet50V2", "resnet_v2", "tf", 224, 25_613_800, 23_564_800, 2048, 0.760, "BSD-3"),
    ("ResNet101V2", "resnet_v2", "tf", 224, 44_675_560, 42_626_560, 2048, 0.772, "BSD-3"),
    ("ResNet152V2", "resnet_v2", "tf", 224, 60_380_648, 58_331_648, 2048, 0.780, "BSD-3"),
    ("VGG16", "vgg16", "caffe", 224, 138_357_544, 14_714_688, 512, 0.713, "CC BY 4.0"),
    ("VGG19", "vgg19", "caffe", 224, 143_667_240, 20_024_384, 512, 0.713, "CC BY 4.0"),
    ("InceptionV3", "inception_v3", "tf", 299, 23_851_784, 21_802_784, 2048, 0.779, "Apache-2.0"),
    ("InceptionResNetV2", "inception_resnet_v2", "tf", 299, 55_873_736, 54_336_736, 1536, 0.803, "Apache-2.0"),
    ("Xception", "xception", "tf", 299, 22_910_480, 20_861_480, 2048, 0.790, "MIT"),
    ("MobileNet", "mobilenet", "tf", 224, 4_253_864, 3_228_864, 1024, 0.704, "Apache-2.0"),
    ("MobileNetV2", "mobilenet_v2", "tf", 224, 3_538_984, 2_257_984, 1280, 0.713, "Apache-2.0"),
    ("MobileNetV3Small", "mobilenet_v3", "own", 224, 2_554_968, 939_120, 576, 0.681, "Apache-2.0"),
    ("MobileNetV3Large", "mobilenet_v3", "own", 224, 5_507_432, 2_996_352, 960, 0.756, "Apache-2.0"),
    ("DenseNet121", "densenet", "torch", 224, 8_062_504, 7_037_504, 1024, 0.750, "BSD-3"),
    ("DenseNet169", "densenet", "torch", 224, 14_307_880, 12_642_880, 1664, 0.762, "BSD-3"),
    ("DenseNet201", "densenet", "torch", 224, 20_242_984, 18_321_984, 1920, 0.773, "BSD-3"),
    ("NASNetMobile", "nasnet", "tf", 224, 5_326_716, 4_269_716, 1056, 0.744, "Apache-2.0"),
    ("NASNetLarge", "nasnet", "tf", 331, 88_949_818, 84_916_818, 4032, 0.825, "Apache-2.0"),
    ("EfficientNetB0", "efficientnet", "own", 224, 5_330_571, 4_049_571, 1280, 0.771, "Apache-2.0"),
    ("EfficientNetB1", "efficientnet", "own", 240, 7_856_239, 6_575_239, 1280, 0.791, "Apache-2.0"),
    ("EfficientNetB2", "efficientnet", "own", 260, 9_177_569, 7_768_569, 1408, 0.801, "Apache-2.0"),
    ("EfficientNetB3", "efficientnet", "own", 300, 12_320_535, 10_783_535, 1536, 0.816, "Apache-2.0"),
    ("EfficientNetB4", "efficientnet", "own", 380, 19_466_823, 17_673_823, 1792, 0.829, "Apache-2.0"),
    ("EfficientNetB5", "efficientnet", "own", 456, 30_562_527, 28_513_527, 2048, 0.836, "Apache-2.0"),
    ("EfficientNetB6", "efficientnet", "own", 528, 43_265_143, 40_960_143, 2304, 0.840, "Apache-2.0"),
    ("EfficientNetB7", "efficientnet", "own", 600, 66_658_687, 64_097_687, 2560, 0.843, "Apache-2.0"),
    ("EfficientNetV2B0", "efficientnet_v2", "own", 224, 7_200_312, 5_919_312, 1280, 0.787, "Apache-2.0"),
    ("EfficientNetV2B1", "efficientnet_v2", "own", 240, 8_212_124, 6_931_124, 1280, 0.798, "Apache-2.0"),
    ("EfficientNetV2B2", "efficientnet_v2", "own", 260, 10_178_374, 8_769_374, 1408, 0.805, "Apache-2.0"),
    ("EfficientNetV2B3", "efficientnet_v2", "own", 300, 14_467_622, 12_930_622, 1536, 0.820, "Apache-2.0"),
    ("EfficientNetV2S", "efficientnet_v2", "own", 384, 21_612_360, 20_331_360, 1280, 0.839, "Apache-2.0"),
    ("EfficientNetV2M", "efficientnet_v2", "own", 480, 54_431_388, 53_150_388, 1280, 0.853, "Apache-2.0"),
    ("EfficientNetV2L", "efficientnet_v2", "own", 480, 119_027_848, 117_746_848, 1280, 0.857, "Apache-2.0"),
    ("ConvNeXtTiny", "convnext", "own", 224, 28_589_128, 27_820_128, 768, 0.813, "MIT"),
    ("ConvNeXtSmall", "convnext", "own", 224, 50_223_688, 49_454_688, 768, 0.823, "MIT"),
    # These three saw ImageNet-21k before, which has ten times as many images.
    ("ConvNeXtBase", "convnext", "own", 224, 88_591_464, 87_566_464, 1024, 0.853, "MIT"),
    ("ConvNeXtLarge", "convnext", "own", 224, 197_767_336, 196_230_336, 1536, 0.863, "MIT"),
    ("ConvNeXtXLarge", "convnext", "own", 224, 350_196_968, 348_147_968, 2048, 0.867, "MIT"),
]
BACKBONES = {row[0]: Backbone(*row) for row in _ROWS}


def find_backbone(name: str) -> Backbone:
    """Return the entry of `BACKBONES`; where there is none, an error offers the nearest names."""
    if name in BACKBONES:
        return BACKBONES[name]
    lower_case = {key.lower(): key for key in BACKBONES}
    near = [lower_case[key] for key in get_close_matches(str(name).lower(), lower_case, n=3)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(BACKBONES)}."
    # File names of weights end in "notop"; no network is called so.
    topless = " Without its head a network has the same name: include_top=False." if "top" in str(name).lower() else ""
    raise CourseError(f"There is no backbone {name!r}: {hint}{topless}")


def zoo_table() -> pd.DataFrame:
    """Return the registry as a table, one network a row."""
    rows = [
        {
            "name": entry.name,
            "from": "carried" if entry.carried else f"keras.applications.{entry.module}",
            "preprocessing": entry.style,
            "input size": entry.input_size,
            "parameters [M]": (entry.parameters or entry.parameters_without_head) / 1e6,
            "without head [M]": entry.parameters_without_head / 1e6,
            "features": entry.features,
            "published top-1": entry.top1,
            "published by": "keras.io" if not entry.carried else "tensorflow/tpu" if entry.has_head else "pytorch.org",
            "licence": entry.licence,
        }
        for entry in BACKBONES.values()
    ]
    return pd.DataFrame(rows).set_index("name")
