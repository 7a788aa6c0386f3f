"""Detect sound events in files, folders of files and live audio.

    files ─ inputs ─▶ file_analysis ─▶ FileResult ─ output_formats ─▶ results folder ─▶ summary
                                          └─ analysis ─▶ Analysis

In reading order:

    inputs          command-line arguments to sound files
    settings        overlap, thresholds, merging, live sources, and their defaults
    file_result     the result for one recording
    file_analysis   files to results, in parallel
    journal         finished results on disk, from which an interrupted run resumes
    output_formats  results as CSV, JSON, Parquet, Audacity labels and Raven tables
    earlier_folder  which files of an earlier version's results folder soundmark wrote
    results_folder  analyse files and write a folder of results; merge the folders of shards
    analysis        analyze: many files to an Analysis, in memory or in a results folder
    results_reader  read results back
    summary         summarize: minutes of each class by hour and by day
    summary_figure  the summary as a figure
    archive         the index of an archive: similar windows, and windows to label next
    live            live audio to events: listen
"""
