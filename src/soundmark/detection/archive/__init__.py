"""Index an archive: embeddings, scores and levels of its windows, to search it and to choose what to label.

    recordings ─ indexing ─▶ store (a folder) ─▶ Index ─ search ─▶ similar windows
         ▲                                         └─ suggestions ─▶ windows to label next
         └─ results_index ─ a results folder

In reading order:

    store           the files of an index: one record per window, one journal line per recording
    suggestions     choose windows that are uncertain, and different from each other
    review          which windows to review, and the precision of detections by threshold
    corrections     Corrections: the decisions of reviewers, as a data set
    review_session  Review: decisions about windows and one class, in memory or in corrections
    indexing        build_index: recordings to an index, in parallel; resumes, and adds what is new
    results_index   index_results: the recordings of a results folder to an index in the cache
    index           Index: the windows of an archive; search, suggest and review
"""
