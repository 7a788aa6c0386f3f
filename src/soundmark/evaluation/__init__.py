"""Recipes × protocols × folds to an ``Evaluation``, and a model on a data set.

    plan ─ comparison ─▶ Evaluation (results) ─▶ report

In reading order:

    plan              splits, trainings and cost of a comparison
    results           Evaluation, its results, metrics.json
    comparison        a plan, carried out
    model_evaluation  a model on a data set
    quantisation      a model in 8 bits, and what that costs
    pretrained        models by name or by path: load("audioset")
    report            an Evaluation to one HTML page
    results_text      an Evaluation as text and as a table in Jupyter
    results_figures   an Evaluation as figures for a notebook or a paper
"""

DEFAULT_RECIPES = ("notebook-image", "notebook-mel")  # of `compare`
DEFAULT_SEEDS = 1
