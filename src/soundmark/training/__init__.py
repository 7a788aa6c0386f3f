"""Train a model from features and a recipe. The only sub-package that imports torch.

    recipe + features ─ loop ─▶ network ─ calibration, onnx_export ─▶ one unit of a run: model.onnx, predictions.csv

In reading order:

    networks       one file per network
    recipe         Recipe: all settings of a training
    named_recipes  the built-in recipes
    augmentation   random augmentation of a batch of spectrograms
    engine         training data, device, precision, threads
    optimizer      loss, learning rate schedule, Adam, averages of weights
    checkpoint     the training state after an epoch, on disk
    calibration    temperature, thresholds, familiarity
    onnx_export    a torch network to an ONNX graph
    linear_head    fit and calibrate a linear head on embeddings
    loop           the training loop
    run_folder     the layout of the folder of a run
    unit           one training of a run: train, export, test, write
    single_model   train one model on all clips, or on all but one fold
"""

DEFAULT_RECIPE = "transfer"  # of ``train``
DEFAULT_DEVICE = "auto"
DEFAULT_BACKGROUND = "auto"  # labels that mean "none of these": see ``datasets.dataset.with_background``
