"""ONNX graphs: exporting them, finding their layers, rewriting them. Nothing here runs one."""
