"""Classification metrics with confidence intervals over recordings, computed with NumPy.

    labels, probabilities ─▶ single_label or multi_label ─▶ a summary of scores with intervals

In reading order:

    student_t          quantiles of Student's t distribution
    intervals          confidence intervals of means over recordings
    jackknife          confidence intervals of other statistics, such as mAP
    significance       paired tests of two classifiers
    verdicts           whether one classifier is better than another, and why
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
