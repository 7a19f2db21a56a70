"""Every TensorFlow Lite operator that integer and float networks may hold, and what builds its layers."""

from cimemu.importer.tflite_elementwise import ELEMENTWISE_OPS
from cimemu.importer.tflite_float import WEIGHTED_OPS, FloatRow
from cimemu.importer.tflite_float_digital import FLOAT_DIGITAL_OPS
from cimemu.importer.tflite_float_images import FLOAT_IMAGE_OPS
from cimemu.importer.tflite_float_moves import FLOAT_MOVE_OPS
from cimemu.importer.tflite_hybrid import HYBRID_OPS
from cimemu.importer.tflite_integer import PRODUCT_OPS
from cimemu.importer.tflite_lstm import LSTM_OPS, float_lstm
from cimemu.importer.tflite_moves import MOVE_OPS
from cimemu.importer.tflite_products import OTHER_PRODUCT_OPS
from cimemu.importer.tflite_rows import Row
from cimemu.importer.tflite_wide import wide

WIDE_PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
INTEGER_OPS: dict[str, Row] = {
    **PRODUCT_OPS,
    **{name: wide(PRODUCT_OPS[name]) for name in WIDE_PRODUCTS},
    **OTHER_PRODUCT_OPS,
    **ELEMENTWISE_OPS,
    **MOVE_OPS,
    **LSTM_OPS,
}
FLOAT_OPS: dict[str, FloatRow] = {
    **WEIGHTED_OPS,
    **FLOAT_IMAGE_OPS,
    **FLOAT_DIGITAL_OPS,
    **FLOAT_MOVE_OPS,
    **HYBRID_OPS,
    **dict.fromkeys(LSTM_OPS, float_lstm),
}
