"""Recordings to events: files, folders of files, live audio.

    files ─ inputs ─▶ file_analysis ─▶ FileResult ─ output_formats ─▶ results folder ─▶ summary
                                          └─ analysis ─▶ Analysis

In reading order:

    inputs          arguments to sound files
    settings        overlap, thresholds, merging, live sources: the home of their defaults
    file_result     what was detected in one recording
    file_analysis   files to results, in parallel
    journal         results as they are computed: an interrupted run resumes
    output_formats  results as CSV, JSON, Parquet, Audacity and Raven tables
    results_folder  files to a folder of results
    analysis        analyze: many files to an Analysis, in memory or in a folder
    results_reader  results, read back
    summary         summarize: minutes of each class by hour and by day
    summary_figure  the same as a figure
    live            live audio to events; listen
"""
