"""ONNX operators as torch functions, for training a graph as it was exported."""
