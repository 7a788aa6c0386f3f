"""Infrastructure that knows nothing of sound: files, locks, processes, progress, text, figures.

In reading order:

    checks         whole numbers, finite numbers
    atomic         files that appear completely or not at all
    checksums      checksums of files, and JSON that detects damage
    locks          one process at a time writes to a folder
    parallel       one function over many items, in processes or threads
    text           durations, percentages, counts
    dataframes     pandas, where a DataFrame is asked for
    progress       what reports progress, and the state of an analysis of many files
    progress_bars  progress in a terminal, a notebook or a log
    cache          the cache folder
    downloads      files from the network, bounded and verified
    provenance     versions and machine
    plotting       what all figures share
"""
