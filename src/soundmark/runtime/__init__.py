"""Infrastructure that does not depend on audio: files, locks, processes, progress, text, figures.

In reading order:

    checks         validation of numbers and paths
    atomic         write files atomically
    locks          folder locks between processes
    output_folder  output folders with a manifest of the files that soundmark wrote
    text           format durations, percentages, counts, lists, tables
    parallel       map a function over items, in processes, threads or on a cluster
    dataframes     import pandas on demand
    progress       the progress callback, and the progress of an analysis of many files
    progress_bars  display progress in a terminal, a notebook or a log
    cache          the cache folder
    checksums      checksums of files and of JSON values
    downloads      download files, bounded in size and verified
    provenance     package versions and machine, to record with results
    plotting       axes, colours and saving of figures
"""
