"""Trained models, ready to use; torch is not needed.

    file ─ bundle ─▶ Model ─ windows, streaming ─▶ Scores ─ events ─▶ Events
                       └─ explanation, export

In reading order:

    legacy       names of earlier versions, read as aliases
    training_record  what a model knows about its training; history.csv; the plot of it
    card         what a model says of itself
    card_text    the same as text: lines, Markdown, JSON
    bundle       a model as one .onnx file
    overview     a model in ten lines, and the table of its layers
    weights      pretrained weights by name: found or downloaded, and verified
    windows      samples to the windows that a model classifies
    scores       one row of probabilities for each window
    events       scores of windows to events
    streaming    a sound of any length, or a stream, window by window
    classifier   Model: scores, classes, events, embeddings
    explanation  which regions of a spectrogram decided, and the figure of it
    export       models for other programs: waveform input, 8 bits
"""
