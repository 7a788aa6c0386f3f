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
"""
