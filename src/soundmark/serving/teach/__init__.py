"""Teach: retrain the model that is served on corrections, in a thread, and go back to an earlier model.

    corrections ─ examples ─▶ features ─ retraining ─▶ model and report ─ versions ─▶ files ─ teacher ─▶ the page

In reading order:

    examples    the clips that a model is retrained on, and their features
    retraining  fit a head, and compare it with the one before on held-out recordings
    versions    the models that were taught, on disk; which one is in use
    teacher     Teacher: corrections, retraining, and the model in use
"""
