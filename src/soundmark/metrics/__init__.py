"""Classification metrics with bootstrap confidence intervals over recordings, computed with NumPy.

    labels, probabilities ─▶ single_label or multi_label ─▶ a summary of scores with intervals

In reading order:

    intervals          bootstrap intervals over recordings
    significance       paired tests of two classifiers
    event_matching     detections and annotations of recordings
    calibration_error  reliability diagrams and the expected calibration error
    thresholds         decision thresholds of multi-label classes
    score_summary      the common interface of single-label and multi-label summaries
    single_label       accuracy, F1, log loss, confusion matrix
    multi_label        average precision, F1, log loss
    task_words         texts of tables and reports for single-label and multi-label data
    task               everything that differs between single-label and multi-label data
    predictions        predictions.csv: one row per test clip
"""
