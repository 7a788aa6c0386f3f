"""Models for other programs: waveform input, 8-bit weights.

In reading order:

    onnx_graph  an ONNX graph taken apart: lean, BatchNorm folded, 8-bit weights
    front_end   a representation as part of an ONNX graph
    int8        a model's graph in 8 bits
    waveform    a model as one file from waveform to probabilities
"""
