"""From torch modules to ONNX files."""
