"""Detect events in live audio.

In reading order:

    backlog         the queue between the thread that reads and the one that classifies
    repeated_notes  limit how often a recurring note is reported
    monitor         classify a live source: threads, state, callbacks
    listener        listen: the events of a live source as an iterator
    saved_clips     save the audio of each event as a file
    webhook         post each event to a URL
"""
