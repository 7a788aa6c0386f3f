"""Live audio to events.

In reading order:

    backlog      between the thread that reads and the one that classifies
    monitor      a live source to events: threads, state, callbacks
    listener     listen: the events as an iterator
    saved_clips  the sound of each event as a file
    webhook      each event posted to an address
"""
