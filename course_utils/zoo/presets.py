"""Image networks of KerasHub by the name of a preset: vision transformers, also those trained without labels."""

import keras
import keras_hub

from course_utils.errors import CourseError


def load_preset(preset: str) -> keras.Model:
    """Load a pretrained image network of KerasHub that takes raw pixels.

    Parameters
    ----------
    preset : str
        A name such as ``"vit_base_patch16_224_imagenet"`` or ``"dinov2_small"``, whose weights are downloaded once, or
        a folder that ``save_to_preset`` has written.

    Returns
    -------
    keras.Model
        From pixels 0-255 (n, size, size, 3), at the size of the preset, to features (n, d): the class token of a
        transformer, the mean of the last map of a convolutional network.

    Raises
    ------
    CourseError
        If the preset is unknown, is no image network, or cannot be downloaded.
    """
    try:
        backbone = keras_hub.models.Backbone.from_preset(preset)
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except (OSError, ValueError) as error:  # of the download, of a name
        raise CourseError(
            f"The preset {preset!r} of KerasHub could not be loaded: connect to the internet, and give an image "
            "network such as vit_base_patch16_224_imagenet or dinov2_small, or the folder of one."
        ) from error
    pixels = keras.Input((*converter.image_size, 3), name="pixels")
    scaled = keras.layers.Rescaling(converter.scale or 1.0, converter.offset or 0.0, name="preprocessing")(pixels)
    output = backbone(keras.tree.map_structure(lambda _: scaled, backbone.input))
    features = output[:, 0] if len(output.shape) == 3 else keras.layers.GlobalAveragePooling2D()(output)
    return keras.Model(pixels, features, name=backbone.name)
