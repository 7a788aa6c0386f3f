"""Train a model from features and a recipe. Only networks without a backbone need torch: ``networks`` and ``epochs``.

    dataset + recipe ─ methods ─▶ features ─┬─ transfer ─▶ graph ─ unit ─▶ one unit of a run: model.onnx
                                            └─ epochs ───▶ graph

In reading order:

    networks         one file per network
    recipe           Recipe: all settings of a training
    backbone_files   recipes whose backbone is an ONNX file
    named_recipes    the built-in recipes
    moments          sums of products, from which discriminants and covariances are computed
    calibration      temperature, thresholds, familiarity, presence
    transfer         fit a linear head on the features of a backbone
    epochs           train a network epoch by epoch, with torch
    methods          the features of a recipe, and one of the two ways to train on a split of a data set
    run_folder       the layout of the folder of a run
    unit             one training of a run: train, export, test, write
    unit_on_cluster  trainings of a run on a cluster
    single_model     train one model on all clips, or on all but one fold
"""

DEFAULT_RECIPE = "transfer"  # of ``train``
DEFAULT_DEVICE = "auto"
DEFAULT_BACKGROUND = "auto"  # labels that mean "none of these": see ``datasets.dataset.with_background``
NETWORK_PACKAGES = ("torch", "safetensors")  # needed to train networks without a backbone
