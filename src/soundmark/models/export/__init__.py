"""Models for other programs: waveform input, 8-bit weights.

In reading order:

    onnx_graph     changes to ONNX graphs: metadata removed, BatchNorm folded, int8 weights
    front_end      representations as ONNX nodes
    resampling     soxr's filter as ONNX nodes
    int8           static int8 quantisation of a graph
    program_graph  a model's graph from the audio of a program to the numbers that it expects
    waveform       a model as one file from waveform to probabilities
    targets        models for other programs: OpenSoundscape, BirdNET-Go, transformers.js, a web page
"""
