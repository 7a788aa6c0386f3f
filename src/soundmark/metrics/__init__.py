"""Labels and scores to numbers with intervals, in NumPy alone.

    labels, probabilities ─▶ single_label or multi_label ─▶ a summary with intervals over recordings

In reading order:

    intervals          bootstrap intervals over recordings
    significance       paired tests of two classifiers
    calibration_error  reliability diagrams and the expected calibration error
    thresholds         thresholds of multi-label data
    score_summary      what the summaries of both kinds have in common
    single_label       accuracy, F1, log loss, confusion matrix
    multi_label        average precision, F1, log loss
    task_words         how tables and the report speak of each kind
    task               what differs between single-label and multi-label data
    predictions        predictions.csv: one row per test clip
"""
