"""Trained models and what they do: scores, events, embeddings, explanations, export. Torch is not needed.

    .onnx file ─ bundle ─▶ Model ─ windows, streaming ─▶ Scores ─ events ─▶ Events
                             └─ explanation, export

In reading order:

    legacy           aliases for names used by earlier versions
    training_record  training data and training history of a model; history.csv
    card             the model card: classes, representation, window, recipe, scores
    card_text        the model card as text: summary, full table, Markdown, JSON
    bundle           a model as one .onnx file
    overview         the repr of a model, and its table of layers
    windows          samples → windows
    scores           one row of probabilities per window
    events           window scores → events
    streaming        recordings and streams of any length, window by window
    classifier       Model: scores, classes, events, embeddings
    pretrained       pretrained networks, built from their released weights; load("audioset")
    explanation      the regions of a spectrogram that matter most for a class
    export           models for other programs: waveform input, 8-bit weights
"""
