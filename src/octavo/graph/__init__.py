"""ONNX graphs: finding their layers, rewriting them, lowering them to integers. Nothing here runs one."""
