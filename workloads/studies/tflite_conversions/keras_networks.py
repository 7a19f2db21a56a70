"""Small Keras networks with the topology of well-known ones, for `make.py`; weights are random, sizes small."""

import keras
import tensorflow as tf
from keras import layers


def _norm(x, activation="relu6"):
    x = layers.BatchNormalization()(x)
    if activation == "hard_swish":
        return x * layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)
    return layers.ReLU(6.0 if activation == "relu6" else None)(x) if activation else x


def _conv(x, filters, size=3, stride=1, activation="relu6"):
    return _norm(layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x), activation)


def _separable(x, filters, stride):
    x = _norm(layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(x))
    return _conv(x, filters, 1)


def mobilenet_v1(size=64):
    """Depthwise separable convolutions, global average pool, classifier."""
    x = inputs = keras.Input((size, size, 3))
    x = _conv(x, 8, stride=2)
    for filters, stride in ((16, 1), (24, 2), (24, 1), (32, 2), (48, 1), (64, 2)):
        x = _separable(x, filters, stride)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Reshape((10,))(layers.Conv2D(10, 1)(x))
    return keras.Model(inputs, layers.Softmax()(x))


def _inverted(x, expand, filters, stride, activation="relu6", squeeze=False, kernel=3):
    wide = _conv(x, expand, 1, activation=activation)
    if stride == 2:
        wide = layers.ZeroPadding2D(((kernel // 2 - 1, kernel // 2), (kernel // 2 - 1, kernel // 2)))(wide)
    pad = "valid" if stride == 2 else "same"
    wide = _norm(layers.DepthwiseConv2D(kernel, stride, padding=pad, use_bias=False)(wide), activation)
    if squeeze:
        gate = layers.GlobalAveragePooling2D(keepdims=True)(wide)
        gate = layers.Conv2D(expand // 4, 1, activation="relu")(gate)
        gate = layers.Conv2D(expand, 1, activation="hard_sigmoid")(gate)
        wide = layers.Multiply()([wide, gate])
    narrow = _conv(wide, filters, 1, activation=None)
    return layers.Add()([x, narrow]) if stride == 1 and x.shape[-1] == filters else narrow


def mobilenet_v2(size=64):
    """Inverted residuals with linear bottlenecks and explicit padding."""
    x = inputs = keras.Input((size, size, 3))
    x = _conv(x, 16, stride=2)
    for expand, filters, stride in ((16, 8, 1), (48, 16, 2), (96, 16, 1), (96, 24, 2), (144, 24, 1)):
        x = _inverted(x, expand, filters, stride)
    x = layers.GlobalAveragePooling2D()(_conv(x, 64, 1))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def mobilenet_v3(size=64):
    """Hard swish, squeeze and excitation with hard sigmoids."""
    x = inputs = keras.Input((size, size, 3))
    x = _conv(x, 16, stride=2, activation="hard_swish")
    for expand, filters, stride, act, gate, kernel in (
        (16, 16, 2, "relu", True, 3), (48, 24, 2, "relu", False, 3), (56, 24, 1, "hard_swish", True, 5),
        (72, 32, 1, "hard_swish", True, 5), (96, 32, 1, "hard_swish", True, 5),
    ):  # fmt: skip
        x = _inverted(x, expand, filters, stride, act, gate, kernel)
    x = layers.GlobalAveragePooling2D(keepdims=True)(_conv(x, 96, 1, activation="hard_swish"))
    x = layers.Conv2D(64, 1)(x)
    x = layers.Flatten()(x * layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def efficientnet_lite(size=64):
    """Inverted residuals with kernels of 3 and 5, no squeeze, ReLU6."""
    x = inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(x)
    x = _conv(x, 16, stride=2)
    for expand, filters, stride, kernel in ((16, 8, 1, 3), (48, 12, 2, 3), (72, 20, 2, 5), (120, 20, 1, 5)):
        x = _inverted(x, expand, filters, stride, kernel=kernel)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(_conv(x, 64, 1)))
    return keras.Model(inputs, layers.Dense(10)(x))


def inception(size=48):
    """Branches of several kernels and pools, concatenated; leaky ReLU."""
    x = inputs = keras.Input((size, size, 3))
    x = layers.MaxPooling2D(3, 2, padding="same")(_conv(x, 16, 5, 2, "relu"))
    for filters in (8, 12):
        a = _conv(x, filters, 1, activation="relu")
        b = _conv(_conv(x, filters, 1, activation="relu"), filters, (1, 5), activation="relu")
        b = _conv(b, filters, (5, 1), activation="relu")
        c = layers.LeakyReLU(negative_slope=0.1)(layers.Conv2D(filters, 3, padding="same")(x))
        d = _conv(layers.AveragePooling2D(3, 1, padding="same")(x), filters, 1, activation="relu")
        x = layers.Concatenate()([a, b, c, d])
    x = layers.AveragePooling2D(2)(x)
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def ds_cnn(frames=49, bins=10):
    """A keyword spotter: separable convolutions over a spectrogram."""
    x = inputs = keras.Input((frames, bins, 1))
    x = _norm(layers.Conv2D(32, (10, 4), (2, 2), padding="same")(x), "relu")
    for _ in range(3):
        x = _norm(layers.DepthwiseConv2D(3, padding="same")(x), "relu")
        x = _norm(layers.Conv2D(32, 1)(x), "relu")
    x = layers.AveragePooling2D((x.shape[1], x.shape[2]))(layers.Dropout(0.4)(x))
    return keras.Model(inputs, layers.Dense(12, activation="softmax")(layers.Flatten()(x)))


def u_net(size=64):
    """Down and up, by a transposed convolution and by a bilinear and a nearest resize."""
    x = inputs = keras.Input((size, size, 3))
    kept = []
    for filters in (8, 12, 16):
        x = _conv(x, filters, activation="relu")
        kept.append(x)
        x = layers.MaxPooling2D()(x)
    x = _conv(x, 24, activation="relu")
    x = layers.Conv2DTranspose(16, 2, 2, padding="same", activation="relu")(x)
    x = _conv(layers.Concatenate()([x, kept[2]]), 16, activation="relu")
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = _conv(layers.Concatenate()([x, kept[1]]), 12, activation="relu")
    x = NearestResize()(x)
    x = _conv(layers.Concatenate()([x, kept[0]]), 8, activation="relu")
    x = layers.Conv2DTranspose(4, 3, 1, padding="same")(x)
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x))


def pose_net(size=65):
    """A MobileNet with dilated convolutions and heads for heat maps, offsets and displacements."""
    x = inputs = keras.Input((size, size, 3))
    x = _conv(x, 8, stride=2)
    for filters, stride in ((16, 1), (24, 2), (24, 1)):
        x = _separable(x, filters, stride)
    x = _norm(layers.DepthwiseConv2D(3, padding="same", dilation_rate=2, use_bias=False)(x))
    x = _conv(x, 48, 1)
    heat = layers.Conv2D(17, 1, activation="sigmoid", name="heat")(x)
    return keras.Model(inputs, [heat, layers.Conv2D(34, 1, name="offset")(x), layers.Conv2D(32, 1, name="move")(x)])


def _blaze(x, filters, stride=1):
    y = layers.Conv2D(filters, 1)(layers.DepthwiseConv2D(5, stride, padding="same")(x))
    if stride == 2:
        x = layers.MaxPooling2D(2)(x)
    more = filters - x.shape[-1]
    if more:
        x = tf_pad(x, more)
    return layers.ReLU()(layers.Add()([x, y]))


@keras.saving.register_keras_serializable("cimemu")
class ChannelPad(layers.Layer):
    """Zeros behind the channels."""

    def __init__(self, more, **kwargs):
        super().__init__(**kwargs)
        self.more = more

    def call(self, x):
        return tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, self.more]])


@keras.saving.register_keras_serializable("cimemu")
class NearestResize(layers.Layer):
    """Twice the rows and columns, by TensorFlow's own operator (Keras repeats elements instead)."""

    def call(self, x):
        return tf.image.resize(x, [2 * x.shape[1], 2 * x.shape[2]], method="nearest")


def tf_pad(x, more):
    return ChannelPad(more)(x)


def blaze_face(size=64):
    """A face detector: 5x5 separable blocks, channel padding, two heads of anchors reshaped and joined."""
    x = inputs = keras.Input((size, size, 3))
    x = layers.ReLU()(layers.Conv2D(12, 5, 2, padding="same")(x))
    for filters, stride in ((12, 1), (16, 2), (20, 1), (24, 2)):
        x = _blaze(x, filters, stride)
    small = _blaze(x, 32, 2)
    scores = [layers.Reshape((-1, 1))(layers.Conv2D(n, 1)(y)) for n, y in ((2, x), (6, small))]
    boxes = [layers.Reshape((-1, 16))(layers.Conv2D(16 * n, 1)(y)) for n, y in ((2, x), (6, small))]
    return keras.Model(inputs, [layers.Concatenate(axis=1)(boxes), layers.Concatenate(axis=1)(scores)])


def resnet(size=32):
    """Residual blocks with projections."""
    x = inputs = keras.Input((size, size, 3))
    x = _conv(x, 8, activation="relu")
    for filters, stride in ((8, 1), (16, 2), (24, 2)):
        y = _conv(_conv(x, filters, 3, stride, "relu"), filters, 3, 1, None)
        if stride == 2:
            x = layers.Conv2D(filters, 1, 2, padding="same")(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(x.shape[1])(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def autoencoder(width=128):
    """Dense layers down to a bottleneck and up, with the reconstruction error's square, ELU and tanh."""
    x = inputs = keras.Input((width,))
    for units in (32, 16, 8):
        x = _norm(layers.Dense(units)(x), "relu")
    x = layers.Dense(16, activation="tanh")(x)
    x = _norm(layers.Dense(32)(x), "relu")
    x = layers.Dense(width)(x)
    return keras.Model(inputs, layers.Subtract()([x, inputs]))


def attention(steps=16, width=24):
    """A transformer's block over patches: products of activations, softmax, layer normalisation."""
    x = inputs = keras.Input((steps, width))
    x = layers.Dense(width)(x)
    q, k, v = (layers.Dense(width)(x) for _ in range(3))
    weights = layers.Softmax()(keras.ops.matmul(q, keras.ops.transpose(k, (0, 2, 1))) * width**-0.5)
    x = layers.Add()([x, layers.Dense(width)(keras.ops.matmul(weights, v))])
    x = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.Dense(width)(layers.Dense(2 * width, activation="relu")(x))])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(6, activation="softmax")(x))


NETWORKS = {
    "mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenet_v2, "mobilenet_v3": mobilenet_v3,
    "efficientnet_lite": efficientnet_lite, "inception": inception, "ds_cnn": ds_cnn, "u_net": u_net,
    "pose_net": pose_net, "blaze_face": blaze_face, "resnet": resnet, "autoencoder": autoencoder,
    "attention": attention,
}  # fmt: skip
