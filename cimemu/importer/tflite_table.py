"""Every TensorFlow Lite operator that integer networks may hold, and what builds its layers."""

from cimemu.importer.tflite_elementwise import ELEMENTWISE_OPS
from cimemu.importer.tflite_integer import PRODUCT_OPS
from cimemu.importer.tflite_moves import MOVE_OPS
from cimemu.importer.tflite_products import OTHER_PRODUCT_OPS
from cimemu.importer.tflite_rows import Row

INTEGER_OPS: dict[str, Row] = {**PRODUCT_OPS, **OTHER_PRODUCT_OPS, **ELEMENTWISE_OPS, **MOVE_OPS}
