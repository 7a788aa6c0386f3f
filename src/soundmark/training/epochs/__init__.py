"""Train a network epoch by epoch, with torch.

    features + recipe ─ loop ─▶ TrainedNetwork ─ onnx_export ─▶ graph

In reading order:

    engine               training data, device, precision, threads
    augmentation         random augmentation of a batch of spectrograms
    optimizer            loss, learning rate schedule, Adam, averages of weights
    checkpoint           the training state after an epoch, on disk
    onnx_export          a torch network to an ONNX graph
    network_calibration  temperature, thresholds and familiarity from validation clips
    loop                 the training loop
"""
