"""Models for other programs: waveform input, 8-bit weights.

In reading order:

    onnx_graph  changes to ONNX graphs: metadata removed, BatchNorm folded, int8 weights
    front_end   representations as ONNX nodes
    int8        static int8 quantisation of a graph
    waveform    a model as one file from waveform to probabilities
"""
