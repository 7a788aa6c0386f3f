"""Features and a recipe to a trained model. The only sub-package that imports torch.

    recipe + features ─ loop ─▶ network ─ calibration, onnx_export ─▶ one unit of a run: model.onnx, predictions.csv

In reading order:

    networks       one file per network
    recipe         Recipe: everything that decides how a model is made
    named_recipes  the recipes that have a name
    augmentation   random changes of a batch of spectrograms
    engine         examples, device, precision, threads
    optimizer      loss, learning rate, Adam, means of weights
    checkpoint     the state of a training after an epoch, on the disk
    calibration    temperature, thresholds, familiarity
    onnx_export    a torch network to an ONNX graph
    linear_head    a linear head on embeddings, fitted and calibrated
    loop           the training loop
    run_folder     the folder of a run
    unit           one training of a run: trained, exported, tested, written
    single_model   one model from all clips, or from all but one fold
"""

DEFAULT_RECIPE = "notebook-mel"  # of `train`
DEFAULT_DEVICE = "auto"
