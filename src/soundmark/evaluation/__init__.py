"""Compare recipes under several protocols; evaluate a trained model on a data set; measure learning curves.

    plan ─ comparison ─▶ Evaluation (results) ─▶ report
    curve_run ─▶ LearningCurve

In reading order:

    plan              splits, trainings and estimated time of a comparison
    results           Evaluation, its results, metrics.json
    extrapolation     the score that more recordings would give
    learning_curve    LearningCurve: the score by the number of training recordings
    curve_run         train on draws of the recordings, and measure the curve
    comparison        run a plan: train, test, collect the results
    model_evaluation  evaluate a trained model on a data set
    event_evaluation  score detections in long recordings against annotations
    quantisation      int8 models and their loss of accuracy
    report            write an Evaluation as one HTML file
    label_check       find recordings whose label held-out predictions contradict
    results_text      an Evaluation as text and as a table in Jupyter
    results_figures   an Evaluation as figures for a notebook or a paper
"""

# Defaults of `compare`
DEFAULT_RECIPES = ("transfer", "notebook-mel")
PRESETS = {"notebook": ("notebook-image", "notebook-mel")}  # recipes by name of an experiment
DEFAULT_SEEDS = 1
